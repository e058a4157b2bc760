package node

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// A join is on every map at once, without any round.
func TestJoinsAreOnEveryMapAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		g.interval = time.Hour
		for i := range 12 {
			n := g.add(fmt.Sprintf("n%d", i))
			if i == 0 {
				n.Create()
			} else if err := n.Join(t.Context(), []string{g.nodes[0].Addr()}); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			for {
				w := ""
				for _, m := range g.live() {
					if w = wrongMap(m, g.live()); w != "" {
						break
					}
				}
				if w == "" {
					break
				}
				if time.Since(began) > 50*time.Millisecond {
					t.Fatalf("%d members, after %v: %s", i+1, time.Since(began), w)
				}
				time.Sleep(time.Millisecond)
			}
			t.Log(time.Since(began))
		}
	})
}
