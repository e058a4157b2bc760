package concord

import (
	"context"
	"iter"
)

// ReplicaSet is a range of keys and the members that hold copies of them.
type ReplicaSet struct {
	// Range is the range of keys, which Servers[0] is responsible for.
	Range Range `json:"range"`
	// Servers are the members that LookupN names for each key of the range.
	Servers []Server `json:"servers"`
}

// WatchReplicas returns an iterator over the ranges whose keys this member keeps, if each key is
// kept by the n servers that [Concord.LookupN] names. These are the member's own ranges and some of
// members before it; which ones depends on the zones. Each element has all of them, clockwise. The
// last is the one that ends at the member's own identifier, Id. The first element comes at once. An
// element after it comes when the ranges, or the servers of any of them, have changed. A range that
// is new in an element has to be copied to this member, from the other servers. One that is gone
// need not be kept.
//
// The ranges are those of the member's map of the ring; see [Concord.WatchRing] for how soon a
// change comes, and for the bounds of the map. While members come and go, members differ for some
// milliseconds in what they think. Legacy members are not on the map, and so hold no copies. A
// member whose zone is not known yet counts as one without a zone. If the ring has fewer than n
// members, each holds all keys. While the member is in no ring, or isolated, an element is empty.
// If n is less than 1, all are.
//
// A slow loop body delays nothing else: changes during it are merged. The loop body may call any
// method of the member. The loop ends when ctx ends, when the member is stopped or has left, or by
// break. If the member has not been started, the loop yields nothing. Several loops may run at the
// same time.
func (c *Concord) WatchReplicas(ctx context.Context, n int) iter.Seq[[]ReplicaSet] {
	return func(yield func([]ReplicaSet) bool) {
		live, err := c.started()
		if err != nil {
			return
		}
		for list := range live.WatchReplicas(ctx, n) {
			out := make([]ReplicaSet, len(list))
			for i, x := range list {
				out[i] = ReplicaSet{Range: rangeOf(x.Arc), Servers: servers(x.Who)}
			}
			if !yield(out) {
				return
			}
		}
	}
}
