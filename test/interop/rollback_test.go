package interop_test

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// Where one of ours stood a legacy member runs by the same name, at the same address.
// Everybody who knew the one takes the other for what it is, members far from it too,
// and joins next to it lead where they should.
func TestLegacyMemberTakesOverFromOurs(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		pattern string
		place   int
	}{
		{"++", 0}, {"+++", 1}, {"++++++", 2}, {"-+-+-+", 3}, {"+--+++", 4}, {"++++++++", 5},
	} {
		for _, waits := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s at %d, after the ring has healed: %v", tc.pattern, tc.place, waits), func(t *testing.T) {
				t.Parallel()
				members := newRing(t, tc.pattern)
				gone := members[tc.place]
				gone.stop()
				rest := without(members, gone)
				if waits {
					settle(t, rest)
				}
				began := time.Now()
				back := startLegacyAt(t, gone.Name, gone.Address)
				back.insist(t, rest[0])
				joined := time.Since(began)
				all := slices.Insert(slices.Clone(rest), tc.place, back)
				eventually(t, func() error { return wrong(all) })
				t.Logf("joined after %v, the ring is right after %v", joined.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
				settle(t, all)

				more := []member{startOurs(t, t.Name()+"/ours"), startLegacy(t, t.Name()+"/legacy")}
				more[0].join(t, back)
				more[1].insist(t, back)
				all = append(all, more...)
				settle(t, all)

				// And forward again.
				back.stop()
				again := startOursAt(t, gone.Name, gone.Address)
				again.join(t, rest[0])
				settle(t, append(without(all, back), again))
			})
		}
	}
}

// A legacy member that is restarted at once, where it was, is still named by the
// ring. Asked where it belongs, ours do not hand it itself, as they would for as long
// as a legacy member before it takes it for alive.
func TestLegacyMemberRestartedAtOnceJoinsThroughOurs(t *testing.T) {
	t.Parallel()
	const limit = 2 * time.Second
	for _, tc := range []struct {
		pattern    string
		place, via int
	}{
		{"+-", 1, 0}, {"+-+", 1, 0}, {"+-+", 1, 2}, {"--+-", 1, 2}, {"-+--+", 3, 1}, {"-+--+", 3, 4}, {"--+---", 4, 2},
	} {
		t.Run(fmt.Sprintf("%s at %d through %d", tc.pattern, tc.place, tc.via), func(t *testing.T) {
			t.Parallel()
			members := newRing(t, tc.pattern)
			gone := members[tc.place]
			gone.stop()
			began := time.Now()
			back := startLegacyAt(t, gone.Name, gone.Address)
			back.insist(t, members[tc.via])
			took := time.Since(began)
			t.Logf("joined after %v", took.Round(time.Millisecond))
			if took > limit {
				t.Errorf("joined after %v, want at most %v", took, limit)
			}
			settle(t, append(without(members, gone), back))
		})
	}
}
