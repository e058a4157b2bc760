package concordtest

import (
	"slices"
	"time"

	"github.com/ollelogdahl/concord"
)

// address is the address of m, and whether m is of this ring. It fails the test if not.
func (r *Ring) address(m *concord.Concord) (string, bool) {
	r.tb.Helper()
	if !r.cluster.Has(m) {
		r.fail("%s is not a member of this ring", m.Name())
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

// Kill stops members at once, as kill -9 does: their connections break. It returns
// when they have stopped. To simulate a machine that loses power, and so closes no
// connection, call Partition first.
func (r *Ring) Kill(members ...*concord.Concord) {
	r.tb.Helper()
	r.each(members, func(*concord.Concord, string) {})
	r.cluster.Kill(members...)
	r.each(members, func(_ *concord.Concord, addr string) { r.net.Resume(addr) })
}

// Restart starts members again that were killed, were stopped or have left. It returns
// when they have joined the ring. A member whose BindAddr has port 0 gets a new address.
func (r *Ring) Restart(members ...*concord.Concord) {
	r.tb.Helper()
	r.notice() // of those that have left, before they run again
	var err error
	r.each(members, func(m *concord.Concord, _ string) {
		if err == nil {
			err = m.Start()
		}
		if err != nil {
			r.fail("restart %s: %v", m.Name(), err)
		}
	})
	if err == nil {
		r.join(members)
	}
}

// Hang makes members look as if they had received SIGSTOP: they neither send nor
// receive until Resume. They are not among Members meanwhile. Only the ring's own
// traffic stops; the members' goroutines and the program under test run on.
func (r *Ring) Hang(members ...*concord.Concord) {
	r.tb.Helper()
	r.each(members, func(m *concord.Concord, addr string) {
		r.net.Pause(addr)
		r.cluster.Exit(m)
	})
}

// Resume undoes Hang. The members then receive what was sent to them meanwhile.
func (r *Ring) Resume(members ...*concord.Concord) {
	r.tb.Helper()
	r.each(members, func(m *concord.Concord, addr string) {
		r.net.Resume(addr)
		r.cluster.Enter(m)
	})
}

// Cut cuts the network between a and b, in both directions, until Heal.
func (r *Ring) Cut(a, b *concord.Concord) {
	r.tb.Helper()
	r.CutOneWay(a, b)
	r.CutOneWay(b, a)
}

// CutOneWay cuts the network in one direction, until Heal: to receives nothing from
// from. Messages in the other direction still arrive.
func (r *Ring) CutOneWay(from, to *concord.Concord) {
	r.tb.Helper()
	r.each([]*concord.Concord{from, to}, func(*concord.Concord, string) {
		r.net.Cut(from.Address(), to.Address())
	})
}

// Partition cuts the given members off from all other Members, in both directions,
// until Heal. Members that start later, and clients, reach both sides.
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

// Delay delays every message by a random time from least to most. Requests and
// replies are delayed separately. Delay(0, 0) undoes it.
func (r *Ring) Delay(least, most time.Duration) {
	r.tb.Helper()
	if r.span("Delay", least, most) {
		r.net.Delay(least, most)
	}
}

// span reports whether a time can be from least to most. It fails the test if not.
func (r *Ring) span(method string, least, most time.Duration) bool {
	r.tb.Helper()
	if least < 0 || most < least {
		r.fail("%s: the time is from %v to %v, it must not be negative, nor end before it begins", method, least, most)
		return false
	}
	return true
}

// DelayBetween delays messages in one direction, from from to to. It overrides Delay
// there.
func (r *Ring) DelayBetween(from, to *concord.Concord, least, most time.Duration) {
	r.tb.Helper()
	if !r.span("DelayBetween", least, most) {
		return
	}
	r.each([]*concord.Concord{from, to}, func(*concord.Concord, string) {
		r.net.DelayBetween(from.Address(), to.Address(), least, most)
	})
}

// Lose loses each message with probability p, from 0 to 1. Lose(0) undoes it.
func (r *Ring) Lose(p float64) {
	r.tb.Helper()
	if !(p >= 0 && p <= 1) {
		r.fail("Lose: the probability is %v, it must be from 0 to 1", p)
		return
	}
	r.net.Lose(p)
}
