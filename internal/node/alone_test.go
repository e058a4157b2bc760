package node

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// journal keeps what is logged.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) count(s string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.text.String(), s)
}

// TestAloneIsLoggedOfOneThatIs tells a member that has lost its whole list, and
// finds its way back by its predecessor, from one that nobody answers.
func TestAloneIsLoggedOfOneThatIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		const warning = "alone: no other member answers"
		var j journal
		for i := range 8 {
			n := g.add(fmt.Sprintf("n%d", i))
			if i == 0 {
				n.Create()
				continue
			}
			if i == 1 {
				n.log = slog.New(slog.NewTextHandler(&j, nil))
			}
			if err := n.Join(t.Context(), []string{g.nodes[0].Addr()}); err != nil {
				t.Fatal(err)
			}
		}
		g.ideal(20 * g.interval)
		m := g.nodes[1]
		for _, s := range m.Snapshot().View.Succ {
			g.net.Cut(m.Addr(), s.Addr)
		}
		time.Sleep(100 * g.interval)
		if h := m.Snapshot().View.Head(); h.IsZero() {
			t.Fatal("it has not found its way back")
		}
		if n := j.count(warning); n != 0 {
			t.Errorf("%d times alone among others", n)
		}
		for _, n := range g.nodes {
			g.cut(m.Addr(), n.Addr())
		}
		time.Sleep(400 * g.interval)
		if n := j.count(warning); n != 1 || !m.Snapshot().View.Alone {
			t.Errorf("%d times alone, %+v", n, m.Snapshot().View)
		}
	})
}
