package invariant

import (
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// away is 5, which had (2, 5] and has said at 10 that it is to be back at 20.
func away() (a Absences, who ring.Member) {
	who = ring.Member{ID: 5, Name: "away", Addr: "away:1", Incarnation: 1}
	a.Left(who, ring.Arc{After: 2, To: 5}, 10, 10, 20)
	return a, who
}

func TestStandsIn(t *testing.T) {
	a, who := away()
	other := ring.Member{ID: 5, Name: "away", Addr: "away:1", Incarnation: 2}
	just := protocol.RangeChanged{Old: ring.Arc{After: 5, To: 9}, New: ring.Arc{After: 2, To: 9}, HadOld: true, HasNew: true, Cause: protocol.CausePredecessorLeft, From: who, Back: 1}
	more, nobody, unheard := just, just, just
	more.New.After = 1
	nobody.From = other
	unheard.Back = 0
	stranger, moreUnheard := unheard, more
	stranger.From, moreUnheard.Back = other, 0
	for what, tc := range map[string]struct {
		e     protocol.RangeChanged
		back  time.Duration
		fails bool
	}{
		"as said":                     {just, 20, false},
		"a message later":             {just, 21, false},
		"too long":                    {just, 23, true},
		"too short":                   {just, 19, true},
		"for another":                 {nobody, 20, true},
		"for more than it had":        {more, 20, true},
		"not at all":                  {unheard, 0, true},
		"more, and not at all":        {moreUnheard, 0, false},
		"not for one that stays away": {stranger, 0, false},
	} {
		if broken := a.Gained(&protocol.View{}, tc.e, tc.back, 12); (broken != "") != tc.fails {
			t.Errorf("%s: %q", what, broken)
		}
	}
}

// One that leaves knows which of its process have left before it.
func TestLeavesInTurn(t *testing.T) {
	next := ring.Member{ID: 9, Name: "away", Addr: "away:9", Incarnation: 1}
	stranger := next
	stranger.Name = "other"
	for what, tc := range map[string]struct {
		who   ring.Member
		after uint64
		since time.Duration
		fails bool
	}{
		"knows":              {next, 2, 10, false},
		"does not":           {next, 5, 10, true},
		"has left long ago":  {next, 5, 11, false},
		"of another process": {stranger, 5, 10, false},
	} {
		a, _ := away()
		if broken := a.Left(tc.who, ring.Arc{After: tc.after, To: 9}, tc.since, 12, 22); (broken != "") != tc.fails {
			t.Errorf("%s: %q", what, broken)
		}
	}
}

func TestWhoStandsInForWhom(t *testing.T) {
	a, who := away()
	by, next := ring.Member{ID: 9, Name: "by", Incarnation: 1}, ring.Member{ID: 12, Name: "next", Incarnation: 1}
	var in, none protocol.StandIns
	in.Gain(ring.Arc{After: 2, To: 5}, 20)
	all := ring.Arc{After: 2, To: 12}
	for what, tc := range map[string]struct {
		broken string
		fails  bool
	}{
		"in time":              {a.Over(by, &in, 19), false},
		"too long":             {a.Over(by, &in, 20), true},
		"is back":              {a.Back(who, 12, by, &in), true},
		"is back, given back":  {a.Back(who, 12, by, &none), false},
		"of itself":            {a.Back(who, 12, who, &in), false},
		"unheard of":           {a.Back(who, 9, by, &in), false},
		"another copies":       {a.Else(next, all, protocol.CausePredecessorFailed, by, &in, 15), true},
		"a joiner copies":      {a.Else(next, all, protocol.CauseJoined, by, &in, 15), false},
		"nobody stands in":     {a.Else(next, all, protocol.CausePredecessorFailed, by, &none, 15), false},
		"its time is over":     {a.Else(next, all, protocol.CausePredecessorFailed, by, &in, 20), false},
		"copies early":         {a.Early(by, ring.Arc{After: 2, To: 5}, 19), true},
		"copies in time":       {a.Early(by, ring.Arc{After: 2, To: 5}, 20), false},
		"copies another's arc": {a.Early(by, ring.Arc{After: 2, To: 4}, 19), false},
	} {
		if (tc.broken != "") != tc.fails {
			t.Errorf("%s: %q", what, tc.broken)
		}
	}
}
