package node

import (
	"context"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ringmap"
	"github.com/ollelogdahl/concord/internal/transport"
)

// Subscribe tells a client of this member's map.
func (h *handler) Subscribe(ctx context.Context, env transport.Envelope, sub *ringmap.Subscription, send func(*ringmap.Update) error) error {
	n := (*Node)(h)
	h.counters.served.Add(1)
	_, done := observed(ctx, h.observer.Serve, kindMap, env.From)
	f := h.admit(env)
	if f == nil {
		f = n.tellsNobody()
	}
	done(f)
	if f != nil {
		return f
	}
	n.counters.subscribers.Add(1)
	defer n.counters.subscribers.Add(-1)
	return n.lead().feed(ctx, sub, send)
}

// tellsNobody is why the member tells clients nothing of its map, nil if it does.
func (n *Node) tellsNobody() *protocol.Failure {
	switch v := n.Snapshot().View; {
	case v.Isolated:
		return n.refusal()
	case !v.Phase.InRing(), v.Phase == protocol.Leaving:
		return &protocol.Failure{Kind: protocol.NotJoined, By: v.Self, Detail: v.Phase.String()}
	}
	return nil
}

// feed tells one client of the map until ctx ends or there is none.
func (n *Node) feed(ctx context.Context, sub *ringmap.Subscription, send func(*ringmap.Update) error) error {
	wake := n.charts.add()
	defer n.charts.remove(wake)
	timer := time.NewTimer(0)
	defer timer.Stop()
	var feed *ringmap.Feed
	for {
		changed := n.Snapshot().Next
		if f := n.tellsNobody(); f != nil {
			return f
		}
		chart := n.chart.Load()
		if chart == nil {
			chart = new(ringmap.Snapshot)
		}
		if feed == nil {
			feed = ringmap.NewFeed(sub, chart, n.cfg.Interval, n.now())
			defer feed.Close()
		}
		if u, ok := feed.Next(chart, n.now()); ok {
			u.Claims = n.zonedClaims(u.Claims)
			if u.Interval != 0 {
				u.Successors = n.cfg.Successors
			}
			if err := send(&u); err != nil {
				return err
			}
			continue
		}
		timer.Reset(max(0, feed.Due()-n.now()))
		select {
		case <-wake:
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-n.ctx.Done():
			return &protocol.Failure{Kind: protocol.NotJoined, By: n.Snapshot().View.Self, Detail: protocol.Outside.String()}
		}
	}
}
