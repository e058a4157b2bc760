package node

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// Who does not answer can hand over nothing, unless it has said that it is away.
func TestHolderThatDoesNotAnswerIsNotNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		g.grow(3)
		n, x := g.nodes[0], g.nodes[1].Snapshot().Self
		if h := n.alive(Holding{From: x}); h.From != x {
			t.Errorf("of one that answers: %v", h.From)
		}
		n.mu.Lock()
		n.suspect(x, false)
		n.mu.Unlock()
		if h := n.alive(Holding{From: x}); !h.From.IsZero() {
			t.Errorf("of one that does not answer: %v", h.From)
		}
		back := time.Now().Add(time.Minute)
		if h := n.alive(Holding{From: x, Back: back}); h.From != x || h.Back != back {
			t.Errorf("of one that is to be back: %v at %v", h.From, h.Back)
		}
	})
}

// When a member is to be back is said of what it had, and of nothing else that was gained
// before the program has heard of it.
func TestMergedChangesHaveTheReturnOfNobody(t *testing.T) {
	member := ring.Member{ID: 5, Name: "left", Addr: "left:1", Incarnation: 1}
	back := time.Now()
	self := ring.Member{ID: 9, Name: "self", Addr: "self:1", Incarnation: 1}
	start := Holding{Arc: ring.Arc{After: 5, To: 9}, Has: true}.settled()
	change := func(from, to uint64, of ring.Member) protocol.RangeChanged {
		return protocol.RangeChanged{Old: ring.Arc{After: from, To: 9}, New: ring.Arc{After: to, To: 9}, HadOld: true, HasNew: true, From: of}
	}
	sooner := back.Add(-time.Millisecond)
	beside, other := member, ring.Member{ID: 4, Name: "other", Addr: "other:1", Incarnation: 1}
	beside.ID = 4
	left, failed := change(5, 4, member), change(4, 3, ring.Member{})
	joined := change(4, 5, ring.Member{})
	for what, tc := range map[string]struct {
		now  Holding
		want time.Time
	}{
		"one has left":                {start.then(self, left, member, back), back},
		"another has failed before":   {start.then(self, change(5, 4, ring.Member{}), member, time.Time{}).then(self, change(4, 3, member), member, back), time.Time{}},
		"another has failed since":    {start.then(self, left, member, back).then(self, failed, member, time.Time{}), time.Time{}},
		"with another identifier":     {start.then(self, left, member, sooner).then(self, change(4, 3, beside), member, back), sooner},
		"another process has left":    {start.then(self, left, member, sooner).then(self, change(4, 3, other), member, back), time.Time{}},
		"it is back":                  {start.then(self, left, member, back).then(self, joined, member, time.Time{}), back},
		"the former change was given": {start.then(self, failed, member, time.Time{}).settled().then(self, change(3, 2, member), member, back), back},
	} {
		if !tc.now.Back.Equal(tc.want) {
			t.Errorf("%s: %v, want %v", what, tc.now.Back, tc.want)
		}
	}
}

// What is held again after others have answered for it tells whether they were identifiers of
// the same process alone.
func TestMergedChangesTellWhetherOthersHeldIt(t *testing.T) {
	self := ring.Member{ID: 9, Name: "self", Addr: "self:1", Incarnation: 1}
	sibling := ring.Member{ID: 20, Name: "self", Addr: "self:1", Incarnation: 1}
	other := ring.Member{ID: 30, Name: "other", Addr: "other:1", Incarnation: 1}
	arc := ring.Arc{After: 5, To: 9}
	start := Holding{Arc: arc, Has: true}.settled()
	again := func(cause protocol.Cause, by ring.Member) protocol.RangeChanged {
		return protocol.RangeChanged{Old: arc, New: arc, HadOld: true, HasNew: true, Again: true, Cause: cause, From: by}
	}
	nearer := protocol.RangeChanged{Old: arc, New: ring.Arc{After: 7, To: 9}, HadOld: true, HasNew: true, Cause: protocol.CausePredecessorJoined}
	for what, tc := range map[string]struct {
		changes []protocol.RangeChanged
		want    bool
	}{
		"a sibling has answered":                  {[]protocol.RangeChanged{again(protocol.CauseResumed, sibling)}, false},
		"another has":                             {[]protocol.RangeChanged{again(protocol.CauseResumed, other)}, true},
		"nobody says who":                         {[]protocol.RangeChanged{again(protocol.CauseResumed, ring.Member{})}, true},
		"it was isolated":                         {[]protocol.RangeChanged{again(protocol.CauseEnoughMembers, sibling)}, true},
		"a sibling, then a joiner":                {[]protocol.RangeChanged{again(protocol.CauseResumed, sibling), nearer}, false},
		"another, then a sibling":                 {[]protocol.RangeChanged{again(protocol.CauseResumed, other), again(protocol.CauseResumed, sibling)}, true},
		"it had nothing, and a sibling has since": {[]protocol.RangeChanged{{Old: arc, HadOld: true}, again(protocol.CauseResumed, sibling)}, true},
	} {
		h := start
		for _, c := range tc.changes {
			h = h.then(self, c, ring.Member{}, time.Time{})
		}
		if h.Others != tc.want {
			t.Errorf("%s: %v", what, h.Others)
		}
	}
}
