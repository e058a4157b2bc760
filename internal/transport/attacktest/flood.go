package attacktest

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/ollelogdahl/concord/internal/pb"
)

const (
	// floodWindow is what a Flood lets be sent to it, in bytes.
	floodWindow = 1 << 30
	// floodTick is how often an open loop sends what is due. Each connection sends it at
	// once: a flood is to cost whoever sends it little.
	floodTick = 10 * time.Millisecond
	// maxDepth bounds the requests of one connection of a Flood that are under way.
	maxDepth = 1024
	// sampled is of how many answers the time of one is kept.
	sampled = 16
)

// Flood asks one member as much as it can, at little cost: a request is some bytes in a
// buffer. It keeps to HTTP/2, and so to the number of streams that the member allows. It
// minds no refusal.
type Flood struct {
	Addr   string
	Method string // Route or FindSuccessor
	Conns  int
	// Depth is how many requests of one connection are under way at most. Zero: as many
	// as the member allows.
	Depth int
	// Rate is how many requests a second are due, on all connections. Those for which no
	// connection has room are not sent. Zero: the next as soon as one is answered.
	Rate float64
	For  time.Duration
}

// Flooded is what became of a Flood.
type Flooded struct {
	Offered, Sent, Answered, Refused, Failed uint64

	Took          time.Duration
	Processor     time.Duration // that the flood has used, if whoever runs it says so
	P50, P99      time.Duration // of answers
	RefusedIn     time.Duration // the 99th percentile of refusals
	ConnsRefused  int           // connections that could not be made, or ended early
	LastDifferent string        // the last failure, in words
}

// PerSecond is the rate of n.
func (f Flooded) PerSecond(n uint64) float64 { return float64(n) / f.Took.Seconds() }

// Run floods until the time is over or ctx ends.
func (f Flood) Run(ctx context.Context) (Flooded, error) {
	ctx, cancel := context.WithTimeout(ctx, f.For)
	defer cancel()
	bodies, err := f.bodies()
	if err != nil {
		return Flooded{}, err
	}
	began := time.Now()
	streams := make([]*flow, f.Conns)
	var running sync.WaitGroup
	for i := range streams {
		s := &flow{flood: f, bodies: bodies}
		streams[i] = s
		running.Go(func() { s.run(ctx) })
	}
	running.Wait()
	out := Flooded{Took: time.Since(began)}
	var times, refusals []time.Duration
	for _, s := range streams {
		out.Offered += s.offered
		out.Sent += s.sent
		out.Answered += s.answered
		out.Refused += s.refused
		out.Failed += s.failed
		if s.err != nil {
			out.ConnsRefused++
			out.LastDifferent = s.err.Error()
		}
		if s.last != "" {
			out.LastDifferent = s.last
		}
		times, refusals = append(times, s.times...), append(refusals, s.refusals...)
	}
	out.P50, out.P99, out.RefusedIn = percentile(times, 50), percentile(times, 99), percentile(refusals, 99)
	return out, nil
}

// percentile sorts times.
func percentile(times []time.Duration, p int) time.Duration {
	if len(times) == 0 {
		return 0
	}
	slices.Sort(times)
	return times[(len(times)-1)*p/100]
}

// bodies are messages, as gRPC frames them, for random identifiers.
func (f Flood) bodies() ([][]byte, error) {
	var out [][]byte
	for range 1024 {
		var m proto.Message
		switch id := rand.Uint64(); f.Method {
		case "Route":
			m = &pb.RouteReq{Id: id, Request: Default.Request(nil, nil)}
		case "FindSuccessor":
			m = &pb.FindReq{Id: id}
		default:
			return nil, fmt.Errorf("no flood of method %q", f.Method)
		}
		b, err := proto.Marshal(m)
		if err != nil {
			return nil, err
		}
		out = append(out, append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(b))), b...))
	}
	return out, nil
}

// flow is one connection of a Flood.
type flow struct {
	flood  Flood
	bodies [][]byte

	conn   *Frames
	room   atomic.Int64  // streams that may be opened
	freed  chan struct{} // there is room
	sentAt [maxDepth * 2]atomic.Int64

	offered, sent uint64

	// Of the reading goroutine.
	dec                       *hpack.Decoder
	code                      string
	answered, refused, failed uint64
	times, refusals           []time.Duration
	last                      string
	err                       error
}

func (s *flow) run(ctx context.Context) {
	limit := time.Until(deadline(ctx)) + time.Second
	if s.conn, s.err = DialFrames(s.flood.Addr, limit); s.err != nil {
		return
	}
	defer s.conn.Close()
	s.freed = make(chan struct{}, 1)
	settled := make(chan struct{})
	var reading sync.WaitGroup
	reading.Go(func() { s.read(ctx, settled) })
	defer reading.Wait()
	defer s.conn.Close()
	select {
	case <-settled:
	case <-ctx.Done():
		return
	}
	s.write(ctx)
}

func deadline(ctx context.Context) time.Time {
	t, _ := ctx.Deadline()
	return t
}

// write sends requests. All but the first of them are as short as can be.
func (s *flow) write(ctx context.Context) {
	// The framer may not be used by two goroutines: the reader answers pings.
	const headers, data, endHeaders, endStream = 1, 0, 4, 1
	frame := func(b []byte, kind, flags byte, stream uint32, payload []byte) []byte {
		n := len(payload)
		b = append(b, byte(n>>16), byte(n>>8), byte(n), kind, flags)
		b = binary.BigEndian.AppendUint32(b, stream)
		return append(b, payload...)
	}
	first, later := s.conn.Headers(s.flood.Method), s.conn.Headers(s.flood.Method)
	stream := uint32(1)
	var buf []byte
	began := time.Now()
	tick := time.NewTicker(floodTick)
	defer tick.Stop()
	for {
		n := s.due(time.Since(began))
		buf = buf[:0]
		for range n {
			head := later
			if stream == 1 {
				head = first
			}
			buf = frame(buf, headers, endHeaders, stream, head)
			buf = frame(buf, data, endStream, stream, s.bodies[rand.IntN(len(s.bodies))])
			s.sentAt[stream/2%uint32(len(s.sentAt))].Store(time.Now().UnixNano())
			stream += 2
		}
		if n > 0 {
			s.sent += uint64(n)
			if _, err := s.conn.conn.Write(buf); err != nil {
				return
			}
		}
		var wait <-chan time.Time
		if s.flood.Rate > 0 {
			wait = tick.C
		}
		var freed <-chan struct{}
		if s.flood.Rate <= 0 {
			freed = s.freed
		}
		select {
		case <-wait:
		case <-freed:
		case <-ctx.Done():
			return
		}
	}
}

// due is how many requests are to be sent now, and there is room for.
func (s *flow) due(after time.Duration) int64 {
	room := s.room.Load()
	n := room
	if rate := s.flood.Rate / float64(s.flood.Conns); rate > 0 {
		due := uint64(after.Seconds() * rate)
		n = min(room, int64(due-s.offered))
		s.offered = due
	} else {
		s.offered += uint64(max(n, 0))
	}
	s.room.Add(-max(n, 0))
	return max(n, 0)
}

// read reads what comes until the connection ends, and answers what must be answered.
func (s *flow) read(ctx context.Context, settled chan struct{}) {
	s.dec = hpack.NewDecoder(4096, func(h hpack.HeaderField) {
		if h.Name == "grpc-status" {
			s.code = h.Value
		}
	})
	s.conn.SetReuseFrames()
	if err := s.conn.WriteWindowUpdate(0, floodWindow); err != nil {
		s.err = err
		return
	}
	var once sync.Once
	for {
		frame, err := s.conn.ReadFrame()
		if err != nil {
			if ctx.Err() == nil {
				s.err = err
			}
			return
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if frame.IsAck() {
				continue
			}
			depth := int64(s.flood.Depth)
			if most, ok := frame.Value(http2.SettingMaxConcurrentStreams); ok && (depth == 0 || int64(most) < depth) {
				depth = int64(most)
			}
			_ = s.conn.WriteSettingsAck()
			once.Do(func() {
				s.room.Store(min(depth, maxDepth))
				close(settled)
			})
		case *http2.PingFrame:
			if !frame.IsAck() {
				_ = s.conn.WritePing(true, frame.Data)
			}
		case *http2.HeadersFrame:
			s.code = ""
			_, _ = s.dec.Write(frame.HeaderBlockFragment())
			if frame.StreamEnded() {
				s.end(frame.StreamID)
			}
		case *http2.RSTStreamFrame:
			if frame.ErrCode != http2.ErrCodeNo {
				s.code = frame.ErrCode.String()
				s.end(frame.StreamID)
			}
		}
	}
}

// end counts an answer.
func (s *flow) end(stream uint32) {
	took := time.Duration(time.Now().UnixNano() - s.sentAt[stream/2%uint32(len(s.sentAt))].Load())
	switch s.code {
	case strconv.Itoa(int(codes.OK)):
		s.answered++
		if s.answered%sampled == 0 {
			s.times = append(s.times, took)
		}
	case strconv.Itoa(int(codes.ResourceExhausted)):
		s.refused++
		if s.refused%sampled == 0 {
			s.refusals = append(s.refusals, took)
		}
	default:
		s.failed++
		s.last = "status " + s.code
	}
	s.room.Add(1)
	select {
	case s.freed <- struct{}{}:
	default:
	}
}
