package grpctransport

import (
	"context"
	"errors"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/ollelogdahl/concord/internal/pb"
	"github.com/ollelogdahl/concord/internal/transport/deadline"
)

// This file and muxserver.go carry the requests of a link on one stream, the method
// Link, in place of unary calls: a call costs a frame of some ten bytes and neither
// headers nor a stream of its own. The callers do not see the difference: a link is a
// grpc.ClientConnInterface that makes unary calls on whichever there is.
//
// A link begins with unary calls. Once the peer has shown that it is a member of ours,
// the stream is opened; a peer that does not know the method Link goes on with unary calls.

// streamPolicy is when a link has a stream. The others are for tests.
type streamPolicy uint8

const (
	proven streamPolicy = iota // once the peer has shown that it is a member of ours
	always                     // from the first request on
	never
)

// errNoStream reports a call that the peer has not seen, since it does not serve the
// stream or has ended it in peace.
var errNoStream = errors.New("the stream has ended before the call")

// mux is the asking side of a stream.
type mux struct {
	link   *link
	stream grpc.ClientStream
	cancel context.CancelFunc // ends the stream
	stuck  *time.Timer        // of whoever is in out.send: ends a stream that the peer does not read
	out    outbox
	slots  chan struct{} // one is taken by each lookup under way; maintenance waits for none

	sent atomic.Int64 // bytes since anything was received; see maxUnanswered

	mu      sync.Mutex
	pending map[uint64]*call
	last    uint64 // the number of the last call
	err     error  // why the stream has ended
	free    []*call
	due     time.Time   // when expiry goes off; zero: it does not
	expiry  *time.Timer // of the pending call whose time is over first; nil: there was none
}

// maxFreeCalls is how many calls are kept to be used again. They are the stream's own:
// a channel must not go from one test's bubble to another's.
const maxFreeCalls = 16

// call is a call under way.
type call struct {
	number uint64
	out    proto.Message
	until  time.Time // when it fails; zero: never
	err    error
	late   bool          // its caller's time was over first
	done   chan struct{} // holds one element once out or err is set
	then   func(error)   // hears of that in place of done; it does not wait
}

// Invoke makes a unary call; see grpc.ClientConnInterface.
func (l *link) Invoke(ctx context.Context, method string, in, out any, opts ...grpc.CallOption) error {
	kind := methods[method]
	if m := l.streaming(ctx, kind); m != nil {
		err := m.invoke(ctx, kind, in.(proto.Message), out.(proto.Message))
		if !errors.Is(err, errNoStream) {
			return err
		}
	}
	return l.cc.Invoke(ctx, method, in, out, opts...)
}

// NewStream opens a stream; see grpc.ClientConnInterface.
func (l *link) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return l.cc.NewStream(ctx, desc, method, opts...)
}

// streaming is the stream of l for a call of the method, opened if there is none; nil: the
// call is to be a unary one.
func (l *link) streaming(ctx context.Context, method rpcMethod) *mux {
	switch {
	case method.number == 0, l.pool.streams == never, l.pool.streams == proven && l.dialect() != extended:
		return nil
	}
	l.streams.Lock()
	defer l.streams.Unlock()
	if m := l.mux; m != nil && !m.ended() {
		return m
	}
	if l.opening || l.noStream || l.question != 0 || l.over.Load() {
		return nil
	}
	l.opening = true
	l.streams.Unlock()
	m := l.open(ctx)
	l.streams.Lock()
	l.opening = false
	if m != nil {
		l.mux = m
	}
	return m
}

// open opens a stream, which may take until ctx ends: the peer decides how many streams it
// takes. It returns nil if there is none; a unary call tells what is wrong.
func (l *link) open(ctx context.Context) *mux {
	// The stream ends with the connection, not with ctx.
	own, cancel := context.WithCancel(context.Background())
	stop := context.AfterFunc(ctx, cancel)
	stream, err := l.cc.NewStream(own, &pb.ChordService_ServiceDesc.Streams[0], pb.ChordService_Link_FullMethodName, grpc.StaticMethod())
	if !stop() || err != nil {
		cancel()
		return nil
	}
	m := &mux{link: l, stream: stream, cancel: cancel, slots: make(chan struct{}, maxCalls/2), pending: make(map[uint64]*call)}
	m.arm()
	if !l.pool.start(func() { l.receive(m) }) || !l.pool.start(func() { _ = l.drain(own) }) {
		cancel()
		return nil
	}
	return m
}

// drain ends l for new requests once the peer asks to use another connection, as a server
// does that is to stop when its requests are over: the stream is one that never is. It returns
// when ctx ends or l is of no more use, and reports whether the peer has asked so: the
// connection itself goes on then.
func (l *link) drain(ctx context.Context) bool {
	for {
		s := l.cc.GetState()
		if s != connectivity.Ready && s != connectivity.Connecting {
			l.end()
			return s != connectivity.Shutdown && l.cause.get() == nil
		}
		if !l.cc.WaitForStateChange(ctx, s) {
			return false
		}
	}
}

// stuckAfter is how long one message may wait for the peer to read what was sent before.
// Callers do not wait so long.
const stuckAfter = 5 * time.Second

// arm has m send on its stream.
func (m *mux) arm() {
	m.stuck = time.AfterFunc(stuckAfter, m.unread)
	m.stuck.Stop()
	m.out.send = m.send
}

// send sends a message. It is called by one goroutine at a time.
func (m *mux) send(f *pb.Frames) error {
	m.stuck.Reset(stuckAfter)
	defer m.stuck.Stop()
	return m.stream.SendMsg(f)
}

// unread ends a stream that the peer does not read.
func (m *mux) unread() {
	m.end(status.Error(codes.DeadlineExceeded, "the peer does not read the stream"))
}

// receive receives answers until the stream has ended.
func (l *link) receive(m *mux) {
	heard, err := m.receive()
	switch status.Code(err) {
	case codes.Unauthenticated, codes.PermissionDenied:
		// An application, on whose server the peer is, lets no such stream through.
		if heard {
			break
		}
		fallthrough
	case codes.Unimplemented:
		l.streams.Lock()
		l.noStream = true
		l.streams.Unlock()
		err = errNoStream
	}
	if errors.Is(err, io.EOF) {
		err = errNoStream
	}
	m.end(err)
}

// receive gives each answer to its caller, and returns why the stream has ended, and
// whether anything has come before.
func (m *mux) receive() (heard bool, err error) {
	var in pb.Frames
	for ; ; heard = true {
		if err := m.stream.RecvMsg(&in); err != nil {
			return heard, err
		}
		m.sent.Store(0)
		for b := in.GetFrames(); len(b) > 0; {
			f, rest, err := nextFrame(b)
			if err != nil {
				return heard, status.Error(codes.Internal, err.Error())
			}
			m.answered(f)
			b = rest
		}
	}
}

// answered gives an answer to its caller, unless that has given up.
func (m *mux) answered(f frame) {
	m.mu.Lock()
	c := m.pending[f.call]
	m.forget(f.call)
	m.mu.Unlock()
	if c == nil {
		return
	}
	if len(f.status) == 0 {
		if err := proto.Unmarshal(f.body, c.out); err != nil {
			c.err = status.Error(codes.Internal, "the answer cannot be decoded: "+err.Error())
		}
	} else {
		st := status.New(codes.OK, "").Proto()
		if err := proto.Unmarshal(f.status, st); err != nil || st.GetCode() == int32(codes.OK) {
			c.err = status.Error(codes.Internal, "the status of the answer cannot be decoded")
		} else {
			c.err = status.ErrorProto(st)
		}
	}
	m.tell(c)
}

// tell says that a call, which is pending no more, has its answer or its error.
func (m *mux) tell(c *call) {
	then := c.then
	if then == nil {
		c.done <- struct{}{}
		return
	}
	if c.late {
		m.withdraw(c.number, true)
	}
	then(m.over(c))
}

// end ends the stream, and fails all calls under way with err.
func (m *mux) end(err error) {
	m.out.fail(err)
	m.mu.Lock()
	if m.err == nil {
		m.err = err
	}
	pending := m.pending
	m.pending = nil
	m.rest()
	m.mu.Unlock()
	m.cancel() // whoever waits to send goes on: it may hold what the callers need
	for _, c := range pending {
		c.err = err
		m.tell(c)
	}
}

func (m *mux) ended() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err != nil
}

// invoke makes one call.
func (m *mux) invoke(ctx context.Context, method rpcMethod, in, out proto.Message) error {
	if err := ctx.Err(); err != nil {
		return status.FromContextError(err).Err()
	}
	f, err := m.link.frame(ctx, method, in)
	if err != nil {
		return err
	}
	if method.lookup {
		if !m.slot(ctx) {
			return status.FromContextError(ctx.Err()).Err()
		}
		defer func() { <-m.slots }()
	}
	if m.out.full() && !m.out.room(ctx.Done()) {
		return status.FromContextError(ctx.Err()).Err()
	}
	until, gone := patience(ctx)
	c, others, err := m.begin(out, until, nil)
	if err != nil {
		return err
	}
	f.call = c.number
	m.post(f, !method.lookup, others && method.lookup)
	select {
	case <-c.done:
	case <-gone:
		if m.giveUp(c) {
			c.late, c.err = true, status.FromContextError(ctx.Err()).Err()
		} else {
			<-c.done // it is being answered
		}
	}
	if c.late {
		m.withdraw(c.number, !method.lookup)
	}
	return m.over(c)
}

// start makes one call of the ring's maintenance, whose end then hears of on another goroutine; it
// must not wait. The call fails at the deadline of ctx, and not when ctx ends before. If start
// reports false it has done nothing.
func (m *mux) start(ctx context.Context, method rpcMethod, in, out proto.Message, then func(error)) bool {
	if m.out.full() {
		return false
	}
	f, err := m.link.frame(timeless{ctx}, method, in)
	if err != nil {
		return false
	}
	until, _ := ctx.Deadline()
	c, _, err := m.begin(out, until, then)
	if err != nil {
		return false
	}
	f.call = c.number
	m.post(f, true, false)
	return true
}

// withdraw says to the peer that nobody waits for a call any more.
func (m *mux) withdraw(number uint64, urgent bool) {
	m.post(parcel{frame: frame{call: number, withdrawn: true}}, urgent, false)
}

// slot takes one of the slots of lookups. It reports false if ctx ends before. Done is asked for
// only if it has to wait: that costs a timer.
func (m *mux) slot(ctx context.Context) bool {
	select {
	case m.slots <- struct{}{}:
		return true
	default:
	}
	select {
	case m.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// patience is when a call with ctx fails, and what ends it before; both may be zero. Whoever
// has made a deadline.Context for a call does not end it during the call, so that the stream
// looks after its time.
func patience(ctx context.Context) (time.Time, <-chan struct{}) {
	if d, ok := timed(ctx).(*deadline.Context); ok {
		until, _ := d.Deadline()
		return until, d.Parent().Done()
	}
	return time.Time{}, ctx.Done()
}

// frame is the request in as a frame, without its number.
func (l *link) frame(ctx context.Context, method rpcMethod, in proto.Message) (parcel, error) {
	f := parcel{frame: frame{method: method.number}}
	if who := requestOf(in); who != nil {
		r := *who
		*who = nil
		defer func() { *who = r }()
		var err error
		if f.request, err = l.encoded(r); err != nil {
			return f, status.Error(codes.Internal, err.Error())
		}
	}
	f.buf = bodies.Get().(*[]byte)
	body, err := proto.MarshalOptions{}.MarshalAppend((*f.buf)[:0], in)
	if err != nil {
		return f, status.Error(codes.Internal, err.Error())
	}
	*f.buf, f.body = body[:0], body
	if deadline, ok := ctx.Deadline(); ok {
		f.timeout = uint64(max(1, time.Until(deadline)))
	}
	if md, ok := metadata.FromOutgoingContext(ctx); ok {
		for key, values := range md {
			for _, v := range values {
				f.headers = append(f.headers, header{key, v})
			}
		}
	}
	return f, nil
}

// encoded is r as it is sent, which on one link is nearly always the same.
func (l *link) encoded(r *pb.Request) ([]byte, error) {
	a := l.asking.Load()
	if a == nil || a.request != r {
		return proto.Marshal(r)
	}
	if b := a.encoded.Load(); b != nil {
		return *b, nil
	}
	b, err := proto.Marshal(r)
	if err == nil {
		a.encoded.Store(&b)
	}
	return b, err
}

// begin has a call wait for out until a time. It reports whether others are under way.
func (m *mux) begin(out proto.Message, until time.Time, then func(error)) (c *call, others bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return nil, false, m.err
	}
	others = len(m.pending) > 0
	if n := len(m.free); n > 0 {
		c, m.free = m.free[n-1], m.free[:n-1]
	} else {
		c = &call{done: make(chan struct{}, 1)}
	}
	m.last++
	c.number, c.out, c.until, c.then = m.last, out, until, then
	m.pending[c.number] = c
	m.expect(until)
	return c, others, nil
}

// giveUp has a call wait no longer. It reports false if that is being answered.
func (m *mux) giveUp(c *call) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	waits := m.pending[c.number] == c
	m.forget(c.number)
	return waits
}

// forget takes a call from those that are pending. Callers hold mu.
func (m *mux) forget(number uint64) {
	delete(m.pending, number)
	if len(m.pending) == 0 {
		m.rest()
	}
}

// rest has expiry not go off. Callers hold mu.
func (m *mux) rest() {
	if !m.due.IsZero() {
		m.due = time.Time{}
		m.expiry.Stop()
	}
}

// expect has expiry go off by then, unless that is zero. Callers hold mu.
func (m *mux) expect(until time.Time) {
	switch {
	case until.IsZero(), !m.due.IsZero() && !until.Before(m.due):
		return
	case m.expiry == nil:
		m.expiry = time.AfterFunc(time.Until(until), m.expire)
	default:
		m.expiry.Reset(time.Until(until))
	}
	m.due = until
}

// expire fails the calls whose time is over.
func (m *mux) expire() {
	var late []*call
	m.mu.Lock()
	m.due = time.Time{}
	now := time.Now()
	for number, c := range m.pending {
		switch {
		case c.until.IsZero() || now.Before(c.until):
			m.expect(c.until)
		default:
			delete(m.pending, number)
			c.late, c.err = true, status.FromContextError(context.DeadlineExceeded).Err()
			late = append(late, c)
		}
	}
	m.mu.Unlock()
	for _, c := range late {
		m.tell(c)
	}
}

// over ends a call, and returns its error.
func (m *mux) over(c *call) error {
	err := c.err
	c.out, c.err, c.late, c.then = nil, nil, false, nil
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.free) < maxFreeCalls {
		m.free = append(m.free, c)
	}
	return err
}

// maxUnanswered is how much may be sent, in bytes, without anything received, before a caller
// does not send itself. It is well below what gRPC buffers for a stream: a caller must
// not wait for a peer that does not read.
const maxUnanswered = 16 << 10

// post sends f, or has it sent. If the stream has ended, whoever waits for an
// answer learns it from there. With others it lets goroutines go first that can run: callers
// whose answers came together ask again together, and what they ask goes in one message.
func (m *mux) post(f parcel, urgent, others bool) {
	sent := m.sent.Add(int64(f.length()))
	flush, err := m.out.put(f, urgent)
	if err != nil || !flush {
		return
	}
	if others {
		runtime.Gosched()
	}
	if sent > maxUnanswered || m.out.flush(true) {
		go m.out.flush(false)
	}
}
