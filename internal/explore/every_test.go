package explore

import "testing"

// A slice of what make verify-long tries whole.
func TestEveryConnectedStateHeals(t *testing.T) {
	for _, members := range []int{2, 3, 4} {
		n := 1
		if members == 4 {
			n = 256
		}
		r := Every(Config{Members: members, Successors: 2, Quiet: 30}, 0, n)
		t.Logf("%d members: %d states, %d rounds at most, %.1f s", members, r.States, r.QuietRounds, r.Seconds)
		if r.Violation != nil {
			t.Fatal(r.Violation)
		}
	}
}
