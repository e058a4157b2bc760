package routing

import (
	"slices"

	"github.com/ollelogdahl/concord/internal/ring"
)

// Replicas chooses the n members that should have a key, from the members clockwise from
// the key's owner. The first is the owner. After it come members of zones that no one
// before is in, while there are any, then the rest in their order. A member without a zone
// is as one in a zone of its own. Of the identifiers of a process the first counts.
//
// Only the first [ReplicaReach] members are looked at, so that all who choose, choose alike, and
// look no further in a ring that has fewer zones than n.
type Replicas struct {
	n        int
	apart    []ring.Member // in zones of their own
	rest     []ring.Member
	zones    []string // of apart
	lookedAt int
}

// ReplicaReach returns how many members are looked at to choose n: the owner and those
// after it. If each of three zones has a third of the members, the 24 that are looked at to
// choose three lack a zone in 2 cases of 10,000.
func ReplicaReach(n int) int { return 8 * n }

// NewReplicas returns a choice of n members that has looked at none.
func NewReplicas(n int) *Replicas { return &Replicas{n: n} }

// Add looks at the next member clockwise, the owner first. It returns true when the choice
// is made.
func (r *Replicas) Add(x ring.Member, zone string) bool {
	same := func(y ring.Member) bool { return x.SameProcess(y) }
	if slices.ContainsFunc(r.apart, same) || slices.ContainsFunc(r.rest, same) {
		return false // another identifier of a process that was looked at
	}
	r.lookedAt++
	if zone == "" || !slices.Contains(r.zones, zone) {
		r.apart = append(r.apart, x)
		r.zones = append(r.zones, zone)
	} else {
		r.rest = append(r.rest, x)
	}
	return len(r.apart) >= r.n || r.lookedAt >= ReplicaReach(r.n)
}

// Members returns those chosen so far, at most n.
func (r *Replicas) Members() []ring.Member {
	out := r.apart
	if more := min(r.n-len(out), len(r.rest)); more > 0 {
		out = append(out, r.rest[:more]...)
	}
	return out[:min(r.n, len(out)):min(r.n, len(out))]
}
