package routing

import (
	"slices"
	"testing"

	"github.com/ollelogdahl/concord/internal/ring"
)

// tended is a member at 0 of a circle of 2^8 points, whose predecessor is at 240 and
// whose list reaches to 16, and its fingers.
func tended() (*Fingers, *Table) {
	self := ring.Member{ID: 0, Name: "n0", Addr: "n0:1", Incarnation: 1}
	succ := []ring.Member{{ID: 16, Name: "n16", Addr: "n16:1", Incarnation: 1}}
	return NewFingers(0, 8), NewTable(Known{Self: self, Arc: ring.Arc{After: 240, To: 0}, HasArc: true, Succ: succ, Bits: 8, Full: 1})
}

// ownerOf is the owner of a point where members stand at every sixteenth.
func ownerOf(id uint64) Answer {
	at := (id + 15) / 16 * 16 % 256
	x := ring.Member{ID: at, Name: "n", Addr: "n:1", Incarnation: 1}
	return Answer{Verdict: Mine, Owner: x, Arc: ring.Arc{After: at - 16&255, To: at}, HasArc: true}
}

// run does errands until there are none, and says how many there were of each kind
// and who was told.
func run(t *testing.T, f *Fingers, table *Table) (looked int, told []uint64) {
	t.Helper()
	for range 1000 {
		e, ok := f.Errand(table)
		if !ok {
			return looked, told
		}
		owner, _ := f.Found(table, e, ownerOf(e.ID))
		switch {
		case !e.Announce:
			looked++
		case !owner.IsZero():
			told = append(told, owner.ID)
		}
	}
	t.Fatal("the errands do not end")
	return 0, nil
}

func TestFingersAreLookedUpWhenNeighboursHaveSettled(t *testing.T) {
	for _, c := range []struct {
		name     string
		versions []uint64 // of the view, round by round
		at       int      // the round in which all are looked up
	}{
		{"settled at once", []uint64{1, 1, 1}, 1},
		{"settled later", []uint64{1, 2, 2}, 2},
		{"never", []uint64{1, 2, 3, 4}, 2},
	} {
		f, table := tended()
		for i, v := range c.versions {
			f.Round(v)
			looked, _ := run(t, f, table)
			if (looked > 1) != (i == c.at) {
				t.Errorf("%s: %d looked up in round %d", c.name, looked, i)
			}
		}
	}
}

func TestOneFingerIsLookedUpInEveryFewRounds(t *testing.T) {
	f, table := tended()
	f.Round(1)
	f.Round(1)
	run(t, f, table)
	looked := 0
	for range 10 * fingerRounds {
		f.Round(1)
		n, told := run(t, f, table)
		if n > 1 || len(told) > 0 {
			t.Fatalf("%d looked up, %v told in one round", n, told)
		}
		looked += n
	}
	// A round over all of them ends with a turn in which none is looked up.
	if looked < 8 || looked > 10 {
		t.Errorf("%d looked up in %d rounds", looked, 10*fingerRounds)
	}
}

func TestFingerThatMayBeGoneIsLookedUpAtOnce(t *testing.T) {
	f, table := tended()
	f.Distrust("n:1")
	if _, ok := f.Errand(table); ok {
		t.Error("a finger of a member that has none was looked up")
	}
	f.Round(1)
	f.Round(1)
	run(t, f, table)
	if !f.Distrust("n:1") {
		t.Fatal("no finger at the address")
	}
	if looked, _ := run(t, f, table); looked == 0 {
		t.Error("nothing looked up")
	}
	if looked, _ := run(t, f, table); looked != 0 {
		t.Errorf("%d looked up once more", looked)
	}
}

func TestJoinerIsAnnouncedToThoseWhoseFingerItBecomes(t *testing.T) {
	f, table := tended()
	f.Round(1)
	f.Round(1)
	_, told := run(t, f, table)
	slices.Sort(told)
	want := []uint64{}
	for id := uint64(16); id < 256; id += 16 {
		for i := range Starts(8) {
			if Reach(i) >= 16 && table.Arc.Contains((id+Reach(i))&255) {
				want = append(want, id)
			}
		}
	}
	if slices.Sort(want); !slices.Equal(slices.Compact(told), slices.Compact(want)) {
		t.Errorf("told %v, want %v", told, want)
	}
}

func TestMemberOutsideOfARingHasNoErrands(t *testing.T) {
	f, table := tended()
	f.Round(1)
	f.Round(1)
	if _, ok := f.Errand(table); !ok {
		t.Fatal("no errand of a member that has joined")
	}
	if _, ok := f.Errand(nil); ok {
		t.Error("an errand of a member in no ring")
	}
	if _, ok := f.Errand(table); ok {
		t.Error("what was wanted in the ring before is done in the next one")
	}
}

func TestErrandThatFindsNobodyLeavesNoFinger(t *testing.T) {
	f, table := tended()
	f.Round(1)
	f.Round(1)
	for {
		e, ok := f.Errand(table)
		if !ok {
			break
		}
		if owner, news := f.Found(table, e, Answer{}); !owner.IsZero() || news {
			t.Fatalf("found %v, news %v", owner, news)
		}
	}
	if n := len(f.Distinct()); n != 0 {
		t.Errorf("%d fingers", n)
	}
}
