package node

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
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
				j := g.journal()
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
		j := g.journal()
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

// A process at several identifiers has left with all when it has with its first. When it gives
// up another, it may be about to.
func TestProcessLeavesWithItsFirstIdentifier(t *testing.T) {
	var l leavers
	now := time.Now()
	at := func(slot int) ring.Member {
		return ring.Member{ID: uint64(10 + slot), Name: "x", Addr: "x:1", Incarnation: 5, Home: 1, Choice: ring.Chosen(slot, 0)}
	}
	l.note(at(2), protocol.State{Self: at(2), Phase: protocol.Leaving}, now)
	if !l.explain(at(1), now) || l.explain(at(1), now.Add(failurePause)) || !l.explain(at(2), now.Add(failurePause)) {
		t.Error("it has given up one identifier, and after a pause not the others")
	}
	l.note(at(0), protocol.State{Self: at(0), Phase: protocol.Leaving}, now)
	later := at(1)
	later.Incarnation++
	if now = now.Add(failurePause); !l.explain(at(1), now) || l.explain(later, now) {
		t.Error("its others have left with the first, but not those of its next incarnation")
	}
}

// A process that was always alone does not lose anybody, at however many identifiers it
// stands, when it gives them up.
func TestMemberThatWasAlwaysAloneLosesNobody(t *testing.T) {
	for _, identifiers := range []int{1, 4} {
		synctest.Test(t, func(t *testing.T) {
			g := newRig(t, 1)
			defer g.close()
			j := g.journal()
			n := g.addSeveral("n0", identifiers)
			n.Create()
			time.Sleep(10 * g.interval)
			if err := n.Leave(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
			if got := j.lines("alone"); len(got) > 0 || j.count("phase changed") == 0 {
				t.Errorf("at %d identifiers: %q", identifiers, got)
			}
		})
	}
}

// Neither is a leave warned of where processes stand at several identifiers, nor of a member
// that the ring does without: who points to it knows why. What is logged above Debug names
// members as Status does, and no identifiers.
func TestLeaveOfProcessAtSeveralIdentifiersIsNotWarnedOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		j := g.journal()
		g.growSeveral(4, 4, 4)
		for _, n := range g.nodes[:2] {
			if err := n.Leave(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
			time.Sleep(25 * time.Second) // an address is known to have been left for a minute
		}
		if got := j.lines("WARN"); len(got) > 0 {
			t.Errorf("warnings: %q", got)
		}
		if got := j.lines("alone"); len(got) != 1 || !strings.Contains(got[0], `level=INFO msg="alone: the others have left" member=n2`) {
			t.Errorf("alone: %q", got)
		}
		if got := j.lines("identifier="); len(got) > 0 {
			t.Errorf("at Info: %q", got)
		}
	})
}

// Of a process that has left, the others ask about as often at however many identifiers it and
// they stood: where one of those finds nobody, the others need not look. None of it is warned of.
func TestProcessThatHasLeftIsNotAskedAtEachOfItsIdentifiers(t *testing.T) {
	for _, identifiers := range []int{1, 8} {
		synctest.Test(t, func(t *testing.T) {
			g := newRig(t, 1)
			defer g.close()
			g.interval, g.r = time.Second, 4
			j := g.journal()
			var mu sync.Mutex
			var left string            // the address of the one that has
			failed := map[string]int{} // requests to it, by whose they are
			for i := range 5 {
				n := g.addSeveralWith(fmt.Sprintf("n%d", i), identifiers, func(cfg *Config) {
					by := cfg.Self.Name
					cfg.Observer.Request = func(ctx context.Context, r Request) (context.Context, func(*protocol.Failure, time.Duration)) {
						return ctx, func(f *protocol.Failure, _ time.Duration) {
							mu.Lock()
							defer mu.Unlock()
							if f != nil && r.Member.Addr == left {
								failed[by]++
							}
						}
					}
				})
				if i == 0 {
					n.Create()
				} else if err := n.Join(t.Context(), []string{g.nodes[0].Addr()}); err != nil {
					t.Fatal(err)
				}
				if err := n.Standing(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			g.idealSeveral(20 * g.interval)
			mu.Lock()
			left = g.nodes[2].Addr()
			mu.Unlock()
			if err := g.nodes[2].Leave(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
			time.Sleep(3 * time.Minute)
			mu.Lock()
			defer mu.Unlock()
			for by, times := range failed {
				if times > 25 {
					t.Errorf("at %d identifiers, %s has asked it %d times", identifiers, by, times)
				}
			}
			t.Log(identifiers, failed)
			if got := j.lines("level=WARN"); len(got) > 0 {
				t.Errorf("warnings: %q", got)
			}
		})
	}
}

func TestRecordsNameMembersAsStatusDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		var j journal
		g.log = slog.NewTextHandler(&j, &slog.HandlerOptions{Level: slog.LevelDebug})
		g.growSeveral(4, 4)
		x := g.nodes[1].Snapshot().Self
		if got := j.lines(fmt.Sprintf(" new.name=%s new.id=%d new.address=%s new.at=", x.Name, x.Process(), x.Addr)); len(got) == 0 || x.Process() == x.ID {
			t.Error("nobody has it for a neighbour")
		}
		if got := j.lines(fmt.Sprintf("id=%d", x.ID)); len(got) > 0 {
			t.Errorf("its first identifier as its id: %q", got)
		}
		if got := j.lines(fmt.Sprintf("member=%s", x.Name)); !slices.ContainsFunc(got, func(line string) bool {
			return strings.HasSuffix(line, fmt.Sprintf(" identifier=%d", x.ID))
		}) {
			t.Errorf("nothing happens at its first identifier: %q", got)
		}
	})
}

// Refused by a process that has ended, a member that no pointer leads to does not warn if the
// ring does without it.
func TestEndOfMemberThatTheRingDoesWithoutIsNotWarnedOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		j := g.journal()
		g.grow(3)
		time.Sleep(time.Minute)
		a, b := g.nodes[0], g.nodes[1]
		x := b.Snapshot().Self
		refused := &protocol.Failure{Kind: protocol.Refused}
		a.failed(x, refused, 0)
		time.Sleep(g.interval)
		if got := j.lines("level=WARN"); len(got) != 1 {
			t.Errorf("of a member of the ring: %q", got)
		}
		for range 2 {
			a.failed(ring.Member{ID: 7, Name: "gone", Addr: "gone:1", Incarnation: 1}, refused, 0)
			a.failed(ring.Member{Addr: "given:1"}, refused, 0)
		}
		time.Sleep(g.interval)
		if got := j.lines(`level=INFO msg="peer not reachable" member=n0 peer=gone addr=gone:1`); len(got) != 1 {
			t.Errorf("of one that the ring does without: %q", got)
		}
		if got := j.lines(`level=WARN msg="peer not reachable" member=n0 addr=given:1`); len(got) != 1 {
			t.Errorf("of an address: %q", got)
		}
	})
}

// Members that found a ring are started one after another. That the next does not run yet is
// no reason to warn, before joinReportEvery has passed.
func TestFounderWaitsForOthersWithoutAWarning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		var j journal
		n := g.logged("n0", &j)
		ctx, cancel := context.WithTimeout(t.Context(), joinReportEvery-time.Second)
		defer cancel()
		if err := n.JoinOrFound(ctx, []string{n.Addr(), "later:1"}, nil, time.Hour); err == nil {
			t.Fatal("joined")
		}
		if got := j.lines("peer not reachable"); len(got) != 1 || !strings.Contains(got[0], "level=INFO") {
			t.Errorf("logged: %q", got)
		}
	})
}
