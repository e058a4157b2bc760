package peer

import (
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// MaxSuspicions bounds the members that lookups go round at a time.
const MaxSuspicions = 32

// minSuspicion is the least time for which a member is suspected.
const minSuspicion = time.Second

// SuspicionTime is how long a member is suspected in a ring of that interval: until
// the ring has dealt with it.
func SuspicionTime(interval time.Duration) time.Duration { return max(minSuspicion, 2*interval) }

// Suspicions are the members that lookups go round for a while, oldest first: each
// did not answer, or was rejected by the application. The value is never modified,
// so that it may be read while another one is made. Nil means none.
type Suspicions []suspicion

type suspicion struct {
	instance ring.Instance
	addr     string // of a member that was rejected
	until    time.Duration
	rejected bool
}

// Suspect adds a member that did not answer, until the time given: its run, at whichever
// identifiers it stands, or only this identifier, if it does not stand at that (astray). It
// reports whether that is news.
func (s Suspicions) Suspect(x ring.Member, astray bool, now, until time.Duration) (_ Suspicions, news bool) {
	who := x.Run()
	if astray {
		who = x.Instance()
	}
	return s.add(suspicion{instance: who, until: until}, now)
}

// Reject adds a member that the application rejected: it is an owner only if it
// confirms that itself. Whoever rejects a member does not know its incarnation, so the
// member is told by its identifier and address.
func (s Suspicions) Reject(id uint64, addr string, now, until time.Duration) Suspicions {
	s, _ = s.add(suspicion{instance: ring.Instance{ID: id}, addr: addr, until: until, rejected: true}, now)
	return s
}

func (s Suspicions) add(x suspicion, now time.Duration) (_ Suspicions, news bool) {
	news = true
	kept := make(Suspicions, 0, len(s)+1)
	for _, o := range s {
		switch same := o.instance == x.instance && o.addr == x.addr && o.rejected == x.rejected; {
		case o.until <= now:
		case same:
			news = false
		default:
			kept = append(kept, o)
		}
	}
	if len(kept) == MaxSuspicions {
		// One has to make room. A rejection is the application's, and comes only
		// from the application again.
		i := max(0, slices.IndexFunc(kept, func(o suspicion) bool { return !o.rejected }))
		kept = slices.Delete(kept, i, i+1)
	}
	return append(kept, x), news
}

// Clear removes a member that has answered, and its whole run. That does not say that it
// serves: a rejection stays.
func (s Suspicions) Clear(x ring.Member) Suspicions {
	answers := func(o suspicion) bool { return o.suspects(x) }
	if !slices.ContainsFunc(s, answers) {
		return s
	}
	return slices.DeleteFunc(slices.Clone(s), answers)
}

// Avoided reports whether lookups go round the member now, or name it only
// if it confirms that itself.
func (s Suspicions) Avoided(x ring.Member, now time.Duration) bool {
	return slices.ContainsFunc(s, func(o suspicion) bool { return o.until > now && (o.rejects(x) || o.suspects(x)) })
}

// Suspected reports whether the member did not answer, and lookups go round it now.
func (s Suspicions) Suspected(x ring.Member, now time.Duration) bool {
	return slices.ContainsFunc(s, func(o suspicion) bool { return o.until > now && o.suspects(x) })
}

// Rejected reports whether the member is an owner only if it confirms that itself.
func (s Suspicions) Rejected(x ring.Member, now time.Duration) bool {
	for _, o := range s {
		if o.until > now && o.rejects(x) {
			return true
		}
	}
	return false
}

func (o suspicion) suspects(x ring.Member) bool {
	return !o.rejected && x.Is(o.instance)
}

func (o suspicion) rejects(x ring.Member) bool {
	return o.rejected && o.instance.ID == x.Process() && o.addr == x.Addr
}

// Avoid lists the incarnations that lookups go round, and the members, by identifier
// and address, that are owners only if they confirm that themselves.
func (s Suspicions) Avoid(now time.Duration) (instances []ring.Instance, rejected []ring.Member) {
	for _, o := range s {
		switch {
		case o.until <= now:
		case o.rejected:
			rejected = append(rejected, ring.Member{ID: o.instance.ID, Addr: o.addr})
		default:
			instances = append(instances, o.instance)
		}
	}
	return instances, rejected
}
