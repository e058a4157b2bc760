package attack

import (
	"context"
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/pb"
	"github.com/ollelogdahl/concord/internal/transport/attacktest"
)

// tell has a member introduced at another. Whether it is refused at once or asked and not
// believed is that one's choice.
func tell(t *testing.T, at *concord.Concord, about, by *pb.Server) {
	t.Helper()
	_, err := client(t, at).Introduce(bounded(t, patience), &pb.IntroduceReq{Subject: about, Request: world.Request(by, server(at))})
	switch status.Code(err) {
	case codes.OK, codes.InvalidArgument, codes.FailedPrecondition, codes.ResourceExhausted, codes.PermissionDenied, codes.Unavailable:
	default:
		t.Errorf("introduced at %s: %v", at.Name(), err)
	}
}

// The Leave of an earlier incarnation, sent again when the member is back.
func TestReplayedLeave(t *testing.T) {
	r := attacked(t, 4)
	victim := r.member(1)
	earlier := server(victim)
	next := r.after(victim)
	leave := &pb.LeaveReq{
		Predecessor: server(r.before(victim)), Successors: []*pb.Server{server(next)}, Request: world.Request(earlier, server(next)),
	}
	if err := r.Leave(bounded(t, patience), victim); err != nil {
		t.Fatal(err)
	}
	again, err := r.Again([]*concord.Concord{victim}, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Join(bounded(t, patience), again); err != nil {
		t.Fatal(err)
	}
	r.stands()
	r.unmoved(3, func() {
		for range 10 {
			_, _ = client(t, next).Leave(bounded(t, patience), leave)
		}
	})
}

// A Leave whose lists lead elsewhere: the leaver is one of the attacker's own.
func TestLeaveThatNamesGhosts(t *testing.T) {
	r := attacked(t, 4)
	m := r.member(0)
	var ghosts []*pb.Server
	for i := range 16 {
		ghosts = append(ghosts, world.Server(fmt.Sprint("ghost-", i), "127.0.0.1:1", attacktest.Now()))
	}
	r.unmoved(3, func() {
		for range 10 {
			_, _ = client(t, m).Leave(bounded(t, patience), &pb.LeaveReq{
				Predecessor: ghosts[0], Successors: ghosts, Request: world.Request(ghosts[1], server(m)),
			})
		}
	})
}

// Notify says that somebody is the predecessor: at an address where nobody is, where
// another member is, and where nothing but a listener is.
func TestForgedNotify(t *testing.T) {
	r := attacked(t, 4)
	m := r.member(0)
	before := world.Server("", "", 0)
	for i := 0; before.GetName() == ""; i++ { // just before m
		if s := world.Server(fmt.Sprint("near-", i), "", 0); concord.Range.Contains(concord.Range{Start: r.before(m).Id(), End: m.Id()}, s.GetId()) {
			before = s
		}
	}
	p := peer(t, "listener", attacktest.Now(), nil)
	r.unmoved(3, func() {
		for _, addr := range []string{"127.0.0.1:1", r.member(1).Address(), m.Address(), p.Addr()} {
			for _, joining := range []bool{false, true} {
				_, _ = client(t, m).Notify(bounded(t, patience), &pb.NotifyReq{
					Id: before.GetId(), Name: before.GetName(), Address: addr, Incarnation: attacktest.Now(),
					Request: world.Request(nil, server(m)), Joining: joining,
				})
			}
		}
	})
}

// A request may be cut off at any moment.
func TestRequestsThatAreGivenUp(t *testing.T) {
	r := attacked(t, 3)
	m := r.member(0)
	c := client(t, m)
	r.unmoved(2, func() {
		for i := range 300 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*10*time.Microsecond)
			x := world.Server(fmt.Sprint("ghost-", i), "127.0.0.1:1", attacktest.Now())
			_, _ = c.Notify(ctx, &pb.NotifyReq{
				Id: x.GetId(), Name: x.GetName(), Address: x.GetAddress(), Incarnation: x.GetIncarnation(), Joining: true, Request: world.Request(nil, server(m)),
			})
			cancel()
		}
	})
}
