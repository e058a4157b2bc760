package node

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/ollelogdahl/concord/internal/peer"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// errManyDials is of a question that is not asked.
var errManyDials = &protocol.Failure{Kind: protocol.Cancelled, Detail: "too many addresses were named at which no member answers"}

// dials holds the budgets of questions to addresses that others name. Package peer
// decides; this is the container. The zero dials is full budgets. It is safe for
// concurrent use.
type dials struct {
	mu sync.Mutex
	of peer.Dials
}

// mayAsk reports whether to may be asked, which the request of a host has caused; of an
// invalid cause, an answer or a list that named it. Of what the user gave and of an
// address at which a member has answered, any number may be asked. The caller tells
// dialled what has become of the question.
func (fd *Finder) mayAsk(ctx context.Context, cause netip.Addr, to ring.Member) (taken peer.Dialled, f *protocol.Failure) {
	if to.Anyone() || fd.peers.answered(to.Addr) {
		return taken, nil
	}
	d := &fd.dials
	d.mu.Lock()
	by := network(cause)
	if by == "" {
		by = d.of.Blamed(to.Addr)
	}
	taken, ok := d.of.Take(by, to.Addr, fd.now())
	d.mu.Unlock()
	if ok && by != "" && !fd.isHost(ctx, to.Addr, by) {
		d.mu.Lock()
		ok = d.of.TakeForeign(&taken, to.Addr, fd.now())
		d.mu.Unlock()
	}
	if ok {
		return taken, nil
	}
	fd.counters.dials.Add(1)
	refused := PeerFailure{Kind: protocol.Cancelled, Err: errManyDials.Detail}
	if by != "" {
		refused.Addr, refused.Incoming = by, true
	}
	fd.noteFailure(refused)
	return peer.Dialled{}, errManyDials
}

// dialled ends a question to addr that mayAsk has allowed.
func (fd *Finder) dialled(taken peer.Dialled, addr string, f *protocol.Failure) {
	if taken == (peer.Dialled{}) {
		return
	}
	fd.dials.mu.Lock()
	defer fd.dials.mu.Unlock()
	switch {
	case f == nil:
		fd.dials.of.Answered(taken)
	case f.Kind != protocol.Cancelled:
		fd.dials.of.Failed(addr)
	}
}

// blame notes whose request has named these members, of those at whose address no
// member has answered.
func (fd *Finder) blame(cause netip.Addr, named ...ring.Member) {
	by := network(cause)
	if by == "" {
		return
	}
	for _, x := range named {
		if !x.IsZero() && !fd.peers.answered(x.Addr) {
			fd.dials.mu.Lock()
			fd.dials.of.Blame(x.Addr, by)
			fd.dials.mu.Unlock()
		}
	}
}

// network is what a host counts as: its address, or of IPv6 the first 64 bits, of which
// one host has all addresses. Empty: the host is not known.
func network(host netip.Addr) string {
	host = host.Unmap().WithZone("")
	switch {
	case !host.IsValid():
		return ""
	case host.Is6():
		return netip.PrefixFrom(host, 64).Masked().String()
	}
	return host.String()
}

// isHost reports whether the host of addr, or one that its name stands for, is of that
// network.
func (fd *Finder) isHost(ctx context.Context, addr, of string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	same := func(x netip.Addr) bool { return network(x) == of }
	if x, err := netip.ParseAddr(host); err == nil {
		return same(x)
	}
	ctx, cancel := context.WithTimeout(ctx, peer.InitialTimeout)
	defer cancel()
	found, err := fd.hosts(ctx, "ip", host)
	return err == nil && slices.ContainsFunc(found, same)
}
