package node

import (
	"log/slog"
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// What a member knows is remembered at most so often: soon when its neighbours
// have changed, late when only others have, which in a large ring they always do.
const (
	rememberSoon = 3 * time.Second
	rememberLate = time.Minute
)

// knowledge is what is worth remembering of a snapshot: members that have answered this one.
// Those that its list has on another's word alone may be nobody, or lead elsewhere.
type knowledge struct {
	incarnation uint64
	origin      *ring.Origin
	near        []ring.Member // itself, its predecessor, its successor; none while it is in no ring
	far         []ring.Member // others that live, those of its list first
	variants    []uint8       // of where the process stands, or stood last
}

func knowledgeOf(s *Snapshot) knowledge {
	v := s.View
	k := knowledge{incarnation: v.Self.Incarnation}
	if !v.Phase.InRing() {
		return k
	}
	k.origin = v.Origin
	k.near = append(k.near, v.Self)
	if !v.Pred.IsZero() {
		k.near = append(k.near, v.Pred)
	}
	for i, x := range v.Succ {
		switch {
		case i == 0 && v.Answered >= 0:
			k.near = append(k.near, x)
		case slices.Contains(v.Known, x):
			k.far = append(k.far, x)
		}
	}
	for _, f := range s.Fingers {
		k.far = append(k.far, f.Member)
	}
	k.far = append(k.far, v.Known...)
	return k
}

// samples is how many points of the circle there are whose owners, on the map, are remembered:
// of a ring that is large, few of them change.
const samples = 32

// knowledge is what the process knows now.
func (n *Node) knowledge() knowledge {
	k := knowledgeOf(n.Snapshot())
	if chart := n.chart.Load(); chart != nil && len(k.near) > 0 {
		for i := range uint64(samples) {
			c := chart.Known((^uint64(0) >> (64 - n.space.Bits)) / samples * i)
			if c != nil && c.Owner().Name != k.near[0].Name && !slices.Contains(k.far, *c.Of) {
				k.far = append(k.far, *c.Of)
			}
		}
	}
	k.variants = n.variants()
	return k
}

// after is how long after k has been remembered next is to be, and whether there
// is anything new in it.
func (k knowledge) after(next knowledge) (time.Duration, bool) {
	switch {
	case next.incarnation != k.incarnation:
		return 0, true
	case len(next.near) == 0: // what was remembered of the ring stays
		return 0, false
	case next.origin != k.origin, !slices.Equal(k.variants, next.variants), !sameMembers(k.near, next.near):
		return rememberSoon, true
	case !sameMembers(k.far, next.far):
		return rememberLate, true
	}
	return 0, false
}

func sameMembers(a, b []ring.Member) bool {
	in := func(list []ring.Member) func(ring.Member) bool {
		return func(x ring.Member) bool { return !slices.Contains(list, x) }
	}
	return !slices.ContainsFunc(a, in(b)) && !slices.ContainsFunc(b, in(a))
}

// remember hands what is known to cfg.Remember: at once, when it has changed, and
// at the end; again after a failure.
func (n *Node) remember() {
	var last knowledge
	var at time.Time
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	failed := ""
	tell := func(k knowledge) {
		at = time.Now()
		err := n.cfg.Remember(k.incarnation, k.origin, slices.Concat(k.near, k.far), k.variants)
		switch {
		case err == nil:
			last, failed = k, ""
		case err.Error() != failed: // once, not at every change
			failed = err.Error()
			n.Note(slog.LevelError, "state not saved", slog.Any("err", err))
		}
	}
	for {
		s := n.Snapshot()
		now := n.knowledge()
		wait, news := last.after(now)
		if failed != "" {
			wait = max(wait, rememberSoon) // try again, but not all the time
		}
		if wait -= time.Since(at); news && wait <= 0 {
			tell(now)
			continue
		}
		if !news {
			wait = time.Hour
		}
		timer.Reset(wait)
		select {
		case <-s.Next:
		case <-timer.C:
		case <-n.ctx.Done():
			now = n.knowledge()
			if _, news := last.after(now); news {
				tell(now)
			}
			return
		}
	}
}
