package node

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
	"github.com/ollelogdahl/concord/internal/transport"
)

// lines are the records that hold s.
func (j *journal) lines(s string) []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []string
	for line := range strings.Lines(j.text.String()) {
		if strings.Contains(line, s) {
			out = append(out, strings.TrimSpace(line))
		}
	}
	return out
}

func (j *journal) logger() *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

// journal is what nodes log that are added from now on.
func (g *rig) journal() *journal {
	j := new(journal)
	g.log = j.logger().Handler()
	return j
}

// logged adds a node that logs into the journal.
func (g *rig) logged(name string, j *journal) *Node {
	g.log = j.logger().Handler()
	defer func() { g.log = nil }()
	return g.add(name)
}

func TestFailureIsLoggedAtOnceAndThenOnceAMinute(t *testing.T) {
	var fs failures
	start := time.Now()
	f := PeerFailure{Name: "b", Addr: "b:1", Kind: protocol.Refused, Err: "connection refused"}
	var at []time.Duration
	var times []uint64
	for s := time.Duration(0); s < 3*time.Minute; s += 10 * time.Second {
		if r, ok := fs.note(f, start.Add(s)); ok {
			at, times = append(at, s), append(times, r.times)
		}
	}
	if want := []time.Duration{0, time.Minute, 2 * time.Minute}; !slices.Equal(at, want) {
		t.Errorf("logged at %v, want %v", at, want)
	}
	if want := []uint64{1, 6, 6}; !slices.Equal(times, want) {
		t.Errorf("of so many each: %v, want %v", times, want)
	}
	last := fs.last()
	if len(last) != 1 || last[0].Count != 18 || last[0].First != start || last[0].Last != start.Add(170*time.Second) {
		t.Errorf("kept: %+v", last)
	}
	if out, in := fs.counts(); out != 18 || in != 0 {
		t.Errorf("counted: %d, %d", out, in)
	}
}

func TestEachCauseAndPeerIsLoggedForItself(t *testing.T) {
	var fs failures
	now := time.Now()
	logged := func(f PeerFailure) bool {
		now = now.Add(time.Second)
		_, ok := fs.note(f, now)
		return ok
	}
	reset := PeerFailure{Name: "b", Addr: "b:1", Kind: protocol.Unreachable, Err: "lookup b on 10.0.0.1:53: read udp 10.0.0.9:4711: i/o timeout"}
	again, expired, moved, incoming := reset, reset, reset, reset
	again.Err = strings.ReplaceAll(again.Err, "4711", "54321")
	expired.Err = "remote error: tls: expired certificate"
	moved.Addr = "b:2"
	incoming.Incoming = true
	for i, c := range []struct {
		PeerFailure
		logged bool
	}{{reset, true}, {again, false}, {expired, true}, {moved, true}, {incoming, true}, {expired, false}, {reset, false}} {
		if got := logged(c.PeerFailure); got != c.logged {
			t.Errorf("%d: %+v logged: %v", i, c.PeerFailure, got)
		}
	}
	if n := len(fs.last()); n != 4 {
		t.Errorf("%d are kept", n)
	}
}

func TestThreeHundredUnreachablePeersAreNoFlood(t *testing.T) {
	var fs failures
	now := time.Now()
	var records, told, heldBack uint64
	for range 120 {
		second := 0
		for p := range 300 {
			r, ok := fs.note(PeerFailure{Addr: fmt.Sprintf("10.0.0.%d:7946", p), Kind: protocol.Refused, Err: "connection refused"},
				now.Add(time.Duration(p)*time.Second/300))
			if ok {
				second++
				told += r.times
				heldBack += r.held
			}
		}
		if second > failureBurst+2 {
			t.Errorf("%d records in one second", second)
		}
		records += uint64(second)
		now = now.Add(time.Second)
	}
	if records < 200 || records > 250 {
		t.Errorf("%d records in two minutes", records)
	}
	if out, _ := fs.counts(); out != 120*300 {
		t.Errorf("counted: %d", out)
	}
	if heldBack == 0 || told == 0 {
		t.Errorf("the records do not say what was left out: %d, %d", told, heldBack)
	}
	if n := len(fs.kept); n > maxFailures {
		t.Errorf("%d are kept", n)
	}
}

func TestFailuresSeenLastAreListed(t *testing.T) {
	var fs failures
	now := time.Now()
	for i := range 2 * maxFailures {
		fs.note(PeerFailure{Addr: fmt.Sprint("h:", i), Kind: protocol.TimedOut, Err: "no answer in time"}, now.Add(time.Duration(i)*time.Second))
	}
	last := fs.last()
	if len(last) != maxShownFailures || len(fs.kept) != maxFailures {
		t.Fatalf("%d are listed, %d kept", len(last), len(fs.kept))
	}
	for i, f := range last {
		if want := fmt.Sprint("h:", 2*maxFailures-1-i); f.Addr != want {
			t.Errorf("%d: %s, want %s", i, f.Addr, want)
		}
	}
}

// A member that dies is a cause for each of those who ask it, told with its name,
// address and reason, and never again than once a minute.
func TestLogSaysWhyAMemberIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		var j journal
		n := g.logged("n0", &j)
		n.Create()
		for i := 1; i < 4; i++ {
			if err := g.add(fmt.Sprintf("n%d", i)).Join(t.Context(), []string{n.Addr()}); err != nil {
				t.Fatal(err)
			}
		}
		g.ideal(20 * g.interval)
		if lines := j.lines("level=WARN"); len(lines) > 0 {
			t.Fatalf("of a ring where nothing is wrong: %q", lines)
		}
		lost := n.Snapshot().View.Succ[0]
		for _, x := range g.nodes {
			if x.cfg.Self.ID == lost.ID {
				x.Close()
			}
		}
		time.Sleep(time.Second)
		synctest.Wait()
		want := fmt.Sprintf(`level=WARN msg="peer not reachable" member=n0 peer=%s addr=%s err="connection refused"`, lost.Name, lost.Addr)
		if lines := j.lines("connection refused"); len(lines) != 1 || !strings.Contains(lines[0], want) {
			t.Errorf("the log says %q, want once %q", lines, want)
		}
		time.Sleep(5 * time.Minute)
		if lines := j.lines("peer not reachable"); len(lines) > 7 {
			t.Errorf("after five minutes it says %d times: %q", len(lines), lines)
		}
		if k := n.Counters(); k.PeerFailures == 0 {
			t.Error("it was not counted")
		}
		i := slices.IndexFunc(n.PeerFailures(), func(f PeerFailure) bool {
			return f.Name == lost.Name && f.Addr == lost.Addr && f.Kind == protocol.Refused
		})
		if i < 0 {
			t.Errorf("it is not listed: %+v", n.PeerFailures())
		}
	})
}

func TestRestartIsNoFailureToReachAPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		n := g.add("n0")
		x := ring.Member{ID: 7, Name: "x", Addr: "x:1", Incarnation: 1}
		later := x
		later.Incarnation = 2
		n.failed(x, &protocol.Failure{Kind: protocol.WrongMember, By: later}, time.Second)
		n.failed(x, &protocol.Failure{Kind: protocol.TimedOut}, time.Millisecond) // a caller in haste
		n.failed(x, &protocol.Failure{Kind: protocol.Cancelled}, time.Second)
		n.failed(x, &protocol.Failure{Kind: protocol.NotJoined, By: x}, time.Second)
		elsewhere := x // the process has given up one of its identifiers
		elsewhere.ID = 9
		n.failed(x, &protocol.Failure{Kind: protocol.WrongMember, By: elsewhere}, time.Second)
		if k := n.Counters(); k.PeerFailures != 0 {
			t.Errorf("counted: %d", k.PeerFailures)
		}
		n.failed(x, &protocol.Failure{Kind: protocol.WrongMember, By: ring.Member{ID: 8, Name: "y"}}, time.Second)
		if k := n.Counters(); k.PeerFailures != 1 {
			t.Errorf("another member in its place: counted: %d", k.PeerFailures)
		}
	})
}

func TestJoinThatTakesLongIsLoggedWithWhatEachAddressSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, found := range []time.Duration{0, 3 * time.Second} {
			g := newRig(t, 1)
			var j journal
			n := g.logged("n0", &j)
			silent := g.add("silent") // answers, and is in no ring
			ctx, cancel := context.WithTimeout(t.Context(), 35*time.Second)
			err := n.JoinOrFound(ctx, []string{"nobody:1", silent.Addr()}, nil, found)
			cancel()
			if err == nil {
				t.Fatal("joined")
			}
			lines := j.lines("in no ring yet")
			if len(lines) != 3 {
				t.Fatalf("found after %v: %d records in 35 s: %q", found, len(lines), lines)
			}
			for i, line := range lines {
				for _, want := range []string{"level=WARN", fmt.Sprintf(" for=%d0s ", i+1), "nobody:1: connection refused", silent.Addr() + ": not joined"} {
					if !strings.Contains(line, want) {
						t.Errorf("found after %v: %q does not say %q", found, line, want)
					}
				}
			}
			if first := j.lines("addr=nobody:1"); len(first) != 1 || !strings.Contains(first[0], `msg="peer not reachable" member=n0 addr=nobody:1 err="connection refused"`) {
				t.Errorf("found after %v: the first failure is logged as %q", found, first)
			}
			g.close()
		}
	})
}

func TestFoundingWithoutHearingFromAllIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		var j journal
		n := g.logged("n0", &j)
		if err := n.JoinOrFound(t.Context(), []string{n.Addr(), "nobody:1"}, nil, 3*time.Second); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		const want = `level=WARN msg="ring founded, though not every address has answered" member=n0 answers="nobody:1: connection refused"`
		if lines := j.lines("ring founded"); len(lines) != 1 || !strings.Contains(lines[0], want) {
			t.Errorf("the log says %q, want %q", lines, want)
		}

		var alone journal
		m := g.logged("n1", &alone)
		if err := m.JoinOrFound(t.Context(), []string{m.Addr()}, nil, 3*time.Second); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if lines := alone.lines("ring founded"); len(lines) > 0 {
			t.Errorf("of the only address: %q", lines)
		}
	})
}

func TestAnotherKindOfRingIsLoggedAtBothSides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		var here, there journal
		n := g.logged("n0", &here)
		n.Create()
		tr, err := g.net.Listen("")
		if err != nil {
			t.Fatal(err)
		}
		other := New(Config{
			Self:  ring.Member{ID: g.space.ID([]byte("x")), Name: "x", Addr: tr.Addr()},
			Space: g.space, Settings: g.space.Settings("another"), Successors: 3, Interval: g.interval, Log: there.logger(),
		}, tr)
		defer other.Close()
		if err := other.Join(t.Context(), []string{n.Addr()}); err == nil {
			t.Fatal("joined")
		}
		synctest.Wait()
		if want := fmt.Sprintf(`msg="peer not usable" member=x addr=%s err="another kind of ring: Cluster differs"`, n.Addr()); len(there.lines(want)) != 1 {
			t.Errorf("the asker's log says %q, want %q", there.lines("WARN"), want)
		}
		if want := fmt.Sprintf(`msg="incoming request refused" member=n0 peer=x addr=%s err="another kind of ring: Cluster differs"`, other.Addr()); len(here.lines(want)) != 1 {
			t.Errorf("the other's log says %q, want %q", here.lines("WARN"), want)
		}
		if n.Counters().IncomingRefused == 0 || other.Counters().PeerFailures == 0 {
			t.Error("it was not counted")
		}
	})
}

func TestClientLogsWhyItFindsNoRing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		g.add("n0")
		var j journal
		c := g.client("nobody:1", g.nodes[0].Addr())
		c.log = j.logger()
		ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
		defer cancel()
		if err := c.Dial(ctx); err == nil {
			t.Fatal("dialled")
		}
		synctest.Wait()
		if lines := j.lines("peer not reachable"); len(lines) != 1 || !strings.Contains(lines[0], `addr=nobody:1 err="connection refused"`) {
			t.Errorf("at once: %q", lines)
		}
		lines := j.lines("no member of a ring found yet")
		if len(lines) != 2 || !strings.Contains(lines[1], g.nodes[0].Addr()+": not joined: outside; nobody:1: connection refused") {
			t.Errorf("every 10 s: %q", lines)
		}
	})
}

func TestClientLogsWhyItHasLostTheRing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		g.grow(2)
		c := g.dial()
		var j journal
		c.log = j.logger()
		for _, n := range g.nodes {
			n.Close()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
		defer cancel()
		if _, err := c.Lookup(ctx, 1, routing.Options{Fresh: true}); err == nil {
			t.Fatal("found")
		}
		synctest.Wait()
		for _, n := range g.nodes {
			if lines := j.lines(fmt.Sprintf(`peer=%s addr=%s err="connection refused"`, n.cfg.Self.Name, n.Addr())); len(lines) != 1 {
				t.Errorf("of %s: %q", n.cfg.Self.Name, lines)
			}
		}
		if lines := j.lines("no member of a ring found yet"); len(lines) != 2 || !strings.Contains(lines[0], g.nodes[0].Addr()+": connection refused") {
			t.Errorf("every 10 s: %q", lines)
		}
	})
}

func TestSurroundingsAreInspectedAtOnceAndHourly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		var j journal
		tr, err := g.net.Listen("")
		if err != nil {
			t.Fatal(err)
		}
		n := New(Config{
			Self:  ring.Member{ID: 1, Name: "x", Addr: tr.Addr()},
			Space: g.space, Settings: g.space.Settings(""), Successors: 3, Interval: g.interval, Log: j.logger(),
			Inspect: func(context.Context) []Remark {
				return []Remark{{Message: "it rains", Attrs: []slog.Attr{slog.Int("mm", 3)}}}
			},
		}, tr)
		defer n.Close()
		for hours := range 3 {
			synctest.Wait()
			if lines := j.lines(`level=WARN msg="it rains" member=x mm=3`); len(lines) != 1+hours {
				t.Errorf("after %d hours: %q", hours, lines)
			}
			time.Sleep(time.Hour)
		}
	})
}

// A function of the application that hangs does not keep the node from ending.
func TestLookAtTheSurroundingsThatHangsDoesNotHoldUpTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		var j journal
		tr, err := g.net.Listen("")
		if err != nil {
			t.Fatal(err)
		}
		hung, ended := make(chan struct{}), make(chan struct{})
		n := New(Config{
			Self:  ring.Member{ID: 1, Name: "x", Addr: tr.Addr()},
			Space: g.space, Settings: g.space.Settings(""), Successors: 3, Interval: g.interval, Log: j.logger(),
			Inspect: func(context.Context) []Remark {
				<-hung
				return []Remark{{Message: "too late"}}
			},
		}, tr)
		synctest.Wait()
		go func() {
			n.Close()
			close(ended)
		}()
		time.Sleep(time.Second)
		select {
		case <-ended:
		default:
			t.Error("Close waits")
		}
		close(hung)
		<-ended
		synctest.Wait()
		if lines := j.lines("too late"); len(lines) > 0 {
			t.Errorf("logged after the end: %q", lines)
		}
	})
}

// Whoever can connect can be refused for ever new reasons. That hides nothing of what
// this member does not reach.
func TestRefusedStrangersHideNoFailureToReachAPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		var j journal
		n := g.logged("n0", &j)
		flood := func(protocols string) {
			for i := range 2 * maxFailures {
				letters := strings.NewReplacer("0", "a", "1", "b", "2", "c", "3", "d", "4", "e", "5", "f", "6", "g", "7", "h", "8", "i", "9", "j")
				n.refused(transport.Refusal{From: "192.0.2.1", Why: protocols + letters.Replace(fmt.Sprint(i))})
				time.Sleep(50 * time.Millisecond)
			}
		}
		flood("before ")
		x := ring.Member{ID: 7, Name: "x", Addr: "x:1", Incarnation: 1}
		n.failed(x, &protocol.Failure{Kind: protocol.Unreachable, Detail: "x:1: no route to host"}, time.Second)
		synctest.Wait()
		if lines := j.lines(`peer=x addr=x:1 err="no route to host"`); len(lines) != 1 {
			t.Errorf("the log says %q of it", lines)
		}
		flood("after ")
		var asked, refused int
		for _, f := range n.PeerFailures() {
			if f.Incoming {
				refused++
			} else {
				asked++
			}
		}
		if asked != 1 || refused != maxShownFailures-1 {
			t.Errorf("%d failures to reach a peer are listed, and %d refusals", asked, refused)
		}
		for i := range maxShownFailures {
			n.failed(ring.Member{Addr: fmt.Sprint("y:", i)}, &protocol.Failure{Kind: protocol.Refused}, 0)
		}
		flood("at last ")
		list := n.PeerFailures()
		if i := slices.IndexFunc(list, func(f PeerFailure) bool { return !f.Incoming }); i != maxShownFailures/2 || len(list) != maxShownFailures {
			t.Errorf("of %d listed, %d are refusals", len(list), i)
		}
		if k := n.Counters(); k.IncomingRefused != 6*maxFailures || k.PeerFailures != 1+maxShownFailures {
			t.Errorf("counted: %d refused, %d not reached", k.IncomingRefused, k.PeerFailures)
		}
	})
}

// Without a log nothing is written, put into words for it, or handed to a goroutine.
func TestWithoutALogNothingIsDoneForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		g.grow(2)
		n := g.nodes[0]
		g.nodes[1].Close()
		time.Sleep(time.Minute)
		if len(n.journal.queue) > 0 || n.journal.ended != nil {
			t.Error("records wait for nobody")
		}
		v := n.Snapshot().View
		if a := testing.AllocsPerRun(100, func() {
			n.logChange(v, v)
			n.logRange(protocol.RangeChanged{})
			n.logMeeting(v.Self)
			n.logFounding(nil)
		}); a > 0 {
			t.Errorf("%v allocations for no log", a)
		}
		if k := n.Counters(); k.PeerFailures == 0 || len(n.PeerFailures()) == 0 {
			t.Error("failures are counted and kept all the same")
		}
	})
}
