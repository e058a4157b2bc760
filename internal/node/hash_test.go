package node

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// A HashFunc differs for one name only. Whoever joins or dials finds that out in
// what it is told; a member of the ring that names it notices nothing.
func TestAnswersUnderAnotherHashAreOfAnotherRing(t *testing.T) {
	for _, name := range []string{"n0", "n1"} { // the one asked; one that it names
		synctest.Test(t, func(t *testing.T) {
			g := newRig(t, 1)
			defer g.close()
			g.grow(2)
			ours := g.space.Hash
			g.space.Hash = func(data []byte) uint64 {
				if string(data) == name {
					return ours(data) + 1
				}
				return ours(data)
			}
			n, c := g.add("joiner"), g.client()
			for what, f := range map[string]func(context.Context) error{
				"join": func(ctx context.Context) error { return n.Join(ctx, []string{g.nodes[0].Addr()}) },
				"dial": c.Dial,
			} {
				began := time.Now()
				var je *JoinError
				if err := f(t.Context()); !errors.As(err, &je) || je.Ctx != nil || len(je.Causes) != 1 || je.Causes[0].Failure.Kind != protocol.WrongRing {
					t.Errorf("%s: %v", what, err)
				}
				if took := time.Since(began); took > time.Second {
					t.Errorf("%s took %v", what, took)
				}
			}
			if wrong := g.wrong(); wrong != "" {
				t.Error(wrong)
			}
		})
	}
}

// What a member of a ring says of a third is no reason for another to do without it.
func TestThirdMemberUnderAnotherHashIsNoOtherRing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		g.grow(1)
		n := g.nodes[0]
		third := ring.Member{ID: 1, Name: "third", Addr: "third:1", Incarnation: 1}
		self := n.Snapshot().View.Self
		for what, x := range map[string]struct {
			reply protocol.Reply
			want  protocol.FailureKind
		}{
			"a third":      {protocol.Reply{State: protocol.State{Self: self, Succ: []ring.Member{third}}}, protocol.Invalid},
			"the answerer": {protocol.Reply{State: protocol.State{Self: third}}, protocol.WrongRing},
		} {
			if f := n.checkReply(self, &x.reply); f == nil || f.Kind != x.want {
				t.Errorf("%s: %v", what, f)
			}
		}
	})
}
