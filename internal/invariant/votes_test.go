package invariant

import (
	"testing"

	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/voting"
)

func TestOneVoteEach(t *testing.T) {
	vote := func(after, to uint64) voting.Stake {
		return voting.Stake{Who: ring.Instance{ID: to, Incarnation: after + 1}, Arc: ring.Arc{After: after, To: to}, Has: true}
	}
	for what, tc := range map[string]struct {
		cast   []voting.Stake
		breaks bool
	}{
		"none":                            {nil, false},
		"one":                             {[]voting.Stake{vote(3, 9)}, false},
		"all for one":                     {[]voting.Stake{vote(9, 9)}, false},
		"all, one after another":          {[]voting.Stake{vote(5, 9), vote(9, 2), vote(2, 5)}, false},
		"with room between":               {[]voting.Stake{vote(6, 9), vote(12, 2)}, false},
		"one within another":              {[]voting.Stake{vote(3, 9), vote(5, 6)}, true},
		"one over the end of another":     {[]voting.Stake{vote(3, 9), vote(8, 12)}, true},
		"one over the end, round the top": {[]voting.Stake{vote(14, 3), vote(2, 5)}, true},
		"all, and one":                    {[]voting.Stake{vote(9, 9), vote(1, 2)}, true},
		"two of one identifier":           {[]voting.Stake{vote(1, 9), vote(2, 9)}, true},
	} {
		if got := OneVoteEach(tc.cast); got != "" != tc.breaks {
			t.Errorf("%s: %q", what, got)
		}
	}
}
