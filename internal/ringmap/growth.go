package ringmap

import "time"

// maxPatience is for how long a process that is to choose identifiers waits for its map at most, if
// an interval is longer.
const maxPatience = time.Second

// Growth is how a process that is to choose identifiers waits for what to choose by. It has no clock:
// who uses it asks again when the map has changed, and at the time that it names.
type Growth struct {
	self     uint64
	want     int           // at how many identifiers the process is to stand
	promised time.Duration // the age at which the map must be certain of all
	until    time.Duration // when it waits no longer
	seen     *Snapshot     // the latest
	since    time.Duration // since when the map is that, as far as known
}

// NewGrowth returns the wait of a process that begins now, and is to stand at so many identifiers, of
// which self is one.
func NewGrowth(now, interval time.Duration, self uint64, want int) *Growth {
	return &Growth{
		self: self, want: want, promised: Promised(interval), until: now + min(interval, maxPatience), since: now,
	}
}

// Advice is by what a process is to choose identifiers.
type Advice uint8

// The advices.
const (
	Wait   Advice = iota // by nothing yet
	ByMap                // by its own map, which is certain of all
	ByHead               // by the map of its head, which may lack who has come last: its own is not certain
)

// Next returns by what the process is to choose, by a map that is s now: of ByMap the claims of the
// whole circle, of Wait when to ask again if the map stays the same.
//
// If another process may be about to take more identifiers, the two would choose without each other:
// then the map must have been the same for as long as a claim may be on its way.
func (g *Growth) Next(now time.Duration, s *Snapshot) (by Advice, claims []*Claim, at time.Duration) {
	if g.Unseen(s) {
		if g.seen != nil {
			g.since = now
		}
		g.seen = s
	}
	claims = s.Circle(g.self, now, g.promised)
	late, still := now >= g.until, now >= g.since+spreads
	switch {
	case claims != nil && (late || still || !s.Growing(g.want)):
		return ByMap, claims, now
	case late:
		return ByHead, nil, now
	case claims != nil:
		return Wait, nil, min(g.until, g.since+spreads)
	}
	return Wait, nil, g.until
}

// Unseen reports whether the map has changed since Next was asked, if it is s now.
func (g *Growth) Unseen(s *Snapshot) bool { return s != g.seen }
