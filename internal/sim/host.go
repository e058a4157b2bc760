package sim

import (
	"slices"
	"strconv"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
)

// host is an address and the process there, if one runs.
type host struct {
	index int32
	name  string
	addr  string
	id    uint64
	x, y  float32 // where it stands on the plane of Distance

	up      bool
	silent  bool          // nobody refuses connections while it is not up
	leaving bool          // politely
	life    uint32        // how often a process has started here
	wake    time.Duration // it hangs until then
	clock   time.Duration // how far its clock is off
	lives   []uint64      // incarnations that are or tried to be members

	m       *protocol.Machine
	view    *protocol.View
	tick    time.Duration // of the latest WakeAt
	table   *routing.Table
	stale   bool  // the table is
	asks    int   // under way
	waiting []ref // lookups that wait for another table

	peers    []peer  // in order of their hosts
	latest   int     // in peers, the one looked for last
	callers  []int32 // hosts that have made a connection to here, some more than once
	suspects []suspicion
	heard    map[ring.Life]bool // who has answered this process; nil: not noted

	fingers *routing.Fingers
	tending tending
	join    attempts

	right bool  // in the quiet phase: stands as it should
	home  int32 // its ring in the quiet phase, -1 for none
	place int32 // and its place there
}

// peer is what a host knows of how fast another answers, and whether it has a
// connection to it: as internal/node and its transport, in microseconds.
type peer struct {
	host      int32
	mean, dev int32
	grace     int32
	used      uint32
	open      bool // a connection
	last      time.Duration
}

// The runtime's times; see internal/node, peers.go.
const (
	timeoutFloor = 300 * time.Millisecond
	timeoutStart = time.Second
	timeoutCeil  = 4 * time.Second
	timeoutLate  = time.Second
	timeoutSlow  = 5 * time.Second
	maxPeers     = 512
	maxAsks      = 512
	lookupLimit  = 5 * time.Second
)

// maxTables is how many tables are kept at most: those of a million members
// would take 3 GB.
const maxTables = 1 << 16

type suspicion struct {
	life  ring.Life
	until time.Duration
}

// number reads the number in names and addresses such as n12 and h12:1, -1 if
// there is none.
func number(s string) int32 {
	n := int32(-1)
	for i := 1; i < len(s) && '0' <= s[i] && s[i] <= '9'; i++ {
		n = 10*max(n, 0) + int32(s[i]-'0')
	}
	return n
}

func hostName(i int) string { return "n" + strconv.Itoa(i) }
func hostAddr(i int) string { return "h" + strconv.Itoa(i) + ":1" }

// peer is the record of another host, nil if there is none.
func (h *host) peer(of int32) *peer {
	if i, ok := h.find(of); ok {
		return &h.peers[i]
	}
	return nil
}

// find is where the record of another host is, or belongs. A message has it
// looked for several times.
func (h *host) find(of int32) (int, bool) {
	if i := h.latest; i < len(h.peers) && h.peers[i].host == of {
		return i, true
	}
	i, ok := slices.BinarySearchFunc(h.peers, of, func(p peer, of int32) int { return int(p.host) - int(of) })
	h.latest = i
	return i, ok
}

// peerMade is the record of another host, made if need be.
func (h *host) peerMade(of int32) *peer {
	i, ok := h.find(of)
	if !ok {
		if len(h.peers) >= maxPeers {
			h.evict()
			return h.peerMade(of)
		}
		h.peers = slices.Insert(h.peers, i, peer{host: of})
	}
	return &h.peers[i]
}

// called notes that another host has made a connection to here.
func (h *host) called(by *host) {
	if n := len(h.callers); n > 64 && n == cap(h.callers) {
		slices.Sort(h.callers)
		h.callers = slices.Compact(h.callers)
	}
	h.callers = append(h.callers, by.index)
}

// evict forgets the half of the peers that was used least.
func (h *host) evict() {
	counts := make([]uint32, 0, len(h.peers))
	for i := range h.peers {
		counts = append(counts, h.peers[i].used)
	}
	slices.Sort(counts)
	bar := counts[len(counts)/2]
	h.peers = slices.DeleteFunc(h.peers, func(p peer) bool { return p.used <= bar })
	for i := range h.peers {
		h.peers[i].used /= 2
	}
}

// allow is the time for an answer from a host.
func (h *host) allow(of int32, attempt int) time.Duration {
	d := timeoutStart
	if p := h.peer(of); p != nil && p.used > 0 {
		d = max(timeoutFloor, time.Duration(2*p.mean+8*p.dev)*time.Microsecond)
	}
	return min(d<<min(attempt, 4), timeoutCeil)
}

// allowRoute is the time for a host's answer to a step of a lookup.
func (h *host) allowRoute(of int32) time.Duration {
	d := h.allow(of, 0)
	if p := h.peer(of); p != nil {
		d = max(d, time.Duration(p.grace)*time.Microsecond)
	}
	return d
}

// observe notes how long a host took to answer.
func (p *peer) observe(took time.Duration) {
	us := int32(min(took/time.Microsecond, 10_000_000))
	if p.used == 0 {
		p.mean, p.dev = us, us/2
	} else {
		p.dev += (max(us-p.mean, p.mean-us) - p.dev) / 4
		p.mean += (us - p.mean) / 8
	}
	p.grace = 0
	p.used++
}

// late notes that a step of a lookup was not answered in time.
func (p *peer) late() {
	if p.used > 0 {
		p.grace = min(2*max(p.grace, int32(timeoutFloor/time.Microsecond)), int32(timeoutLate/time.Microsecond))
	}
}

// suspect lets lookups go round a life of a member for a while.
func (h *host) suspect(life ring.Life, now, while time.Duration) {
	h.suspects = slices.DeleteFunc(h.suspects, func(s suspicion) bool { return s.until <= now || s.life == life })
	if n := len(h.suspects); n >= routing.MaxAvoid {
		h.suspects = slices.Delete(h.suspects, 0, n-routing.MaxAvoid+1)
	}
	h.suspects = append(h.suspects, suspicion{life, now + while})
}

func (h *host) unsuspect(life ring.Life) {
	if len(h.suspects) > 0 {
		h.suspects = slices.DeleteFunc(h.suspects, func(s suspicion) bool { return s.life == life })
	}
}

// avoid lists the lives that lookups go round.
func (h *host) avoid(now time.Duration) []ring.Life {
	var out []ring.Life
	for _, s := range h.suspects {
		if s.until > now {
			out = append(out, s.life)
		}
	}
	return out
}

// inRing reports whether a process runs here that is a member.
func (h *host) inRing() bool { return h.up && h.view.Phase.InRing() }

// routes are the fingers and acquaintances that are not suspected. The slice is
// valid until the next call.
func (w *world) routes(h *host) []ring.Member {
	out := append(appendFingers(w.far[:0], h.fingers), h.view.Known...)
	w.far = out
	if len(h.suspects) == 0 {
		return out
	}
	avoid := h.avoid(w.now)
	return slices.DeleteFunc(out, func(x ring.Member) bool { return slices.Contains(avoid, x.Life()) })
}

// tableOf is the host's table, nil while it is in no ring.
func (w *world) tableOf(h *host) *routing.Table {
	if !h.stale {
		return h.table
	}
	h.stale = false
	h.table = nil
	if v := h.view; v.Phase.InRing() {
		h.table = routing.NewTable(routing.Known{
			Self: v.Self, Arc: v.Arc, HasArc: v.HasArc, Lone: v.Lone, Pred: v.Pred, Succ: v.Succ,
			Others: w.routes(h), Bits: bits, Full: w.cfg.Successors,
			Certain: v.Certain, Lease: min(w.cfg.Interval, time.Second),
		})
		h.table.Others = nil // they are in the table's own list
		w.keepTable(h)
	}
	return h.table
}

// keepTable lets go of the table that was made longest ago, if there are many.
// It is made again when it is asked for.
func (w *world) keepTable(h *host) {
	if len(w.tables) < maxTables {
		w.tables = append(w.tables, h.index)
		return
	}
	if old := w.hosts[w.tables[w.oldest]]; old != h && old.table != nil {
		old.table, old.stale = nil, true
	}
	w.tables[w.oldest] = h.index
	w.oldest = (w.oldest + 1) % maxTables
}

// renewed marks the table as stale and lets those go on that wait for another.
func (w *world) renewed(h *host) {
	h.stale = true
	for _, l := range h.waiting {
		w.queue.push(event{at: w.now, kind: evResume, host: h.index, slot: l.slot, gen: l.gen})
	}
	h.waiting = h.waiting[:0]
}
