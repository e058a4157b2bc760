package invariant

import (
	"strings"
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

func TestSweepsAreNeitherRareNorMany(t *testing.T) {
	var s Sweeps
	for _, x := range []struct {
		at     time.Duration
		broken bool
	}{{90, false}, {93, false}, {95, true}, {102, false}, {110, true}, {113, false}} {
		if broken := s.Begin(x.at*time.Second, time.Second); (broken != "") != x.broken {
			t.Errorf("a sweep at %d s: %q", x.at, broken)
		}
	}
}

func TestPointsGoForward(t *testing.T) {
	var f Forward
	for i, x := range []struct {
		point, epoch uint64
		broken       bool
	}{{1, 5, false}, {2, 3, false}, {1, 5, false}, {1, 4, true}, {2, 4, false}, {1, 9, false}} {
		if broken := f.See(x.point, x.epoch); (broken != "") != x.broken {
			t.Errorf("claim %d: %q", i, broken)
		}
	}
}

func TestOnlyWhatWasConfirmedIsNamed(t *testing.T) {
	var c Confirmed
	c.Confirm(named(200), ring.Arc{After: 150, To: 200})
	c.Confirm(named(200), ring.Arc{After: 100, To: 160})
	again := named(200)
	again.Incarnation++
	for _, x := range []struct {
		owner  ring.Member
		id     uint64
		broken bool
	}{{named(200), 180, false}, {named(200), 101, false}, {named(200), 100, true}, {again, 180, true}, {named(300), 250, true}} {
		if broken := c.Name(x.owner, x.id); (broken != "") != x.broken || x.broken && !strings.Contains(broken, "has not confirmed") {
			t.Errorf("%v for %d: %q", x.owner, x.id, broken)
		}
	}
}
