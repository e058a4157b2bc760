package concord_test

import (
	"fmt"
	"testing"

	"github.com/ollelogdahl/concord"
)

// A client that knows one member only has nobody to ask besides.
func TestVerifiedLookupOfAClientThatKnowsOneMember(t *testing.T) {
	c := newRing(t, 1)[0]
	client := dial(t, concord.ClientConfig{}, c.Address())
	_, err := client.LookupContext(t.Context(), []byte("apple"), concord.Verified())
	wantErr(t, "verified", err, concord.ErrUnverified)
	if got, err := client.LookupContext(t.Context(), []byte("apple"), concord.Fresh()); err != nil || got.Name != c.Name() {
		t.Errorf("fresh: %v, %v", got, err)
	}
}

func TestTraceOfAVerifiedLookup(t *testing.T) {
	members := newRing(t, 8)
	last := 0
	for i := range 20 {
		key := fmt.Sprintf("key%d", i)
		want := ownerOf(members, idOf(key))
		for _, c := range members {
			tr, err := c.Trace(t.Context(), []byte(key), concord.Verified())
			if err != nil || tr.Owner != want {
				t.Fatalf("%s: %v, %v; want %v", c.Name(), tr.Owner, err, want)
			}
			if want.Name == c.Name() {
				if len(tr.Hops) != 0 || tr.Source != concord.SourceOwnRange {
					t.Errorf("%s asked %v for its own key", c.Name(), tr.Hops)
				}
				continue
			}
			asked := map[string]bool{}
			for _, hop := range tr.Hops {
				if hop.Said == concord.VerdictMine && hop.Server != want {
					t.Errorf("%s is named for %q, and %v said that it owns it", want.Name, key, hop.Server)
				}
				if asked[hop.Server.Name] {
					t.Errorf("%s asked %s twice: %+v", c.Name(), hop.Server.Name, tr.Hops)
				}
				asked[hop.Server.Name] = true
			}
			if hop := tr.Hops[len(tr.Hops)-1]; hop.Server == want && hop.Why == concord.ReasonCandidate {
				last++
			}
		}
	}
	if last == 0 {
		t.Error("no owner was asked as the candidate of two searches")
	}
}
