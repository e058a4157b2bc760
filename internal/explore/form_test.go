package explore

import (
	"fmt"
	"slices"
	"testing"

	"github.com/ollelogdahl/concord/internal/protocol"
)

// Machines of one canonical form stand for each other everywhere here. So they
// must do the same on every event: the same messages, and forms that are one.
func TestMachinesOfOneFormDoTheSame(t *testing.T) {
	for name, cfg := range map[string]Config{
		"instant":       {Members: 4, Successors: 2, Grain: Instant, Memory: Abstract, Joins: Unlimited, Fails: Unlimited, Quiet: 30},
		"apart":         {Members: 4, Successors: 2, Grain: Apart, Memory: Abstract, Assume: Nothing, Joins: 1, Fails: 1, Suspicions: 1, Quiet: 30},
		"leaves":        {Members: 4, Successors: 2, Grain: Apart, Memory: Abstract, Joins: 1, Fails: 1, Leaves: 1, Restarts: 1, Quiet: 30},
		"real memories": {Members: 4, Successors: 2, Grain: Instant, Assume: Nothing, Joins: 1, Fails: 1, Suspicions: 1, Quiet: 30},
	} {
		t.Run(name, func(t *testing.T) {
			cfg.MaxStates = 5000 // as many as it took to find rounds that were written as equal
			c := newChecker(cfg)
			compared, busy, failed := 0, false, 0
			c.same = func(id uint32, m *protocol.Machine) {
				if busy || c.quiet || failed > 3 || compared > 4000 {
					return
				}
				busy = true
				compared++
				script, made, needs, buf, seen := slices.Clone(c.script), slices.Clone(c.made), slices.Clone(c.needs), c.buf, c.seen
				kept := c.all[id]
				other := kept
				other.machine = m.Clone()
				for _, ev := range c.possible(&kept) {
					a, b := c.outcomes(kept, ev), c.outcomes(other, ev)
					if !slices.Equal(a, b) {
						failed++
						t.Errorf("event %+v: machines of one form differ\n%s\n%v\n%s\n%v", ev, kept.machine.Describe(), a, m.Describe(), b)
						break
					}
				}
				c.script, c.made, c.needs, c.buf, c.seen = script, made, needs, buf, seen
				busy = false
			}
			c.explore()
			if compared < 200 {
				t.Errorf("only %d pairs compared", compared)
			}
		})
	}
}

// possible are events of every kind that a local state may meet.
func (c *checker) possible(x *local) []event {
	out := []event{{kind: evTick}}
	for i := 1; i < c.cfg.Members; i++ {
		for _, kind := range []protocol.RequestKind{protocol.AskRing, protocol.Notify, protocol.Seek} {
			q := protocol.Request{Kind: kind}
			if kind == protocol.Seek {
				q.Subject = c.names[1][0]
			}
			out = append(out, event{kind: evAsked, from: i, incarnation: 1, token: 200, said: c.keepSaid(said{request: q})})
		}
		st := protocol.State{Self: c.names[1][0], Phase: protocol.Joined, Pred: c.names[1][(i+1)%c.cfg.Members], Succ: c.names[1][1:2]}
		for _, role := range x.open {
			for _, s := range []uint32{c.refused, c.timedOut, c.keepSaid(said{reply: protocol.Reply{State: st}})} {
				out = append(out, event{kind: evAnswer, role: role, from: i, said: s})
			}
		}
	}
	return out
}

// outcomes are all that a machine may do on an event, in an order of their own.
func (c *checker) outcomes(x local, ev event) []string {
	c.all = append(c.all, x)
	var out []string
	for _, b := range c.compute(uint32(len(c.all)-1), ev) {
		b.told = false // what the program was told is not part of a form
		out = append(out, fmt.Sprint(b))
	}
	slices.Sort(out)
	return slices.Compact(out)
}
