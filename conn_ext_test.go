package concord_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/transport/memory"
)

func TestConnRefusesInWords(t *testing.T) {
	t.Parallel()
	a := startApplication(t, "member1")
	stopped := start(t, "member2")
	stopped.Stop()
	inMemory := memoryMember(t, memory.NewNetwork(1), "member3")
	there := serverOf(a.Concord)
	for _, tc := range []struct {
		what, words string
		c           *concord.Concord
		to          concord.Server
	}{
		{"before Start", concord.ErrNotStarted.Error(), concord.New(configure("x")), there},
		{"after Stop", concord.ErrStopped.Error(), stopped, there},
		{"in memory", "the Network has no connections", inMemory, there},
		{"no address", concord.ErrAddress.Error(), a.Concord, concord.Server{Name: "x", Id: 1}},
		{"no port", concord.ErrAddress.Error(), a.Concord, concord.Server{Name: "x", Id: 1, Address: "localhost"}},
		{"nobody", "no member is named", a.Concord, concord.Server{Address: "127.0.0.1:1"}},
	} {
		conn, err := tc.c.Conn(tc.to)
		if conn != nil || err == nil || !strings.Contains(err.Error(), tc.words) {
			t.Errorf("%s: %v, %v, want %q", tc.what, conn, err, tc.words)
		}
	}
}

func TestErrorsOfCallsNameTheMember(t *testing.T) {
	t.Parallel()
	apps, members := applicationRing(t, 2, func(c *concord.Config) {
		if c.Name == "member1" {
			c.Authorize = func(p concord.Peer) error {
				if p.Name == "member3" {
					return errors.New("not on the list")
				}
				return nil
			}
		}
	})
	denied := startApplication(t, "member3")
	gone := startApplication(t, "member4")
	gone.server.Stop()
	stopped := startApplication(t, "member5")
	stopped.Stop()
	otherRing := startApplication(t, "member6", func(c *concord.Config) { c.Cluster = "other" })
	for _, tc := range []struct {
		what string
		to   concord.Server
		code codes.Code
		is   error
	}{
		{"nobody listens", serverOf(gone.Concord), codes.Unavailable, concord.ErrUnavailable},
		{"the member has stopped", serverOf(stopped.Concord), codes.Unavailable, concord.ErrUnavailable},
		{"another member answers", concord.Server{Name: "member9", Id: idOf("member9"), Address: members[1].Address()}, codes.Unavailable, concord.ErrUnavailable},
		{"another, by the name alone", concord.Server{Name: "member9", Address: members[1].Address()}, codes.Unavailable, concord.ErrUnavailable},
		{"another ring", serverOf(otherRing.Concord), codes.FailedPrecondition, concord.ErrDifferentRing},
		{"not accepted", serverOf(denied.Concord), codes.PermissionDenied, concord.ErrDenied},
	} {
		_, err := call(t, connect(t, apps[0], tc.to), "who")
		wantErr(t, tc.what, err, tc.is)
		if status.Code(err) != tc.code {
			t.Errorf("%s: the status is %v, want %v", tc.what, status.Code(err), tc.code)
		}
		mentions(t, err, "concord: "+tc.to.Name+" at "+tc.to.Address+": ")
	}
}

// Whatever applications answer, and however long they take, is no news of the ring and
// does not hold it up.
func TestCallsAreNoNewsOfTheRing(t *testing.T) {
	t.Parallel()
	const streams = 4
	apps, members := applicationRing(t, 3, func(c *concord.Config) { c.Limits.Streams = streams })
	no := status.Error(codes.Unavailable, "the application says no")
	let, waiting := make(chan struct{}), make(chan struct{}, 8*streams)
	for _, a := range apps {
		a.answer = func(_ context.Context, question string) (string, error) {
			if question == "fail" {
				return "", no
			}
			waiting <- struct{}{}
			<-let
			return question, nil
		}
	}
	answer := sync.OnceFunc(func() { close(let) })
	defer answer()
	var calls sync.WaitGroup
	for _, c := range members {
		conn := connect(t, apps[0], serverOf(c))
		for range 50 {
			if _, err := call(t, conn, "fail"); status.Code(err) != codes.Unavailable || status.Convert(err).Message() != "the application says no" {
				t.Fatalf("%v, want what the application says", err)
			}
		}
		for range 2 * streams {
			calls.Go(func() {
				if got, err := call(t, conn, "wait"); err != nil || got != "wait" {
					t.Errorf("%q, %v", got, err)
				}
			})
		}
	}
	for range len(members) * streams {
		receive(t, waiting, patience, "a call")
	}
	for i := range 20 {
		for _, c := range members {
			key := fmt.Sprint("key", i)
			if got, want := lookup(t, c, key, concord.Fresh()), ownerOf(members, idOf(key)); got != want {
				t.Errorf("the owner of %s is %v, want %v", key, got, want)
			}
		}
	}
	answer()
	calls.Wait()
	awaitIdeal(t, members)
	for _, f := range apps[0].Status().Failures {
		if strings.Contains(f.Error, "the application") {
			t.Errorf("a failure of a call is taken for one of the ring: %+v", f)
		}
	}
}

func TestStreamsOfApplications(t *testing.T) {
	t.Parallel()
	apps, _ := applicationRing(t, 2)
	apps[1].answer = func(_ context.Context, question string) (string, error) { return question + "!", nil }
	conn := connect(t, apps[0], serverOf(apps[1].Concord))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/test.Application/Talk")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		var out wrapperspb.StringValue
		if err := stream.SendMsg(wrapperspb.String(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
		if err := stream.RecvMsg(&out); err != nil || out.GetValue() != fmt.Sprint(i, "!") {
			t.Fatalf("%q, %v", out.GetValue(), err)
		}
	}
	before := apps[0].Status().Connections
	if before == 0 {
		t.Error("the connection is not counted")
	}
	// The member stops, and its application goes on with the stream.
	apps[1].Stop()
	var out wrapperspb.StringValue
	if err := stream.SendMsg(wrapperspb.String("still")); err != nil {
		t.Fatal(err)
	}
	if err := stream.RecvMsg(&out); err != nil || out.GetValue() != "still!" {
		t.Errorf("after Stop of the member: %q, %v", out.GetValue(), err)
	}
	within(t, patience, "Stop", func() { apps[0].Stop() })
	if err := stream.RecvMsg(&out); err == nil {
		t.Error("the stream goes on after Stop of the member that has opened it")
	}
}

func TestConnOfClient(t *testing.T) {
	t.Parallel()
	_, members := applicationRing(t, 2)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := concord.Dial(ctx, concord.ClientConfig{}, members[0].Address())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	owner, err := c.LookupContext(ctx, []byte("apple"))
	if err != nil {
		t.Fatal(err)
	}
	conn := connect(t, c, owner)
	if got, err := call(t, conn, "who"); err != nil || got != owner.Name {
		t.Errorf("%q, %v, want %s", got, err, owner.Name)
	}
	c.Close()
	_, err = call(t, conn, "who")
	wantErr(t, "a call after Close", err, concord.ErrStopped)
	if status.Code(err) != codes.Canceled {
		t.Errorf("after Close: %v", err)
	}
	if _, err := c.Conn(owner); !errors.Is(err, concord.ErrStopped) {
		t.Errorf("after Close: %v", err)
	}
}

// A call that waits for a member is answered when the member has started.
func TestCallWaitsForMember(t *testing.T) {
	t.Parallel()
	first := startApplication(t, "member1")
	late := newApplication(t, "member2", nil)
	late.serve()
	conn := connect(t, first, serverOf(late.Concord))
	if _, err := call(t, conn, "who"); status.Code(err) != codes.Unavailable {
		t.Errorf("before Start of the member: %v", err)
	}
	answered := make(chan error, 1)
	go func() {
		got, err := call(t, conn, "who", grpc.WaitForReady(true))
		if err == nil && got != "member2" {
			err = fmt.Errorf("answered by %q", got)
		}
		answered <- err
	}()
	if err := late.Start(); err != nil {
		t.Fatal(err)
	}
	if err := receive(t, answered, patience+time.Second, "the call"); err != nil {
		t.Error(err)
	}
}
