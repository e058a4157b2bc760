package invariant

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/ollelogdahl/concord/internal/voting"
)

// OneVote is the rule of votes that have not run out: a process has voted for one member only at
// each point.
const OneVote = "one-vote"

// OneVoteEach is how the votes of a process break the rule, empty if they do not.
func OneVoteEach(cast []voting.Stake) string {
	cast = slices.SortedFunc(slices.Values(cast), func(a, b voting.Stake) int { return cmp.Compare(a.Arc.To, b.Arc.To) })
	for i, x := range cast {
		// If two overlap, one of them reaches over the end of the one before it.
		before := cast[(i+len(cast)-1)%len(cast)]
		if before.Who != x.Who && x.Arc.Contains(before.Arc.To) {
			return fmt.Sprintf("votes for %v of %v and for %v of %v", x.Arc, x.Who, before.Arc, before.Who)
		}
	}
	return ""
}
