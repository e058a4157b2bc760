package mapsim

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/invariant"
	"github.com/ollelogdahl/concord/internal/peer"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/ringmap"
	"github.com/ollelogdahl/concord/internal/sim"
)

const (
	width = 64
	epoch = 1_700_000_000_000 // wall clock at the start, in milliseconds
	// overhead is what carries a message: the frame of HTTP/2, the prefix of gRPC, the
	// number of the call and its kind.
	overhead = 9 + 5 + 6
)

// member is one identifier of a process.
type member struct {
	self  ring.Member
	m     *ringmap.Map // of the process
	first int32        // the first identifier of the process, which speaks for it
	up    bool
	side  bool
	mute  bool // its crash broke no connection
	after uint64
	has   bool
	epoch uint64
	succ  int32         // whom it takes for its successor
	tick  time.Duration // of the first
	died  time.Duration
	// Of runs with clients, what it has claimed since when.
	spells []spell
	sweeps sweeps        // of the first
	ahead  time.Duration // by which the clock of its process is before that of the world
	// interval is that of its process.
	interval time.Duration
}

// clock is what the clock of a member shows at a time.
func (x *member) clock(now time.Duration) time.Duration { return now + x.ahead }

// message is a request on its way, or its answer.
type message struct {
	open     bool
	gen      uint32
	from, to int32
	id       uint64
	sent     time.Duration
	request  ringmap.Request
	reply    ringmap.Reply
}

type world struct {
	cfg     Config
	now     time.Duration
	queue   sim.Queue[event]
	rng     *rand.Rand
	net     *rand.Rand
	load    *rand.Rand
	members []*member
	ring    []int32 // those that live, clockwise
	pool    *ringmap.Pool
	calls   []message
	free    []int32
	cut     bool
	quiet   bool // no churn, no loss
	watches []watch
	size    [6]int
	count   int
	ages    []float64
	circles []float64
	joins   []time.Duration
	deaths  []time.Duration
	changed time.Duration // when a member came or went, or a message was lost
	slow    time.Duration // when an answer came that had taken too long; 0: none has
	beat    uint32        // of the last sweep
	asked   invariant.Asked
	result  Result

	clients       []*client
	updates       []update       // all to clients
	confirmations []confirmation // all to clients
}

func newWorld(cfg Config, seed uint64) *world {
	stream := func(of string) *rand.Rand { return rand.New(rand.NewPCG(seed, ring.SHA256([]byte(of)))) }
	w := &world{cfg: cfg, rng: stream("ring"), net: stream("network"), load: stream("load"), pool: ringmap.NewPool()}
	w.result = Result{Config: cfg, Seed: seed, Settled: -1, Of: map[string]float64{}}
	return w
}

// newcomer is a process that has not joined: all of its identifiers.
func (w *world) newcomer() (all []int32) {
	i := len(w.members)
	name := fmt.Sprintf("member-%d.example", i)
	self := ring.Member{
		ID: ring.SHA256([]byte(name)), Name: name,
		Addr:        fmt.Sprintf("10.%d.%d.%d:7946", i>>16&255, i>>8&255, i&255),
		Incarnation: epoch + uint64(w.now/time.Millisecond),
	}
	side := w.rng.IntN(2) == 0
	ahead := time.Duration(w.rng.Int64N(int64(spread * w.cfg.Interval)))
	if w.cfg.Identifiers > 1 {
		self.Home = self.ID
	}
	pace := w.cfg.Interval
	if i < w.cfg.Hasty*w.cfg.Identifiers {
		pace /= hasty
	}
	var m *ringmap.Map
	for k := range w.cfg.Identifiers {
		x := &member{succ: -1, side: side, tick: -1, self: self, first: int32(i), ahead: ahead, interval: pace}
		if w.cfg.Identifiers > 1 {
			x.self.Choice = ring.Chosen(k, 0)
			x.self.ID = ring.SHA256(x.self.Choice.Text(name))
		}
		if m == nil {
			m = ringmap.New(x.self, ringmap.Config{
				Bits: width, Interval: pace, Limit: w.cfg.Limit, Pool: w.pool,
			})
		}
		x.m = m
		w.members = append(w.members, x)
		all = append(all, int32(i+k))
	}
	return all
}

// spread is by how many intervals the clocks of members differ at most, so that their
// first sweeps do not begin at the same time.
const spread = 10

// hasty is how many times as often as others a hasty member acts.
const hasty = 10

// settle makes the ring at the start, with all maps as they are in an ideal ring.
func (w *world) settle() {
	for range w.cfg.Members {
		w.ring = append(w.ring, w.newcomer()...)
	}
	slices.SortFunc(w.ring, func(a, b int32) int { return cmp.Compare(w.members[a].self.ID, w.members[b].self.ID) })
	claims := make([]ringmap.Claim, len(w.ring))
	n := len(w.ring)
	for k, i := range w.ring {
		x := w.members[i]
		x.up, x.has, x.epoch = true, true, 1
		x.after = w.members[w.ring[(k+n-1)%n]].self.ID
		x.succ = w.ring[(k+1)%n]
		claims[k] = ringmap.Claim{ID: x.self.ID, After: x.after, Epoch: 1, Of: &x.self}
	}
	t := ringmap.NewTable(width, claims)
	// First what each owns, or all would tell each other what they have already.
	for _, i := range w.ring {
		x := w.members[i]
		w.note(x)
		x.m.Own(x.clock(0), ringmap.Owning{Self: x.self, Arc: ring.Arc{After: x.after, To: x.self.ID}, Has: true, Epoch: 1})
	}
	for _, i := range w.ring {
		if x := w.members[i]; x.first == i {
			x.m.Fill(t)
		}
		w.begin(i)
	}
}

// begin starts the rounds of a member.
func (w *world) begin(i int32) {
	if x := w.members[i]; x.first == i {
		x.tick = w.now + time.Duration(w.rng.Int64N(int64(w.cfg.Interval)))
		w.queue.Push(x.tick, event{kind: evTick, who: i})
	}
	w.queue.Push(w.now+time.Duration(w.rng.Int64N(int64(w.cfg.Interval))), event{kind: evRound, who: i})
}

// place is where an identifier is in the list of those that live, or would be.
func (w *world) place(id uint64) int {
	k, _ := slices.BinarySearchFunc(w.ring, id, func(i int32, id uint64) int { return cmp.Compare(w.members[i].self.ID, id) })
	return k
}

// owner is the member that lives and is the first at id or after it, of those that x
// reaches; -1: none.
func (w *world) owner(id uint64, side bool) int32 {
	k := w.place(id)
	for j := range w.ring {
		i := w.ring[(k+j)%len(w.ring)]
		if !w.cut || w.members[i].side == side {
			return i
		}
	}
	return -1
}

// before is the last member before id.
func (w *world) before(id uint64, side bool) int32 {
	k := w.place(id)
	for j := range w.ring {
		i := w.ring[(k-1-j+2*len(w.ring))%len(w.ring)]
		if !w.cut || w.members[i].side == side {
			return i
		}
	}
	return -1
}

// reaches reports whether messages pass between the two.
func (w *world) reaches(a, b *member) bool { return b.up && (!w.cut || a.side == b.side) }

// setPred makes p the predecessor of s.
func (w *world) setPred(s, p int32) {
	if s == p {
		return
	}
	x, y := w.members[s], w.members[p]
	if x.has && x.after == y.self.ID {
		return
	}
	arc := ring.Arc{After: y.self.ID, To: x.self.ID}
	switch {
	case x.has && ring.Between(x.after, y.self.ID, x.self.ID):
		if y.epoch <= x.epoch {
			y.epoch = x.epoch + 1 // it takes over from x
			if y.has {
				w.own(p)
			}
		}
		if !y.has {
			y.after, y.has = x.after, true
			w.own(p)
		}
	default:
		x.epoch = max(x.epoch, x.m.MaxEpoch(arc), y.m.MaxEpoch(arc)) + 1
	}
	x.after, x.has = y.self.ID, true
	w.own(s)
}

// own tells the map of a member what that owns.
func (w *world) own(i int32) {
	x := w.members[i]
	w.note(x)
	x.m.Own(x.clock(w.now), ringmap.Owning{Self: x.self, Arc: ring.Arc{After: x.after, To: x.self.ID}, Has: x.has, Epoch: x.epoch})
	w.carry(i)
}

// carry does what the map of a member wants.
func (w *world) carry(i int32) {
	i = w.members[i].first
	x := w.members[i]
	for {
		e, ok := x.m.Effect()
		if !ok {
			break
		}
		switch e.Do {
		case ringmap.Send:
			w.send(i, e)
		case ringmap.Defend:
			k := i
			for w.members[k].self.ID != e.By {
				k++
			}
			if y := w.members[k]; y.has && y.epoch <= e.Epoch {
				y.epoch = e.Epoch + 1
				w.own(k)
			}
		}
	}
	w.tellAll(i)
	if at := x.m.Next() - x.ahead; x.tick < 0 || at < x.tick {
		x.tick = max(at, w.now)
		w.queue.Push(x.tick, event{kind: evTick, who: i})
	}
}

// send sends a request.
func (w *world) send(from int32, e ringmap.Effect) {
	w.measure(int(e.Request.Kind), e.Request.Size())
	w.judgeSweep(from, &e.Request)
	var k int32
	if n := len(w.free); n > 0 {
		k, w.free = w.free[n-1], w.free[:n-1]
	} else {
		k = int32(len(w.calls))
		w.calls = append(w.calls, message{})
	}
	c := &w.calls[k]
	*c = message{open: true, gen: c.gen + 1, from: from, to: host(e.To), id: e.Call, sent: w.now, request: e.Request}
	w.queue.Push(w.now+2*w.patience(), event{kind: evTimeout, slot: k, gen: c.gen})
	to := w.members[c.to]
	if w.cut && to.side != w.members[from].side || w.lost() || !to.up && to.mute {
		return
	}
	w.queue.Push(w.now+w.cfg.Latency.Draw(w.net), event{kind: evRequest, slot: k, gen: c.gen})
}

// patience is how long an answer is waited for.
func (*world) patience() time.Duration { return peer.MinTimeout }

func (w *world) lost() bool {
	if w.quiet || w.cfg.Loss == 0 || w.net.Float64() >= w.cfg.Loss {
		return false
	}
	w.changed = w.now
	return true
}

// host is that of a member: its number is in its address.
func host(x ring.Member) int32 {
	var parts [4]int32
	k := 0
	for i := range len(x.Addr) {
		switch c := x.Addr[i]; c {
		case ':':
			return parts[1]<<16 | parts[2]<<8 | parts[3]
		case '.':
			k++
		default:
			parts[k] = 10*parts[k] + int32(c-'0')
		}
	}
	return 0
}

func (w *world) measure(kind, size int) {
	w.size[kind] += size + overhead
	w.count++
}
