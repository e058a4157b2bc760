package invariant

import (
	"fmt"
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// Rules of members that leave and are to be back in their places.
const (
	// StandsIn says: whoever takes over just what a leaver had knows when that is to be
	// back, if it has said so, and nobody knows it of another, or of more.
	StandsIn = "stands-in"
	// StandsInInTime says: nobody stands in for a member any longer whose time is over.
	StandsInInTime = "stands-in-in-time"
	// GivesBack says: when a member is back, nobody stands in for it.
	GivesBack = "gives-back"
	// NobodyCopies says: until a member is to be back for which another stands in, nobody takes
	// over what it had, but a joiner.
	NobodyCopies = "nobody-copies"
	// LeavesInTurn says: an identifier of a process that leaves to return knows of those that have
	// left before it. What it has is what another is to stand in for.
	LeavesInTurn = "leaves-in-turn"
)

// Absences knows who has left and is to be back. The zero Absences knows of nobody.
type Absences struct{ all []absence }

type absence struct {
	who        ring.Member
	arc        ring.Arc
	left, back time.Duration
}

// Left notes that a member that has an arc leaves, and says that it is to be back then. It says how
// that breaks LeavesInTurn, if its process began to leave at the time since.
func (a *Absences) Left(who ring.Member, arc ring.Arc, since, left, back time.Duration) (broken string) {
	for _, x := range a.all {
		if x.who.ID == arc.After && x.who.Name == who.Name && x.left >= since {
			broken = fmt.Sprintf("%d of %s leaves with %v, and %d has left before it", who.ID, who.Name, arc, x.who.ID)
		}
	}
	a.all = append(a.all, absence{who, arc, left, back})
	return broken
}

// Gained says how a member, v, breaks StandsIn by what it tells its program in e at the time
// now. Back is when another is to be back, in the time of the run.
func (a *Absences) Gained(v *protocol.View, e protocol.RangeChanged, back, now time.Duration) (broken string) {
	i := slices.IndexFunc(a.all, func(x absence) bool { return x.who == e.From })
	said := i >= 0 && e.HadOld && e.Cause == protocol.CausePredecessorLeft && !e.Again
	var x absence
	if i >= 0 {
		x = a.all[i]
	}
	just := said && e.Old.After == x.who.ID && e.New.After == x.arc.After
	switch {
	case e.Back == 0 && just:
		return fmt.Sprintf("%s has taken over from %s, and does not know that it is to be back", v.Self.Name, e.From.Name)
	case e.Back == 0:
		return ""
	case i < 0:
		return fmt.Sprintf("%s stands in for %s, which has not said that it is to be back", v.Self.Name, e.From.Name)
	case !just && e.Cause == protocol.CausePredecessorLeft:
		return fmt.Sprintf("%s stands in for %s, which had %v, in all of %v", v.Self.Name, e.From.Name, x.arc, e.New)
	case back < x.back || back > now+x.back-x.left:
		return fmt.Sprintf("%s stands in for %s until %v, which is to be back at %v", v.Self.Name, e.From.Name, back, x.back)
	}
	return ""
}

// Over says how a program breaks StandsInInTime that has taken over at the time now what is to be
// taken over.
func (a *Absences) Over(by ring.Member, s *protocol.StandIns, now time.Duration) (broken string) {
	for _, x := range a.all {
		if end, ok := s.At(x.who.ID); ok && end <= now {
			return fmt.Sprintf("%s stands in for %s, whose time was over at %v", by.Name, x.who.Name, end)
		}
	}
	return ""
}

// Back says how a program that is not of who breaks GivesBack when that owns its identifier, and has
// joined at the time since. Another may have left after that which had not heard of it, with an
// arc that has the identifier.
func (a *Absences) Back(who ring.Member, since time.Duration, by ring.Member, s *protocol.StandIns) (broken string) {
	left := slices.ContainsFunc(a.all, func(x absence) bool { return x.left >= since && x.arc.Contains(who.ID) })
	if _, ok := s.At(who.ID); ok && !left && by.Instance() != who.Instance() {
		return fmt.Sprintf("%s is back, and %s still stands in for it", who.Name, by.Name)
	}
	return ""
}

// Early says how by breaks NobodyCopies, which takes over what it has stood in for.
func (a *Absences) Early(by ring.Member, arc ring.Arc, now time.Duration) (broken string) {
	for _, x := range slices.Backward(a.all) {
		if arc.To == x.who.ID {
			if now < x.back {
				return fmt.Sprintf("%s takes over %v, and %s is to be back at %v", by.Name, arc, x.who.Name, x.back)
			}
			return ""
		}
	}
	return ""
}

// Else says how by breaks NobodyCopies, which takes over an arc at the time now for that cause,
// while another with these StandIns is well.
func (a *Absences) Else(by ring.Member, arc ring.Arc, cause protocol.Cause, in ring.Member, s *protocol.StandIns, now time.Duration) (broken string) {
	if cause == protocol.CauseJoined || cause == protocol.CauseCreated {
		return ""
	}
	for _, x := range a.all {
		if end, ok := s.At(x.who.ID); ok && now < end && arc.Contains(x.who.ID) && x.who.ID != by.ID {
			return fmt.Sprintf("%s has taken over %v, and %s stands in for %s", by.Name, arc, in.Name, x.who.Name)
		}
	}
	return ""
}
