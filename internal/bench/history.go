package bench

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/ring"
)

// history is the truth about a ring at every instant since it began: who was a
// member. It judges what lookups answered.
//
// A member that is joining may own its keys from the moment its Join begins and
// must from the moment that it returned; between the two its successor may own them
// as well. A member that is killed owns nothing from the moment the kill begins.
type history struct {
	mu     sync.Mutex
	epochs []epoch // by time
}

// epoch is a time in which nothing changed. It is never modified.
type epoch struct {
	from    time.Time
	members []uint64 // identifiers, ascending
	joining []uint64
}

// verdict is what became of an answer.
type verdict struct {
	right bool
	// late is how long before the answer the member named had been the owner
	// for the last time; unless it never was: then it is a stranger.
	late     time.Duration
	stranger bool
}

// change begins an epoch. It is called before what changes happens, and after it
// in the case of joined.
func (h *history) change(edit func(e *epoch)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var e epoch
	if n := len(h.epochs); n > 0 {
		e = h.epochs[n-1]
		e.members, e.joining = slices.Clone(e.members), slices.Clone(e.joining)
	}
	edit(&e)
	slices.Sort(e.members)
	e.from = time.Now()
	h.epochs = append(h.epochs, e)
}

// begin starts with an ideal ring.
func (h *history) begin(members []*concord.Concord) {
	h.change(func(e *epoch) {
		for _, m := range members {
			e.members = append(e.members, m.Id())
		}
	})
}

func (h *history) join(id uint64) {
	h.change(func(e *epoch) { e.joining = append(e.joining, id) })
}

// joined ends the joining of a member; ok: it is one now.
func (h *history) joined(id uint64, ok bool) {
	h.change(func(e *epoch) {
		e.joining = slices.DeleteFunc(e.joining, func(x uint64) bool { return x == id })
		if ok {
			e.members = append(e.members, id)
		}
	})
}

func (h *history) kill(id uint64) {
	h.change(func(e *epoch) {
		e.members = slices.DeleteFunc(e.members, func(x uint64) bool { return x == id })
	})
}

// judge holds the answer of a lookup that has ended against the truth: it is right
// if the member named was the owner at any instant of the lookup.
func (h *history) judge(id, named uint64, began, ended time.Time) verdict {
	h.mu.Lock()
	epochs := h.epochs
	h.mu.Unlock()
	// The first epoch that begins after the lookup's end.
	n, _ := slices.BinarySearchFunc(epochs, ended, func(e epoch, t time.Time) int {
		return cmp.Or(e.from.Compare(t), -1)
	})
	for i := n - 1; i >= 0; i-- {
		if !epochs[i].may(id, named) {
			continue
		}
		if i == n-1 || epochs[i+1].from.After(began) {
			return verdict{right: true}
		}
		return verdict{late: ended.Sub(epochs[i+1].from)}
	}
	return verdict{stranger: true}
}

// may reports whether the member named may own the identifier in this epoch.
func (e *epoch) may(id, named uint64) bool {
	if len(e.members) == 0 {
		return false
	}
	owner := e.members[search(e.members, id)]
	if named == owner {
		return true
	}
	return slices.Contains(e.joining, named) && ring.Between(id-1, named, owner)
}
