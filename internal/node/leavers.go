package node

import (
	"slices"
	"sync"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// maxLeavers is how many members are remembered that have left.
const maxLeavers = 64

// leavers are members that have said at their own address that they leave, the latest
// last. That they do not answer after it is no news for the log. The zero leavers is
// empty. Safe for concurrent use.
type leavers struct {
	mu   sync.Mutex
	list []leaver
}

type leaver struct {
	ring.Member

	said time.Time // last
}

// note remembers x, as it has answered a question to the member asked, if it leaves.
func (l *leavers) note(asked ring.Member, x protocol.State, now time.Time) {
	if x.Phase != protocol.Leaving || x.Self != asked {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = slices.DeleteFunc(l.list, func(y leaver) bool { return y.Member == asked })
	if len(l.list) >= maxLeavers {
		l.list = slices.Delete(l.list, 0, 1)
	}
	l.list = append(l.list, leaver{asked, now})
}

// explain reports whether that x does not answer is due to its leave. The incarnation
// that left does not come back. A process leaves with its first identifier last, and has
// left with all then. One that has given up another is about to leave, or stays: which it
// was is not known after failurePause. Nor is whether another process is meant where only
// an address was asked.
func (l *leavers) explain(x ring.Member, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.list, func(y leaver) bool {
		lately := now.Sub(y.said) < failurePause
		return y.Member == x || y.took(x, lately) || x.Anyone() && x.Addr == y.Addr && lately
	})
}

// partly reports whether the process of x has said, at one of its identifiers, that it gives that
// up. If the ring does without all of them since, it has left.
func (l *leavers) partly(x ring.Member) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.list, func(y leaver) bool { return y.took(x, true) })
}

// took reports whether x is another identifier of the process that has left with y: its first,
// or any of late.
func (y leaver) took(x ring.Member, lately bool) bool {
	slot, _ := y.Choice.Slot()
	return (slot == 0 || lately) && y.Choice.Several() && y.SameProcess(x) && x.Incarnation <= y.Incarnation
}

// all reports whether all of these members have left; false for none.
func (l *leavers) all(of []ring.Member, now time.Time) bool {
	return len(of) > 0 && !slices.ContainsFunc(of, func(x ring.Member) bool { return !l.explain(x, now) })
}
