package concordtest

import (
	"slices"
	"time"

	"github.com/ollelogdahl/concord"
)

// address is where the network knows m.
func (r *Ring) address(m *concord.Concord) (string, bool) {
	r.tb.Helper()
	if !r.cluster.Has(m) {
		r.fail("%s is not of this ring", m.Name())
		return "", false
	}
	return m.Address(), true
}

// each calls f with the address of each of the members, if all are of this ring.
func (r *Ring) each(members []*concord.Concord, f func(m *concord.Concord, addr string)) {
	r.tb.Helper()
	for _, m := range members {
		if _, ok := r.address(m); !ok {
			return
		}
	}
	for _, m := range members {
		f(m, m.Address())
	}
}

// Kill ends members at once, as kill -9 does: their connections break. It returns
// when they have stopped. For a machine that vanishes without a word, use
// Partition before it.
func (r *Ring) Kill(members ...*concord.Concord) {
	r.tb.Helper()
	r.each(members, func(*concord.Concord, string) {})
	r.cluster.Kill(members...)
	r.each(members, func(_ *concord.Concord, addr string) { r.net.Resume(addr) })
}

// Restart starts members that were killed, stopped or have left again, as new
// incarnations of their names, and returns when they have joined.
func (r *Ring) Restart(members ...*concord.Concord) {
	r.tb.Helper()
	var err error
	r.each(members, func(m *concord.Concord, _ string) {
		if err == nil {
			err = m.Start()
		}
		if err != nil {
			r.fail("restart of %s: %v", m.Name(), err)
		}
	})
	if err == nil {
		r.join(members)
	}
}

// Hang stops members as SIGSTOP does, as far as the others can tell: they answer
// nothing and say nothing until Resume, and are no Members meanwhile. Their own
// goroutines run on.
func (r *Ring) Hang(members ...*concord.Concord) {
	r.tb.Helper()
	r.each(members, func(m *concord.Concord, addr string) {
		r.net.Pause(addr)
		r.cluster.Exit(m)
	})
}

// Resume undoes Hang. What was sent to the members meanwhile arrives now.
func (r *Ring) Resume(members ...*concord.Concord) {
	r.tb.Helper()
	r.each(members, func(m *concord.Concord, addr string) {
		r.net.Resume(addr)
		r.cluster.Enter(m)
	})
}

// Cut keeps what a and b say from each other, both ways, until Heal.
func (r *Ring) Cut(a, b *concord.Concord) {
	r.tb.Helper()
	r.CutOneWay(a, b)
	r.CutOneWay(b, a)
}

// CutOneWay keeps what from says from to, until Heal. The way back stays.
func (r *Ring) CutOneWay(from, to *concord.Concord) {
	r.tb.Helper()
	r.each([]*concord.Concord{from, to}, func(*concord.Concord, string) {
		r.net.Cut(from.Address(), to.Address())
	})
}

// Partition cuts the members of side off from all other members, both ways, until
// Heal. Clients reach both sides.
func (r *Ring) Partition(side ...*concord.Concord) {
	r.tb.Helper()
	r.each(side, func(m *concord.Concord, _ string) {
		for _, other := range r.Members() {
			if !slices.Contains(side, other) {
				r.Cut(m, other)
			}
		}
	})
}

// Heal undoes every Cut, CutOneWay and Partition.
func (r *Ring) Heal() { r.net.HealAll() }

// Delay makes every message take between least and most, evenly drawn, from now
// on. An answer is a message too. Zero, twice, undoes it.
func (r *Ring) Delay(least, most time.Duration) { r.net.Delay(least, most) }

// DelayBetween is Delay for what from says to to only; the way back stays. It
// takes the place of Delay there.
func (r *Ring) DelayBetween(from, to *concord.Concord, least, most time.Duration) {
	r.tb.Helper()
	r.each([]*concord.Concord{from, to}, func(*concord.Concord, string) {
		r.net.DelayBetween(from.Address(), to.Address(), least, most)
	})
}

// Lose makes each message get lost with probability p, from 0 to 1. Zero undoes
// it.
func (r *Ring) Lose(p float64) {
	r.tb.Helper()
	if !(p >= 0 && p <= 1) {
		r.fail("Lose: %v is no probability", p)
		return
	}
	r.net.Lose(p)
}
