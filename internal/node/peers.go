package node

import (
	"slices"
	"sync"
	"time"

	"github.com/ollelogdahl/concord/internal/routing"
)

// Time allowed for an answer. The floor is far above a round trip, since a
// member may be slow for reasons that have nothing to do with the network; the
// start holds for a member of whom no round trip is known, first connection
// included.
const (
	timeoutFloor  = 300 * time.Millisecond
	timeoutStart  = time.Second
	timeoutCeil   = 4 * time.Second
	timeoutSlow   = 5 * time.Second // the other asks third members first
	maxPeers      = 512
	maxSuspicions = routing.MaxAvoid
)

// peers remembers what is known of how fast members answer, and which did not
// of late. Safe for concurrent use.
type peers struct {
	mu       sync.Mutex
	rtt      map[string]*estimate
	suspects []suspicion
}

// estimate is the smoothed round trip and its deviation (RFC 6298).
type estimate struct {
	mean, dev time.Duration
	used      uint64
}

type suspicion struct {
	id    uint64
	until time.Duration
}

func newPeers() *peers { return &peers{rtt: map[string]*estimate{}} }

// timeout is the time allowed for an answer from addr.
func (p *peers) timeout(addr string, attempt int) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := timeoutStart
	if e := p.rtt[addr]; e != nil {
		d = max(timeoutFloor, 2*e.mean+8*e.dev)
	}
	return min(d<<min(attempt, 4), timeoutCeil)
}

// observe notes a round trip to addr.
func (p *peers) observe(addr string, rtt time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.rtt[addr]
	if e == nil {
		if len(p.rtt) >= maxPeers {
			p.evict()
		}
		e = &estimate{mean: rtt, dev: rtt / 2}
		p.rtt[addr] = e
	} else {
		e.dev += ((rtt - e.mean).Abs() - e.dev) / 4
		e.mean += (rtt - e.mean) / 8
	}
	e.used++
}

// evict makes room by forgetting those least observed.
func (p *peers) evict() {
	counts := make([]uint64, 0, len(p.rtt))
	for _, e := range p.rtt {
		counts = append(counts, e.used)
	}
	slices.Sort(counts)
	bar := counts[len(counts)/2]
	for addr, e := range p.rtt {
		if e.used <= bar {
			delete(p.rtt, addr)
		} else {
			e.used /= 2
		}
	}
}

// suspect notes that lookups should go round a member for a while.
func (p *peers) suspect(id uint64, now, while time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.suspects = slices.DeleteFunc(p.suspects, func(s suspicion) bool { return s.id == id || s.until <= now })
	if len(p.suspects) >= maxSuspicions {
		p.suspects = p.suspects[1:]
	}
	p.suspects = append(p.suspects, suspicion{id, now + while})
}

// clear notes that a member answered.
func (p *peers) clear(id uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.suspects) > 0 {
		p.suspects = slices.DeleteFunc(p.suspects, func(s suspicion) bool { return s.id == id })
	}
}

// avoid lists the identifiers that lookups should go round.
func (p *peers) avoid(now time.Duration) []uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	var ids []uint64
	for _, s := range p.suspects {
		if s.until > now {
			ids = append(ids, s.id)
		}
	}
	return ids
}
