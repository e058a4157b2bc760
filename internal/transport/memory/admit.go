package memory

import (
	"context"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
	"github.com/ollelogdahl/concord/internal/transport"
)

// Admit implements transport.Transport. There is no TLS here, and every claim is judged
// anew.
func (t *Transport) Admit(f func(transport.Claim) error) { t.admits = f }

// sender is what becomes of a request whose sender is not admitted, and whether that is
// so.
func (t *Transport) sender(env transport.Envelope) (outcome, bool) {
	if t.admits == nil || env.From.IsZero() {
		return outcome{}, false
	}
	err := t.admits(transport.Claim{Member: env.From, Incoming: true, Remote: env.From.Addr})
	if err == nil {
		return outcome{}, false
	}
	if t.refused != nil {
		t.refused(transport.Refusal{From: env.From.Addr, Request: true, Sender: env.From, Why: err.Error()})
	}
	return failed(protocol.Denied, t.addr+": denies this side: "+err.Error()), true
}

// askAdmitted is ask, but that answers of those who are not admitted are failures.
func (t *Transport) askAdmitted(ctx context.Context, env transport.Envelope, count func(), s serve) outcome {
	o := t.ask(ctx, env, count, s)
	if t.admits == nil {
		return o
	}
	for _, m := range claimed(env.To, o) {
		if m.Name == "" {
			continue
		}
		if err := t.admits(transport.Claim{Member: m, Remote: env.To.Addr}); err != nil {
			return failed(protocol.Denied, env.To.Addr+": "+err.Error())
		}
	}
	return o
}

// claimed are the members that who answered a question to the member to says to be.
func claimed(to ring.Member, o outcome) []ring.Member {
	f := o.failure
	if f == nil {
		out := []ring.Member{to, o.reply.State.Self, o.answer.By}
		if o.answer.Verdict == routing.Mine {
			out = append(out, o.answer.Owner)
		}
		return out
	}
	switch f.Kind {
	case protocol.TimedOut, protocol.Unreachable, protocol.Refused, protocol.Denied, protocol.Relayed, protocol.Cancelled, protocol.Overloaded:
		return nil
	case protocol.WrongMember:
		return []ring.Member{f.By}
	}
	return []ring.Member{to, f.By}
}
