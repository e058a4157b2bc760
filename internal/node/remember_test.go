package node

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

func TestWhatWasNotSavedIsSavedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		g.grow(3)
		tr, err := g.net.Listen("")
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex // guards these
		var saved []ring.Member
		calls, full := 0, false
		n := New(Config{
			Self:  ring.Member{ID: g.space.ID([]byte("z")), Name: "z", Addr: tr.Addr()},
			Space: g.space, Settings: g.space.Settings(""), Successors: g.r, Interval: g.interval, Seed: 9,
			Remember: func(_ uint64, _ *ring.Origin, m []ring.Member, _ []uint8) error {
				mu.Lock()
				defer mu.Unlock()
				if calls++; full {
					return errors.New("no space left on device")
				}
				saved = m
				return nil
			},
		}, tr)
		g.nodes = append(g.nodes, n)
		time.Sleep(time.Second)
		set := func(on bool) int {
			mu.Lock()
			defer mu.Unlock()
			full = on
			return calls
		}
		before := set(true)
		if err := n.Join(t.Context(), []string{g.nodes[0].Addr()}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if tries := set(false) - before; tries < 2 || tries > 6 {
			t.Errorf("%d tries in ten seconds", tries)
		}
		time.Sleep(10 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		if len(saved) < 4 {
			t.Errorf("saved %v", saved)
		}
	})
}
