package node

import (
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// Incarnations are the times at which members started, or a little more. So one far
// ahead of the clock is no member's: it is refused wherever it comes in.
const (
	// maxLead is by how much an incarnation may be ahead of the clock here.
	maxLead = 24 * time.Hour
	// noClock is the time before which a clock is known not to be set, 2000-01-01: one
	// without a battery begins in 1970.
	noClock = 946_684_800_000
	// refusalsLogged is how often at most a refusal is logged.
	refusalsLogged = time.Minute
)

// horizon is the highest incarnation that may be a member's. It never falls while the
// clock is put back, since the members that are known must stay possible. A member
// that knows its own clock to be behind cannot judge, and refuses only what no clock
// can say. A client does not judge either: it has no incarnation.
func (fd *Finder) horizon() uint64 {
	self := fd.snap.Load().Self
	if self.IsZero() || fd.behind.Load() {
		return ring.MaxIncarnation
	}
	now := time.Now()
	clock := max(now.UnixMilli(), fd.start.UnixMilli()+now.Sub(fd.start).Milliseconds())
	return latestPlausible(clock, self.Incarnation)
}

// latestPlausible is the horizon of one whose clock shows that time in Unix
// milliseconds and who has that incarnation itself.
func latestPlausible(clock int64, own uint64) uint64 {
	if clock < noClock {
		return ring.MaxIncarnation
	}
	return min(max(uint64(clock), own)+uint64(maxLead/time.Millisecond), ring.MaxIncarnation)
}

// Plausible reports whether an incarnation that was remembered can be
// one, at the time now: adopting one that others refuse would keep a member out of
// its ring.
func Plausible(incarnation uint64, now time.Time) bool {
	return incarnation <= uint64(max(0, now.Add(maxLead).UnixMilli())) && incarnation <= ring.MaxIncarnation
}

// reckon learns from an answer to a member that is in no ring yet that its own clock
// is behind: somebody began in the future. That it is told so of itself only
// is no reason: it would begin yet later, which others refuse.
func (fd *Finder) reckon(fields []field, horizon uint64) bool {
	snap := fd.snap.Load()
	if snap.InRing {
		return false
	}
	for _, in := range fields {
		x, _, ok := in.find(func(x ring.Member) bool {
			return x.ID != snap.Self.ID && x.Incarnation > horizon && x.Incarnation <= ring.MaxIncarnation
		})
		if !ok {
			continue
		}
		if !fd.behind.Swap(true) && fd.log != nil {
			fd.Note(slog.LevelWarn, "clock behind that of the ring", attr("by", x),
				slog.Duration("at_least", time.Until(time.UnixMilli(int64(x.Incarnation))).Truncate(time.Second)))
		}
		return true
	}
	return false
}

// refuseIncarnation refuses x, whose incarnation no member can have, and which by has
// named in a field of what.
func (fd *Finder) refuseIncarnation(what, field string, x, by ring.Member, horizon uint64) *protocol.Failure {
	ahead := "later than any clock says"
	if x.Incarnation <= ring.MaxIncarnation {
		ahead = fmt.Sprintf("%v ahead of the clock of whoever refuses it; is a clock wrong?",
			time.Duration(x.Incarnation-horizon)*time.Millisecond+maxLead)
	}
	fd.counters.incarnations.Add(1)
	now := fd.now()
	if last := fd.refusedAt.Load(); fd.log != nil && (last == 0 || now-time.Duration(last) >= refusalsLogged) && fd.refusedAt.CompareAndSwap(last, max(1, int64(now))) {
		fd.Note(slog.LevelWarn, "incarnation refused", slog.String("field", what+"."+field), attr("of", x),
			slog.String("incarnation", strconv.FormatUint(x.Incarnation, 10)), attr("named_by", by))
	}
	return &protocol.Failure{Kind: protocol.Invalid, Detail: fmt.Sprintf("%s: %s: member %q: incarnation %d is %s", what, field, x.Name, x.Incarnation, ahead)}
}
