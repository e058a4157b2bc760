package invariant

import (
	"slices"
	"testing"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

func TestHonestMembersMayHaveHostileNeighbours(t *testing.T) {
	hostile := func(ids ...uint64) func(ring.Member) bool {
		return func(x ring.Member) bool { return slices.Contains(ids, x.ID) }
	}
	point := func(r Ring, at int, pred, head uint64) Ring {
		m := &r.Members[at]
		m.Pred, m.Succ = ring.Member{}, nil
		if pred != 0 {
			m.Pred = named(pred)
		}
		if head != 0 {
			m.Succ = []ring.Member{named(head)}
		}
		return r
	}
	ideal := ringOf(100, 200, 300, 400)
	for name, c := range map[string]struct {
		ring    Ring
		hostile []uint64
		skipped bool
	}{
		"all are honest and right":             {ideal, nil, false},
		"a head is skipped":                    {point(ringOf(100, 200, 300, 400), 0, 400, 300), nil, true},
		"a hostile head is skipped":            {point(ringOf(100, 200, 300, 400), 0, 400, 300), []uint64{200}, false},
		"one behind an honest one is the head": {point(ringOf(100, 200, 300, 400), 0, 400, 300), []uint64{300}, true},
		"a predecessor is skipped":             {point(ringOf(100, 200, 300, 400), 3, 200, 100), nil, true},
		"a hostile predecessor is skipped":     {point(ringOf(100, 200, 300, 400), 3, 200, 100), []uint64{300}, false},
		"no head":                              {point(ringOf(100, 200, 300, 400), 0, 400, 0), []uint64{200}, true},
		"no head, and nobody else is honest":   {point(ringOf(100, 200, 300, 400), 0, 0, 0), []uint64{200, 300, 400}, false},
		"what a hostile member says":           {point(ringOf(100, 200, 300, 400), 1, 200, 200), []uint64{200}, false},
	} {
		skipped := Siege{Members: c.ring.Members, Hostile: hostile(c.hostile...)}.Skips()
		if (len(skipped) > 0) != c.skipped {
			t.Errorf("%s: %v", name, skipped)
		}
	}
	// Of a hostile member any incarnation will do, of an honest one only its own.
	for _, hostile := range []func(ring.Member) bool{hostile(200), hostile()} {
		r := ringOf(100, 200, 300)
		later := named(200)
		later.Incarnation++
		r.Members[0].Succ = []ring.Member{later}
		if skipped := (Siege{Members: r.Members, Hostile: hostile}).Skips(); (len(skipped) == 0) != hostile(later) {
			t.Errorf("the head is another incarnation, hostile %t: %v", hostile(later), skipped)
		}
	}
}

func TestRuleOfPlaces(t *testing.T) {
	for after, broken := range map[protocol.Phase]bool{
		protocol.Joined: false, protocol.Leaving: false, protocol.Superseded: true, protocol.Outside: true,
	} {
		is := stands(100, 400)
		is.Phase = after
		if how := KeepsItsPlace.Broken(Change{Before: stands(100, 400), After: is}); (how != "") != broken {
			t.Errorf("from joined to %v: %q", after, how)
		}
	}
}

func TestRulesOfTestimonies(t *testing.T) {
	right := Testimony{Settled: true, Exists: true, Right: true, Held: true}
	with := func(change func(*Testimony)) Testimony {
		t := right
		change(&t)
		return t
	}
	for _, c := range []struct {
		name      string
		testimony Testimony
		rule      string // that is broken; empty: none
	}{
		{"the owner", right, ""},
		{"nobody, on the word of a hostile member", with(func(t *Testimony) { t.Exists, t.Right, t.Held, t.Misled = false, false, false, true }), NoOutsider.Name},
		{"an honest member, fresh", with(func(t *Testimony) { t.Fresh, t.Right, t.Held, t.Misled = true, false, false, true }), HonestWord.Name},
		{"an honest member, not fresh", with(func(t *Testimony) { t.Right, t.Held, t.Misled = false, false, true }), ""},
		{"an honest member, and nobody has lied", with(func(t *Testimony) { t.Right = false }), NotMisled.Name},
		{"the same while honest members skip each other", with(func(t *Testimony) { t.Right, t.Settled = false, false }), ""},
		{"failed, and nobody has lied", with(func(t *Testimony) { t.Failed = true }), NotMisled.Name},
		{"verified by nobody", with(func(t *Testimony) { t.Failed, t.Verified = true, true }), ""},
		{"failed at a hostile member", with(func(t *Testimony) { t.Failed, t.Misled = true, true }), ""},
		{"a hostile member", with(func(t *Testimony) { t.Hostile, t.Right, t.Misled = true, false, true }), ""},
		{"a hostile member, verified on one way", with(func(t *Testimony) { t.Verified, t.Hostile, t.Right, t.Misled = true, true, false, true }), TwoLiars.Name},
		{"a hostile member, verified by itself", with(func(t *Testimony) {
			t.Verified, t.Hostile, t.Right, t.Misled, t.AllWays, t.Alone = true, true, false, true, true, true
		}), TwoLiars.Name},
		{"a hostile member, verified on two", with(func(t *Testimony) {
			t.Verified, t.Hostile, t.Right, t.Misled, t.AllWays = true, true, false, true, true
		}), ""},
	} {
		for _, rule := range Testimonies() {
			if how := rule.Broken(c.testimony); (how != "") != (rule.Name == c.rule) {
				t.Errorf("%s: %s: %q", c.name, rule.Name, how)
			}
		}
	}
}
