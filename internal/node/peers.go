package node

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
	"github.com/ollelogdahl/concord/internal/transport"
)

// Time allowed for an answer. The floor is far above a round trip, since a
// member may be slow for reasons that have nothing to do with the network; the
// start holds for a member of whom no round trip is known, first connection
// included.
const (
	timeoutFloor  = transport.LeastTimeout
	timeoutStart  = time.Second
	timeoutCeil   = 4 * time.Second
	timeoutLate   = time.Second     // for a lookup's question, after time-outs
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
	grace     time.Duration // allowed to a lookup's question at least
	used      uint64
}

type suspicion struct {
	life     ring.Life
	addr     string // of one that was rejected
	until    time.Duration
	rejected bool
}

func newPeers() *peers { return &peers{rtt: map[string]*estimate{}} }

// routeTimeout is the time allowed for an answer from addr to a lookup.
func (p *peers) routeTimeout(addr string) time.Duration {
	d := p.timeout(addr, 0)
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.rtt[addr]; e != nil {
		d = max(d, e.grace)
	}
	return d
}

// roundTrip is how long addr takes to answer, 0 if that is not known.
func (p *peers) roundTrip(addr string) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.rtt[addr]; e != nil {
		return e.mean
	}
	return 0
}

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
	e.grace = 0
	e.used++
}

// late notes that addr did not answer a lookup in time: the next is allowed more,
// as it may have become slower (RFC 6298, 5.5). Maintenance does not wait longer
// for that: it asks twice anyway.
func (p *peers) late(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.rtt[addr]; e != nil {
		e.grace = min(2*max(e.grace, timeoutFloor), timeoutLate)
	}
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

// suspect notes that lookups should go round a life of a member for a while, and
// reports whether that is news.
func (p *peers) suspect(life ring.Life, now, while time.Duration) bool {
	return p.add(suspicion{life: life, until: now + while}, now)
}

// reject notes that for a while a member is an owner on its own word only. Who
// rejects it does not know its incarnation: it is told by its address.
func (p *peers) reject(id uint64, addr string, now, while time.Duration) {
	p.add(suspicion{life: ring.Life{ID: id}, addr: addr, until: now + while, rejected: true}, now)
}

func (p *peers) add(s suspicion, now time.Duration) (news bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	news = true
	var kept []suspicion
	for _, o := range p.suspected() {
		switch same := o.life == s.life && o.rejected == s.rejected; {
		case o.until <= now:
		case same:
			news = false
		default:
			kept = append(kept, o)
		}
	}
	for len(kept) >= maxSuspicions {
		// What the application has said comes only of itself again.
		i := max(0, slices.IndexFunc(kept, func(o suspicion) bool { return !o.rejected }))
		kept = slices.Delete(kept, i, i+1)
	}
	kept = append(kept, s)
	p.suspects.Store(&kept)
	return news
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

// avoided reports whether lookups should go round the member now, or name it on
// its own word only. It takes no lock.
func (p *peers) avoided(x ring.Member, now time.Duration) bool {
	for _, s := range p.suspected() {
		if s.until > now && (s.life == x.Life() || s.rejected && s.life.ID == x.ID && s.addr == x.Addr) {
			return true
		}
	}
	return false
}

// rejected reports whether the member is an owner on its own word only. It takes
// no lock.
func (p *peers) rejected(x ring.Member, now time.Duration) bool {
	for _, s := range p.suspected() {
		if s.until > now && s.rejected && s.life.ID == x.ID && s.addr == x.Addr {
			return true
		}
	}
	return false
}

// avoid lists the members that lookups should go round, and those of them that
// are owners on their own word only. It takes no lock.
func (p *peers) avoid(now time.Duration) (lives []ring.Life, rejected []ring.Member) {
	for _, s := range p.suspected() {
		if s.until <= now {
			continue
		}
		if s.rejected {
			rejected = append(rejected, ring.Member{ID: s.life.ID, Addr: s.addr})
		} else {
			lives = append(lives, s.life)
		}
	}
	return lives, rejected
}
