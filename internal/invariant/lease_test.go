package invariant

import (
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

func TestOneOwnerAtATime(t *testing.T) {
	const now, sec = 10 * time.Second, time.Second
	arc := func(after, to uint64) ring.Arc { return ring.Arc{After: after, To: to} }
	for what, tc := range map[string]struct {
		x, y Leasehold
		two  time.Duration
	}{
		"side by side":        {Leasehold{Arc: arc(1, 5), Has: true, Until: now + sec}, Leasehold{Arc: arc(5, 9), Has: true, Until: now + sec}, 0},
		"one in the other":    {Leasehold{Arc: arc(1, 5), Has: true, Until: now + sec}, Leasehold{Arc: arc(1, 9), Has: true, Until: now + 2*sec}, sec},
		"one has nothing":     {Leasehold{Arc: arc(1, 5), Until: now + sec}, Leasehold{Arc: arc(1, 9), Has: true, Until: now + sec}, 0},
		"one has run out":     {Leasehold{Arc: arc(1, 5), Has: true, Until: now}, Leasehold{Arc: arc(1, 9), Has: true, Until: now + sec}, 0},
		"the whole circle":    {Leasehold{Arc: arc(5, 5), Has: true, Until: now + sec}, Leasehold{Arc: arc(8, 9), Has: true, Until: now + sec}, sec},
		"the new one has not": {Leasehold{Arc: arc(1, 5), Has: true, Until: now + sec}, Leasehold{Arc: arc(1, 9), Has: true, Until: now}, 0},
	} {
		var o Owners
		if _, broken := o.Own(0, tc.x, now); broken != "" {
			t.Errorf("%s: one is too many: %s", what, broken)
		}
		if two, broken := o.Own(2, tc.y, now); two != tc.two || (broken != "") != (two > 0) {
			t.Errorf("%s: %v, %q", what, two, broken)
		}
		if o.Drop(0); o.At(tc.y.Arc.To, now) != (tc.y.Until > now) || o.At(5, now+3*sec) {
			t.Errorf("%s: who owns what is wrong", what)
		}
	}
}

// What is torn may have two owners until it is mended, and no point beside it.
func TestTornArcsMayHaveTwoOwners(t *testing.T) {
	arc := func(after, to uint64) ring.Arc { return ring.Arc{After: after, To: to} }
	for what, tc := range map[string]struct {
		torn   []ring.Arc
		mended bool
		broken bool
	}{
		"none":           {nil, false, true},
		"all":            {[]ring.Arc{arc(3, 3)}, false, false},
		"what is common": {[]ring.Arc{arc(2, 5)}, false, false},
		"in two parts":   {[]ring.Arc{arc(1, 3), arc(3, 9)}, false, false},
		"all but one":    {[]ring.Arc{arc(2, 4)}, false, true},
		"beside it":      {[]ring.Arc{arc(5, 2)}, false, true},
		"mended":         {[]ring.Arc{arc(2, 5)}, true, true},
	} {
		var o Owners
		for _, a := range tc.torn {
			o.Tear(a)
		}
		if tc.mended {
			o.Mend()
		}
		o.Own(0, Leasehold{Arc: arc(1, 5), Has: true, Until: 2}, 1)
		if _, broken := o.Own(1, Leasehold{Arc: arc(2, 9), Has: true, Until: 2}, 1); (broken != "") != tc.broken {
			t.Errorf("%s: %q", what, broken)
		}
	}
}
