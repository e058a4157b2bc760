package node

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
)

func TestLookupsShareAQuestionUntilItIsSent(t *testing.T) {
	var j joint
	x, y := ring.Instance{ID: 1}, ring.Instance{ID: 2}
	enter := func(to ring.Instance, wantLeads bool) *jointQuestion {
		t.Helper()
		q, leads := j.enter(to)
		if leads != wantLeads {
			t.Fatalf("leads: %v, want %v", leads, wantLeads)
		}
		return q
	}
	if q := enter(x, true); q != nil {
		t.Error("the first lookup has a question for others, who would have to wait for its answer")
	}
	first := enter(x, true)
	if q := enter(x, false); q != first {
		t.Error("the third lookup does not join the second")
	}
	if q := enter(y, true); q != nil {
		t.Error("a lookup that asks another member has a question for others")
	}
	if j.depart(x, first) != first {
		t.Error("somebody has joined, and depart says that nobody has")
	}
	second := enter(x, true)
	if second == nil || second == first {
		t.Error("a lookup joins a question that has been sent")
	}
	if j.depart(x, second) != nil {
		t.Error("nobody has joined, and depart says that somebody has")
	}
	if third := enter(x, true); third != second {
		t.Error("a question that nobody knows of is not used again")
	}
	for range 5 {
		j.leave(x)
	}
	j.leave(y)
	if len(j.parties) != 0 {
		t.Errorf("%d parties are left", len(j.parties))
	}
}

// joined is a ring in which lookups by n wait for a question to the member at owner that
// somebody else leads, and that was sent after they began.
type joined struct {
	*rig
	n     *Node
	owner *Node
	q     *jointQuestion
	ids   []uint64
	errs  chan error
}

// join has lookups of all kinds of identifiers of one member join a question.
func (g *rig) join(ctx context.Context) *joined {
	g.t.Helper()
	g.grow(5)
	time.Sleep(10 * g.interval)
	n, owner := g.nodes[0], g.nodes[1]
	to := owner.cfg.Self.Instance()
	j := &joined{rig: g, n: n, owner: owner}
	n.joint.enter(to)
	var leads bool
	if j.q, leads = n.joint.enter(to); !leads {
		g.t.Fatal("the second lookup does not lead")
	}
	arc := owner.Snapshot().View.Arc
	j.ids = []uint64{arc.To, arc.To - 1, arc.After + 1}
	j.errs = make(chan error, len(j.ids))
	for _, id := range j.ids {
		go func() {
			r, err := n.Lookup(ctx, id, routing.Options{Fresh: true})
			if err == nil && r.Owner != owner.cfg.Self {
				err = errors.New("the owner is " + r.Owner.Name)
			}
			j.errs <- err
		}()
	}
	synctest.Wait()
	return j
}

// answered ends the question, and returns how many requests the lookups have made themselves.
func (j *joined) answered(q jointQuestion) uint64 {
	j.t.Helper()
	to := j.owner.cfg.Self.Instance()
	if j.n.joint.depart(to, j.q) == nil {
		j.t.Fatal("no lookup has joined")
	}
	before := j.n.counters.routed.Load()
	j.q.answer, j.q.err, j.q.sent, j.q.void = q.answer, q.err, q.sent, q.void
	close(j.q.done)
	for range j.ids {
		if err := <-j.errs; err != nil {
			j.t.Error(err)
		}
	}
	j.n.joint.leave(to)
	j.n.joint.leave(to)
	if n := len(j.n.joint.parties); n != 0 {
		j.t.Errorf("%d parties are left", n)
	}
	return j.n.counters.routed.Load() - before
}

// own is what x says of its own arc.
func own(x *Node) routing.Answer {
	return x.Snapshot().Table.Answer(routing.Query{ID: x.cfg.Self.ID}, x.now())
}

// Fresh lookups that join a question take its answer if the owner names their identifiers in
// it and was asked after they had begun. Else each asks itself.
func TestFreshLookupsTakeTheAnswerToAQuestionThatTheyHaveJoined(t *testing.T) {
	for _, c := range []struct {
		name string
		q    func(j *joined) jointQuestion
		asks uint64
	}{
		{"the owner's word", func(j *joined) jointQuestion { return jointQuestion{answer: own(j.owner), sent: j.n.now()} }, 0},
		{"sent before", func(j *joined) jointQuestion { return jointQuestion{answer: own(j.owner)} }, 3},
		{"another's word", func(j *joined) jointQuestion { return jointQuestion{answer: own(j.nodes[2]), sent: j.n.now()} }, 3},
		{"not of the owner itself", func(j *joined) jointQuestion {
			a := own(j.owner)
			a.Verdict = routing.Owned
			return jointQuestion{answer: a, sent: j.n.now()}
		}, 3},
		{"without an arc", func(j *joined) jointQuestion {
			a := own(j.owner)
			a.HasArc = false
			return jointQuestion{answer: a, sent: j.n.now()}
		}, 3},
		{"given up", func(j *joined) jointQuestion { return jointQuestion{void: true, err: errGivenUp, sent: j.n.now()} }, 3},
	} {
		synctest.Test(t, func(t *testing.T) {
			g := newRig(t, 1)
			defer g.close()
			j := g.join(t.Context())
			if asks := j.answered(c.q(j)); asks != c.asks {
				t.Errorf("%s: %d requests besides, want %d", c.name, asks, c.asks)
			}
		})
	}
}

// A failure of the question is one of each lookup that has joined it: they search on.
func TestLookupsThatHaveJoinedAQuestionThatFailsSearchOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		j := g.join(t.Context())
		f := &protocol.Failure{Kind: protocol.TimedOut, Detail: "no answer"}
		if asks := j.answered(jointQuestion{err: f, sent: j.n.now()}); asks < 3 {
			t.Errorf("%d requests besides", asks)
		}
	})
}

// A lookup that has joined a question ends with its context.
func TestLookupThatHasJoinedAQuestionEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		ctx, cancel := context.WithCancel(t.Context())
		j := g.join(ctx)
		began := time.Now()
		cancel()
		for range j.ids {
			if err := <-j.errs; !errors.Is(err, context.Canceled) {
				t.Errorf("a lookup ends with %v", err)
			}
		}
		if d := time.Since(began); d != 0 {
			t.Errorf("they end after %v", d)
		}
		to := j.owner.cfg.Self.Instance()
		j.n.joint.depart(to, j.q)
		j.n.joint.leave(to)
		j.n.joint.leave(to)
	})
}

// Many fresh lookups of the keys of one member at once are all right, though whoever asks for
// others gives up.
func TestManyFreshLookupsOfOneMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		g.grow(5)
		time.Sleep(10 * g.interval)
		n, owner := g.nodes[0], g.nodes[1]
		arc := owner.Snapshot().View.Arc
		errs := make(chan error)
		const callers, each = 32, 20
		for i := range callers {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() {
				for k := range each {
					if i%4 == 0 && k == each/2 {
						go cancel()
					}
					r, err := n.Lookup(ctx, arc.To-uint64(i*each+k), routing.Options{Fresh: true})
					if err == nil && r.Owner != owner.cfg.Self {
						err = errors.New("the owner is " + r.Owner.Name)
					}
					if i%4 == 0 && errors.Is(err, context.Canceled) {
						err = nil
					}
					errs <- err
				}
			}()
		}
		for range callers * each {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		if len(n.joint.parties) != 0 {
			t.Errorf("%d parties are left", len(n.joint.parties))
		}
	})
}
