package attack

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
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
			honest.State.Version++ // or who has the honest answer is told that nothing has changed
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

// A member says that lookups should go on at members that do not exist, each nearer than the
// one before. Those that begin elsewhere do not care; the rest end with an answer.
func TestMemberThatLeadsAstray(t *testing.T) {
	var n atomic.Int64
	w := attacktest.Default
	r, liar := lied(t, 6, &attacktest.Liar{Route: func(q routing.Query, honest routing.Answer) routing.Answer {
		if honest.Verdict == routing.Mine {
			return honest
		}
		x := w.Server(fmt.Sprint("astray-", n.Add(1)), "127.0.0.1:1", attacktest.Now())
		return routing.Answer{Verdict: routing.Closer, By: honest.By, Closer: []ring.Member{{ID: x.GetId(), Name: x.GetName(), Addr: x.GetAddress(), Incarnation: x.GetIncarnation()}}}
	}})
	r.stands()
	for _, m := range r.Members() {
		if m == liar {
			continue
		}
		for i := range 8 {
			key := fmt.Appendf(nil, "astray-%d", i)
			if got, err := m.LookupContext(bounded(t, patience), key, concord.Cold()); err != nil || got != r.Truth(key) {
				t.Errorf("%s: %q: %v, %v; should be %v", m.Name(), key, got, err, r.Truth(key))
			}
		}
	}
	r.gone(liar)
}

// A member of the ring says that the whole circle is its own.
func TestMemberThatOwnsTheWholeCircle(t *testing.T) {
	r, liar := lied(t, 6, &attacktest.Liar{Route: func(_ routing.Query, honest routing.Answer) routing.Answer {
		self := honest.By
		if honest.Verdict == routing.Mine {
			self = honest.Owner
		}
		return routing.Answer{Verdict: routing.Mine, Owner: self, HasArc: true, Arc: ring.Arc{After: self.ID, To: self.ID}, Lease: routing.MaxLease}
	}})
	wrong := 0
	for _, m := range r.Members() {
		if m == liar {
			continue
		}
		for i := range 8 {
			key := fmt.Appendf(nil, "all-%d", i)
			if got, err := m.LookupContext(bounded(t, patience), key, concord.Cold()); err != nil || got != r.Truth(key) {
				wrong++
			}
		}
	}
	if wrong > 0 {
		t.Errorf("%d lookups named it or failed", wrong)
	}
	r.gone(liar)
}

// A member of the ring names as the owner of every key one that nobody has met. That one
// answers, and claims the whole circle. It gets no more than a member at its place would.
func TestMemberThatNamesAStrangerAsOwner(t *testing.T) {
	p := peer(t, "stranger", attacktest.Now(), nil)
	stranger := ring.Member{ID: p.Self.GetId(), Name: p.Self.GetName(), Addr: p.Addr(), Incarnation: p.Self.GetIncarnation()}
	r, liar := lied(t, 6, &attacktest.Liar{Route: func(q routing.Query, honest routing.Answer) routing.Answer {
		arc := ring.Arc{After: q.ID - 1, To: stranger.ID}
		return routing.Answer{Verdict: routing.Owned, By: honest.By, Owner: stranger, HasArc: true, Arc: arc, Lease: routing.MaxLease}
	}})
	c, err := concord.Dial(bounded(t, patience), concord.ClientConfig{}, liar.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	own := r.place(p.Self.GetId())
	behind := concord.Range{Start: liar.Id(), End: r.after(liar).Id()} // which a client asks the liar for
	for i, asked := 0, 0; asked < 8; i++ {
		key := fmt.Appendf(nil, "stranger-%d", i)
		if id := world.Space.ID(key); own.Contains(id) || !behind.Contains(id) {
			continue
		}
		asked++
		for _, m := range r.Members() {
			if m == liar {
				continue
			}
			if got, err := m.LookupContext(bounded(t, patience), key, concord.Cold()); err != nil || got != r.Truth(key) {
				t.Errorf("%s finds %v, %v; should be %v", m.Name(), got, err, r.Truth(key))
			}
		}
		if got, err := c.LookupContext(bounded(t, patience), key, concord.Cold()); err != nil || got != r.Truth(key) {
			t.Errorf("a client finds %v, %v; should be %v", got, err, r.Truth(key))
		}
	}
	if p.Asked() == 0 {
		t.Error("the stranger was not asked")
	}
	p.Stop()
	r.gone(liar)
}
