package node

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/transport"
)

// A leave that a member was told of is no reason for warnings, neither that the leaver
// does not answer any more nor that nobody is left.
func TestLeaveThatWasToldIsNotWarnedOf(t *testing.T) {
	for _, count := range []int{2, 3} {
		t.Run(fmt.Sprint(count), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newRig(t, 1)
				defer g.close()
				var j journal
				g.log = j.logger().Handler()
				g.grow(count)
				last := g.nodes[count-1]
				for _, n := range g.nodes[:count-1] {
					if err := n.Leave(t.Context(), 0); err != nil {
						t.Fatal(err)
					}
					env := transport.Envelope{From: last.Snapshot().Self, To: n.cfg.Self, Settings: n.cfg.Settings}
					_, f := last.maintain(t.Context(), env, protocol.Request{Kind: protocol.AskRing}, time.Second)
					if f == nil || f.Kind != protocol.Refused {
						t.Errorf("asked after its leave, it is %v", f)
					}
					time.Sleep(30 * time.Second)
				}
				if got := j.lines("WARN"); len(got) > 0 {
					t.Errorf("warnings: %q", got)
				}
				if got := j.lines(`level=INFO msg="alone: the others have left" member=` + last.cfg.Self.Name); len(got) != 1 {
					t.Errorf("alone: %q", got)
				}
				if last.Counters().PeerFailures == 0 || len(last.PeerFailures()) == 0 {
					t.Error("what was not logged is not counted either")
				}
			})
		})
	}
}

// One that dies is warned of as before, though others have left.
func TestFailureAfterALeaveIsWarnedOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		var j journal
		g.log = j.logger().Handler()
		g.grow(3)
		leaver, dying := g.nodes[1], g.nodes[2]
		if err := leaver.Leave(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		g.ideal(20 * g.interval)
		dying.Close()
		time.Sleep(30 * time.Second)
		if got := j.lines(`msg="peer not reachable" member=n0 peer=` + dying.cfg.Self.Name); len(got) != 1 {
			t.Errorf("of the one that died: %q", got)
		}
		if got := j.lines(`level=WARN msg="alone: no other member answers" member=n0`); len(got) != 1 {
			t.Errorf("alone: %q", got)
		}
	})
}

func TestLeaversAreTheirIncarnations(t *testing.T) {
	var l leavers
	now := time.Now()
	x := ring.Member{ID: 1, Name: "x", Addr: "x:1", Incarnation: 5}
	later, there := x, ring.Member{Addr: x.Addr}
	later.Incarnation++
	l.note(x, protocol.State{Self: x, Phase: protocol.Joined}, now)
	l.note(x, protocol.State{Self: later, Phase: protocol.Leaving}, now)
	if l.explain(x, now) || l.explain(later, now) || l.explain(there, now) {
		t.Error("nobody has said that it leaves")
	}
	l.note(x, protocol.State{Self: x, Phase: protocol.Leaving}, now)
	if !l.explain(x, now) || !l.explain(there, now) || l.explain(later, now) {
		t.Error("the one that left, its address, and not its next incarnation")
	}
	if now = now.Add(failurePause); !l.explain(x, now) || l.explain(there, now) {
		t.Error("after a pause, the one that left and not its address")
	}
	if l.all(nil, now) || !l.all([]ring.Member{x}, now) || l.all([]ring.Member{x, later}, now) {
		t.Error("of all that there are, and there are some")
	}
	for i := range uint64(maxLeavers) {
		y := ring.Member{ID: 2 + i, Name: fmt.Sprint("y", i), Addr: "y:1", Incarnation: 1}
		l.note(y, protocol.State{Self: y, Phase: protocol.Leaving}, now)
		l.note(y, protocol.State{Self: y, Phase: protocol.Leaving}, now)
	}
	if len(l.list) != maxLeavers || l.explain(x, now) {
		t.Errorf("%d are remembered, want the last %d", len(l.list), maxLeavers)
	}
}

// A process at several identifiers has left with all when it has with its first.
func TestProcessLeavesWithItsFirstIdentifier(t *testing.T) {
	var l leavers
	now := time.Now()
	at := func(slot int) ring.Member {
		return ring.Member{ID: uint64(10 + slot), Name: "x", Addr: "x:1", Incarnation: 5, Home: 1, Choice: ring.Chosen(slot, 0)}
	}
	l.note(at(2), protocol.State{Self: at(2), Phase: protocol.Leaving}, now)
	if l.explain(at(1), now) {
		t.Error("it has given up one identifier, and not the others")
	}
	l.note(at(0), protocol.State{Self: at(0), Phase: protocol.Leaving}, now)
	later := at(1)
	later.Incarnation++
	if !l.explain(at(1), now) || l.explain(later, now) {
		t.Error("its others have left with the first, but not those of its next incarnation")
	}
}
