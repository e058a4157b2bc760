package grpctransport

import (
	"context"
	"errors"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/ollelogdahl/concord/internal/pb"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/ringmap"
	"github.com/ollelogdahl/concord/internal/transport"
	"github.com/ollelogdahl/concord/internal/transport/budget"
	"github.com/ollelogdahl/concord/internal/transport/transporttest"
)

// So many clients may be subscribed, as docs/SECURITY.md says.
const manySubscribers = 512

// subscribeTo subscribes and waits for the first message.
func subscribeTo(ctx context.Context, c pb.ChordServiceClient) (pb.ChordService_SubscribeClient, error) {
	s, err := c.Subscribe(ctx, &pb.SubscribeReq{Request: pbRequest(transport.Envelope{Settings: transporttest.Settings})})
	if err == nil {
		_, err = s.Recv()
	}
	return s, err
}

func TestSubscriptionOverTheBudgetIsRefused(t *testing.T) {
	onEveryServer(t, func(t *testing.T, n *network) {
		b := n.Listen(t, "b:1", &transporttest.Handler{Self: transporttest.Member("b", "b:1", 7)}).(*Transport)
		var told []transport.Refusal
		b.Refused(func(r transport.Refusal) { told = append(told, r) })
		leave := n.occupy(t, "b:1", manySubscribers, func(ctx context.Context, c pb.ChordServiceClient) error {
			s, err := subscribeTo(ctx, c)
			if err == nil {
				_, err = s.Recv()
			}
			return err
		})
		stub, cc := n.stub(t, "b:1")
		_, err := subscribeTo(context.Background(), stub)
		if st := status.Convert(err); st.Code() != codes.ResourceExhausted || len(st.Details()) != 1 {
			t.Errorf("one more: %v with %v", err, st.Details())
		}
		if len(told) != 1 || !told[0].Busy || told[0].Why != "too many subscriptions at work" {
			t.Errorf("told of is %+v", told)
		}
		if got := b.Intake().SubscribeRefused; got != 1 {
			t.Errorf("%d are counted", got)
		}
		if err := route(context.Background(), stub); err != nil {
			t.Errorf("a lookup beside them: %v", err)
		}
		leave()
		if _, err := subscribeTo(context.Background(), stub); err != nil {
			t.Errorf("one when all others have ended: %v", err)
		}
		cc.Close()
		b.Close()
		if n := b.lis.budget.Working(budget.Subscription); n != 0 {
			t.Errorf("%d are at work when all have ended", n)
		}
	})
}

// What waits for a client that reads nothing is bounded, and in time its subscription is
// ended.
func TestSubscriberThatDoesNotReadIsGivenUp(t *testing.T) {
	onEveryServer(t, func(t *testing.T, n *network) {
		ended := make(chan error, 1)
		sent := 0
		b := n.Listen(t, "b:1", &transporttest.Handler{
			OnSubscribe: func(_ context.Context, _ transport.Envelope, _ *ringmap.Subscription, send func(*ringmap.Update) error) (err error) {
				u := ringmap.Update{Interval: time.Second, Doubts: make([]uint64, 64)}
				for ; err == nil; sent++ {
					err = send(&u)
				}
				ended <- err
				return err
			},
		}).(*Transport)
		var told []transport.Refusal
		b.Refused(func(r transport.Refusal) { told = append(told, r) })
		stub, cc := n.stub(t, "b:1")
		defer cc.Close()
		began := time.Now()
		if _, err := subscribeTo(context.Background(), stub); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; !errors.Is(err, errUnread) {
			t.Errorf("it ends with %v", err)
		}
		if took := time.Since(began); took > 2*stuckAfter || sent > 1<<20/512 {
			t.Errorf("it is given up after %v and %d messages of 512 bytes", took, sent)
		}
		if len(told) != 1 || !strings.Contains(told[0].Why, "does not read") {
			t.Errorf("told of is %+v", told)
		}
	})
}

// earlier is a member of a version before subscriptions.
type earlier struct {
	pb.UnimplementedChordServiceServer
	self ring.Member
}

func (e *earlier) GetRing(context.Context, *pb.RingReq) (*pb.Ring, error) {
	return fullRing(protocol.State{Self: e.self, Phase: protocol.Joined, Version: 1}), nil
}

func TestMemberThatDoesNotKnowSubscribe(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	self := transporttest.Member("b", lis.Addr().String(), 7)
	srv := grpc.NewServer()
	pb.RegisterChordServiceServer(srv, &earlier{self: self})
	go srv.Serve(lis)
	defer srv.Stop()
	a := NewClient(Config{})
	defer a.Close()
	env := transport.Envelope{To: self, Settings: transporttest.Settings}
	err = a.Subscribe(patient(t), env, &ringmap.Subscription{}, func(*ringmap.Update) error { return nil })
	wantKind(t, err, protocol.Invalid, "tells clients nothing")
}

// Whatever a peer tells of a map is refused, or within the bounds of the contract, and the
// same after another journey.
func FuzzMapUpdate(f *testing.F) {
	through := uint64(7)
	for _, m := range []*pb.MapUpdate{
		{AgeMs1: 5, Through: &through, ClockMs: 3, IntervalNs: 1e9, SuccessorCount: 4, Cleared: []uint32{0, 4095}},
		{Gone: []uint64{5, 4}, Doubts: []uint64{0, 63}, More: true},
		{Claims: []*pb.Claim{{Id: 1, After: 9, Epoch: 4, Incarnation: 9, Name: "anna", Address: "h:1"}, {Id: 5}}, AgeMs1: 1 << 63, ClockMs: 1 << 62},
	} {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m := new(pb.MapUpdate)
		if proto.Unmarshal(b, m) != nil {
			return
		}
		got, err := update(m)
		if err != nil {
			return
		}
		if err := got.Check(); err != nil {
			t.Error(err)
		}
		again, err := update(mapUpdate(got))
		if err != nil || !reflect.DeepEqual(got, again) {
			t.Errorf("%+v becomes %+v, %v", got, again, err)
		}
		// A client takes it, or says why not.
		c := ringmap.NewCopy(64)
		c.Subscribe(0, ring.Member{ID: 1})
		if err := c.Receive(0, got); err != nil && c.Snapshot().Len() > 0 {
			t.Errorf("%v, and it is used", err)
		}
	})
}

// Whatever a client asks for is refused or within the bounds.
func TestSubscriptionsAreChecked(t *testing.T) {
	for n, ok := range map[int]bool{0: true, 1: true, 2: true, 3: false, 4096: true, 8192: false} {
		_, err := subscription(&pb.SubscribeReq{Sums: make([]uint32, n)})
		if (err == nil) != ok {
			t.Errorf("%d sums: %v", n, err)
		}
	}
}
