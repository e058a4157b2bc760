package node

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
)

// A walk that has met as many as it may says so, having yielded them.
func TestWalkIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		g.grow(12)
		self := g.nodes[0].Snapshot().View
		first := Met{Who: self.Self}
		first.State.Pred, first.State.Succ = self.Pred, self.Succ
		var yielded int
		var last error
		g.nodes[0].walk(t.Context(), self.Self.ID, &first, nil, 7, func(m Met, err error) bool {
			if err == nil {
				yielded++
			}
			last = err
			return true
		})
		if yielded != 7 || !errors.Is(last, routing.ErrHopLimit) {
			t.Errorf("%d, then %v", yielded, last)
		}
	})
}

// Who is named for an identifier with which its process has left is no member there.
func TestWalkMeetsAnIdentifierThatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		g.grow(3)
		n, x := g.nodes[0], g.nodes[1].Snapshot().Self
		left, other := x, x
		left.ID++
		other.ID, other.Name = left.ID, "another"
		for _, c := range []struct {
			who  ring.Member
			want protocol.FailureKind
		}{{left, protocol.NotJoined}, {other, protocol.WrongMember}} {
			m := Met{Who: c.who}
			(&walk{fd: &n.Finder, ctx: t.Context()}).ask(&m)
			if m.Failure == nil || m.Failure.Kind != c.want || m.Failure.By != x {
				t.Errorf("%v: %v", c.who, m.Failure)
			}
		}
	})
}
