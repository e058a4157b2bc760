package node

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/ollelogdahl/concord/internal/peer"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/ringmap"
	"github.com/ollelogdahl/concord/internal/transport"
)

// Bounds on what is kept and logged of failures.
const (
	// maxFailures is how many causes and peers are kept. The one that has been
	// silent for longest makes room.
	maxFailures = 256
	// maxShownFailures is how many of them PeerFailures lists.
	maxShownFailures = 16
	// failurePause is the least time between two records of one cause and peer.
	failurePause = time.Minute
	// failureBurst is how many records may follow each other at once, and
	// failurePace the time between two of them in the long run, whoever they are of.
	failureBurst = 4
	failurePace  = 500 * time.Millisecond
	// maxAnswers is how many addresses one record says the answers of.
	maxAnswers = 16
)

// PeerFailure is what went wrong between this process and a peer, for one cause.
type PeerFailure struct {
	Name     string               // of the peer; empty: not known
	Addr     string               // of the peer; of a refused connection its host alone
	Kind     protocol.FailureKind // 0: a connection that was refused here
	Incoming bool                 // the peer asked, and was refused here
	Left     bool                 // the peer has said that it leaves: not logged
	Mild     bool                 // it is no reason for a warning: logged at Info
	Err      string               // in words, the last time
	First    time.Time
	Last     time.Time
	Count    uint64
}

// failures keeps what went wrong with peers. It alone decides what of it is logged:
// each cause and peer the first time and then at most once a minute, and all of them
// together at most a few a second. The zero failures is empty. Safe for concurrent
// use.
type failures struct {
	mu   sync.Mutex
	kept map[failureKey]*keptFailure
	next time.Time // before which at most failureBurst records may be written
	held uint64    // records that were due since the last one, and not written
	// outgoing and incoming count all failures.
	outgoing, incoming uint64
}

// failureKey is one cause and peer. Numbers in the words do not count: they may be
// of the one occurrence.
type failureKey struct {
	name, addr string
	kind       protocol.FailureKind
	incoming   bool
	words      string
}

type keptFailure struct {
	PeerFailure
	logged time.Time // zero: never
	mild   bool      // what was logged
	since  uint64    // failures since then
}

// failureRecord is what the log is to be told.
type failureRecord struct {
	PeerFailure
	times uint64 // it happened since the record before
	held  uint64 // records of other causes and peers left out since the one before
}

// note counts a failure, and reports whether it is to be logged.
func (fs *failures) note(f PeerFailure, now time.Time) (r failureRecord, logged bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if f.Incoming {
		fs.incoming++
	} else {
		fs.outgoing++
	}
	key := failureKey{f.Name, f.Addr, f.Kind, f.Incoming, withoutDigits(f.Err)}
	k := fs.kept[key]
	if k == nil {
		if fs.kept == nil {
			fs.kept = map[failureKey]*keptFailure{}
		}
		if len(fs.kept) >= maxFailures {
			fs.evict()
		}
		k = &keptFailure{PeerFailure: f}
		k.First = now
		fs.kept[key] = k
	}
	k.Err, k.Last = f.Err, now
	k.Count++
	k.since++
	if f.Left || !k.logged.IsZero() && now.Sub(k.logged) < failurePause && (f.Mild || !k.mild) {
		return r, false
	}
	if fs.next.Sub(now) > (failureBurst-1)*failurePace {
		fs.held++
		return r, false
	}
	if fs.next.Before(now) {
		fs.next = now
	}
	fs.next = fs.next.Add(failurePace)
	r = failureRecord{PeerFailure: k.PeerFailure, times: k.since, held: fs.held}
	r.Mild = f.Mild
	k.logged, k.mild, k.since, fs.held = now, f.Mild, 0, 0
	return r, true
}

// evict forgets the failure that was last seen first.
func (fs *failures) evict() {
	var oldest failureKey
	var at time.Time
	for key, k := range fs.kept {
		if at.IsZero() || k.Last.Before(at) {
			oldest, at = key, k.Last
		}
	}
	delete(fs.kept, oldest)
}

// last are the failures seen last, the newest first.
func (fs *failures) last() []PeerFailure {
	fs.mu.Lock()
	out := make([]PeerFailure, 0, len(fs.kept))
	for _, k := range fs.kept {
		out = append(out, k.PeerFailure)
	}
	fs.mu.Unlock()
	newestFirst(out)
	return slices.Clone(out[:min(len(out), maxShownFailures)])
}

func newestFirst(list []PeerFailure) {
	slices.SortFunc(list, func(a, b PeerFailure) int {
		return cmp.Or(b.Last.Compare(a.Last), cmp.Compare(a.Addr, b.Addr), cmp.Compare(a.Err, b.Err))
	})
}

func (fs *failures) counts() (outgoing, incoming uint64) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.outgoing, fs.incoming
}

func withoutDigits(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsDigit(r) {
			return -1
		}
		return r
	}, s)
}

// PeerFailures are the failures seen last, the newest first, at most 16. Of those at
// most half are incoming, if there are enough others: whoever can connect can cause any
// number of them.
func (fd *Finder) PeerFailures() []PeerFailure {
	asked, refused := fd.failures.last(), fd.refusals.last()
	refused = refused[:min(len(refused), max(maxShownFailures/2, maxShownFailures-len(asked)))]
	asked = asked[:min(len(asked), maxShownFailures-len(refused))]
	out := slices.Concat(asked, refused)
	newestFirst(out)
	return out
}

// failed notes that a question to x got no usable answer, which took so long. What
// says nothing of x is left out: that the caller gave up, or allowed less time than
// any member needs; that x is in no ring, isolated, or in a later incarnation; that its
// process has given up this identifier, and answers with another.
func (fd *Finder) failed(x ring.Member, f *protocol.Failure, took time.Duration) {
	switch f.Kind {
	case protocol.TimedOut:
		if took < peer.MinTimeout {
			return
		}
	case protocol.Unreachable, protocol.Refused, protocol.WrongRing, protocol.Invalid, protocol.Denied:
	case protocol.WrongMember:
		if f.By.Name == x.Name && x.Name != "" && (f.By.ID == x.ID || f.By.GaveUp(x)) {
			return
		}
	default:
		return
	}
	if fd.ctx.Err() == nil {
		silent := f.Kind == protocol.TimedOut || f.Kind == protocol.Unreachable || f.Kind == protocol.Refused
		left := silent && (fd.leavers.explain(x, time.Now()) || fd.leavers.partly(x) && fd.dispensable(x))
		mild := silent && fd.expected(x) || f.Kind == protocol.Refused && fd.dispensable(x)
		fd.noteFailure(PeerFailure{Name: x.Name, Addr: x.Addr, Kind: f.Kind, Left: left, Mild: mild, Err: failureWords(f, x.Addr)})
	}
}

// expected reports whether x is an address where a member may not run yet: those that found a
// ring together are started one after another. If none comes, logJoining warns.
func (fd *Finder) expected(x ring.Member) bool { return x.Anyone() && fd.founding.Load() }

// dispensable reports whether the ring does without the process of x already, as far as the map
// is certain. That it has ended, those who pointed to it know, if it has not told them before.
func (fd *Finder) dispensable(x ring.Member) bool {
	by := cmp.Or(fd.process.lead, fd) // whose map is that of all identifiers
	s, self := by.chart.Load(), by.snap.Load().Self
	if s == nil || self.IsZero() || x.Anyone() {
		return false
	}
	circle := s.Circle(self.ID, fd.now(), time.Duration(by.promised.Load()))
	return len(circle) > 0 && !slices.ContainsFunc(circle, func(c *ringmap.Claim) bool { return c.Of.SameProcess(x) })
}

// refused notes that the transport has refused a connection or a request.
func (fd *Finder) refused(r transport.Refusal) {
	f := PeerFailure{Addr: r.From, Incoming: true, Err: r.Why}
	switch {
	case r.Busy:
		f.Kind = protocol.Overloaded
	case !r.Sender.IsZero():
		f.Kind, f.Name = protocol.Denied, r.Sender.Name
		f.Addr = cmp.Or(r.From, r.Sender.Addr)
	case r.Request:
		f.Kind = protocol.Invalid
	}
	fd.noteFailure(f)
}

func (fd *Finder) noteFailure(f PeerFailure) {
	fs := &fd.failures
	if f.Incoming {
		fs = &fd.refusals
	}
	r, logged := fs.note(f, time.Now())
	if !logged || fd.log == nil {
		return
	}
	msg := "peer not reachable"
	switch {
	case r.Incoming && r.Kind == 0:
		msg = "incoming connection refused"
	case r.Incoming:
		msg = "incoming request refused"
	case r.Kind == protocol.WrongRing, r.Kind == protocol.Invalid, r.Kind == protocol.Denied:
		msg = "peer not usable"
	}
	var attrs []slog.Attr
	if r.Name != "" {
		attrs = append(attrs, slog.String("peer", r.Name))
	}
	if r.Addr != "" {
		attrs = append(attrs, slog.String("addr", r.Addr))
	}
	attrs = append(attrs, slog.String("err", r.Err))
	if r.times > 1 {
		attrs = append(attrs, slog.Uint64("times", r.times))
	}
	if r.held > 0 {
		attrs = append(attrs, slog.Uint64("left_out", r.held))
	}
	level := slog.LevelWarn
	if r.Mild {
		level = slog.LevelInfo
	}
	fd.Note(level, msg, attrs...)
}

// failureWords says what a failure at addr was, without the address.
func failureWords(f *protocol.Failure, addr string) string {
	switch f.Kind {
	case protocol.TimedOut:
		return "no answer in time"
	case protocol.Refused:
		return f.Kind.String()
	case protocol.Unreachable, protocol.Invalid, protocol.Denied:
		if f.Detail != "" {
			return strings.TrimPrefix(f.Detail, addr+": ")
		}
	case protocol.WrongRing, protocol.NotJoined, protocol.Isolated:
		c := *f
		c.By = ring.Member{}
		return c.Error()
	}
	return f.Error()
}

// answers says in one line what each address has said, the most telling first.
func answers(causes []protocol.JoinCause) string {
	var b strings.Builder
	for i, c := range protocol.MostTelling(causes, ring.Member{}) {
		if i == maxAnswers {
			b.WriteString("; and more")
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		if f := c.Failure; f != nil {
			b.WriteString(c.At.Whom() + ": " + failureWords(f, c.At.Addr))
		} else {
			b.WriteString(describe(c))
		}
	}
	return b.String()
}

// record has the log handler given a record. If too many wait for it, the record is lost
// and counted. The next one that finds room comes after one that says how many were lost.
func (fd *Finder) record(write func()) {
	if lost := fd.counters.logGap.Swap(0); lost > 0 && !fd.journal.put(func() {
		fd.log.LogAttrs(context.Background(), slog.LevelWarn, "log records lost", slog.Uint64("count", lost))
	}) {
		fd.counters.logGap.Add(lost)
	}
	if !fd.journal.put(write) {
		fd.counters.logLost.Add(1)
		fd.counters.logGap.Add(1)
	}
}

// Note logs what happened, in order with the other records. It does not block.
func (fd *Finder) Note(level slog.Level, msg string, attrs ...slog.Attr) {
	if fd.log != nil {
		//nolint:sloglint // msg is a constant wherever Note is called
		fd.record(func() { fd.log.LogAttrs(context.Background(), level, msg, attrs...) })
	}
}
