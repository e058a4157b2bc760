package invariant

import (
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

func TestOneFounder(t *testing.T) {
	const never = -1
	founding := func(by uint64, at, heard time.Duration) Founding {
		return Founding{By: named(by), At: at, Heard: func(ring.Member) (time.Duration, bool) { return heard, heard != never }}
	}
	for name, c := range map[string]struct {
		first, second Founding
		broken        bool
	}{
		"each had the other's answer of late":         {founding(1, 3*time.Second, time.Second), founding(2, 4*time.Second, 2*time.Second), true},
		"the same, the second given first":            {founding(2, 4*time.Second, 2*time.Second), founding(1, 3*time.Second, time.Second), true},
		"the second had not heard the first for long": {founding(1, 3*time.Second, time.Second), founding(2, 2*time.Second+protocol.Promise, 2*time.Second), false},
		"the first never had the second's answer":     {founding(1, 3*time.Second, never), founding(2, 4*time.Second, 2*time.Second), false},
		"the second never had the first's answer":     {founding(1, 3*time.Second, time.Second), founding(2, 4*time.Second, never), false},
	} {
		if broken := OneFounder.Broken(c.first, c.second); (broken != "") != c.broken {
			t.Errorf("%s: %q", name, broken)
		}
	}
}
