package ringmap

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// ownerOf is the map of the first of four members that claim all of the circle.
func ownerOf() (*Map, []Claim) {
	all := claims(rand.New(rand.NewPCG(5, 5)), 4, 64)
	m := newMap(*all[0].Of)
	m.Fill(NewTable(64, all))
	m.Own(0, Owning{Self: *all[0].Of, Arc: all[0].Arc(), Has: true, Epoch: all[0].Epoch, Next: all[1].Owner().Instance()})
	effects(m)
	return m, all
}

// defends are the epochs above which the map wants its own to be raised.
func defends(m *Map) (epochs []uint64) {
	for _, e := range effects(m) {
		if e.Do == Defend {
			epochs = append(epochs, e.Epoch)
		}
	}
	return epochs
}

// hears tells a map of a claim in the place of an own one.
func hears(m *Map, now time.Duration, c Claim) []uint64 {
	m.Receive(now, &Request{Kind: Push, Parts: []Part{{To: m.home, Claims: []Announcement{announce(&c, true)}}}})
	return defends(m)
}

// A member may not own its arc yet, or any more, when it is to defend it. So it is asked to
// again, once an interval.
func TestOwnerIsAskedAgainToDefendItsArc(t *testing.T) {
	m, all := ownerOf()
	twin := all[0]
	of := *twin.Of
	of.Addr, of.Incarnation = "elsewhere", of.Incarnation+1
	twin.Of, twin.Epoch = &of, twin.Epoch+3
	if got := hears(m, 0, twin); !slices.Equal(got, []uint64{twin.Epoch}) {
		t.Fatalf("told of another run: to be above %v", got)
	}
	if got := hears(m, time.Millisecond, twin); len(got) > 0 {
		t.Errorf("and at once again above %v", got)
	}
	m.Tick(2 * time.Second)
	effects(m)
	if got := hears(m, 2*time.Second, twin); !slices.Equal(got, []uint64{twin.Epoch}) {
		t.Errorf("told of it two intervals later: to be above %v", got)
	}
}

// Where two rings meet, who defends its arc replaces others, who do the same, all round the circle. So
// an arc is defended twice at once, and then once a round against all that was heard meanwhile.
func TestArcIsDefendedTwiceInARound(t *testing.T) {
	m, all := ownerOf()
	m.Tick(2 * time.Second)
	effects(m)
	rival := all[0]
	of := *rival.Of
	of.Addr, of.Incarnation = "elsewhere", of.Incarnation+1
	rival.Of = &of
	own := Owning{Self: *all[0].Of, Arc: all[0].Arc(), Has: true, Epoch: all[0].Epoch, Next: all[1].Owner().Instance()}
	now := 2 * time.Second
	outbid := func() []uint64 {
		now += time.Millisecond
		rival.Epoch = own.Epoch + 1
		got := hears(m, now, rival)
		if len(got) > 0 { // as a member does that owns its arc
			own.Epoch = rival.Epoch + 1
			m.Own(now, own)
			effects(m)
		}
		return got
	}
	for i, want := range []int{1, 1, 0} {
		if got := outbid(); len(got) != want {
			t.Fatalf("outbid %d times in a round, it is to be above %v", i+1, got)
		}
	}
	rival.Epoch += 5
	if got := hears(m, now, rival); len(got) > 0 {
		t.Fatalf("in the same round it is to be above %v", got)
	}
	now += time.Second
	m.Tick(now)
	if got := defends(m); !slices.Equal(got, []uint64{rival.Epoch}) {
		t.Fatalf("in the next round it is to be above %v, want %d", got, rival.Epoch)
	}
	own.Epoch = rival.Epoch + 1
	m.Own(now, own)
	effects(m)
	now += time.Second
	m.Tick(now)
	if got := defends(m); len(got) > 0 {
		t.Errorf("nobody has outbid it since, and it is to be above %v", got)
	}
}

// Others have a smaller arc for a claim that was made smaller by one which none of them has any
// more. Within one epoch that is the later one, so the owner claims anew.
func TestOwnerDefendsWhatOthersHaveCutOff(t *testing.T) {
	m, all := ownerOf()
	cut := all[0]
	cut.After += (cut.ID - cut.After) / 2
	for _, now := range []time.Duration{0, time.Second, 3 * time.Second / 2} {
		if got := hears(m, time.Second+now, cut); len(got) > 0 {
			t.Fatalf("%v after it was told first, it is to be above %v: a member may have joined", now, got)
		}
	}
	if got := hears(m, 4*time.Second, cut); !slices.Equal(got, []uint64{cut.Epoch}) {
		t.Errorf("it is to be above %v, want %d", got, cut.Epoch)
	}
	full := all[0]
	if hears(m, 10*time.Second, full); m.own(m.home).cut != 0 {
		t.Error("others have what it claims, and it counts as cut off")
	}
}

// A successor answers. One that has claimed all beyond the own identifier, and does not answer,
// is no argument against what the successor claims, or the map would stay empty.
func TestSuccessorOverrulesWhoDoesNotAnswer(t *testing.T) {
	m, all := ownerOf()
	gone := all[3]
	gone.After, gone.Epoch = all[0].ID, 99
	hears(m, 0, gone)
	if m.t.Len() != 2 {
		t.Fatalf("%d claims are left", m.t.Len())
	}
	m.Head(time.Second, time.Second, all[0].ID, all[1])
	if m.t.get(all[1].ID) != nil {
		t.Fatal("a claim by a smaller epoch is on the map although the other may be there")
	}
	m.Strike(2*time.Second, 0, gone.Owner().Instance())
	m.Head(3*time.Second, 3*time.Second, all[0].ID, all[1])
	if c := m.t.get(all[1].ID); c == nil || c.After != all[0].ID {
		t.Errorf("the successor claims %v on the map", c)
	}
	if c := m.t.get(gone.ID); c == nil || c.After != all[1].ID {
		t.Errorf("who does not answer claims %v on the map", c)
	}
}

// Two processes of one name may have one incarnation. Their addresses tell them apart.
func TestClaimOfTheSameIncarnationElsewhereIsNews(t *testing.T) {
	m, all := ownerOf()
	moved := all[2]
	of := *moved.Of
	of.Addr = "z" + of.Addr
	moved.Of, moved.Epoch = &of, moved.Epoch+1
	hears(m, 0, moved)
	if c := m.t.get(moved.ID); c == nil || c.Of.Addr != of.Addr {
		t.Errorf("the map has %v, whose address is %q now", c.Owner(), of.Addr)
	}
}

// Only the one that was asked has answered, or has not. If a later run has claimed its identifier
// meanwhile, that has not.
func TestWhoWasNotAskedIsNotKnownToBeThere(t *testing.T) {
	for _, there := range []bool{true, false} {
		m, all := ownerOf()
		inside := all[0]
		inside.ID -= (inside.ID - inside.After) / 2
		of := *all[2].Of
		of.ID, of.Name, of.Incarnation = inside.ID, "inside", 1
		inside.Of, inside.Epoch = &of, 9
		hears(m, 0, inside)
		m.Tick(2 * time.Second)
		asked := slices.DeleteFunc(effects(m), func(e Effect) bool { return e.Do != Send || e.To.ID != inside.ID || e.Request.Kind != Ask })
		if len(asked) != 1 {
			t.Fatalf("%d questions", len(asked))
		}
		later := of
		later.Incarnation = 2
		inside.Of, inside.Epoch = &later, 10
		hears(m, 2*time.Second, inside)
		if there {
			m.Answered(2*time.Second, asked[0].Call, &Reply{})
		} else {
			m.Failed(2*time.Second, asked[0].Call, true)
		}
		for _, e := range effects(m) {
			if e.Do == Consider || e.Do == Defend {
				t.Errorf("the run before has answered: %t, and the map wants %+v", there, e)
			}
		}
	}
}
