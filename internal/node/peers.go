package node

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/ollelogdahl/concord/internal/peer"
	"github.com/ollelogdahl/concord/internal/ring"
)

// peers holds what is known of other processes: how fast they answer, by address,
// and whom lookups go round. Package peer decides; this is the container. It is
// safe for concurrent use.
type peers struct {
	mu        sync.Mutex // guards estimates, and who writes suspected
	estimates map[string]*peer.Estimate
	common    peer.Estimate                   // of all round trips to anybody
	suspected atomic.Pointer[peer.Suspicions] // never nil
	zones     zones
}

func newPeers() *peers {
	p := &peers{estimates: map[string]*peer.Estimate{}}
	p.suspected.Store(&peer.Suspicions{})
	return p
}

// of is what is known of how fast addr answers.
func (p *peers) of(addr string) peer.Estimate {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.estimates[addr]; e != nil {
		return *e
	}
	return peer.Estimate{}
}

// answered reports whether a member has answered at addr, as far as remembered.
func (p *peers) answered(addr string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.estimates[addr] != nil
}

// met reports whether this incarnation of a member is the one that has answered last at its
// address, as far as remembered.
func (fd *Finder) met(x ring.Member) bool { return fd.peers.of(x.Addr).Met(x.Run()) }

// routeTimeout is the time allowed for an answer from addr to a step of a lookup.
func (p *peers) routeTimeout(addr string) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.estimates[addr]; e != nil {
		return e.RouteTimeout(p.common)
	}
	return peer.Estimate{}.RouteTimeout(p.common)
}

// observe notes a round trip to a member, or to the address of one that is not known yet.
func (p *peers) observe(x ring.Member, roundTrip time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.common.Observe(roundTrip)
	e := p.estimates[x.Addr]
	if e == nil {
		if len(p.estimates) >= peer.MaxPeers {
			p.evict()
		}
		e = &peer.Estimate{}
		p.estimates[x.Addr] = e
	}
	e.Observe(roundTrip)
	if x.Name != "" {
		e.Meet(x.Run())
	}
}

// late notes that addr did not answer a lookup in time.
func (p *peers) late(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.estimates[addr]; e != nil {
		e.Late()
	}
}

// evict makes room by forgetting those least observed. Callers hold mu.
func (p *peers) evict() {
	uses := make([]uint32, 0, len(p.estimates))
	for _, e := range p.estimates {
		uses = append(uses, e.Uses())
	}
	bar := peer.EvictionBar(uses)
	for addr, e := range p.estimates {
		if e.Uses() <= bar {
			delete(p.estimates, addr)
		} else {
			e.Age()
		}
	}
}

// suspicions is whom lookups go round. It takes no lock.
func (p *peers) suspicions() peer.Suspicions { return *p.suspected.Load() }

// suspect has lookups go round a member until the time given, and reports whether that is
// news. See peer.Suspicions.
func (p *peers) suspect(x ring.Member, astray bool, now, until time.Duration) (news bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, news := p.suspicions().Suspect(x, astray, now, until)
	p.suspected.Store(&s)
	return news
}

// reject notes that until the time given a member is an owner only if it confirms that itself.
func (p *peers) reject(id uint64, addr string, now, until time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.suspicions().Reject(id, addr, now, until)
	p.suspected.Store(&s)
}

// clear notes that a member answered.
func (p *peers) clear(x ring.Member) {
	if len(p.suspicions()) == 0 {
		return // the common case takes no lock
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.suspicions().Clear(x)
	p.suspected.Store(&s)
}
