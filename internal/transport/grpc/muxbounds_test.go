package grpctransport

import (
	"context"
	"errors"
	"io"
	"math"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/ollelogdahl/concord/internal/pb"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/transport"
	"github.com/ollelogdahl/concord/internal/transport/budget"
	"github.com/ollelogdahl/concord/internal/transport/transporttest"
)

// player is the other side of a stream of requests, which the test plays.
type player struct {
	grpc.ServerStream
	ctx  context.Context
	ask  func() *pb.Frames // nil: it has no more to ask
	read func() bool       // whether it reads one more answer
}

func (a *player) Context() context.Context { return a.ctx }

func (a *player) RecvMsg(m any) error {
	if in := a.ask(); in != nil {
		proto.Merge(m.(proto.Message), in)
		return nil
	}
	<-a.ctx.Done()
	return a.ctx.Err()
}

func (a *player) SendMsg(any) error {
	if a.read() {
		return nil
	}
	<-a.ctx.Done()
	return a.ctx.Err()
}

// answering is the service of h on streams.
func answering(h transport.Handler) *service {
	return &service{t: NewClient(Config{}), handler: h, methods: servedMethods()}
}

// ringFrame is a question for the ring, of that number.
func ringFrame(t *testing.T, number uint64) frame {
	t.Helper()
	to := transporttest.Member("m", "127.0.0.1:1", 1)
	who, err := proto.Marshal(pbRequest(transport.Envelope{To: to, Settings: transporttest.Settings}))
	if err != nil {
		t.Fatal(err)
	}
	const full = pb.ChordService_GetRing_FullMethodName
	return frame{call: number, method: methods[full].number, request: who}
}

func framesOf(all ...frame) *pb.Frames {
	var b []byte
	for i := range all {
		b = all[i].append(b)
	}
	return &pb.Frames{Frames: b}
}

// An asker that sends requests and reads no answer is not read either, once some answers
// wait.
func TestAskerThatDoesNotReadIsNotReadEither(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		const many = 100_000
		var asked uint64
		s := answering(&transporttest.Handler{Self: transporttest.Member("m", "127.0.0.1:1", 1)})
		defer s.t.Close()
		a := &player{ctx: ctx, read: func() bool { return false }, ask: func() *pb.Frames {
			if asked == many {
				return nil
			}
			asked++
			return framesOf(ringFrame(t, asked))
		}}
		ended := make(chan error)
		go func() { ended <- s.serveStream(a) }()
		synctest.Wait()
		if most := uint64(2 * (fewHeld/parcelOverhead + maxCalls)); asked > most {
			t.Errorf("%d requests were read; want %d at most", asked, most)
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the stream ended with %v", err)
		}
	})
}

// The number of a request that was withdrawn may be used again: the end of the first is
// not that of the second.
func TestNumberOfAWithdrawnRequestIsUsedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var contexts []context.Context
		steps := []chan struct{}{make(chan struct{}), make(chan struct{})}
		s := answering(&transporttest.Handler{OnMaintain: func(ctx context.Context, _ transport.Envelope, _ protocol.Request) (protocol.Reply, error) {
			n := len(contexts)
			contexts = append(contexts, ctx)
			<-steps[n]
			return protocol.Reply{}, errors.New("no")
		}})
		defer s.t.Close()
		asks := make(chan *pb.Frames)
		a := &player{ctx: ctx, read: func() bool { return true }, ask: func() *pb.Frames { return <-asks }}
		ended := make(chan error)
		go func() { ended <- s.serveStream(a) }()
		asks <- framesOf(ringFrame(t, 1))
		synctest.Wait()
		asks <- framesOf(frame{call: 1, withdrawn: true}, ringFrame(t, 1))
		synctest.Wait()
		close(asks)
		if len(contexts) != 2 || contexts[0].Err() == nil {
			t.Fatalf("%d requests at work; want 2, the first of them withdrawn", len(contexts))
		}
		close(steps[0])
		synctest.Wait()
		if err := contexts[1].Err(); err != nil {
			t.Errorf("the second request has ended with the first: %v", err)
		}
		close(steps[1])
		cancel()
		<-ended
	})
}

// A request that is withdrawn before it is at work has ended, however long its asker would
// have waited.
func TestWithdrawnRequestHasEnded(t *testing.T) {
	s := answering(&transporttest.Handler{})
	defer s.t.Close()
	m := &muxServer{service: s, underWay: make(map[uint64]*serving)}
	m.out.send = func(*pb.Frames) error { return nil }
	f := ringFrame(t, 1)
	c := &serving{m: m, method: &s.methods[f.method-1], frame: f, request: &heardRequest{Request: new(pb.Request)}}
	c.Init(t.Context(), time.Now().Add(math.MaxInt64))
	if err := m.begin(c); err != nil {
		t.Fatal(err)
	}
	m.withdraw(1)
	c.serve()
	if !errors.Is(c.Err(), context.Canceled) {
		t.Errorf("the request ended with %v", c.Err())
	}
}

// Requests of one number, and too many of them, are refused and told of.
func TestRequestsOfOneStreamAreBounded(t *testing.T) {
	s := answering(&transporttest.Handler{})
	defer s.t.Close()
	var told []string
	s.t.Refused(func(r transport.Refusal) { told = append(told, r.Why) })
	m := &muxServer{service: s, underWay: make(map[uint64]*serving)}
	begin := func(number uint64) error {
		c := &serving{m: m, frame: frame{call: number}}
		c.Init(t.Context(), time.Time{})
		return m.begin(c)
	}
	for i := range uint64(maxCalls) {
		if err := begin(i + 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := begin(1); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a number that is at work: %v", err)
	}
	if err := begin(maxCalls + 1); status.Code(err) != codes.ResourceExhausted || explained(status.Convert(err)) == nil {
		t.Errorf("one request too many: %v", err)
	}
	if len(told) != 2 {
		t.Errorf("told of %q; want both", told)
	}
}

func TestStreamsOfOneConnectionAreBounded(t *testing.T) {
	a, b := begin(t, Config{}, nil), begin(t, Config{}, nil)
	var told atomic.Int32
	b.refused = func(transport.Refusal) { told.Add(1) }
	if err := ask(patient(t), a, at("m", b)); err != nil {
		t.Fatal(err)
	}
	stub := pb.NewChordServiceClient(onlyLink(t, a).cc)
	open := func() pb.ChordService_LinkClient {
		s, err := stub.Link(patient(t))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Send(framesOf(ringFrame(t, 1))); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		return s
	}
	for range maxLinks {
		if _, err := open().Recv(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := open().Recv(); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("one stream too many: %v", err)
	}
	if told.Load() != 1 {
		t.Errorf("told of %d refusals; want 1", told.Load())
	}
}

// A peer that takes no more streams holds up a caller no longer than it waits.
func TestPeerThatTakesNoStreamTimesOut(t *testing.T) {
	b := begin(t, Config{Limits: budget.Limits{Streams: 1}}, nil)
	a := begin(t, Config{}, nil)
	if err := ask(patient(t), a, at("m", b)); err != nil {
		t.Fatal(err)
	}
	held, err := pb.NewChordServiceClient(onlyLink(t, a).cc).Link(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer held.CloseSend()
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		err := ask(ctx, a, at("m", b))
		cancel()
		var f *protocol.Failure
		if !errors.As(err, &f) || f.Kind != protocol.TimedOut {
			t.Fatal(err)
		}
	}
}

// unreading is a stream that the peer does not read.
type unreading struct {
	grpc.ClientStream
	ctx context.Context
}

func (u unreading) SendMsg(any) error {
	<-u.ctx.Done()
	return u.ctx.Err()
}

// A stream that the peer does not read is ended, and whoever sends on it goes on.
func TestStreamThatIsNotReadIsEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		m := &mux{stream: unreading{ctx: ctx}, cancel: cancel, pending: make(map[uint64]*call)}
		m.arm()
		c, _, err := m.begin(&pb.Ring{}, time.Time{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		m.post(parcel{frame: frame{call: c.number}}, true, false)
		if took := time.Since(began); took != stuckAfter {
			t.Errorf("the caller went on after %v; want %v", took, stuckAfter)
		}
		<-c.done
		if status.Code(c.err) != codes.DeadlineExceeded || !m.ended() {
			t.Errorf("the call ended with %v", c.err)
		}
	})
}

func TestOutboxHasRoomWhenFewWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var o outbox
		o.send = func(*pb.Frames) error { return nil }
		none := make(chan struct{})
		close(none)
		for o.room(none) {
			if _, err := o.put(parcel{frame: frame{call: 1, body: make([]byte, 100)}}, false); err != nil {
				t.Fatal(err)
			}
		}
		if o.held <= fewHeld || o.held > fewHeld+1000 {
			t.Errorf("%d bytes wait", o.held)
		}
		roomy := make(chan bool)
		go func() { roomy <- o.room(nil) }()
		synctest.Wait()
		o.flush(false)
		if !<-roomy || o.held != 0 {
			t.Errorf("%d bytes wait after all was sent", o.held)
		}
		for o.room(none) {
			if _, err := o.put(parcel{frame: frame{call: 1}}, true); err != nil {
				t.Fatal(err)
			}
		}
		o.fail(io.EOF)
		if !o.room(none) || o.held != 0 {
			t.Errorf("%d bytes wait after the end", o.held)
		}
	})
}
