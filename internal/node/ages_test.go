package node

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestAgesTellOfStepsAndOfTheHead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		g.grow(2)
		n, other := g.nodes[0], g.nodes[1]
		time.Sleep(time.Minute)
		if step, head := n.Ages(); step > 2*g.interval || head > 2*g.interval {
			t.Errorf("in a ring that is well: %v since the last step, %v since the head answered", step, head)
		}
		g.net.Pause(other.Addr())
		time.Sleep(2 * g.interval)
		if _, head := n.Ages(); head < g.interval {
			t.Errorf("the head hangs, and has answered %v ago", head)
		}
		other.Close()
		time.Sleep(time.Minute)
		n.timer.Stop() // its loop does not turn any more
		time.Sleep(time.Hour)
		if step, head := n.Ages(); step < time.Hour || head < time.Hour {
			t.Errorf("after an hour: %v since the last step, %v since the head answered", step, head)
		}
	})
}
