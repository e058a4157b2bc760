package sim

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
)

// State is a way for members to stand at the start: weakly connected, and
// everything else as bad as its name says.
type State struct {
	Name string
	Says string
	put  func(p *placer)
}

// placer puts members, clockwise, into a state.
type placer struct {
	rng *rand.Rand
	r   int
	ms  []ring.Member
	at  []protocol.Snapshot // of each
}

func (p *placer) n() int { return len(p.ms) }

// lists gives member i the others of idx for its list, in clockwise order.
func (p *placer) lists(i int, idx ...int) {
	var succ []ring.Member
	for _, k := range idx {
		if x := p.ms[k%p.n()]; x != p.ms[i] && !slices.Contains(succ, x) {
			succ = append(succ, x)
		}
	}
	self := p.ms[i]
	slices.SortFunc(succ, func(a, b ring.Member) int { return cmp.Compare(a.ID-self.ID, b.ID-self.ID) })
	p.at[i].Succ = protocol.Cut(self, p.r, succ)
}

func (p *placer) pred(i, k int) {
	if k %= p.n(); k != i {
		p.at[i].Pred = p.ms[k]
	}
}

// hears has member i have heard of k, and not know whether they are in one ring.
func (p *placer) hears(i, k int) {
	if i != k {
		p.at[i].Pending = append(p.at[i].Pending, p.ms[k])
	}
}

// ringOf makes the members of idx, which are in clockwise order, an ideal ring.
func (p *placer) ringOf(idx []int) {
	n := len(idx)
	for j, i := range idx {
		var next []int
		for k := 1; k <= min(protocol.MaxList, n-1); k++ {
			next = append(next, idx[(j+k)%n])
		}
		p.lists(i, next...)
		if n > 1 {
			p.pred(i, idx[(j+n-1)%n])
		}
	}
}

// ideal makes all members one ideal ring.
func (p *placer) ideal() {
	all := make([]int, p.n())
	for i := range all {
		all[i] = i
	}
	p.ringOf(all)
}

// rings makes ideal rings of every count-th member, each with one acquaintance
// in the ring before.
func (p *placer) rings(count int) {
	count = min(count, p.n())
	for k := range count {
		var part []int
		for i := k; i < p.n(); i += count {
			part = append(part, i)
		}
		p.ringOf(part)
		if k > 0 {
			p.hears(part[p.rng.IntN(len(part))], p.rng.IntN(p.n()/count)*count+k-1)
		}
	}
}

// strangers is the start of rings that have nothing in common, of the origins unrelated.
const strangers = "strangers"

var unrelated = []*ring.Origin{ring.NewOrigin(1, []uint64{1}), ring.NewOrigin(2, []uint64{2})}

// akin are the origins of rings each of which has a mark in common with the one before.
var akin = []*ring.Origin{
	ring.NewOrigin(1, []uint64{1, 12}), ring.NewOrigin(2, []uint64{2, 12, 23}), ring.NewOrigin(3, []uint64{3, 23, 34}), ring.NewOrigin(4, []uint64{4, 34}),
}

// originsOf makes ideal rings of these origins. Every member was given two addresses: one
// of the ring before its own, and one of any.
func (p *placer) originsOf(of []*ring.Origin) {
	count := min(len(of), p.n())
	for k := range count {
		var part []int
		for i := k; i < p.n(); i += count {
			part = append(part, i)
		}
		p.ringOf(part)
		for _, i := range part {
			p.at[i].Origin = of[k]
			before := (k+count-1)%count + count*p.rng.IntN(p.n()/count)
			for _, x := range []int{before, p.rng.IntN(p.n())} {
				if x != i {
					p.at[i].Seeds = append(p.at[i].Seeds, p.ms[x].Addr)
				}
			}
		}
	}
}

// States lists the bad states that healing is tried from.
var States = []State{
	{"random", "lists and predecessors at random, a tree of acquaintances beneath", func(p *placer) {
		for i := range p.n() {
			var idx []int
			for range p.rng.IntN(p.r + 1) {
				idx = append(idx, p.rng.IntN(p.n()))
			}
			p.lists(i, idx...)
			if p.rng.IntN(4) > 0 {
				p.pred(i, p.rng.IntN(p.n()))
			}
			if i > 0 {
				p.hears(i, p.rng.IntN(i))
			}
		}
	}},
	{"two-rings", "two ideal rings, one acquaintance between them", func(p *placer) { p.rings(2) }},
	{strangers, "two ideal rings that were given addresses of each other: they have nothing in common and stay apart", func(p *placer) { p.originsOf(unrelated) }},
	{"akin", "four ideal rings that were given addresses of each other: each ring has something in common with the next", func(p *placer) { p.originsOf(akin) }},
	{"four-rings", "four ideal rings in a row, one acquaintance between each two", func(p *placer) { p.rings(4) }},
	{"loopy", "a ring that winds round the circle twice", func(p *placer) {
		n := p.n()
		if n%2 == 0 {
			n--
			p.lists(n, 0)
		}
		for i := range n {
			if n > 2 {
				p.at[i].Succ = []ring.Member{p.ms[(i+2)%n]}
				p.at[i].Pred = p.ms[(i+n-2)%n]
			}
		}
	}},
	{"two-back", "no member has a successor, and each knows only the member two places before it", func(p *placer) {
		n := p.n() - (1 - p.n()%2)
		for i := range p.n() {
			if i < n {
				p.hears(i, (i+n-2+n)%n)
			} else {
				p.hears(i, 0)
			}
		}
	}},
	{"chain", "everybody alone, and each knows the one before in a random order", func(p *placer) {
		order := p.rng.Perm(p.n())
		for k, i := range order[1:] {
			p.hears(i, order[k])
		}
	}},
	{"star", "everybody alone, and all know the same one", func(p *placer) {
		c := p.rng.IntN(p.n())
		for i := range p.n() {
			p.hears(i, c)
		}
	}},
	{"hub", "one knows as many as it can, they know nobody, all others know one of them", func(p *placer) {
		order := p.rng.Perm(p.n())
		k := min(15, p.n()-1)
		for _, i := range order[1 : 1+k] {
			p.hears(order[0], i)
		}
		for j, i := range order[1+k:] {
			p.hears(i, order[1+j%max(1, k)])
		}
	}},
	{"hub-in-ring", "a ring, one of whose members knows fifteen that nobody else knows and that know nobody", func(p *placer) {
		order := p.rng.Perm(p.n())
		k := min(15, p.n()-1)
		rest := slices.Clone(order[k:])
		slices.Sort(rest)
		p.ringOf(rest)
		for _, i := range order[:k] {
			p.hears(order[k], i)
		}
	}},
	{"addresses", "everybody alone, and each knows the address of the one before in a random order", func(p *placer) {
		order := p.rng.Perm(p.n())
		for k, i := range order[1:] {
			p.at[i].Seeds = []string{p.ms[order[k]].Addr}
		}
	}},
	{"shifted", "one ring, every list and predecessor shifted by one", func(p *placer) {
		for i := range p.n() {
			var idx []int
			for j := range p.r {
				idx = append(idx, i+2+j)
			}
			p.lists(i, idx...)
			p.pred(i, i+1)
		}
	}},
	{"reversed", "every member's only successor is the one before it", func(p *placer) {
		for i := range p.n() {
			p.lists(i, i+p.n()-1)
			p.pred(i, i+1)
		}
	}},
	{"former-lives", "an ideal ring in which half of what is known are former incarnations", func(p *placer) {
		p.ideal()
		for i := range p.at {
			at := &p.at[i]
			for k := range at.Succ {
				if p.rng.IntN(2) == 0 {
					at.Succ[k].Incarnation--
				}
			}
			if !at.Pred.IsZero() && p.rng.IntN(2) == 0 {
				at.Pred.Incarnation--
			}
			p.hears(i, (i+1)%p.n()) // so that they are connected by incarnations that are
		}
	}},
	{"dead-half", "an ideal ring, sixteen acquaintances each, and every second member on average is dead", nil},
	{"joiners", "one member, whom all others join at once", nil},
	{"founders", "no ring, and all look for one within a second, at the address of one load balancer that leads to anyone", nil},
	{"founders-stalled", "as founders, and the one with the smallest identifier would found the ring and does not, until there is one", nil},
	{"founders-listed", "no ring, and all look for one within a second, at eight addresses", nil},
	{"uneven", "as random, and the identifiers crowd: half of them within a thousandth of the circle", nil},
}

// settle makes the members and puts them where the run begins.
func (w *world) settle() {
	rng := rand.New(rand.NewPCG(w.seed, ring.SHA256([]byte("state"))))
	n := w.cfg.Members
	for range n {
		h := w.newcomer()
		if w.cfg.Start == "uneven" && rng.IntN(2) == 0 {
			h.id = mix(w.seed)&(1<<63) + h.id%(1<<54)
		}
	}
	order := slices.Clone(w.hosts)
	slices.SortFunc(order, func(a, b *host) int { return cmp.Compare(a.id, b.id) })
	p := &placer{rng: rng, r: w.cfg.Successors, ms: make([]ring.Member, n), at: make([]protocol.Snapshot, n)}
	for i, h := range order {
		p.ms[i] = w.self(h)
	}
	switch w.cfg.Start {
	case "founders", "founders-stalled", "founders-listed":
		for _, h := range w.hosts {
			if h != h.first() {
				w.launch(h)
				continue
			}
			w.start(h, nil)
			w.beginFounding(h, time.Duration(rng.Int64N(int64(time.Second))))
		}
		return
	case "joiners":
		w.start(w.hosts[0], &protocol.Snapshot{})
		w.firstTick(w.hosts[0], rng)
		for _, h := range w.hosts[1:] {
			h.join.via = []string{w.hosts[0].addr}
			w.launch(h)
		}
		return
	}
	p.put(w.cfg.Start)
	w.startStanding(p, order)
	if w.cfg.Start == "dead-half" {
		for _, h := range order {
			if h == h.first() && rng.IntN(2) == 0 && !w.last(h) {
				w.stop(h, rng.IntN(2) == 0)
			}
		}
	}
}

// put puts the members into the state of that name.
func (p *placer) put(name string) {
	switch name {
	case "ideal":
		p.ideal()
		return
	case "dead-half":
		p.ideal()
		for i := range p.at {
			for range 16 {
				if k := p.rng.IntN(p.n()); k != i {
					p.at[i].Known = append(p.at[i].Known, p.ms[k])
				}
			}
		}
		return
	case "uneven":
		name = "random"
	}
	for _, s := range States {
		if s.Name == name {
			s.put(p)
		}
	}
}

// startStanding starts the members, which are in clockwise order, where p has put them.
// Those of an ideal ring have their fingers.
func (w *world) startStanding(p *placer, order []*host) {
	ideally := routing.NewFingers(0, bits)
	var known []ring.Member
	for i, h := range order {
		fingers := w.cfg.Start == "ideal" && !w.cfg.NoFingers
		var f *routing.Fingers
		if fingers {
			rightFingers(p, i, ideally)
			f = ideally.Clone()
			known = appendFingers(known[:0], f)
			p.at[i].Known = known
		}
		if w.cfg.Hostile > 0 {
			p.at[i].Origin = ring.Founded(mix(w.seed), p.ms[0], []string{p.ms[1%len(p.ms)].Addr})
		}
		w.start(h, &p.at[i])
		if fingers {
			h.fingers, h.view.Known = f, nil      // which names the same
			h.fingers.Settle(p.rng.IntN(1 << 16)) // it has been there for long
		}
		p.at[i] = protocol.Snapshot{}
		w.firstTick(h, p.rng)
	}
}

// firstTick begins the rounds of a member that stands already. Rounds are not
// in step.
func (w *world) firstTick(h *host, rng *rand.Rand) {
	h.tick = time.Duration(rng.Int64N(int64(w.cfg.Interval)))
	w.queue.Push(h.tick, event{kind: evTick, host: h.index, gen: h.starts})
}

// rightFingers makes f the fingers that member i of an ideal ring finds.
func rightFingers(p *placer, i int, f *routing.Fingers) {
	n := p.n()
	self := p.ms[i].ID
	f.Reset(self)
	covered := ring.Arc{After: self, To: self}
	if k := len(p.at[i].Succ); k == p.r {
		covered.To = p.at[i].Succ[k-1].ID
	}
	f.Fill(covered, func(id uint64) (ring.Member, ring.Arc) {
		k, _ := slices.BinarySearchFunc(p.ms, id, func(m ring.Member, id uint64) int { return cmp.Compare(m.ID, id) })
		return p.ms[k%n], ring.Arc{After: p.ms[(k+n-1)%n].ID, To: p.ms[k%n].ID}
	})
}
