package sim

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
)

// This file repeats experiments of the paper on Chord (Stoica et al., "Chord: A
// Scalable Peer-to-Peer Lookup Protocol for Internet Applications", IEEE/ACM
// Transactions on Networking 11(1), 2003), with routing as it stands there and
// with ours.

// Paths is what lookups have cost. The member that looks up does not count as
// asked.
type Paths struct {
	Members int     `json:"members"`
	Routing string  `json:"routing"` // "textbook" or "concord"
	Lookups int     `json:"lookups"`
	Asked   float64 `json:"asked"` // members that answered, for a lookup on average
	P1      int     `json:"p1"`    // of those, in one lookup of a hundred at most
	P99     int     `json:"p99"`
	Most    int     `json:"most"`
	Silent  float64 `json:"silent"` // members asked that did not answer
	Failed  int     `json:"failed"` // lookups that found no owner
	Wrong   int     `json:"wrong"`  // that named another than the owner
}

func paths(members int, routing string, asked []int, silent, failed, wrong int) Paths {
	slices.Sort(asked)
	p := Paths{Members: members, Routing: routing, Lookups: len(asked) + failed, Failed: failed, Wrong: wrong}
	if n := len(asked); n > 0 {
		total := 0
		for _, a := range asked {
			total += a
		}
		p.Asked, p.Silent = float64(total)/float64(n), float64(silent)/float64(n)
		p.P1, p.P99, p.Most = asked[n/100], asked[n-1-n/100], asked[n-1]
	}
	return p
}

// textbook is a ring of the paper: every member knows its successors and the
// owners of self + 2^i, and what has failed has not been noticed yet.
type textbook struct {
	ids  []uint64 // ascending
	dead []bool
	r    int
}

func newTextbook(n, r int, dead float64, seed uint64) *textbook {
	rng := rand.New(rand.NewPCG(seed, 1))
	t := &textbook{ids: make([]uint64, n), dead: make([]bool, n), r: min(r, n-1)}
	for i := range t.ids {
		t.ids[i] = ring.SHA256([]byte(hostName(i)))
	}
	slices.Sort(t.ids)
	for i := range t.dead {
		t.dead[i] = rng.Float64() < dead
	}
	return t
}

// owner is the index of the first member at or after id.
func (t *textbook) owner(id uint64) int {
	i, _ := slices.BinarySearch(t.ids, id)
	return i % len(t.ids)
}

// lookup asks one member after another: which of its live successors owns the
// identifier, if one does, else for the closest live member before it among its
// fingers and successors. A dead one costs a time-out, once.
func (t *textbook) lookup(from int, id uint64) (asked, silent int, ok bool) {
	n := len(t.ids)
	tried := map[int]bool{}
	lives := func(i int) bool {
		if t.dead[i] && !tried[i] {
			tried[i] = true
			silent++
		}
		return !t.dead[i]
	}
	for at := from; asked <= n; asked++ {
		self := t.ids[at]
		if self == id {
			return asked, silent, true
		}
		for k := 1; k <= t.r; k++ {
			if s := (at + k) % n; (ring.Arc{After: self, To: t.ids[s]}).Contains(id) && lives(s) {
				return asked, silent, true
			}
		}
		var before []int
		for k := 1; k <= t.r; k++ {
			before = append(before, (at+k)%n)
		}
		for i := range bits {
			before = append(before, t.owner(self+1<<i))
		}
		before = slices.DeleteFunc(before, func(x int) bool { return !ring.Between(self, t.ids[x], id) })
		slices.SortFunc(before, func(a, b int) int { return cmp.Compare(t.ids[b]-self, t.ids[a]-self) })
		before = slices.Compact(before)
		i := slices.IndexFunc(before, lives)
		if i < 0 {
			return asked, silent, false
		}
		at = before[i]
	}
	return asked, silent, false
}

// Textbook does lookups in a ring of n members with lists of r and the fingers of
// the paper, of whom a share has just failed.
func Textbook(n, r, lookups int, dead float64, seed uint64) Paths {
	t := newTextbook(n, r, dead, seed)
	rng := rand.New(rand.NewPCG(seed, 2))
	var asked []int
	silent, failed := 0, 0
	for range lookups {
		from := rng.IntN(n)
		for t.dead[from] {
			from = rng.IntN(n)
		}
		a, s, ok := t.lookup(from, rng.Uint64())
		if !ok {
			failed++
			continue
		}
		asked = append(asked, a)
		silent += s
	}
	return paths(n, "textbook", asked, silent, failed, 0)
}

// Standing is a ring of our members that stands right, and what it took to put it
// there.
type Standing struct {
	w *world
	// Built is how long it took until the first round was over, and Bytes the heap
	// that it takes then.
	Built time.Duration
	Bytes uint64
	// Events is how many events the first round had.
	Events int
}

// keepTables is up to how many members every one keeps its table from one lookup
// to the next. In larger rings it is made anew, to spare memory.
const keepTables = 1 << 17

// Stand puts n members into an ideal ring, each with the fingers that it would
// find, and lets a round pass, in which nothing may change.
func Stand(n, r int, seed uint64) (*Standing, error) {
	began := time.Now()
	cfg, err := Config{Members: n, Successors: r}.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Standing{w: newWorld(cfg, seed)}
	s.w.settle()
	if err := s.round(); err != nil {
		return nil, err
	}
	s.measure(began)
	return s, nil
}

// round lets a round pass, in which nothing may change.
func (s *Standing) round() error {
	w := s.w
	before := make([]uint64, len(w.hosts))
	for i, h := range w.hosts {
		before[i] = h.m.State().Version
	}
	events := w.count.events
	// A round is up to a tenth longer than an interval, and has to be answered.
	w.run(w.now+w.cfg.Interval*5/4, nil)
	s.Events = w.count.events - events
	for i, h := range w.hosts {
		if h.m.State().Version != before[i] {
			return fmt.Errorf("%s, which stood right, has changed its pointers: %s", h.name, pointers(h.view))
		}
	}
	return nil
}

func (s *Standing) measure(began time.Time) {
	s.Built = time.Since(began)
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	s.Bytes = m.HeapAlloc
}

// Grow lets n members join: each round as many as are there already, each
// through a random one of those, until they are an ideal ring.
func Grow(n, r int, seed uint64) (*Standing, error) {
	began := time.Now()
	cfg, err := Config{Members: 1, Successors: r}.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Standing{w: newWorld(cfg, seed)}
	w := s.w
	w.settle()
	for there := 1; there < n; there = len(w.hosts) {
		for range min(there, n-there) {
			h := w.newcomer()
			h.join.via = []string{w.hosts[w.load.IntN(there)].addr}
			w.start(h, nil)
			w.beginJoin(h)
		}
		w.run(w.now+4*w.cfg.Interval, nil)
	}
	w.quiet, w.quietAt, w.regroup = true, w.now, true
	w.run(w.now+time.Duration(w.cfg.Bound)*w.cfg.Interval, w.isIdeal)
	if !w.isIdeal() {
		return nil, fmt.Errorf("%d members that joined are not an ideal ring after %d rounds: %s", n, w.cfg.Bound, w.wrong())
	}
	w.quiet = false
	// The fingers are looked up when the neighbours have settled.
	w.run(w.now+8*w.cfg.Interval, nil)
	if err := s.round(); err != nil {
		return nil, err
	}
	s.measure(began)
	return s, nil
}

// Lookups does lookups at random members, none of which has looked anything up
// before.
func (s *Standing) Lookups(count int, seed uint64) Paths {
	w := s.w
	rng := rand.New(rand.NewPCG(seed, 3))
	var asked []int
	failed, wrong := 0, 0
	for range count {
		h := w.hosts[rng.IntN(len(w.hosts))]
		id := rng.Uint64()
		search := routing.NewSearch(s.table(h), id, routing.Options{Lenient: true, MaxAge: w.lease(h)}, nil, w.now)
		step, x := search.Next()
		for ; step == routing.AskNext; step, x = search.Next() {
			search.Answered(s.table(w.hosts[number(x.Addr)]).Answer(search.Query(), w.now))
		}
		switch {
		case step != routing.Done:
			failed++
			continue
		case search.Result().Owner != w.owner(id).view.Self:
			wrong++
		}
		asked = append(asked, search.Asked())
	}
	return paths(len(w.hosts), "concord", asked, 0, failed, wrong)
}

func (s *Standing) table(h *host) *routing.Table {
	t := s.w.tableOf(h)
	if len(s.w.hosts) > keepTables {
		h.table, h.stale = nil, true
	}
	return t
}

// Halve lets a share of n members fail at once, and has the others look up lookups
// keys within the tenth of a second that follows, while the ring mends.
func Halve(n, r, lookups int, share float64, seed uint64) (Paths, error) {
	cfg, err := Config{Members: n, Successors: r}.withDefaults()
	if err != nil {
		return Paths{}, err
	}
	w := newWorld(cfg, seed)
	w.settle()
	w.run(30*w.cfg.Interval, nil)
	rng := rand.New(rand.NewPCG(seed, 4))
	for _, h := range slices.Clone(w.hosts) {
		if rng.Float64() < share {
			w.stop(h, false)
		}
	}
	w.asked = make([]int, 0, lookups)
	for i := range lookups {
		w.lookUp(w.hosts[w.ring[rng.IntN(len(w.ring))]], rng.Uint64(), routing.Options{Cold: true})
		if i%100 == 99 {
			w.run(w.now+100*time.Millisecond*100/time.Duration(lookups), nil)
		}
	}
	w.run(w.now+routing.LookupTimeout+time.Second, nil)
	c := &w.result.Lookups
	return paths(n, "concord", w.asked, c.Silent, c.Errors, c.Wrong), nil
}

// Churn has members of a ring of n come and go, rate of each in a second, for as
// many seconds as there are lookups: one each second. Rounds take 30 s, as in the
// paper.
func Churn(n, r, lookups int, rate float64, seed uint64) (Paths, error) {
	cfg := Config{
		Members: n, Successors: r, Interval: 30 * time.Second, Lookups: 30,
		Duration: time.Duration(lookups) * time.Second,
		Sessions: Sessions{Mean: time.Duration(float64(n) / rate * float64(time.Second)), Shape: 1},
		Idle:     -1,
	}
	cfg, err := cfg.withDefaults()
	if err != nil {
		return Paths{}, err
	}
	w := newWorld(cfg, seed)
	w.settle()
	w.asked = make([]int, 0, lookups)
	w.disturb()
	c := w.result.Lookups
	p := paths(n, "concord", w.asked, c.Silent, c.Errors, c.Wrong)
	if len(w.result.Violations) > 0 {
		return p, fmt.Errorf("%v", w.result.Violations[0])
	}
	return p, nil
}
