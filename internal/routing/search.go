package routing

import (
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// maxCandidates bounds how many members a search keeps in reserve.
const maxCandidates = 16

// Options say what an answer must be worth.
type Options struct {
	// Fresh: only the owner's own confirmation counts.
	Fresh bool
	// MaxAge bounds how old another's certainty may be; 0: no bound.
	MaxAge time.Duration
	// Lenient: what cannot be had better counts whatever its age: the answer of a
	// legacy member, which has none, or that names one; and an answer that names an
	// owner that does not answer, and is not known to be gone.
	Lenient bool
	// Arcs, if set, are believed in to begin with: the owner that they name is
	// asked first, and those before the identifier after it.
	Arcs *Arcs
	// RoundTrip, if set, tells how long a member takes to answer; 0: not known.
	// Among members that bring one equally close a much quicker one is asked.
	RoundTrip func(ring.Member) time.Duration
	// Cold: no arcs are believed in; the way is by pointers and fingers alone.
	Cold bool
	// Met, if set, tells whether a member has ever answered this process. Another's word
	// that a member is an owner counts only if it has.
	Met func(ring.Member) bool
	// Confirm are members, by identifier and address, that are owners only
	// if they confirm that themselves.
	Confirm []ring.Member
	// Verified: of a Lookup, not of a Search: the owner must have confirmed it, and two
	// members that were found on ways of their own must have named it. All else that
	// the options say of the answer counts for nothing.
	Verified bool
	// Proven, with Verified: whoever answers has proved its name and address.
	Proven bool
	// Apart are members of processes that are neither asked nor to be named as closer, at whatever
	// identifier, and Others leaves out what the process itself knows of the owner.
	Apart  []ring.Member
	Others bool
}

// apart reports whether x is of a process that is not to be asked.
func (o *Options) apart(x ring.Member) bool {
	return slices.ContainsFunc(o.Apart, func(y ring.Member) bool { return x.Name == y.Name || x.Instance() == y.Instance() })
}

// Search finds the owner of one identifier by asking member after member, each
// strictly closer before the identifier than any that has answered. It asks
// nobody twice with the same question, so it ends; and never more members than
// its limit.
//
// Use: call Next until it says Done or Stuck, and after each Ask call Answered
// or Silent.
type Search struct {
	id     uint64
	circle ring.Space
	opts   Options
	limit  int
	asked  int
	silent int // how many of those did not answer
	avoid  []ring.Instance
	gone   []ring.Instance // those of avoid that are known not to be there
	mute   []uint64        // processes that did not answer
	spares bool            // these are not asked at other identifiers
	shun   []ring.Instance // other identifiers of processes of Options.Apart that were named as closer
	queue  []ring.Member   // nearest before the identifier first
	owner  ring.Member     // believed, to be asked itself
	named  bool            // owner was named by another, not by the arcs
	namer  ring.Member     // who has named the owner that was asked last; zero: the arcs
	why    Why             // of the member asked last
	home   ring.Member     // where it began: the member itself, zero for a client
	floor  ring.Member     // the closest that has answered
	news   bool            // someone was found silent since floor was asked
	spent  bool            // floor is not to be asked again
	again  bool            // an owner found silent may be asked once more
	// retries is how often floor was asked again because the search was stuck.
	retries int
	open    ring.Member // asked, not answered yet
	result  Answer
	done    bool
	known   known  // see proof.go
	claim   Answer // an answer that waits for a member which contradicts it by being there
}

// Step is what a search wants.
type Step uint8

const (
	// AskNext: ask the member.
	AskNext Step = iota + 1
	// Done: the owner is known.
	Done
	// Stuck: nobody is left to be asked.
	Stuck
	// Exceeded: the hop limit is reached.
	Exceeded
)

// Why is why a member was asked.
type Why uint8

const (
	Remembered Why = iota + 1 // the arcs have it as the owner
	Named                     // another has named it as the owner
	Nearest                   // of those known it is the nearest before the identifier
	Quicker                   // it is about as near as the nearest, and answers much sooner
	Again                     // those that it had named do not answer: does it know others?
	Candidate                 // two have named it as the owner: does it say so itself?
	Between                   // it has been met, and stands between the key and who claims that
)

var whyNames = [...]string{"unknown", "remembered as the owner", "named as the owner", "nearest before the key",
	"about as near and quicker", "asked again for others", "named as the owner on two ways",
	"met between the key and the owner named"}

func (w Why) String() string {
	if int(w) < len(whyNames) {
		return whyNames[w]
	}
	return whyNames[0]
}

// NewSearch begins at what t itself knows. Members in avoid are known not to
// answer; they are named to those asked, and asked themselves only as owners.
func NewSearch(t *Table, id uint64, opts Options, avoid []ring.Instance, now time.Duration) *Search {
	s := &Search{id: id, circle: ring.Space{Bits: t.Bits}, opts: opts, again: true, limit: t.HopLimit(), avoid: slices.Clone(avoid[:min(len(avoid), MaxAvoid)])}
	s.spares = t.Self.IsZero() // a client looks for others
	s.begin(t, now)
	return s
}

// maxRetries is how often the closest member that has answered is asked again.
const maxRetries = 4

// Retry is for a search that is stuck. It reports whether the closest member that
// has answered is to be asked once more, and after which pause: what it named does
// not answer, and it will have found that out too. Longer each time; while many
// members fail at once it takes a moment.
func (s *Search) Retry() (pause time.Duration, ok bool) {
	if s.floor.IsZero() || s.spent || s.retries >= maxRetries {
		return 0, false
	}
	s.retries++
	s.news = true
	return 25 * time.Millisecond << s.retries, true
}

// Restart begins again at t. What was asked stays counted. What was found silent
// stays avoided, unless t is news and it is not known to be gone.
func (s *Search) Restart(t *Table, news bool, now time.Duration) {
	if s.again = news; news {
		s.avoid = append(s.avoid[:0], s.gone...)
		s.spares = false
	}
	s.queue, s.owner, s.floor, s.open, s.namer = nil, ring.Member{}, ring.Member{}, ring.Member{}, ring.Member{}
	s.claim = Answer{}
	s.begin(t, now)
	if news && !s.done && s.owner.IsZero() && !s.left() {
		// All were asked before. What they know may be news, too.
		s.known.from = len(s.known.asks)
		s.begin(t, now)
	}
}

func (s *Search) begin(t *Table, now time.Duration) {
	s.know(t)
	s.home = t.Self
	if t.Self.IsZero() {
		// A client's contacts stand anywhere: none is closer than another.
		s.queue = slices.DeleteFunc(t.closer(s.Query()), s.opts.apart)
		s.believe(t.Self)
		return
	}
	s.floor = t.Self
	s.spent = true // oneself is not asked
	if a := t.Answer(Query{ID: s.id, Avoid: s.avoid}, now); !s.opts.Others || a.Verdict == Closer {
		s.take(t.Self, a, true)
	}
	if !s.done {
		// Whatever else is known serves when those do not answer.
		for i := len(t.near) - 1; i >= 0 && len(s.queue) < maxCandidates; i-- {
			s.add(t.near[i])
		}
		s.believe(t.Self)
	}
}

// believe begins with the owner that the arcs name, and with those before it.
func (s *Search) believe(self ring.Member) {
	if s.opts.Arcs == nil || s.opts.Cold {
		return
	}
	if c := s.opts.Arcs.Find(s.id); c != nil && (self.IsZero() || c.Owner.ID != self.ID) && s.owner.IsZero() && !c.Owner.In(s.avoid) {
		s.owner, s.named = c.Owner, false
	}
	for _, x := range s.opts.Arcs.Near(s.id, MaxCloser) {
		s.add(x)
	}
}

// take uses an answer of from. Settled says that whoever was met is no argument against it.
func (s *Search) take(from ring.Member, a Answer, settled bool) {
	switch a.Verdict {
	case Mine:
		a.Owner = from
		s.finish(a, settled)
	case Owned:
		fresh := s.opts.Fresh || s.opts.Met != nil && !a.Owner.Legacy() && !s.opts.Met(a.Owner) || slices.ContainsFunc(s.opts.Confirm, func(x ring.Member) bool {
			return x.ID == a.Owner.Process() && x.Addr == a.Owner.Addr
		})
		if a.Owner == from || !fresh && s.recent(from, a) {
			s.namer = from
			s.finish(a, settled)
			return
		}
		switch {
		case s.again || !a.Owner.In(s.avoid):
			s.owner, s.named, s.again, s.namer = a.Owner, true, false, from
		case s.known.outcome(a.Owner) == spoke:
			s.pass(from) // which has answered in this search, and is not the owner
		}
	case Closer:
		for _, x := range a.Closer {
			s.add(x)
		}
	}
}

// recent reports whether the answer of another than the owner is recent enough.
func (s *Search) recent(from ring.Member, a Answer) bool {
	switch {
	case s.opts.MaxAge == 0:
		return true
	case s.opts.Lenient:
		silent := a.Owner.In(s.avoid) && !slices.Contains(s.gone, a.Owner.Instance())
		if silent || from.Legacy() || a.Owner.Legacy() {
			return true
		}
	}
	return a.HasArc && a.Age <= s.opts.MaxAge
}

func (s *Search) finish(a Answer, settled bool) {
	var x ring.Member
	var refuted bool
	if !settled {
		x, refuted = s.between(a.Owner)
	}
	switch {
	case refuted:
		s.claim = Answer{}
		s.disbelieve(a.Owner)
	case !x.IsZero():
		s.claim, s.owner, s.named = a, x, true
	default:
		s.done, s.claim = true, Answer{}
		s.result = a
	}
}

// add queues x if it is strictly closer than whoever has answered.
func (s *Search) add(x ring.Member) {
	if x.Name == "" || x == s.floor || x.In(s.avoid) || s.known.visited(x) {
		return
	}
	if !s.floor.IsZero() && !ring.Between(s.floor.ID, x.ID, s.id) {
		return
	}
	if s.opts.apart(x) {
		s.shuns(x)
		return
	}
	i := 0
	for i < len(s.queue) && ring.Between(x.ID, s.queue[i].ID, s.id) {
		i++
	}
	if i < len(s.queue) && s.queue[i].ID == x.ID {
		return
	}
	s.queue = slices.Insert(s.queue, i, x)
	s.queue = s.queue[:min(len(s.queue), maxCandidates)]
}

// Next says what is to be done now.
func (s *Search) Next() (Step, ring.Member) {
	switch {
	case s.done:
		return Done, s.result.Owner
	case s.asked >= s.limit:
		return Exceeded, ring.Member{}
	case !s.owner.IsZero():
		s.open, s.owner = s.owner, ring.Member{}
		switch {
		case s.claim.Verdict != 0:
			s.why = Between
		case s.named:
			s.why = Named
		default:
			s.why = Remembered
		}
	case s.detour(), s.left():
		first := s.first()
		i := s.quickest(first)
		if s.why = Nearest; i > first {
			s.why = Quicker
		}
		s.open = s.queue[i]
		s.queue = slices.Delete(s.queue, i, i+1)
	case !s.floor.IsZero() && s.news && !s.spent:
		// Everybody that the closest one named is silent: it may know others.
		s.open, s.why = s.floor, Again
	default:
		return Stuck, ring.Member{}
	}
	s.asked++
	s.known.visit(s.open)
	return AskNext, s.open
}

// left reports whether there is a member in the queue that is to be asked.
func (s *Search) left() bool {
	return len(s.queue) > 0 && (!s.spares || !s.mutes(s.queue[s.first()]))
}

// first is the index of the closest member to be asked: of a process that did not answer, at
// this identifier before the search began again or at another, when nobody else is left.
func (s *Search) first() int {
	return max(0, slices.IndexFunc(s.queue, func(x ring.Member) bool { return !s.mutes(x) }))
}

// mutes reports whether x is of a process that did not answer.
func (s *Search) mutes(x ring.Member) bool { return slices.Contains(s.mute, x.Process()) }

// falls notes that the process of x did not answer.
func (s *Search) falls(x ring.Member) {
	if !s.mutes(x) {
		s.mute = append(s.mute, x.Process())
	}
}

// speaks notes that it has answered.
func (s *Search) speaks(x ring.Member) {
	s.known.note(x, spoke)
	s.mute = slices.DeleteFunc(s.mute, func(home uint64) bool { return home == x.Process() })
}

// quickest is the index of the member to be asked: the closest, the first, unless one that is
// less than twice as far from the identifier answers in less than half the time.
func (s *Search) quickest(first int) int {
	if s.opts.RoundTrip == nil {
		return first
	}
	best, least := first, s.opts.RoundTrip(s.queue[first])
	reach := s.circle.Class(s.queue[first].ID, s.id)
	for i := first + 1; i < len(s.queue); i++ {
		x := s.queue[i]
		if s.circle.Class(x.ID, s.id) > reach {
			break
		}
		if d := s.opts.RoundTrip(x); d > 0 && d < least/2 && !s.mutes(x) {
			best, least = i, d
		}
	}
	return best
}

// Why says why the member that Next named is to be asked.
func (s *Search) Why() Why { return s.why }

// Query is the question to be put to the member that Next named.
func (s *Search) Query() Query {
	q := Query{ID: s.id, Avoid: s.avoid}
	if room := MaxAvoid - len(q.Avoid); room > 0 && len(s.opts.Apart) > 0 {
		shun := slices.Clone(s.shun)
		for _, x := range s.opts.Apart {
			shun = append(shun, x.Instance())
		}
		q.Avoid = slices.Concat(q.Avoid, shun[max(0, len(shun)-room):])
	}
	return q
}

// shuns notes that x was named as closer, which is not to be asked: whoever names nobody else is
// asked for others.
func (s *Search) shuns(x ring.Member) {
	if of := x.Instance(); !slices.Contains(s.shun, of) && !slices.ContainsFunc(s.opts.Apart, func(y ring.Member) bool { return y.Instance() == of }) {
		s.shun = append(s.shun, of)
		s.news = true
	}
}

// Answered takes the answer of the member that Next named.
func (s *Search) Answered(a Answer) {
	x := s.open
	s.open = ring.Member{}
	s.speaks(x)
	s.refute(x, a)
	s.answered(x, a)
}

// Late takes the answer of x, which was given up as silent. The member that Next
// named last may still be asked.
func (s *Search) Late(x ring.Member, a Answer) {
	s.avoid = slices.DeleteFunc(s.avoid, x.Is)
	s.speaks(x)
	s.answered(x, a)
}

func (s *Search) answered(x ring.Member, a Answer) {
	if s.floor.IsZero() || x == s.floor || ring.Between(s.floor.ID, x.ID, s.id) {
		if x != s.floor {
			s.floor, s.retries = x, 0
		}
		s.news, s.spent = false, false
		// What is no longer strictly closer is a way back, not forward.
		s.queue = slices.DeleteFunc(s.queue, func(y ring.Member) bool { return !ring.Between(x.ID, y.ID, s.id) })
	}
	// A legacy member has asked others itself, and of a member's own identifier it says
	// who comes after.
	s.take(x, a, x.Legacy())
}

// Silent notes that the member that Next named did not answer, or cannot. Gone
// says that it is known not to be there.
func (s *Search) Silent(gone bool) {
	s.silent++
	s.known.note(s.open, mute)
	if !gone {
		s.falls(s.open)
	}
	s.Failed(s.open, gone)
	if s.open == s.floor {
		s.spent = true // it had answered and is gone now
	}
	s.open = ring.Member{}
	s.unclaimed()
}

// Failed notes that x did not answer, whoever asked it.
func (s *Search) Failed(x ring.Member, gone bool) {
	instance := x.Instance()
	if s.owner == x {
		s.owner = ring.Member{}
		defer s.unclaimed()
	}
	if gone && !slices.Contains(s.gone, instance) {
		s.gone = append(s.gone, instance)
	}
	if slices.Contains(s.avoid, instance) {
		return
	}
	if len(s.avoid) >= MaxAvoid {
		s.avoid = slices.Delete(s.avoid, 0, 1)
	}
	s.avoid = append(s.avoid, instance)
	s.news = true
}

// Ended reports whether the owner is known.
func (s *Search) Ended() bool { return s.done }

// Result is the answer that ended the search, once Next said Done.
func (s *Search) Result() Answer { return s.result }

// Unanswered is how many of those asked did not answer.
func (s *Search) Unanswered() int { return s.silent }

// Asked is how many members were asked.
func (s *Search) Asked() int { return s.asked }
