package sim

import (
	"slices"
	"strconv"
	"time"

	"github.com/ollelogdahl/concord/internal/invariant"
	"github.com/ollelogdahl/concord/internal/peer"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/ringmap"
	"github.com/ollelogdahl/concord/internal/routing"
)

// host is an address and the process there, if one runs.
type host struct {
	index int32
	name  string
	of    string // the process, which others know by that name
	chose ring.Choice
	addr  string
	id    uint64
	x, y  float32 // where it stands on the plane of Distance

	up           bool
	silent       bool          // nobody refuses connections while it is not up
	leaving      bool          // politely
	awaits       bool          // it starts when the first of its process has joined
	starts       uint32        // how often a process has started here
	wake         time.Duration // it hangs until then
	clock        time.Duration // how far its clock is off
	since        time.Duration // when it last joined
	incarnations []uint64      // incarnations that are or tried to be members

	m       *protocol.Machine
	view    *protocol.View
	tick    time.Duration // of the latest WakeAt
	ticks   monotonic
	due     time.Duration // the same, 0 once the member has found that it came late
	wakes   invariant.Wakes
	rests   invariant.Rests
	before  ring.Member     // its predecessor, as it was judged last
	saidBy  *protocol.State // what another has said of itself in the step under way
	saidAt  time.Duration   // and when it was asked
	table   *routing.Table
	stale   bool  // the table is
	asks    int   // under way
	waiting []ref // lookups that wait for another table

	links    []link  // in order of their hosts
	latest   int     // in links, the one looked for last
	callers  []int32 // hosts that have made a connection to here, some more than once
	suspects peer.Suspicions
	heard    map[ring.Instance]bool // who has answered this process; nil: not noted

	fingers  *routing.Fingers
	arcs     *routing.Arcs // confirmed; nil: none yet, or there is no memory
	confirm  bool          // a look at which arcs are due is in the queue
	held     []holding     // arcs of late, for judging answers
	errand   bool          // of the fingers, under way
	soon     bool          // the fingers are to be tended soon
	common   peer.Estimate // of all round trips to any host
	join     attempts
	takes    takeover
	standIns protocol.StandIns // of its program
	chart    *chart            // of the process, if it keeps a map
	ringMap  *ringmap.Map      // of the chart; nil: it keeps none
	claimed  uint64            // the epoch that it last told the map
	client   *client           // nil: a member, or one that wants to be
	hostile  *hostile          // nil: honest

	note     note        // the last of its having been replaced
	replaced ring.Member // who has taken over its arc since its program was told; zero: nobody

	right bool  // in the quiet phase: stands as it should
	home  int32 // its ring in the quiet phase, -1 for none
	place int32 // and its place there
}

// note tells what members say of having replaced others apart.
type note struct {
	by     ring.Instance
	number uint64
}

// link is a host's way to another: how fast that one answers, and whether there is a
// connection.
type link struct {
	host     int32
	estimate peer.Estimate
	open     bool // a connection
	last     time.Duration
}

// maxAsks bounds the questions of one machine under way, as in package node.
const maxAsks = 512

// maxTables is how many tables are kept at most: those of a million members
// would take 3 GB.
const maxTables = 1 << 16

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

// link is the record of another host, nil if there is none.
func (h *host) link(of int32) *link {
	if i, ok := h.find(of); ok {
		return &h.links[i]
	}
	return nil
}

// find is where the record of another host is, or belongs. A message has it
// looked for several times.
func (h *host) find(of int32) (int, bool) {
	if i := h.latest; i < len(h.links) && h.links[i].host == of {
		return i, true
	}
	i, ok := slices.BinarySearchFunc(h.links, of, func(l link, of int32) int { return int(l.host) - int(of) })
	h.latest = i
	return i, ok
}

// linkMade is the record of another host, made if need be.
func (h *host) linkMade(of int32) *link {
	i, ok := h.find(of)
	if !ok {
		if len(h.links) >= peer.MaxPeers {
			h.evict()
			return h.linkMade(of)
		}
		h.links = slices.Insert(h.links, i, link{host: of})
	}
	return &h.links[i]
}

// called notes that another host has made a connection to here.
func (h *host) called(by *host) {
	if n := len(h.callers); n > 64 && n == cap(h.callers) {
		slices.Sort(h.callers)
		h.callers = slices.Compact(h.callers)
	}
	h.callers = append(h.callers, by.index)
}

// evict forgets the half of the links that was used least.
func (h *host) evict() {
	uses := make([]uint32, 0, len(h.links))
	for i := range h.links {
		uses = append(uses, h.links[i].estimate.Uses())
	}
	bar := peer.EvictionBar(uses)
	h.links = slices.DeleteFunc(h.links, func(l link) bool { return l.estimate.Uses() <= bar })
	for i := range h.links {
		h.links[i].estimate.Age()
	}
}

// estimate is what is known of how fast a host answers.
func (h *host) estimate(of int32) peer.Estimate {
	if c := h.link(of); c != nil {
		return c.estimate
	}
	return peer.Estimate{}
}

// met reports whether this incarnation of a member is the one that has answered last at its
// address, as far as remembered.
func (h *host) met(x ring.Member) bool { return h.estimate(number(x.Addr)).Met(x.Instance()) }

// suspect lets lookups go round a member for a while: at all of its identifiers, unless it only
// does not stand at this one.
func (h *host) suspect(x ring.Member, astray bool, now, interval time.Duration) {
	h.suspects, _ = h.suspects.Suspect(x, astray, now, now+peer.SuspicionTime(interval))
}

// inRing reports whether a process runs here that is a member.
func (h *host) inRing() bool { return h.up && h.client == nil && h.view.Phase.InRing() }

// routes are the fingers and acquaintances that are not suspected. The slice is
// valid until the next call.
func (w *world) routes(h *host) []ring.Member {
	out := append(appendFingers(w.far[:0], h.fingers), h.view.Known...)
	w.far = out
	if len(h.suspects) == 0 {
		return out
	}
	return slices.DeleteFunc(out, func(x ring.Member) bool { return h.suspects.Suspected(x, w.now) })
}

// tableOf is the host's table, nil while it is in no ring.
func (w *world) tableOf(h *host) *routing.Table {
	if !h.stale {
		return h.table
	}
	h.stale = false
	h.table = nil
	if k := h.client; k != nil {
		if !k.dialing {
			h.table = k.contacts.Table(bits, h.suspects, w.now)
		}
		return h.table
	}
	if v := h.view; v.Serves() {
		known := w.pointersOf(v)
		known.Others = w.routes(h)
		h.table = routing.NewTable(known)
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
	for _, r := range h.waiting {
		w.pause(h, r, 0)
	}
	h.waiting = h.waiting[:0]
}
