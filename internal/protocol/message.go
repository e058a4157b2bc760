package protocol

import (
	"fmt"
	"strings"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// Phase is the stage at which a member is.
type Phase uint8

const (
	Outside       Phase = iota + 1 // in no ring
	Joining                        // looking for its place
	Joined                         // a member
	Leaving                        // a member that has told its neighbours to do without it
	Superseded                     // a later incarnation of the same name was met; out for good
	Bootstrapping                  // searching for a ring to join, or for others to found one with
)

var phaseNames = [...]string{"unknown", "outside", "joining", "joined", "leaving", "superseded", "looking"}

func (p Phase) String() string {
	if int(p) < len(phaseNames) {
		return phaseNames[p]
	}
	return phaseNames[0]
}

// InRing reports whether a member in phase p holds an arc and answers lookups.
func (p Phase) InRing() bool { return p == Joined || p == Leaving }

// State is what a member says of itself when asked for its ring.
type State struct {
	Self    ring.Member
	Phase   Phase
	Pred    ring.Member   // zero: unknown
	Succ    []ring.Member // never longer than the successor count, never self
	Version uint64        // changes whenever Pred, Succ, Replaced, Epoch or Origin do
	Founder ring.Member   // Bootstrapping: whom it would let found a ring; zero: it has met nobody who may
	// Replaced is what it knows of a member before it that another has answered for;
	// the zero Replaced: nothing.
	Replaced Replaced
	// Epoch is that of the arc which it claims, or claimed last; 0: it never has.
	// Clock is the greatest epoch that it has heard of.
	Epoch, Clock uint64
	Origin       *ring.Origin // of the ring that it is in; nil: it does not say
	// Zone is the zone of Self, and Zones has that of each of Succ, as far as Self knows;
	// nil: it knows of none. The machine neither sets nor reads them.
	Zone  string
	Zones []string
	Lease Lease
	// Returning, of one that leaves, is in what time it is to be back in its place; 0: it does
	// not say so.
	Returning time.Duration
}

// Head is the first entry of the successor list, zero if that is empty.
func (s State) Head() ring.Member { return head(s.Succ) }

// RequestKind says what one member wants of another.
type RequestKind uint8

const (
	// AskRing asks for the member's State. It changes nothing.
	AskRing RequestKind = iota + 1
	// Notify says: I take you for my successor (Zave's rectify at the
	// receiver). Answered when the receiver has made up its mind.
	Notify
	// Seek asks where Subject belongs; the receiver does nothing about it.
	Seek
	// Place asks where Subject belongs; a receiver that finds it belongs
	// between itself and its head considers it.
	Place
	// Introduce tells of Subject. Answered when the receiver has considered
	// it, if it is any nearer than the head.
	Introduce
	// Changed says: my successor list has changed, ask me for it.
	Changed
	// Look asks for the member's State, and says: I look for a ring, and
	// would let Subject found one; zero: I have met nobody who may.
	Look
	// Leave says: I am going, and these are my neighbours. Taken only from
	// the member itself. Answered when the receiver relies on it no more.
	Leave
)

var requestNames = [...]string{"unknown", "ring", "notify", "seek", "place", "introduce", "changed", "look", "leave"}

func (k RequestKind) String() string {
	if int(k) < len(requestNames) {
		return requestNames[k]
	}
	return requestNames[0]
}

// Request is what one member asks or tells another.
type Request struct {
	Kind    RequestKind
	Subject ring.Member // Seek, Place, Introduce, Look
	Joining bool        // Notify: the sender is not a member yet
	// Preparing, with Joining: the receiver says whether it would consent, and changes
	// nothing.
	Preparing bool
	Pred      ring.Member   // Leave: the leaver's predecessor
	Succ      []ring.Member // Leave: the leaver's successor list
	Clock     uint64        // Notify, Leave: the greatest epoch that the sender has heard of
	Lease     Asks          // AskRing
	// Origin is that of the ring which the sender is in; nil: it is in none, or does
	// not say in which. Its Marks need not be known if the receiver has the same ID.
	Origin *ring.Origin
}

// Verdict is the answer to Seek and Place.
type Verdict uint8

const (
	Found Verdict = iota + 1 // the answerer, or its head, has Subject's identifier
	Taken                    // Subject belongs between the answerer and its head
	Next                     // one of Closer knows better
)

// Reply is a member's answer to a Request. State is that of the answerer; for
// Seek and Place it is the state from before the answerer considered anything.
type Reply struct {
	State   State
	Verdict Verdict       // Seek, Place
	Closer  []ring.Member // Seek, Place with Next: at most three, nearest to Subject first
	Refusal Refusal       // Notify, Introduce, Leave; the zero Refusal is consent
	// Former, of a Notify that was consented to: whom the notifier takes the place of as the
	// predecessor; the answerer itself if that was alone. Zero: nobody is known.
	Former ring.Member
}

// Reason is why a member refuses another's Notify, Introduce or Leave.
type Reason uint8

const (
	Consent         Reason = iota // not refused
	Nearer                        // Notify: my predecessor is nearer to me than you are
	NameTaken                     // a live member, Other, bears the name
	IdentifierTaken               // a live member, Other, of another name has the identifier
	NotReached                    // the sender does not answer where it says it is
	Outdated                      // a later incarnation of the sender, Other, is known
	Busy                          // too much at once; ask again
	NotInRing                     // the receiver is in no ring, or on its way out of it
)

var reasonNames = [...]string{"consent", "nearer", "name taken", "identifier taken", "not reached", "outdated", "busy", "not in the ring"}

func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return "unknown"
}

// Refusal is a Reason with whom it speaks of and what happened, in words.
type Refusal struct {
	Reason Reason
	Other  ring.Member
	Detail string
}

// FailureKind is what became of a request that got no Reply.
type FailureKind uint8

const (
	// TimedOut: no answer in time. Says little: the member may be slow.
	TimedOut FailureKind = iota + 1
	// Unreachable: the connection could not be made or broke. Says little.
	Unreachable
	// Refused: nobody listens at the address. The member is gone.
	Refused
	// WrongMember: somebody else, By, answered at the address, or a later
	// incarnation of the member. The member is gone.
	WrongMember
	// WrongRing: the other's settings differ, in what Differing names; or it is in a
	// ring of another Origin, if that names nothing.
	WrongRing
	// NotJoined: it answered as itself, and is in no ring.
	NotJoined
	// Invalid: one side could not accept what the other sent.
	Invalid
	// Cancelled: the caller gave up or is stopping. Says nothing at all.
	Cancelled
	// Isolated: it is in a ring of fewer members than it was told to serve in.
	Isolated
	// Relayed: a legacy member answered, and what it answered with is the failure
	// of another that it had asked. Of lookups only.
	Relayed
	// Overloaded: it lives, and refused the request at once since it has too much to
	// do. It was asked again, with pauses, for as long as there was time.
	Overloaded
	// Denied: one side does not take the other for the member that it claims to be,
	// by its certificate or by the configuration.
	Denied
)

var failureNames = [...]string{"unknown", "timed out", "unreachable", "connection refused", "another member answered", "another kind of ring", "not joined", "invalid message", "cancelled", "isolated", "failed at another member", "overloaded", "denied"}

// unsaid reports whether the failure tells nothing of the ring: not even that the member
// asked has failed.
func (k FailureKind) unsaid() bool { return k == Cancelled || k == Overloaded }

func (k FailureKind) String() string {
	if int(k) < len(failureNames) {
		return failureNames[k]
	}
	return failureNames[0]
}

// Failure is why a request got no Reply. It is the one error type of a
// transport.
type Failure struct {
	Kind      FailureKind
	By        ring.Member  // who answered instead, where known
	Origin    *ring.Origin // of the ring that By is in, where known
	Differing []string     // WrongRing: settings by their names in Config
	Detail    string       // what happened, in words; never empty for Invalid
}

func (f *Failure) Error() string {
	var b strings.Builder
	b.WriteString(f.Kind.String())
	if len(f.Differing) > 0 {
		fmt.Fprintf(&b, ": %s differs", strings.Join(f.Differing, ", "))
	}
	if !f.By.IsZero() {
		fmt.Fprintf(&b, " (answered by %s)", f.By)
	}
	if f.Detail != "" {
		b.WriteString(": ")
		b.WriteString(f.Detail)
	}
	return b.String()
}

// category is what a stranger is told of a failure that its message has caused. It is
// not told whether nobody listens at an address, something else than a member does, or a
// name leads nowhere: members are not there to find that out for others.
func (f *Failure) category() string {
	switch f.Kind {
	case WrongMember:
		return "another member answers there"
	case WrongRing, NotJoined, Isolated:
		return "no member of this ring answers there"
	default:
		return "it cannot be reached there"
	}
}
