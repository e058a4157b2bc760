package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/grpclog"

	"github.com/ollelogdahl/concord/internal/plain"
)

const (
	// maxJournal bounds the bytes of the records that wait to be written.
	maxJournal = 1 << 20
	// journalGrace is how long the end of a process waits for them.
	journalGrace = time.Second
)

// journal writes records to a stream, on a goroutine of its own. Nobody waits for
// whoever reads the stream, and a stream that is broken ends nothing: a record that
// cannot be written is lost and counted, and as soon as something can be written
// again, a record says how many are missing.
type journal struct {
	out     io.Writer
	handler func(io.Writer) slog.Handler // writes the records about lost ones
	lost    atomic.Uint64                // records, in all

	mu      sync.Mutex
	queue   []entry
	waiting int           // bytes in the queue
	missing uint64        // records lost that no record has told of
	idle    chan struct{} // closed when nothing is being written; nil: nothing is

	cut bool // the last line on the stream has no end; the writing goroutine's own
}

// entry is a record, or one that tells of lost ones.
type entry struct {
	text  []byte
	about uint64 // how many lost records it tells of; 0: it is a record itself
}

// newJournal makes the journal of a stream. handler is how its records are formed.
func newJournal(out io.Writer, handler func(io.Writer) slog.Handler) *journal {
	return &journal{out: out, handler: handler}
}

// Write takes one record. It never blocks and never fails.
func (j *journal) Write(record []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.waiting+len(record) > maxJournal {
		j.lose(entry{})
		return len(record), nil
	}
	if j.missing > 0 {
		j.put(j.note())
	}
	j.put(entry{text: bytes.Clone(record)})
	if j.idle == nil {
		j.idle = make(chan struct{})
		go j.run()
	}
	return len(record), nil
}

func (j *journal) put(e entry) {
	j.queue = append(j.queue, e)
	j.waiting += len(e.text)
}

// lose counts what cannot be written.
func (j *journal) lose(e entry) {
	if e.about == 0 {
		e.about = 1
		j.lost.Add(1)
	}
	j.missing += e.about
}

// note is the record about those that are missing.
func (j *journal) note() entry {
	var text bytes.Buffer
	slog.New(j.handler(&text)).Error("log records lost: nobody read them", slog.Uint64("records", j.missing))
	e := entry{text.Bytes(), j.missing}
	j.missing = 0
	return e
}

// run writes until nothing is left.
func (j *journal) run() {
	broken := false // nothing could be written when it was last tried
	for {
		j.mu.Lock()
		var e entry
		switch {
		case len(j.queue) > 0:
			e = j.queue[0]
			j.queue = j.queue[1:]
			j.waiting -= len(e.text)
		case j.missing > 0 && !broken:
			e = j.note()
		default:
			close(j.idle)
			j.idle = nil
			j.mu.Unlock()
			return
		}
		j.mu.Unlock()
		if broken = j.write(e.text) != nil; broken {
			j.mu.Lock()
			j.lose(e)
			j.mu.Unlock()
		}
	}
}

// write writes one line. After one that was written in part, as to a full disk, it
// begins a new one.
func (j *journal) write(line []byte) error {
	if j.cut {
		line = append([]byte{'\n'}, line...)
	}
	n, err := j.out.Write(line)
	if n > 0 {
		j.cut = err != nil
	}
	return err
}

// flush waits until all is written, but not for long.
func (j *journal) flush() {
	j.mu.Lock()
	idle := j.idle
	j.mu.Unlock()
	if idle == nil {
		return
	}
	select {
	case <-idle:
	case <-time.After(journalGrace):
	}
}

// fail tells why the process ends.
func (j *journal) fail(err error, asJSON bool) {
	// What others have said stands in it. The line ends are of the advice.
	text := plain.Lines(strings.TrimPrefix(err.Error(), "concord: "))
	if asJSON {
		slog.New(j.handler(j)).Error("ended with an error", slog.String("err", text))
	} else {
		fmt.Fprintf(j, "concord: %s\n", text)
	}
}

// metric counts the records that are lost.
func (j *journal) metric() prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "concord_log_lost_records_total",
		Help: "Records of the log of concord run that were lost, since nobody read them.",
	}, func() float64 { return float64(j.lost.Load()) })
}

// format is how the records of a member are formed.
func format(level slog.Level, asJSON bool) func(io.Writer) slog.Handler {
	opts := &slog.HandlerOptions{Level: level}
	return func(w io.Writer) slog.Handler {
		if asJSON {
			return slog.NewJSONHandler(plainJSON{w}, opts)
		}
		return slog.NewTextHandler(w, opts)
	}
}

// plainJSON escapes in records what others say.
type plainJSON struct{ w io.Writer }

func (p plainJSON) Write(record []byte) (int, error) {
	if _, err := p.w.Write(plain.JSON(record)); err != nil {
		return 0, err
	}
	return len(record), nil
}

// capture has what gRPC and the standard logger would write to standard error logged
// as records. It must be called before gRPC is used. As without it, gRPC tells of
// errors only, unless its variables of the environment say otherwise.
func capture(log *slog.Logger) {
	slog.SetDefault(log)
	var w io.Writer = grpcLines{log}
	info, warning, failure := io.Discard, io.Discard, io.Discard
	switch strings.ToLower(os.Getenv("GRPC_GO_LOG_SEVERITY_LEVEL")) {
	case "info":
		info = w // which takes the graver ones, too
	case "warning":
		warning = w
	default:
		failure = w
	}
	verbosity, _ := strconv.Atoi(os.Getenv("GRPC_GO_LOG_VERBOSITY_LEVEL")) // 0 if it is none
	grpclog.SetLoggerV2(grpclog.NewLoggerV2WithVerbosity(info, warning, failure, verbosity))
}

// grpcLines logs the lines that gRPC writes.
type grpcLines struct{ log *slog.Logger }

func (g grpcLines) Write(line []byte) (int, error) {
	g.log.Error("grpc", slog.String("says", strings.TrimSpace(string(line))))
	return len(line), nil
}
