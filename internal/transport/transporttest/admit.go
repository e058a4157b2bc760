package transporttest

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/transport"
)

var errUnknown = errors.New("a stranger")

// strangers admits all but those whose names begin so.
func strangers(c transport.Claim) error {
	if strings.HasPrefix(c.Member.Name, "stranger") {
		return errUnknown
	}
	return nil
}

// testDeniedSender: a request of who is not admitted does not arrive, and both sides
// learn why.
func testDeniedSender(t *testing.T, r *rig) {
	a, stranger, b := r.start("a", nil), r.start("stranger", nil), r.bind("b", "")
	refusals := make(chan transport.Refusal, 16)
	b.Admit(func(c transport.Claim) error {
		if !c.Incoming || c.Remote == "" || c.TLS != nil {
			t.Errorf("asked of %+v", c)
		}
		return strangers(c)
	})
	b.Refused(func(r transport.Refusal) { refusals <- r })
	b.Serve(&Handler{Self: b.self, OnMaintain: onlyFrom(t, a.self)})
	for _, c := range calls {
		t.Run(c.name, func(t *testing.T) {
			if err := c.call(a, r.context(), b); err != nil {
				t.Errorf("a member: %v", err)
			}
			err := c.call(stranger, r.context(), b)
			wantFailure(t, err, protocol.Denied)
			if !strings.Contains(err.Error(), errUnknown.Error()) || !strings.Contains(err.Error(), b.self.Addr) {
				t.Errorf("the error does not say who denies, and why: %v", err)
			}
			got := Await(t, refusals, "the refusal is told of")
			if got.Sender != stranger.self || !got.Request || got.From == "" || got.Why != errUnknown.Error() {
				t.Errorf("told of %+v", got)
			}
		})
	}
}

// testDeniedAnswer: an answer of who is not admitted is not used, whoever it says it is.
func testDeniedAnswer(t *testing.T, r *rig) {
	a, stranger := r.bind("a", ""), r.start("stranger", nil)
	a.Admit(strangers)
	for _, c := range calls {
		t.Run(c.name, func(t *testing.T) {
			err := c.call(a, r.context(), stranger)
			wantFailure(t, err, protocol.Denied)
			if !strings.Contains(err.Error(), errUnknown.Error()) {
				t.Errorf("the error does not say why: %v", err)
			}
		})
	}
	nameless := &peer{stranger.Transport, ring.Member{Addr: stranger.self.Addr}}
	wantFailure(t, a.ask(r.context(), nameless), protocol.Denied)

	// One that says that it is somebody else is not believed, either.
	liar := r.start("b", &Handler{
		Self: Member("b", "", 7),
		OnMaintain: failing(&protocol.Failure{
			Kind: protocol.WrongMember, By: Member("stranger2", stranger.self.Addr, 9), Detail: "I am another",
		}),
	})
	wantFailure(t, a.ask(r.context(), liar), protocol.Denied)
}

// onlyFrom fails the case if anybody else asks.
func onlyFrom(t *testing.T, m ring.Member) func(context.Context, transport.Envelope, protocol.Request) (protocol.Reply, error) {
	return func(_ context.Context, env transport.Envelope, _ protocol.Request) (protocol.Reply, error) {
		if env.From != m {
			t.Errorf("a request of %v has arrived", env.From)
		}
		return protocol.Reply{State: protocol.State{Phase: protocol.Joined, Version: 1}}, nil
	}
}

func failing(f *protocol.Failure) func(context.Context, transport.Envelope, protocol.Request) (protocol.Reply, error) {
	return func(context.Context, transport.Envelope, protocol.Request) (protocol.Reply, error) {
		return protocol.Reply{}, f
	}
}
