package interop_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/ollelogdahl/concord"
)

// A client that dials either kind is told the same owners by it, one by one and
// many at once, and the members after them.
func TestClientInMixedRing(t *testing.T) {
	t.Parallel()
	for _, pattern := range []string{"-", "---", "+-", "-+-+-+"} {
		t.Run(pattern, func(t *testing.T) {
			t.Parallel()
			members := newRing(t, pattern)
			in := sorted(members)
			owner := func(key []byte) int {
				for i, s := range in {
					if s.Id >= idOf(string(key)) {
						return i
					}
				}
				return 0
			}
			var keys [][]byte
			for i := range 12 {
				keys = append(keys, fmt.Appendf(nil, "key%d", i))
			}
			for _, via := range members {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				c, err := concord.Dial(ctx, concord.ClientConfig{}, via.Address)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				all, err := c.LookupAll(ctx, keys)
				if err != nil {
					t.Fatal(err)
				}
				for i, key := range keys {
					first := owner(key)
					for _, opts := range [][]concord.LookupOption{nil, {concord.Fresh()}} {
						if got, err := c.LookupContext(ctx, key, opts...); err != nil || got != in[first].Server || got != all[i] {
							t.Errorf("through %s: %s: %v, %v; with others %v, want %v", via.Name, key, got, err, all[i], in[first].Server)
						}
					}
					got, err := c.LookupN(ctx, key, 3)
					if err != nil || len(got) != min(3, len(in)) {
						t.Fatalf("through %s: %s: %v, %v", via.Name, key, got, err)
					}
					for k, s := range got {
						if s != in[(first+k)%len(in)].Server {
							t.Errorf("through %s: %s: the member %d after the owner is %v, want %v", via.Name, key, k, s, in[(first+k)%len(in)].Server)
						}
					}
				}
			}
			settle(t, members)
		})
	}
}
