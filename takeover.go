package concord

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/node"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// This file has the functions Take of all Services called before a join.

// preparation is a Take for a range before the member owns it.
type preparation struct {
	at    *node.Node // which will own it
	of    Range
	call  *handling
	taken bool   // it has returned nil
	owned bool   // the member owns the range meanwhile
	from  Server // who held it until then, as far as it is known
}

// takeoverWanted is how long a join waits for the Services, if it has the time.
func (c *Concord) takeoverWanted() time.Duration {
	if !slices.ContainsFunc(c.serving(), func(s *Service) bool { return s.handler.Take != nil }) {
		return 0
	}
	return c.cfg.takeoverTimeout()
}

// takeover is how long a join waits that ends with ctx.
func (c *Concord) takeover(ctx context.Context) time.Duration {
	most := c.takeoverWanted()
	if end, ok := ctx.Deadline(); ok {
		left := time.Until(end)
		most = min(most, left-min(left/2, joinTimeout))
	}
	return max(0, most)
}

// prepare has all Services take the arc, which the member will own, until ctx ends.
func (c *Concord) prepare(ctx context.Context, at *node.Node, arc ring.Arc, from []ring.Member, epoch uint64) {
	holders := c.holders(server(from[0]), from[1:])
	c.eachService(func(s *Service) { s.prepare(ctx, at, rangeOf(arc), holders, epoch) })
}

// holders are the members that may have the data of a range which from held: that one, and the
// others that stand in the list, each once. From may be this member at another identifier.
func (c *Concord) holders(from Server, list []ring.Member) []Server {
	out := listed(from)
	for _, m := range list {
		if x := server(m); x.Id != c.id && !slices.Contains(out, x) {
			out = append(out, x)
		}
	}
	return out
}

// forgetPrepared has all Services forget what they have taken for a join that is over.
func (c *Concord) forgetPrepared() {
	for _, s := range c.serving() {
		s.mu.Lock()
		for at := range s.prepared {
			s.forget(at)
		}
		s.mu.Unlock()
	}
}

// prepare takes a range, or waits for a Take that is under way, until ctx ends.
func (s *Service) prepare(ctx context.Context, at *node.Node, r Range, from []Server, epoch uint64) {
	if s.handler.Take == nil {
		return
	}
	s.mu.Lock()
	if p := s.prepared[at]; p != nil && len(r.Minus(p.of)) > 0 {
		s.forget(at)
	}
	if s.prepared[at] == nil && !s.stopped(at) {
		s.beginToPrepare(ctx, at, r, from, epoch)
	}
	p := s.prepared[at]
	s.mu.Unlock()
	if p == nil {
		return
	}
	select {
	case <-p.call.done:
	case <-ctx.Done():
	case <-s.ended:
	}
}

// forget ends what is prepared at an identifier. Callers hold mu.
func (s *Service) forget(at *node.Node) {
	if p := s.prepared[at]; p != nil {
		p.call.cancel()
		delete(s.prepared, at)
	}
}

// beginToPrepare calls Take for a range that the member will own, unless it gives the identifier up
// before, which ends ctx. Callers hold mu.
func (s *Service) beginToPrepare(ctx context.Context, at *node.Node, r Range, from []Server, epoch uint64) {
	p := &preparation{at: at, of: r}
	p.call = s.call(s.ctx, at, r, true, func(ctx context.Context) {
		s.untilTaken(ctx, at, r, func(v *protocol.View) error {
			if at.Snapshot().InRing { // another call has lasted so long, or one has failed
				epoch = v.Epoch
			}
			err := s.handler.Take(ctx, r, from, epoch)
			if errors.Is(err, ErrNotJoined) {
				s.abandon(p)
			}
			return err
		}, func(r servedRange) { s.hasPrepared(p, r) })
	})
	s.prepared[at] = p
	context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.prepared[at] == p {
			s.forget(at)
		}
	})
}

// abandon ends a preparation whose Take cannot do without a ring. If the member owns the
// range by now, it is taken as any other.
func (s *Service) abandon(p *preparation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.call.ctx.Err() != nil {
		return
	}
	p.call.cancel()
	if p.owned {
		s.take(s.ctx, p.at, p.of, p.from)
	} else {
		delete(s.prepared, p.at)
	}
}

// hasPrepared notes that the Take of a preparation has returned nil. Callers hold mu.
func (s *Service) hasPrepared(p *preparation, r servedRange) {
	p.taken = true
	if p.owned {
		s.catchUp(s.ctx, p.at, r.Range, p.from)
	}
}

// gain takes a range that the member owns from now on, but for what was taken before.
// Callers hold mu.
func (s *Service) gain(ctx context.Context, at *node.Node, p *preparation, gained Range, from Server) {
	switch {
	case p == nil:
		s.take(ctx, at, gained, from)
	case p.taken:
		for _, have := range gained.Intersect(p.of) {
			s.catchUp(ctx, at, have, from)
		}
		for _, left := range gained.Minus(p.of) {
			s.take(ctx, at, left, from)
		}
	case p.of == gained:
		p.owned, p.from, p.call.from = true, from, from // it goes on
	default:
		p.call.cancel()
		s.take(ctx, at, gained, from)
	}
}

// catchUp serves a range that was taken before the member owned it. Callers hold mu.
func (s *Service) catchUp(ctx context.Context, at *node.Node, r Range, from Server) {
	switch {
	case s.stopped(at):
	case s.handler.CatchUp == nil:
		s.serve(servedRange{Range: r, at: at, epoch: at.Snapshot().View.Epoch})
	default:
		t := s.call(ctx, at, r, true, func(ctx context.Context) {
			f := s.handler.CatchUp
			s.untilTaken(ctx, at, r, byClaim(ctx, r, func(epoch uint64) error {
				err := f(ctx, r, s.holders(at, from), epoch)
				f = s.handler.Take // should it be called again
				return err
			}), s.serve)
		})
		t.from = from
	}
}

// standIn serves a range in the place of a member that is to be back at that time, and
// takes it then, if that is not. Callers hold mu.
func (s *Service) standIn(ctx context.Context, at *node.Node, r Range, back time.Time) {
	if s.stopped(at) {
		return
	}
	if s.standIns[at] == nil {
		s.standIns[at] = &protocol.StandIns{}
	}
	s.standIns[at].Gain(r.arc(), back.Sub(s.began))
	over := time.AfterFunc(time.Until(back), func() { s.standInsOver(ctx, at) })
	context.AfterFunc(ctx, func() { over.Stop() })
	s.serve(servedRange{Range: r, at: at, epoch: at.Snapshot().View.Epoch})
}

// standInsOver takes what is served at an identifier in the place of members that are not back
// in time.
func (s *Service) standInsOver(ctx context.Context, at *node.Node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	in := s.standIns[at]
	if in == nil {
		return
	}
	for _, arc := range in.Over(time.Since(s.began)) {
		s.unserve(at, rangeOf(arc))
		s.take(ctx, at, rangeOf(arc), Server{})
	}
	s.publish()
}
