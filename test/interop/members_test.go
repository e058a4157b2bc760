package interop_test

import (
	"context"
	"iter"
	"slices"
	"testing"

	"github.com/ollelogdahl/concord"
)

// Both kinds are met on the way round, and a legacy member has nothing to say of
// itself.
func TestMembersOfAMixedRing(t *testing.T) {
	members := newRing(t, "+-+--+")
	client, err := concord.Dial(t.Context(), concord.ClientConfig{}, members[1].Address) // a legacy one
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for what, asked := range map[string]interface {
		Members(ctx context.Context, opts ...concord.LookupOption) iter.Seq2[concord.Member, error]
		Meta(ctx context.Context, s concord.Server) ([]byte, error)
	}{"a member": members[0].ours, "a client": client} {
		var met []concord.Server
		for m, err := range asked.Members(t.Context(), concord.Fresh()) {
			if err != nil {
				t.Fatalf("%s: %v: %v", what, m.Server.Name, err)
			}
			met = append(met, m.Server)
			s := members[slices.IndexFunc(members, func(s member) bool { return s.Server == m.Server })]
			if legacy := m.Incarnation == 0; legacy != (s.legacy != nil) {
				t.Errorf("%s: incarnation of %s is %d", what, s.Name, m.Incarnation)
			}
			if _, err := asked.Meta(t.Context(), m.Server); err != nil {
				t.Errorf("%s: meta of %s: %v", what, s.Name, err)
			}
		}
		if len(met) != len(members) {
			t.Errorf("%s met %v", what, met)
		}
	}
}
