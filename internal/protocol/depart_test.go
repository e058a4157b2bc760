package protocol

import (
	"slices"
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// A leaver takes one for its head that has left just before, as when identifiers of one process
// that follow one another leave one after another. It tells the member after that.
func TestLeaverTellsTheNextWhereItsHeadIsGone(t *testing.T) {
	member := func(name string, id uint64) ring.Member {
		return ring.Member{ID: id, Name: name, Addr: name + ":1", Incarnation: 1}
	}
	cfg := Config{Bits: 64, Successors: 3, Interval: time.Second}
	at := Snapshot{Pred: member("a", 5), Succ: []ring.Member{member("c", 20), member("d", 30), member("e", 40)}}
	for kind, tells := range map[FailureKind]bool{
		Refused: true, Unreachable: true, TimedOut: true, WrongMember: true, NotJoined: true,
		Overloaded: false, Cancelled: false, Invalid: false,
	} {
		for _, drains := range []bool{false, true} {
			m := Restore(member("b", 10), cfg, 1, at)
			var told []uint64
			leaves := func(effects []Effect) (toHead uint64) {
				for _, e := range effects {
					if a, ok := e.(Ask); ok && a.Request.Kind == Leave {
						if told = append(told, a.To.ID); a.To == at.Succ[0] {
							toHead = a.Call
						}
					}
				}
				return toHead
			}
			call := leaves(m.Step(time.Second, Depart{Drain: drains}))
			leaves(m.Step(time.Second, Answer{Call: call, Failure: &Failure{Kind: kind}}))
			want := []uint64{5, 20}
			if tells && !drains {
				want = append(want, 30)
			}
			if !slices.Equal(told, want) {
				t.Errorf("%v, drains %t: it has told %v, want %v", kind, drains, told, want)
			}
		}
	}
}
