// Package webtest has a ring that does as it is told, for tests of the page.
package webtest

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"math/bits"
	"slices"
	"sync"
	"time"

	"github.com/ollelogdahl/concord"
)

// Successors is the length of a successor list.
const Successors = 3

// Ring is a ring of any size, as the page's own member sees it: the page cannot
// tell. It is ideal, but for members that are silent. Its methods may be called
// concurrently.
type Ring struct {
	self concord.Server

	mu      sync.Mutex
	members []concord.Server // clockwise
	made    int
	several int      // ranges of each member
	silent  []string // names
	phase   concord.Phase
	walks   int
	fail    error         // of walks
	block   chan struct{} // lookups wait for it; nil: they do not
	lookups uint64
	moved   chan struct{} // closed when the own range has changed
}

// New makes a ring of node1 … noden, of which node1 is the page's own.
func New(n int) *Ring {
	r := &Ring{phase: concord.PhaseJoined, moved: make(chan struct{})}
	for i := range n {
		r.Join(fmt.Sprintf("node%d", i+1))
	}
	r.self = r.Member("node1")
	return r
}

// Several has each member have so many ranges, as with VirtualNodes.
func (r *Ring) Several(ranges int) *Ring {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.several = ranges
	return r
}

// Join adds a member.
func (r *Ring) Join(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id := concord.New(concord.Config{Name: name}).Id()
	i := 0
	for i < len(r.members) && r.members[i].Id < id {
		i++
	}
	r.made++
	r.members = slices.Insert(slices.Clone(r.members), i, concord.Server{Name: name, Id: id, Address: fmt.Sprintf("10.0.0.7:%d", 7000+r.made)})
	r.move()
}

// Kill removes a member, as if the others had noticed at once.
func (r *Ring) Kill(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := r.index(name)
	r.members = slices.Delete(slices.Clone(r.members), i, i+1)
	r.move()
}

// Hush lets a member be silent: the others name it, and it does not answer. Wake
// ends that.
func (r *Ring) Hush(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.silent = append(r.silent, name)
}

// Wake lets a silent member answer again.
func (r *Ring) Wake(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.silent = slices.DeleteFunc(r.silent, func(s string) bool { return s == name })
}

// Fail lets walks end with an error after half of the members; nil ends that.
func (r *Ring) Fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail = err
}

// Phase sets the own member's.
func (r *Ring) Phase(phase concord.Phase) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.phase = phase
}

// Block lets lookups wait until what it returns is called.
func (r *Ring) Block() (release func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	block := make(chan struct{})
	r.block = block
	return func() { close(block) }
}

// Walks is how many walks have begun.
func (r *Ring) Walks() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.walks
}

// Member is the member of that name.
func (r *Ring) Member(name string) concord.Server {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.members[r.index(name)]
}

// The rest is called with mu held.

func (r *Ring) move() {
	close(r.moved)
	r.moved = make(chan struct{})
}

func (r *Ring) index(name string) int {
	return slices.IndexFunc(r.members, func(s concord.Server) bool { return s.Name == name })
}

// after is the k-th member after the i-th.
func (r *Ring) after(i, k int) concord.Server { return r.members[(i+k)%len(r.members)] }

// pred is the member before the i-th, nil if there is none.
func (r *Ring) pred(i int) *concord.Server {
	if len(r.members) == 1 {
		return nil
	}
	p := r.after(i, len(r.members)-1)
	return &p
}

func (r *Ring) list(i int) []concord.Server {
	out := []concord.Server{}
	for k := 1; k <= Successors && k < len(r.members); k++ {
		out = append(out, r.after(i, k))
	}
	return out
}

func (r *Ring) owner(id uint64) int {
	for i, s := range r.members {
		if s.Id >= id {
			return i
		}
	}
	return 0
}

func (r *Ring) arc(i int) concord.Range {
	return concord.Range{Start: r.after(i, len(r.members)-1).Id, End: r.members[i].Id}
}

// ranges are those of all members by their names, nil if each has one.
func (r *Ring) ranges() map[string][]concord.Range {
	if r.several <= 1 {
		return nil
	}
	type point struct {
		id uint64
		of string
	}
	var all []point
	for _, s := range r.members {
		for k := range r.several - 1 {
			all = append(all, point{concord.New(concord.Config{Name: fmt.Sprintf("%s, %d", s.Name, k)}).Id(), s.Name})
		}
		all = append(all, point{s.Id, s.Name})
	}
	slices.SortFunc(all, func(a, b point) int { return cmp.Compare(a.id, b.id) })
	out := map[string][]concord.Range{}
	for i, p := range all {
		out[p.of] = append(out[p.of], concord.Range{Start: all[(i+len(all)-1)%len(all)].id, End: p.id})
	}
	return out
}

// Status is that of the own member.
func (r *Ring) Status() concord.Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := r.index(r.self.Name)
	own := r.arc(i)
	s := concord.Status{
		Self: r.self, Incarnation: 1, Phase: r.phase, Range: &own, Predecessor: r.pred(i), Successors: r.list(i),
		Fingers: []concord.Finger{}, Acquaintances: []concord.Server{}, Size: len(r.members), Connections: len(r.list(i)),
		Counters: concord.Counters{Lookups: r.lookups, Served: 2 * r.lookups},
	}
	for bit := 63; bit >= 64-bits.Len(uint(len(r.members))); bit-- {
		to := r.members[r.owner(r.self.Id+1<<bit)]
		known := slices.ContainsFunc(s.Fingers, func(f concord.Finger) bool { return f.Server == to })
		if to != r.self && !known {
			s.Fingers = append(s.Fingers, concord.Finger{Server: to, Low: 1 << bit, High: 1 << bit})
		}
	}
	return s
}

// Watch yields the changes of the own member's range.
func (r *Ring) Watch(ctx context.Context) iter.Seq[concord.Event] {
	return func(yield func(concord.Event) bool) {
		var last concord.Event
		for {
			r.mu.Lock()
			now, moved := r.arc(r.index(r.self.Name)), r.moved
			r.mu.Unlock()
			if e := event(last, now); e.New != last.New || !last.Has {
				if !yield(e) {
					return
				}
				last = e
			}
			select {
			case <-moved:
			case <-ctx.Done():
				return
			}
		}
	}
}

// event is the change from what last has told to the range now.
func event(last concord.Event, now concord.Range) concord.Event {
	e := concord.Event{Old: last.New, New: now, Had: last.Has, Has: true}
	switch {
	case !last.Has:
		e.Gained, e.Cause = []concord.Range{now}, concord.CauseJoined
	case e.Old.Contains(now.Start):
		e.Lost, e.Cause = []concord.Range{{Start: e.Old.Start, End: now.Start}}, concord.CausePredecessorJoined
	default:
		e.Gained, e.Cause = []concord.Range{{Start: now.Start, End: e.Old.Start}}, concord.CausePredecessorFailed
	}
	return e
}

// Members walks the ring.
func (r *Ring) Members(context.Context, ...concord.LookupOption) iter.Seq2[concord.Member, error] {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.walks++
	self, fail, ranges := r.index(r.self.Name), r.fail, r.ranges()
	var all []concord.Member
	var errs []error
	for k := range r.members {
		i := (self + k) % len(r.members)
		m := concord.Member{Server: r.members[i], NamedBy: r.pred(i), Ranges: ranges[r.members[i].Name]}
		if slices.Contains(r.silent, m.Server.Name) {
			errs = append(errs, fmt.Errorf("%w: it is silent", concord.ErrUnavailable))
		} else {
			m.Incarnation, m.Phase, m.Predecessor, m.Successors = 1, concord.PhaseJoined, r.pred(i), r.list(i)
			errs = append(errs, nil)
		}
		all = append(all, m)
	}
	return func(yield func(concord.Member, error) bool) {
		for i, m := range all {
			if fail != nil && i >= (len(all)+1)/2 {
				yield(concord.Member{}, fail)
				return
			}
			if !yield(m, errs[i]) {
				return
			}
		}
	}
}

// Meta gives the address of a page that is not there.
func (r *Ring) Meta(_ context.Context, s concord.Server) ([]byte, error) {
	return []byte("http://" + s.Address + "/"), nil
}

// Trace goes from member to member, each time half of the way that is left. The
// times are made up.
func (r *Ring) Trace(ctx context.Context, key []byte, _ ...concord.LookupOption) (concord.Trace, error) {
	r.mu.Lock()
	block := r.block
	r.mu.Unlock()
	if block != nil {
		select {
		case <-block:
		case <-ctx.Done():
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lookups++
	id := concord.New(concord.Config{Name: string(key)}).Id()
	t := concord.Trace{Key: key, Id: id, Hops: []concord.Hop{}}
	if err := ctx.Err(); err != nil {
		return t, &concord.LookupError{Key: key, Id: id, Err: err}
	}
	at, target := r.index(r.self.Name), r.owner(id)
	own := r.arc(target)
	t.Owner, t.Range, t.Source = r.members[target], &own, concord.SourceAsked
	if at == target {
		t.Source = concord.SourceOwnRange
	}
	half := func() concord.Server {
		left := (target - at + len(r.members)) % len(r.members)
		return r.after(at, (left+1)/2)
	}
	for at != target {
		at = r.index(half().Name)
		hop := concord.Hop{Server: r.members[at], Why: "nearest before the key", Said: "mine", Took: time.Duration(430+110*len(t.Hops)) * time.Microsecond}
		if at != target {
			hop.Said, hop.Named = "closer", []concord.Server{half()}
		}
		t.Hops = append(t.Hops, hop)
		t.Took += hop.Took
	}
	return t, nil
}
