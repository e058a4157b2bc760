package node

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Each try to join leads out of the phase "outside" and back. The log says so once, and again
// after a minute.
func TestFailedTriesAreNotAllLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		var j journal
		n := g.logged("lonely", &j)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if err := n.Join(ctx, []string{"nobody:1"}); err == nil {
			t.Fatal("joined nobody")
		}
		synctest.Wait()
		if got := j.lines("phase changed"); len(got) != 2 {
			t.Errorf("%d records in half a minute:\n%s", len(got), strings.Join(got, "\n"))
		}
		n.Create()
		time.Sleep(time.Second)
		if got := j.lines("new.phase=joined"); len(got) != 1 {
			t.Errorf("the change into a ring is logged %d times", len(got))
		}
	})
}
