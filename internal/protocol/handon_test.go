package protocol

import (
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// When several join while a member waits for an arc, each goes on with that wait.
func TestWaitIsHandedOnToTheNextJoiner(t *testing.T) {
	for what, tc := range map[string]struct {
		linked bool // the first has asked, and others may own by it
		from   uint64
	}{"the first has not asked": {false, 13}, "the first has asked": {true, 15}} {
		m, _ := lessee()
		m.Step(time.Second, Tick{})
		m.setPred(testMember(13), CausePredecessorFailed)
		first, second := testMember(15), testMember(0)
		m.setPred(first, CausePredecessorJoined)
		if got := m.saysLease(); !got.Waits || got.From != 13 || got.Wait != lease {
			t.Fatalf("%s: the first is told %+v", what, got)
		}
		if tc.linked {
			if _, linked := m.grants(first, Asks{Length: lease, Arc: ring.Arc{After: 13, To: 15}, Has: true}); !linked {
				t.Fatal("the first is no link")
			}
		}
		m.setPred(second, CausePredecessorJoined)
		if got := m.saysLease(); !got.Waits || got.From != tc.from || got.Wait != lease {
			t.Errorf("%s: the second is told %+v, want from %d", what, got, tc.from)
		}
	}
}

// A joiner that hears of a wait tells the one that has come before it meanwhile.
func TestWaitIsHandedOnToWhoCameBeforeItWasHeardOf(t *testing.T) {
	for what, tc := range map[string]struct {
		linked ring.Member // was a link before
		waits  bool
	}{"no other before": {}, "another, which stands there": {testMember(2), false}, "another, which stands before that": {testMember(15), true}} {
		tc.waits = tc.waits || tc.linked.IsZero()
		m, head := lessee()
		m.ownsNothing()
		m.now = time.Second
		if x := tc.linked; !x.IsZero() {
			m.pred = x
			if _, linked := m.grants(x, Asks{Length: lease}); !linked {
				t.Fatal("not a link")
			}
		}
		m.setPred(testMember(3), CausePredecessorJoined)
		answerAt(t, m, head, 2*time.Second, 2*time.Second, Lease{Granted: true, Waits: true, From: 1, Wait: 4 * time.Second})
		if got := m.saysLease(); got.Waits != tc.waits || got.Waits && (got.From != 1 || got.Wait < 4*time.Second) {
			t.Errorf("%s: its predecessor is told %+v", what, got)
		}
	}
}

func testMember(id uint64) ring.Member {
	name := string(rune('a' + id))
	return ring.Member{ID: id, Name: name, Addr: name + ":1", Incarnation: 1}
}
