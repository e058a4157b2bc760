package protocol

import (
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// Event is something that happened to a member.
type Event interface{ event() }

type (
	// Tick: the time of the latest WakeAt has come.
	Tick struct{}
	// Create: become a ring of one. The addresses are kept, as those of a Join.
	Create struct{ Seeds []string }
	// Join: become a member of the ring that one of the addresses leads to.
	Join struct {
		Via []string
		// Seeds are kept, to find the ring again when all else is lost. They may
		// be names of which the runtime makes an address when one is asked. Nil:
		// Via.
		Seeds []string
		// Attempt counts earlier attempts. The time allowed for the first
		// answer of an address grows with it.
		Attempt int
		// Found, if above zero: where no address leads to a ring, agree with
		// others that look on who founds one, or found it after this time if
		// the member's own address is among them. It goes on until it is in a
		// ring, unless all others are of another kind of ring.
		Found time.Duration
		// Open, with Found: there may be others besides those in Via, so it does
		// not found before Found is over.
		Open bool
		// Recalled, with Found, are addresses of members of the ring that an
		// earlier incarnation of this one was in, perhaps its own among them. They are
		// asked like those in Via, but are no reason to wait once they have
		// failed to answer.
		Recalled []string
		// Given, with Found, are the addresses as they were given, names among them.
		// Rings whose founders were given one in common may become one. Nil: Via.
		Given []string
		// Takeover, if above zero: learn what there is to own, and wait for Prepared for
		// so long at most, before the successor is to hand it over; see takeover.go.
		Takeover time.Duration
	}
	// Prepared: what a Prepare has told of is done, for that arc.
	Prepared struct{ Arc ring.Arc }
	// Redirect: the names given to the open Join with Found stand for these
	// addresses now; see Join.
	Redirect struct {
		Via  []string
		Open bool
	}
	// GiveUp: the open join is wanted no longer.
	GiveUp struct{}
	// Depart: leave politely.
	Depart struct {
		// Returning, if above zero, is told to the others: see State.
		Returning time.Duration
		// Drain: only if somebody stays who takes over, and the process runs on; see
		// drain.go.
		Drain bool
	}
	// Answer: what became of an Ask. Reply counts only if Failure is nil.
	Answer struct {
		Call    uint64
		Reply   Reply
		Failure *Failure
	}
	// Asked: From asks for Request. From is zero for a client or a legacy
	// member that did not say who it is.
	Asked struct {
		Token   uint64
		From    ring.Member
		Request Request
	}
	// Lost: a connection to the address broke, or someone reports that the
	// member there does not serve. Evidence to look, not to act.
	Lost struct {
		Addr string
		Gone bool // nobody answers there; somebody else than Who, if that is set
		Who  ring.Member
		By   ring.Member // who answers in place of Who, if known
	}
	// Learned: these members have answered lookups, at their addresses and from within
	// the ring. Named: others name them as owners, and they have not been asked.
	Learned struct {
		Members []ring.Member
		Named   bool
	}
)

func (Tick) event()     {}
func (Create) event()   {}
func (Join) event()     {}
func (Prepared) event() {}
func (Redirect) event() {}
func (GiveUp) event()   {}
func (Depart) event()   {}
func (Answer) event()   {}
func (Asked) event()    {}
func (Lost) event()     {}
func (Learned) event()  {}

// Effect is something to be done for a member.
type Effect interface{ effect() }

type (
	// Ask: send the request and deliver an Answer with the call number.
	Ask struct {
		Call    uint64
		To      ring.Member
		Request Request
		// Attempt counts earlier attempts that ended without evidence. The
		// time allowed should grow with it.
		Attempt int
		// Patient: the other asks third members before it answers, so the
		// time allowed must cover their time-outs.
		Patient bool
	}
	// Tell: send the request; what becomes of it is not wanted.
	Tell struct {
		To      ring.Member
		Request Request
	}
	// Respond: answer the Asked event of that token.
	Respond struct {
		Token   uint64
		Reply   Reply
		Failure *Failure
	}
	// WakeAt: deliver a Tick at this time; replaces the one before.
	WakeAt struct{ At time.Duration }
	// Publish: the state that others may read has changed.
	Publish struct{ View *View }
	// RangeChanged: the member's arc of the circle has changed, or was not its own
	// for a while.
	RangeChanged struct {
		Old, New       ring.Arc
		HadOld, HasNew bool
		// Again: others may have answered for all of it meanwhile, so that nothing
		// of Old counts as kept. Old and New may be the same.
		Again bool
		Cause Cause
		// From is the member that can hand over what was gained; zero: nobody is
		// known to.
		From ring.Member
		// Epoch is that of New.
		Epoch uint64
		// Back is when From, which has left, is to be back in its place; 0: it has not
		// said so.
		Back time.Duration
	}
	// LeaseEnding: the lease ends then, and was not renewed. It still may be.
	LeaseEnding struct{ Until time.Duration }
	// Prepare: the member is about to own the arc, which From still owns: the first
	// of them by the epoch, and the others are the successors of that. Prepared is
	// waited for.
	Prepare struct {
		Arc   ring.Arc
		From  []ring.Member
		Epoch uint64
	}
	// JoinDone: the join is over. It failed unless Causes is nil.
	JoinDone struct {
		Causes []JoinCause
		// Unanswered, of a member that has founded a ring: the addresses given at
		// which nobody was heard, and why. There may be a ring behind them.
		Unanswered []JoinCause
	}
	// DepartDone: the neighbours do without the member, or cannot be told.
	DepartDone struct {
		// Stays: the Depart was a Drain, nobody has taken over, and the member is in the
		// ring as before.
		Stays bool
	}
	// RingMet: By is in another ring than this member, and can be reached: the
	// two are about to become one. It is news for people, and nothing is to be done
	// about it; see ringmet.go for when it is told.
	RingMet struct{ By ring.Member }
	// Stranger: By, which has answered, is in a ring that has nothing in common with
	// this member's, as Why says. Nothing was done with its answer.
	Stranger struct {
		By  ring.Member
		Why *Failure
	}
)

func (Ask) effect()          {}
func (Tell) effect()         {}
func (Respond) effect()      {}
func (WakeAt) effect()       {}
func (Publish) effect()      {}
func (RangeChanged) effect() {}
func (Prepare) effect()      {}
func (LeaseEnding) effect()  {}
func (JoinDone) effect()     {}
func (DepartDone) effect()   {}
func (RingMet) effect()      {}
func (Stranger) effect()     {}

// Cause is why a member's range changed.
type Cause uint8

const (
	CauseCreated           Cause = iota + 1
	CauseJoined                  // the member learned its predecessor after a join
	CausePredecessorJoined       // a nearer predecessor was adopted
	CausePredecessorFailed       // the predecessor did not answer; another was adopted
	CausePredecessorLeft         // the predecessor left politely
	CauseAlone                   // nobody else answers; a ring of one
	CauseSuperseded              // a later incarnation of the same name was met
	CauseEnoughMembers           // the member is isolated no longer
	CauseResumed                 // the member was replaced without knowing it, and is back
	CauseGivenUp                 // the process stands at one identifier less, or at none
)

var causeNames = [...]string{"unknown", "created", "joined", "predecessor joined", "predecessor failed", "predecessor left", "alone", "superseded", "enough members", "resumed", "given up"}

func (c Cause) String() string {
	if int(c) < len(causeNames) {
		return causeNames[c]
	}
	return causeNames[0]
}

// JoinCause is why a join through one member did not succeed: a Failure, or the
// Refusal of the member At.
type JoinCause struct {
	At      ring.Member // who was asked; Anyone for a given address
	Failure *Failure
	Refusal Refusal
}

// Permanent reports whether trying again cannot help.
func (c JoinCause) Permanent() bool {
	if c.Failure != nil {
		return c.Failure.Kind == WrongRing || c.Failure.Kind == Denied
	}
	switch c.Refusal.Reason {
	case NameTaken, IdentifierTaken, NotReached:
		return true
	}
	return false
}

// View is an immutable picture of a member's pointers.
type View struct {
	Self    ring.Member
	Phase   Phase
	Pred    ring.Member // zero: unknown
	Succ    []ring.Member
	Known   []ring.Member // live acquaintances
	Silent  int           // acquaintances that did not answer last
	Pending int           // acquaintances that may be in another ring
	// Arc is the member's own, if HasArc. It stands still while the member is
	// isolated.
	Arc    ring.Arc
	HasArc bool
	// Isolated: fewer members are known to live than Config.MinMembers. The
	// member serves no key then and names no owner.
	Isolated bool
	// Replaced: a head has answered for this member's identifier, too, and none has
	// named this member as its predecessor since.
	Replaced bool
	// Doubts: the member has hung, and its head has not named it since. It owns nothing.
	Doubts bool
	// Settled: it has an arc, its head names it as its predecessor, and its predecessor has
	// taken it for its head, as far as it has heard; or it is alone.
	Settled bool
	Alone   bool // nobody else is known to live; false with an empty Succ: all of it was lost
	Version uint64
	// Epoch is that of the arc, or of the last one.
	Epoch uint64
	// HeadEpoch is that by which the head claims what lies between the two; 0: it has not
	// said that it claims just that.
	HeadEpoch uint64
	// Leased: the member owns by leases. Then it owns what is in Held, if Holds, for as
	// long as the time is before Until.
	Leased, Holds bool
	Held          ring.Arc
	Until         time.Duration
	// Origin is that of the ring that the member is in; nil: of none, or not known.
	Origin *ring.Origin
	// Certain is when the head was asked that has answered, and that named nobody
	// between this member and itself, or one that is silent: what lies between them
	// was its own at some instant since, as far as it knew or it will be.
	// Negative: it has not, or it named somebody.
	Certain time.Duration
	// Answered is when the head last answered for itself; negative: never yet.
	Answered time.Duration
}

// Serves reports whether the member answers lookups, its own and those of others: it is
// in a ring and not isolated.
func (v *View) Serves() bool { return v.Phase.InRing() && !v.Isolated }

// Living is how many processes the member knows to live, its own included.
func (v *View) Living() int { return 1 + processes(v.Self, v.Succ) }

// Owns reports whether the member owns a point at the time now. Due is the time of the
// latest WakeAt: a member that hangs cannot say so.
func (v *View) Owns(id uint64, due, now, interval time.Duration) bool {
	if !v.Claims() || v.Doubts || !v.Arc.Contains(id) {
		return false
	}
	if v.Leased && (!v.Holds || now >= v.Until || !v.Held.Contains(id)) {
		return false
	}
	return v.Phase != Joined || v.Alone || !Overdue(due, now, interval)
}

// Claims reports whether the member claims its arc to others.
func (v *View) Claims() bool { return v.HasArc && v.Serves() }

// HeadClaim is what the member in state st, which has answered, claims: all after that
// point, up to itself, by the epoch of the state. It reports false if that one is not the
// head, or claims nothing.
func (v *View) HeadClaim(st *State) (after uint64, ok bool) {
	if st.Self != v.Head() || st.Epoch == 0 || st.Phase != Joined {
		return 0, false
	}
	return arcStart(*st)
}

// Head is the first entry of the successor list, zero if that is empty.
func (v *View) Head() ring.Member { return head(v.Succ) }
