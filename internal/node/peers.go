package node

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
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
	mu       sync.Mutex // guards rtt, and who writes suspects
	rtt      map[string]*estimate
	suspects atomic.Pointer[[]suspicion] // never modified
}

// estimate is the smoothed round trip and its deviation (RFC 6298).
type estimate struct {
	mean, dev time.Duration
	used      uint64
}

type suspicion struct {
	life     ring.Life
	until    time.Duration
	rejected bool
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

// suspect notes that lookups should go round a member for a while, and, if it
// was rejected as an owner, name it only on its own word.
func (p *peers) suspect(life ring.Life, now, while time.Duration, rejected bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var kept []suspicion
	for _, s := range p.suspected() {
		switch {
		case s.until <= now:
		case s.life == life:
			rejected = rejected || s.rejected
		default:
			kept = append(kept, s)
		}
	}
	kept = append(kept[max(0, len(kept)-maxSuspicions+1):], suspicion{life, now + while, rejected})
	p.suspects.Store(&kept)
}

// clear notes that a member answered. That does not say that it serves: what
// was rejected stays so.
func (p *peers) clear(life ring.Life) {
	if !slices.ContainsFunc(p.suspected(), func(s suspicion) bool { return s.life == life }) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := slices.DeleteFunc(slices.Clone(p.suspected()), func(s suspicion) bool { return s.life == life && !s.rejected })
	p.suspects.Store(&kept)
}

func (p *peers) suspected() []suspicion {
	if s := p.suspects.Load(); s != nil {
		return *s
	}
	return nil
}

// avoid lists the members that lookups should go round, and those of them that
// are owners on their own word only. It takes no lock.
func (p *peers) avoid(now time.Duration) (lives, rejected []ring.Life) {
	for _, s := range p.suspected() {
		if s.until <= now {
			continue
		}
		lives = append(lives, s.life)
		if s.rejected {
			rejected = append(rejected, s.life)
		}
	}
	return lives, rejected
}
