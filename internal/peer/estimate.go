package peer

import (
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// Times allowed for an answer.
const (
	// MinTimeout is the least time that any peer is allowed for an answer. It is far
	// above a round trip, since a peer may be slow for reasons that have nothing to do
	// with the network. A caller that allows less learns nothing about the peer.
	MinTimeout = 300 * time.Millisecond
	// InitialTimeout is the time allowed to a peer whose round trip is not known. It
	// includes making the first connection.
	InitialTimeout = time.Second
	// MaxTimeout bounds the time allowed to a peer, however slow it was.
	MaxTimeout = 4 * time.Second
	// PatientTimeout is the time allowed for an answer for which the peer has to ask
	// third parties first.
	PatientTimeout = 5 * time.Second
	// maxGrace bounds what a lookup's question is allowed after time-outs.
	maxGrace = time.Second
	// maxDoublings bounds how often the time allowed is doubled for further attempts.
	maxDoublings = 4
)

// Pauses before a peer that has too much to do is asked again: at first, and at most.
const (
	busyPauseMin = 5 * time.Millisecond
	busyPauseMax = 320 * time.Millisecond
)

// BusyPause is how long to wait before a peer is asked again that has refused a request,
// since it had too much to do, and so many before that one. The pauses double; random,
// from 0 to 1, spreads each by a half.
func BusyPause(refusals int, random float64) time.Duration {
	d := min(busyPauseMin<<min(refusals, 10), busyPauseMax)
	return d/2 + time.Duration(random*float64(d))
}

// MaxPeers bounds the peers of which a process keeps estimates.
const MaxPeers = 512

// maxRoundTrip bounds a round trip that is noted, so that sums fit 32 bits.
const maxRoundTrip = 10 * time.Second

// Estimate is what is known of how fast a peer answers: the smoothed round trip and
// its deviation (RFC 6298), in microseconds. The zero value means that nothing is
// known.
type Estimate struct { //nolint:recvcheck // a small value is read by value and changed in place
	mean, dev int32
	grace     int32 // allowed to a lookup's question at least
	used      uint32
	met       ring.Instance // of the member that answered last
}

// Observe notes a round trip.
func (e *Estimate) Observe(roundTrip time.Duration) {
	us := micros(min(roundTrip, maxRoundTrip))
	if e.used == 0 {
		e.mean, e.dev = us, us/2
	} else {
		e.dev += (max(us-e.mean, e.mean-us) - e.dev) / 4
		e.mean += (us - e.mean) / 8
	}
	e.grace = 0
	e.used++
}

// Late notes that a lookup's question was not answered in time. The next one is
// allowed more, since the peer may have become slower (RFC 6298, 5.5). Ring
// maintenance does not wait longer for that: it asks twice anyway.
func (e *Estimate) Late() {
	if e.used > 0 {
		e.grace = min(2*max(e.grace, micros(MinTimeout)), micros(maxGrace))
	}
}

// Meet notes that x has answered. One address can answer in many names: that one of them
// was met says nothing of the others.
func (e *Estimate) Meet(x ring.Instance) { e.met = x }

// Met reports whether x is the last that has answered.
func (e Estimate) Met(x ring.Instance) bool { return e.Known() && e.met == x }

// Known reports whether a round trip has been observed.
func (e Estimate) Known() bool { return e.used > 0 }

// RoundTrip is the smoothed round trip, 0 if none is known.
func (e Estimate) RoundTrip() time.Duration { return duration(e.mean) }

// Timeout is the time allowed for an answer. It doubles with each further attempt,
// the first of which is 0.
func (e Estimate) Timeout(attempt int) time.Duration {
	d := InitialTimeout
	if e.Known() {
		d = max(MinTimeout, duration(2*e.mean+8*e.dev))
	}
	return min(d<<min(attempt, maxDoublings), MaxTimeout)
}

// RouteTimeout is the time allowed for an answer to a step of a lookup. A peer of
// which no round trip is known may be as far away as the others are: common is the
// estimate of all round trips to any peer.
func (e Estimate) RouteTimeout(common Estimate) time.Duration {
	if !e.Known() && common.Known() {
		return max(InitialTimeout, common.Timeout(0))
	}
	return max(e.Timeout(0), duration(e.grace))
}

// Patience is how long a lookup that has so much time left waits for one answer
// before it asks another peer besides. The first answer still counts when it comes. So a
// lookup that has 5 s can ask eight peers that are silent one after another, however slow
// they were when they answered last.
func Patience(left time.Duration) time.Duration { return max(MinTimeout, left/4) }

// Uses is how many round trips were observed, halved whenever estimates were evicted.
func (e Estimate) Uses() uint32 { return e.used }

// Age halves the count of uses, so that what was observed long ago counts less.
func (e *Estimate) Age() { e.used = (e.used + 1) / 2 }

// EvictionBar is the count of uses up to which estimates are dropped when there is
// no room for another. It drops half of them, at least. The counts must not be
// empty; they are reordered.
func EvictionBar(uses []uint32) uint32 {
	slices.Sort(uses)
	return uses[len(uses)/2]
}

func micros(d time.Duration) int32 { return int32(d / time.Microsecond) }

func duration(us int32) time.Duration { return time.Duration(us) * time.Microsecond }
