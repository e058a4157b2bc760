package attack

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/transport/attacktest"
)

// lied makes a ring of n members of which the last lies. Ring and lookups are judged by what
// the honest ones say.
func lied(t *testing.T, n int, liar *attacktest.Liar) (*target, *concord.Concord) {
	t.Helper()
	r := attacked(t, n)
	cfg := concord.Config{Name: "liar", BindAddr: "127.0.0.1:0", StabilizeInterval: interval, Network: liar}
	c := concord.New(cfg)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Stop() })
	if err := c.Join(bounded(t, patience), r.member(0).Address()); err != nil {
		t.Fatal(err)
	}
	r.Know(c, cfg)
	r.Enter(c)
	return r, c
}

// gone stops the liar, after which all must be as before.
func (r *target) gone(liar *concord.Concord) {
	r.t.Helper()
	r.Kill(liar)
	r.stands()
}

// A member's lists name members with incarnations that cannot be. Its answers are refused,
// and what is refused is counted and logged.
func TestMemberThatNamesImpossibleIncarnations(t *testing.T) {
	var lying atomic.Bool
	r, liar := lied(t, 4, &attacktest.Liar{Maintain: func(_ ring.Member, _ protocol.Request, honest protocol.Reply) protocol.Reply {
		if lying.Load() {
			for i := range honest.State.Succ {
				x := honest.State.Succ[i]
				x.Incarnation = 1<<64 - 1
				honest.State.Succ = append([]ring.Member{x}, honest.State.Succ...)
			}
		}
		return honest
	}})
	lying.Store(true)
	before := r.before(liar)
	r.await("refusals", func() bool {
		return impossible(before.Status().Counters) > 0
	})
	r.logged(before, "incarnation refused")
	r.gone(liar)
}

// What a member says of itself has line ends and escape sequences.
func TestMemberWhoseWordsAreAttacks(t *testing.T) {
	evil := "\x1b[2J\nlevel=ERROR msg=owned member=m0 "
	var lying atomic.Bool
	r, liar := lied(t, 3, &attacktest.Liar{Maintain: func(_ ring.Member, q protocol.Request, honest protocol.Reply) protocol.Reply {
		if lying.Load() && q.Kind == protocol.Notify {
			honest.Refusal = protocol.Refusal{Reason: protocol.NotReached, Detail: evil}
		}
		return honest
	}})
	lying.Store(true)
	r.rounds(4)
	r.gone(liar)
	for line := range strings.Lines(r.log.text()) {
		if strings.HasPrefix(line, "level=") || strings.ContainsRune(line, '\x1b') {
			t.Errorf("the log has the line %q", line)
		}
	}
}
