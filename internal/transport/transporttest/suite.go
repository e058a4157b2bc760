// Package transporttest is the suite that every transport must pass, and a
// scripted handler for the tests of transports.
//
// The suite runs in real time, without sleeps: it waits for what must happen,
// for at most a bound that a working transport never comes near, and judges what
// must not happen after Close, when nothing more can.
package transporttest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
	"github.com/ollelogdahl/concord/internal/transport"
)

// Listen makes a transport that receives at addr, or at a free address if addr
// is empty. It does not serve yet. The suite closes it.
type Listen func(addr string) (transport.Transport, error)

// Maker makes what one test needs for transports that reach each other. The
// members that they name stand in Space.
type Maker func(t *testing.T) Listen

// patience bounds every wait for something that must happen.
const patience = 20 * time.Second

// Run tests the transports that mk makes, each case with a Listen of its own. It leaves the
// cases out that are named by except.
func Run(t *testing.T, mk Maker, except ...string) {
	cases := []struct {
		name string
		test func(t *testing.T, r *rig)
	}{
		{"addresses are bound, distinct and well formed", testAddresses},
		{"an address in use is an error", testAddressInUse},

		{"every request arrives as it was sent", testRequests},
		{"every envelope arrives as it was sent", testEnvelopes},
		{"every reply arrives as it was given", testReplies},
		{"every query arrives as it was sent", testQueries},
		{"every answer arrives as it was given", testAnswers},
		{"what an application says arrives as it was given", testMeta},
		{"every subscription and what is told arrives as it was sent", testSubscribe},
		{"subscriptions end", testSubscriptionsEnd},
		{"a slow subscriber holds up nobody", testSlowSubscriber},
		{"the sides share no memory", testNoSharedMemory},
		{"a transport that does not serve asks", testAskWithoutServing},
		{"a transport asks itself", testAskItself},

		{"every failure arrives as it was given", testFailures},
		{"who asks and is not admitted is Denied", testDeniedSender},
		{"who answers and is not admitted is Denied", testDeniedAnswer},
		{"nobody listening is Refused", testRefused},
		{"no answer by the deadline is TimedOut", testTimedOut},
		{"giving up is Cancelled", testCancelled},
		{"closing the asker is Cancelled", testCancelledByClose},
		{"closing the answerer is Unreachable", testUnreachable},

		{"requests are answered concurrently", testConcurrent},
		{"a handler that waits holds up no other", testNoHoldUp},
		{"a handler's context ends with the asker's patience", testHandlerContext},
		{"Close waits for handlers", testCloseWaits},
		{"Close may be called again", testCloseAgain},

		{"Broken tells once that a peer closed", testBroken},
		{"Broken says nothing of what this side ended", testBrokenNotOurs},
		{"Broken says nothing of a connection that never was", testBrokenNeverUp},
		{"Limit closes the least recently used", testLimitOrder},
		{"Limit leaves connections in use alone", testLimitInUse},
		{"a peer restarted at its address answers the next request", testRestart},
		{"a peer restarted after a refusal answers soon", testRestartAfterRefusal},
	}
	for _, c := range cases {
		if slices.Contains(except, c.name) {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			c.test(t, &rig{t: t, listen: mk(t)})
		})
	}
}

// rig is what one case works with.
type rig struct {
	t      *testing.T
	listen Listen
}

// peer is a transport of the case and who is asked there.
type peer struct {
	transport.Transport
	self ring.Member
}

// bind makes a transport at addr, closed at the end of the case.
func (r *rig) bind(name, addr string) *peer {
	r.t.Helper()
	tr, err := r.listen(addr)
	if err != nil {
		r.t.Fatalf("listen at %q: %v", addr, err)
	}
	r.t.Cleanup(func() { tr.Close() })
	return &peer{tr, Member(name, tr.Addr(), 7)}
}

// start binds a transport to a free address and serves there. A nil h is the
// zero Handler.
func (r *rig) start(name string, h *Handler) *peer {
	r.t.Helper()
	return r.startAt(name, "", h)
}

func (r *rig) startAt(name, addr string, h *Handler) *peer {
	r.t.Helper()
	p := r.bind(name, addr)
	if h == nil {
		h = &Handler{}
	}
	if h.Self.IsZero() {
		h.Self = p.self
	}
	p.Serve(h)
	return p
}

// context is bounded by patience and the case.
func (r *rig) context() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	r.t.Cleanup(cancel)
	return ctx
}

// envelope is what p says when it asks to.
func (p *peer) envelope(to *peer) transport.Envelope {
	return transport.Envelope{From: p.self, To: to.self, Settings: Settings}
}

// ask has p ask to for its ring.
func (p *peer) ask(ctx context.Context, to *peer) error {
	_, err := p.Maintain(ctx, p.envelope(to), protocol.Request{Kind: protocol.AskRing})
	return err
}

// route has p ask to for a step of a lookup.
func (p *peer) route(ctx context.Context, to *peer) error {
	_, err := p.Route(ctx, p.envelope(to), routing.Query{ID: 1})
	return err
}

// meta has p ask what to's application says of it.
func (p *peer) meta(ctx context.Context, to *peer) error {
	_, err := p.Meta(ctx, p.envelope(to))
	return err
}

// calls are the ways to ask, for what must hold of all.
var calls = []struct {
	name string
	call func(p *peer, ctx context.Context, to *peer) error
}{
	{"Maintain", (*peer).ask},
	{"Route", (*peer).route},
	{"Meta", (*peer).meta},
}

// exchange has p ask to and fails the case if that fails.
func (r *rig) exchange(p, to *peer) {
	r.t.Helper()
	if err := p.ask(r.context(), to); err != nil {
		r.t.Fatalf("asking %s: %v", to.self.Name, err)
	}
}

// settle waits until p has want connections.
func (r *rig) settle(p *peer, want int) {
	r.t.Helper()
	r.eventually(func() bool { return p.Connections() == want },
		func() { r.t.Fatalf("Connections() = %d; want %d", p.Connections(), want) })
}

// eventually tries ok until it holds, or calls otherwise when patience ends.
func (r *rig) eventually(ok func() bool, otherwise func()) {
	r.t.Helper()
	end := time.After(patience)
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for !ok() {
		select {
		case <-again.C:
		case <-end:
			otherwise()
			return
		}
	}
}

// await receives from ch, whose meaning is what.
func Await[T any](t *testing.T, ch <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("waited in vain: %s", what)
		panic("unreachable")
	}
}

// wantFailure fails the test unless err is a failure of the kind.
func wantFailure(t *testing.T, err error, kind protocol.FailureKind) {
	t.Helper()
	f, ok := errors.AsType[*protocol.Failure](err)
	if !ok {
		t.Errorf("error %v (%T); want a *protocol.Failure: %s", err, err, kind)
		return
	}
	if f.Kind != kind {
		t.Errorf("failure %q; want one of kind %q", f, kind)
	}
}
