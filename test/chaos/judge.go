//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/child"
)

const (
	// lookEvery is how often each member looks a key up, whatever became of its
	// earlier lookups: if the next waited for the last, slow ones would be few.
	lookEvery = 200 * time.Millisecond
	// settling is how long a ring must have been ideal until a wrong answer is a
	// violation, if the answer does not say that it is older: so long, at most, a
	// member may answer from what it was told by another than the map of the ring.
	settling = concord.DefaultStabilizeInterval
	// oldest is how old any answer may say that it is.
	oldest = 10 * concord.DefaultStabilizeInterval
	// A lookup without a deadline ends within 5 s. It hangs if the member has
	// not answered this much later: it shares two CPUs with all others.
	hangs = 5*time.Second + 2*time.Second
)

// phase is one part of a scenario: something happens to the ring, and lookups go
// on.
type phase struct {
	name    string
	allowed time.Duration // until every side is an ideal ring
	// hold is how long the phase lasts, at least. It lasts 3 s longer than it
	// takes to become ideal in any case, to see that it stays so.
	hold time.Duration
	// imperfect: no ideal ring is waited for, since none can come of it or it
	// does not last.
	imperfect bool
	// right is when, in an imperfect ring, lookups of keys outside of the hole
	// must be right again. 0: they need not.
	right time.Duration

	began time.Time

	// The result. Lookups count by ring.mu.
	counts
	holes   counts // of keys in the hole, which do not count with the others
	ideal   time.Duration
	lag     time.Duration // how late this process itself was at worst
	faults  []string      // the first few
	nfaults int
}

// counts is what became of lookups.
type counts struct {
	lookups, wrong, errs int
	slowest, until       time.Duration // until: when the last bad answer was given
}

func (c *counts) add(o counts) {
	c.lookups += o.lookups
	c.wrong += o.wrong
	c.errs += o.errs
	c.slowest = max(c.slowest, o.slowest)
	c.until = max(c.until, o.until)
}

const maxFaults = 5

// fault notes what must not be. It is called under ring.mu.
func (p *phase) fault(format string, args ...any) {
	p.nfaults++
	if len(p.faults) < maxFaults {
		p.faults = append(p.faults, fmt.Sprintf(format, args...))
	}
}

// run does something to the ring and watches it until the phase is over.
func (r *ring) run(ctx context.Context, p *phase, do func() error) error {
	r.mu.Lock()
	clear(r.settled)
	p.began = time.Now()
	r.phase = p
	r.mu.Unlock()
	if err := do(); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	if p.imperfect {
		if p.right > 0 {
			pause(ctx, time.Until(p.began.Add(p.right)))
			r.mu.Lock()
			r.settled[0] = time.Now()
			r.mu.Unlock()
		}
		pause(ctx, time.Until(p.began.Add(p.hold)))
		return ctx.Err()
	}
	took, wrong := r.waitIdeal(ctx, p.began, max(3*p.allowed, p.hold))
	pause(ctx, max(3*time.Second, time.Until(p.began.Add(p.hold))))
	later := ""
	for _, seats := range r.sides() {
		if w := r.wrongOf(ctx, seats); w != "" {
			later = w
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	p.ideal = took
	switch {
	case wrong != "":
		p.fault("not ideal after %s: %s", seconds(took), wrong)
	case took > p.allowed:
		p.fault("ideal after %s only, %s are allowed", seconds(took), seconds(p.allowed))
	case later != "":
		p.fault("was ideal after %s and is not %s later: %s", seconds(took), seconds(time.Since(p.began)-took), later)
	}
	return ctx.Err()
}

// look looks keys up until ctx ends, each at a random member.
func (r *ring) look(ctx context.Context) {
	rng := rand.New(rand.NewPCG(uint64(len(r.seats)), 0))
	again := time.NewTicker(lookEvery / time.Duration(len(r.seats)))
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case tick := <-again.C:
			r.late(time.Since(tick))
		}
		key := fmt.Sprintf("key-%x", rng.Uint64())
		q, ok := r.question(r.seats[rng.IntN(len(r.seats))], concord.New(concord.Config{Name: key}).Id())
		if !ok {
			continue
		}
		r.looking.Go(func() {
			asking, cancel := context.WithTimeout(ctx, hangs)
			defer cancel()
			began := time.Now()
			a, err := q.process.Ask(asking, "lookup "+key)
			if ctx.Err() == nil {
				r.judge(q, a, err, time.Since(began))
			}
		})
	}
}

// late notes how long this process had to wait for its turn: so long its members
// may have, and be taken for dead.
func (r *ring) late(lag time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.phase.lag = max(r.phase.lag, lag)
}

// question is a lookup that is being made, and the truth when it began.
type question struct {
	seat    *seat
	process *child.Child
	changes int
	id      uint64
	want    *seat
	hole    bool
	ideal   time.Duration // for so long the ring had been ideal; negative: it was not
	epoch   uint64
}

func (r *ring) question(s *seat, id uint64) (question, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !s.up {
		return question{}, false
	}
	return question{
		seat: s, process: s.process, changes: s.changes, id: id, want: r.owner(id, s.side),
		hole: r.hole != nil && r.hole(id), ideal: r.idealFor(s.side), epoch: r.epoch,
	}, true
}

// idealFor is for how long a side has been ideal, negative if it is not. It is called
// under the lock.
func (r *ring) idealFor(side int) time.Duration {
	at := r.settled[side]
	if at.IsZero() {
		return -1
	}
	return time.Since(at)
}

// judge holds an answer against the truth. While the ring is not settled, an
// answer is wrong, and only counted, if it was neither the truth when the lookup
// began nor when it ended. In a settled ring every answer must be right. For an
// answer the ring is settled if it has been ideal for longer than the answer is old.
func (r *ring) judge(q question, a child.Answer, err error, took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if q.changes != q.seat.changes {
		return // it was killed, stopped or cut short meanwhile
	}
	settled := q.ideal >= max(settling, a.Age) && q.epoch == r.epoch
	p := r.phase
	c := counts{lookups: 1, slowest: a.Took}
	var own child.MemberError
	switch {
	case err != nil && !errors.As(err, &own):
		c.errs, c.slowest, c.until = 1, took, time.Since(p.began)
		p.fault("%s: lookup without an answer after %s: %v", q.seat.name, seconds(took), err)
	case err != nil:
		c.errs, c.until = 1, time.Since(p.began)
		if settled && !q.hole {
			p.fault("%s, in a settled ring: %v", q.seat.name, err)
		}
	case !q.want.is(*a.Server) && !r.owner(q.id, q.seat.side).is(*a.Server):
		c.wrong, c.until = 1, time.Since(p.began)
		if settled && !q.hole {
			p.fault("%s, in a settled ring: %x is said to be %s's, and is %s's (%s, %s old)", q.seat.name, q.id, a.Server.Name, q.want.name, a.Source, seconds(a.Age))
		}
	}
	if a.Age > oldest+a.Took {
		p.fault("%s: an answer that is %s old (%s)", q.seat.name, seconds(a.Age), a.Source)
	}
	if q.hole && p.imperfect {
		p.holes.add(c)
	} else {
		p.add(c)
	}
}

func (s *seat) is(x concord.Server) bool { return s.name == x.Name && s.addr == x.Address }
