package invariant

import (
	"testing"
	"time"
)

func TestHeardSince(t *testing.T) {
	const sec = time.Second
	var a, b, c Heard
	b.Hear(c.Says("c", 3*sec))
	said := b.Says("b", 5*sec)
	b.Hear(c.Says("c", 6*sec)) // after it has said that
	a.Hear(said)
	a.Hear(c.Says("c", 2*sec)) // late
	for _, tc := range []struct {
		who    string
		by     Heard
		of     string
		at     time.Duration
		broken bool
	}{
		{"itself", a, "b", 5 * sec, false},
		{"itself, later", a, "b", 5*sec + 1, true},
		{"through another", a, "c", 3 * sec, false},
		{"through another, later", a, "c", 3*sec + 1, true},
		{"by who has heard it", b, "c", 6 * sec, false},
		{"by who has heard nothing", c, "a", 1, true},
		{"at the beginning", c, "a", 0, false},
	} {
		if broken := tc.by.Counts(tc.of, tc.at); (broken != "") != tc.broken {
			t.Errorf("%s: %q", tc.who, broken)
		}
	}
}
