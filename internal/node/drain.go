package node

import (
	"context"
	"slices"

	"github.com/ollelogdahl/concord/internal/peer"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
	"github.com/ollelogdahl/concord/internal/transport"
)

// This file has a process leave the ring and run on. Until it is back, a client finds owners
// for it, which uses the transport and the memory of the process.

// maxGuestAddrs bounds the addresses by which a drained process finds its ring again.
const maxGuestAddrs = 32

// drain leaves with the first identifier, which is the only one, if another process is in
// the ring.
func (n *Node) drain(ctx context.Context) error {
	if !n.Others() {
		return ErrAlone
	}
	n.welcome()
	stays, err := n.depart(ctx, protocol.Depart{Drain: true})
	switch {
	case err != nil:
		return err
	case stays && !n.Others():
		return ErrAlone
	case stays:
		return errUnacknowledged
	}
	n.retire()
	return nil
}

// errUnacknowledged is why a process that was to drain is in the ring still.
var errUnacknowledged = &protocol.Failure{Kind: protocol.TimedOut, Detail: "no neighbour has acknowledged that it takes over"}

// retire ends what belongs to the ring that the process has left.
func (n *Node) retire() {
	n.mu.Lock()
	n.fingers = routing.NewFingers(n.cfg.Self.ID, n.cfg.Space.Bits)
	if !n.stopped() {
		n.rebuild()
	}
	n.mu.Unlock()
	n.renewMap()
}

// comeBack joins with the first identifier, by those that the process knows. If none of
// them is in a ring, it founds one with those of them that have drained and come back, too.
func (n *Node) comeBack(ctx context.Context) error {
	found := n.cfg.FoundAfter
	ctx, cancel := context.WithTimeout(ctx, 2*(peer.PatientTimeout+found))
	defer cancel()
	addrs := []string{n.cfg.Self.Addr}
	if g := n.guest.Load(); g != nil {
		for _, x := range g.everybody() {
			if !slices.Contains(addrs, x.Addr) && len(addrs) <= maxGuestAddrs {
				addrs = append(addrs, x.Addr)
			}
		}
	}
	if found == 0 {
		addrs = addrs[1:]
	}
	return n.JoinOrFound(ctx, addrs, nil, found)
}

// welcome makes the client that finds owners while the process is in no ring. It knows
// those whom the process knows now.
func (n *Node) welcome() {
	known, addrs := n.acquainted()
	g := newClient(ClientConfig{
		Space: n.space, Settings: n.settings, Addrs: addrs, Resolver: n.resolver, Log: n.log, Proven: n.proven, Observer: n.observer,
	}, n.process, lent{n.tr})
	g.contacted(known)
	if old := n.guest.Swap(g); old != nil {
		old.dismiss()
	}
}

// acquainted are members that the process knows, one of each other process, and where they
// are.
func (n *Node) acquainted() (known []ring.Member, addrs []string) {
	s := n.Snapshot()
	k := knowledgeOf(s)
	all := slices.Concat(k.near, s.View.Succ, k.far)
	if chart := n.chart.Load(); chart != nil {
		for c := range chart.All() {
			all = append(all, *c.Of)
		}
	}
	for _, x := range all {
		if x.Addr != n.cfg.Self.Addr && !slices.Contains(addrs, x.Addr) && len(addrs) < maxGuestAddrs {
			known, addrs = append(known, x), append(addrs, x.Addr)
		}
	}
	return known, addrs
}

// dismiss ends the client of a process that goes on.
func (c *Client) dismiss() {
	c.cancel()
	c.mu.Lock()
	c.snap.Store(&Snapshot{Next: c.changed})
	c.mu.Unlock()
	c.close()
}

// contacted makes members contacts, the first of them the last.
func (c *Client) contacted(list []ring.Member) {
	c.mu.Lock()
	defer c.mu.Unlock()
	contacts := c.contacts
	for _, x := range slices.Backward(list) {
		contacts = contacts.Meet(x, ring.Member{}, nil, c.peers.suspicions(), c.now())
	}
	c.publish(contacts)
}

// Guests are the members by which a process that has drained finds owners, none if it has not.
func (n *Node) Guests() []ring.Member {
	g := n.guest.Load()
	if g == nil || n.Snapshot().View.Phase != protocol.Outside {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.contacts.List())
}

// refer names members in what a drained process tells of itself to a client: that one came to
// find a way into the ring.
func (n *Node) refer(env transport.Envelope, st *protocol.State) {
	g := n.guest.Load()
	if g == nil || st.Phase != protocol.Outside || !env.From.IsZero() || env.Legacy {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	st.Succ = slices.Clone(g.contacts.List())
}

// leadOn names members to one that came to a drained process for a way into the ring: f is
// why the machine knows none.
func (n *Node) leadOn(env transport.Envelope, req protocol.Request, f *protocol.Failure) (protocol.Reply, bool) {
	g := n.guest.Load()
	if g == nil || f.Kind != protocol.NotJoined || req.Kind != protocol.Seek || env.Legacy {
		return protocol.Reply{}, false
	}
	self := n.Snapshot().View.Self
	g.mu.Lock()
	defer g.mu.Unlock()
	contacts := g.contacts.List()
	closer := slices.Clone(contacts[:min(len(contacts), routing.MaxCloser)])
	return protocol.Reply{State: protocol.State{Self: self, Phase: protocol.Outside}, Verdict: protocol.Next, Closer: closer}, len(closer) > 0
}

// endGuest ends the client of a process that ends.
func (n *Node) endGuest() {
	if g := n.guest.Swap(nil); g != nil {
		g.dismiss()
	}
}

// acting is the finder that finds owners now: another one while the process has drained.
func (fd *Finder) acting() *Finder {
	if g := fd.guest.Load(); g != nil && fd.snap.Load().Table == nil {
		return &g.Finder
	}
	return fd
}

// lent is a transport that another uses, too, who is asked over it, hears of it and closes it.
type lent struct{ transport.Transport }

func (lent) Serve(transport.Handler)           {}
func (lent) Broken(func(string))               {}
func (lent) Refused(func(transport.Refusal))   {}
func (lent) Admit(func(transport.Claim) error) {}
func (lent) Limit(int)                         {}
func (lent) Close() error                      { return nil }
