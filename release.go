package concord

import (
	"context"
	"slices"

	"github.com/ollelogdahl/concord/internal/node"
	"github.com/ollelogdahl/concord/internal/protocol"
)

// This file has what a Service does when the member loses a range, leaves or drains.

// loseTo is lose of what a change to h tells. What the member has again, and meanwhile only other
// identifiers of its own had, is no other member's, nor is what the next of these takes over.
// Callers hold mu.
func (s *Service) loseTo(ctx context.Context, at *node.Node, lost Range, to Server, h node.Holding) {
	if h.GivenUp() && s.takesOver(at) {
		to = s.member.self()
	}
	rest := []Range{lost}
	if now := rangeOf(h.Arc); h.Has && !h.Others {
		for _, again := range lost.Intersect(now) {
			s.lose(ctx, at, again, s.member.self())
		}
		rest = lost.Minus(now)
	}
	for _, r := range rest {
		s.lose(ctx, at, r, to)
	}
}

// lose ends what goes on for a range that is lost at an identifier. Callers hold mu.
func (s *Service) lose(ctx context.Context, at *node.Node, lost Range, to Server) {
	for _, t := range slices.Clone(s.calls) {
		if t.at == at && t.taking() && len(t.of.Intersect(lost)) > 0 {
			t.cancel()
			for _, left := range t.of.Minus(lost) {
				s.take(ctx, at, left, t.from)
			}
		}
	}
	for _, r := range append(s.unserve(at, lost), s.passed(at, lost)...) {
		s.releaseLost(ctx, r, to)
	}
}

// passes notes that what was served at an identifier is another's of the member from now on, unless
// that serves it already. Callers hold mu.
func (s *Service) passes(r servedRange) {
	s.passing = append(s.passing, without(r, s.now.ranges)...)
}

// without is what of r is in none of others.
func without(r servedRange, others []servedRange) (out []servedRange) {
	left := []Range{r.Range}
	for _, x := range others {
		var rest []Range
		for _, l := range left {
			rest = append(rest, l.Minus(x.Range)...)
		}
		left = rest
	}
	for _, l := range left {
		out = append(out, servedRange{l, r.at, r.epoch})
	}
	return out
}

// passed returns what of a range passes from one identifier to another, to have it at that one
// from now on. Callers hold mu.
func (s *Service) passed(at *node.Node, of Range) (out []servedRange) {
	var kept []servedRange
	for _, r := range s.passing {
		for _, x := range r.Intersect(of) {
			out = append(out, servedRange{x, at, r.epoch})
		}
		for _, x := range r.Minus(of) {
			kept = append(kept, servedRange{x, r.at, r.epoch})
		}
	}
	s.passing = kept
	return out
}

// unserve stops serving a range at an identifier, and returns what of it was served. Callers hold
// mu.
func (s *Service) unserve(at *node.Node, gone Range) (was []servedRange) {
	var kept []servedRange
	for _, r := range s.now.ranges {
		if r.at != at {
			kept = append(kept, r)
			continue
		}
		for _, x := range r.Intersect(gone) {
			was = append(was, servedRange{x, at, r.epoch})
		}
		for _, x := range r.Minus(gone) {
			kept = append(kept, servedRange{x, at, r.epoch})
		}
	}
	s.now.ranges = kept
	return was
}

// releaseLost releases what is lost at an identifier, but for what the member has at another one.
// Callers hold mu.
func (s *Service) releaseLost(ctx context.Context, lost servedRange, to Server) {
	if to == s.member.self() {
		s.passes(lost)
		return
	}
	gone := []Range{lost.Range}
	for _, x := range s.node.Nodes() {
		if has, ok := rangeAt(x); ok && x != lost.at {
			var left []Range
			for _, r := range gone {
				for _, passes := range r.Intersect(has) {
					s.passes(servedRange{passes, lost.at, lost.epoch})
				}
				left = append(left, r.Minus(has)...)
			}
			gone = left
		}
	}
	for _, r := range gone {
		s.release(ctx, servedRange{Range: r, at: lost.at, epoch: lost.epoch}, listed(to))
	}
}

// takesOver reports whether the next identifier of the member after one that it gives up takes over
// what that had: it has it for its predecessor, or none in its place yet.
func (s *Service) takesOver(at *node.Node) bool {
	gone := at.Snapshot().Self.ID
	var next *protocol.View
	for _, x := range s.node.Nodes() {
		if v := x.Snapshot().View; x != at && v.Phase == protocol.Joined && (next == nil || v.Self.ID-gone < next.Self.ID-gone) {
			next = v
		}
	}
	return next != nil && (next.Pred.ID == gone || !next.HasArc)
}

// release calls Release for a range that was served. Callers hold mu.
func (s *Service) release(ctx context.Context, r servedRange, to []Server) *handling {
	return s.call(ctx, r.at, r.Range, false, func(ctx context.Context) {
		if s.handler.Release != nil {
			s.handler.Release(ctx, r.Range, to, r.epoch)
		}
	})
}

// leave releases what is served, for a member that is about to leave, until ctx ends. One that
// is to return keeps it.
func (s *Service) leave(ctx context.Context, returning bool) {
	s.mu.Lock()
	s.leaving = true
	s.giveUp(ctx, returning)
}

// suspend releases what is served, until ctx ends, and takes nothing from now on.
func (s *Service) suspend(ctx context.Context) {
	s.mu.Lock()
	s.drained = true
	s.giveUp(ctx, false)
}

// resume ends suspend. If the member has ranges still, they are taken again.
func (s *Service) resume() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.drained {
		return
	}
	s.drained = false
	for at, r := range s.held {
		s.take(s.ctx, at, r, Server{})
	}
}

// stopped reports whether nothing is to be taken at an identifier. Callers hold mu.
func (s *Service) stopped(at *node.Node) bool { return s.leaving || s.drained || s.givingUp[at] }

// giveUp releases what is served, unless the member is to return, and waits for that until ctx
// ends. Callers hold mu, which it unlocks.
func (s *Service) giveUp(ctx context.Context, returning bool) {
	for _, t := range s.calls {
		if t.take {
			t.cancel()
		}
	}
	was := s.serveNone()
	for at, r := range s.held {
		was = append(was, s.passed(at, r)...)
	}
	if returning {
		was = nil
	}
	s.handOver(ctx, was)
}

// giveUpAt releases what is served at an identifier that the member is about to give up, waits for
// that until ctx ends, and takes nothing there from now on. What the next identifier of the member
// takes over is served on until then.
func (s *Service) giveUpAt(ctx context.Context, at *node.Node) {
	s.catchUpWith(ctx, at)
	s.mu.Lock()
	if s.takesOver(at) {
		s.mu.Unlock()
		return
	}
	s.givingUp[at] = true
	for _, t := range s.calls {
		if t.take && t.at == at {
			t.cancel()
		}
	}
	gone, has := s.held[at]
	was := s.unserve(at, gone)
	if has {
		was = append(was, s.passed(at, gone)...)
		// That another is given up that it has taken over from may not have been told yet.
		for _, r := range slices.Clone(s.now.ranges) {
			for _, x := range s.unserve(r.at, gone) {
				was = append(was, without(servedRange{x.Range, at, x.epoch}, was)...)
			}
		}
	}
	s.publish()
	s.handOver(ctx, was)
}

// catchUpWith waits until what has changed at an identifier has been applied, or ctx ends.
func (s *Service) catchUpWith(ctx context.Context, at *node.Node) {
	for {
		count := at.Snapshot().Changes
		s.mu.Lock()
		moved := s.moved
		done := count == 0 || slices.ContainsFunc(s.now.changes, func(c changes) bool { return c.of == at && c.count >= count })
		s.mu.Unlock()
		if done {
			return
		}
		select {
		case <-moved:
		case <-s.ended:
			return
		case <-ctx.Done():
			return
		}
	}
}

// handOver calls Release for what was served, with those that it belongs to next, and waits for
// that until ctx ends. Callers hold mu, which it unlocks.
func (s *Service) handOver(ctx context.Context, was []servedRange) {
	var releases []*handling
	for _, r := range was {
		releases = append(releases, s.release(ctx, r, s.holders(r.at, Server{})))
	}
	s.mu.Unlock()
	for _, t := range releases {
		select {
		case <-t.done:
		case <-ctx.Done():
			return
		}
	}
}

// serveNone stops serving what is served, and returns it. Callers hold mu.
func (s *Service) serveNone() []servedRange {
	was := s.now.ranges
	s.now.ranges, s.standIns = nil, map[*node.Node]*protocol.StandIns{}
	s.publish()
	return was
}

// givesUp has every Service release what it serves at an identifier that the member is about to
// give up, for as long as a join waits for Take at most.
func (c *Concord) givesUp(ctx context.Context, at *node.Node) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.takeoverTimeout())
	defer cancel()
	c.eachService(func(s *Service) { s.giveUpAt(ctx, at) })
}

// release has every Service release what it serves, unless the member is to return.
func (c *Concord) release(ctx context.Context, returning bool) {
	c.eachService(func(s *Service) { s.leave(ctx, returning) })
}
