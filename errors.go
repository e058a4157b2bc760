package concord

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ollelogdahl/concord/internal/node"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
)

// Errors that a program may want to decide by. Test for them with errors.Is.
var (
	// ErrNotStarted: Start has not been called, or has failed.
	ErrNotStarted = errors.New("concord: not started")
	// ErrStarted: Start was called before.
	ErrStarted = errors.New("concord: already started")
	// ErrStopped: Stop, Leave, or Close of a Client, was called.
	ErrStopped = errors.New("concord: stopped")
	// ErrNotJoined: the member is in no ring. In a JoinError: the member at the
	// address given is not.
	ErrNotJoined = errors.New("concord: not joined")
	// ErrAlreadyJoined: the member is in a ring, or another Create or Join is
	// under way.
	ErrAlreadyJoined = errors.New("concord: already joined or joining")
	// ErrSuperseded: another member of the same name began later, and this one
	// has yielded to it.
	ErrSuperseded = errors.New("concord: superseded by a later member of the same name")

	// ErrAddress: what was given to Join or Dial is neither host:port nor the name of SRV records, or nothing was
	// given.
	ErrAddress = errors.New("concord: not an address")
	// ErrSelf: an address given to Join is this member's own, or led to it.
	ErrSelf = errors.New("concord: the address is this member's own")
	// ErrNameTaken: a live member has this name.
	ErrNameTaken = errors.New("concord: name taken by a live member")
	// ErrIdentifierTaken: a live member of another name has this identifier.
	ErrIdentifierTaken = errors.New("concord: identifier taken by a live member")
	// ErrDifferentRing: the other's Cluster, HashBits or HashFunc differ.
	ErrDifferentRing = errors.New("concord: the member belongs to another kind of ring")
	// ErrNotReachable: the members of the ring cannot reach this one at its
	// AdvAddr, or somebody else answers there.
	ErrNotReachable = errors.New("concord: not reachable at the advertised address")
	// ErrUnavailable: a member refused the connection, or did not answer, or could not
	// get an answer from others, as members of the existing library do.
	ErrUnavailable = errors.New("concord: member unavailable")
	// ErrBusy: a member has too much to do at once.
	ErrBusy = errors.New("concord: member busy")
	// ErrIsolated: fewer members are known to live than Config.MinMembers. In a
	// Hop: at the member that was asked.
	ErrIsolated = errors.New("concord: isolated: fewer members are known to live than MinMembers")
	// ErrHopLimit: a lookup, or the loop over Members, asked as many members as it
	// may.
	ErrHopLimit = errors.New("concord: hop limit reached")
	// ErrCount: LookupN was asked for less than one server, or more than
	// MaxLookupN.
	ErrCount = errors.New("concord: number of servers out of bounds")
)

// JoinError is why a join did not succeed.
type JoinError struct {
	// Attempts says what became of the last attempt, member by member.
	Attempts []JoinAttempt
	// Err is the error of the context if that ended the join, nil if trying
	// again would not have helped.
	Err error
}

// JoinAttempt is what one member asked had to say to a join.
type JoinAttempt struct {
	// Address is where it was asked.
	Address string
	// Given is the name given to Join that Address was resolved from, empty for
	// an address that was given itself, or is that of a member.
	Given string
	// Name is its name, empty for an address given to Join or remembered.
	Name string
	// Other is the member that the error speaks of, if there is one: the one
	// that has the name or the identifier, or that answered instead.
	Other Server
	// Err matches one of this package's errors.
	Err error
}

func (e *JoinError) Error() string {
	var b strings.Builder
	b.WriteString("concord: join failed")
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	for i, a := range e.Attempts {
		if i == 0 {
			b.WriteString(": ")
		} else {
			b.WriteString("; ")
		}
		if a.Name != "" {
			fmt.Fprintf(&b, "%s at ", a.Name)
		} else if a.Given != "" {
			fmt.Fprintf(&b, "%s, ", a.Given)
		}
		fmt.Fprintf(&b, "%s: %s", a.Address, strings.TrimPrefix(a.Err.Error(), "concord: "))
	}
	return b.String()
}

// Unwrap returns the context's error and those of the attempts.
func (e *JoinError) Unwrap() []error {
	var errs []error
	if e.Err != nil {
		errs = append(errs, e.Err)
	}
	for _, a := range e.Attempts {
		errs = append(errs, a.Err)
	}
	return errs
}

// DialError is why Dial found no member of a ring.
type DialError struct {
	// Attempts says what became of the last attempt, address by address.
	Attempts []DialAttempt
	// Err is the error of the context if that ended Dial, nil if trying again
	// would not have helped.
	Err error
}

// DialAttempt is what one address asked had to say.
type DialAttempt struct {
	// Address is where it was asked.
	Address string
	// Other is the member that answered, if it said who it is.
	Other Server
	// Err matches ErrUnavailable, ErrNotJoined, ErrDifferentRing or ErrAddress.
	Err error
}

func (e *DialError) Error() string {
	var b strings.Builder
	b.WriteString("concord: dial failed")
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	for i, a := range e.Attempts {
		fmt.Fprintf(&b, "%s%s: %s", []string{": ", "; "}[min(i, 1)], a.Address, strings.TrimPrefix(a.Err.Error(), "concord: "))
	}
	return b.String()
}

// Unwrap returns the context's error and those of the attempts.
func (e *DialError) Unwrap() []error {
	var errs []error
	if e.Err != nil {
		errs = append(errs, e.Err)
	}
	for _, a := range e.Attempts {
		errs = append(errs, a.Err)
	}
	return errs
}

// dialError says in public terms why no member of a ring was found. The attempts
// are those that could not even be made.
func dialError(je *node.JoinError, attempts []DialAttempt) *DialError {
	out := &DialError{Err: je.Ctx, Attempts: attempts}
	for _, c := range je.Causes {
		a := joinAttempt(c, ring.Member{})
		out.Attempts = append(out.Attempts, DialAttempt{Address: a.Address, Other: a.Other, Err: a.Err})
	}
	return out
}

// joinError says in public terms why a join did not succeed. The attempts are
// those that could not even be made.
func joinError(err error, self ring.Member, attempts []JoinAttempt) error {
	var je *node.JoinError
	if !errors.As(err, &je) {
		return publicError(err)
	}
	if errors.Is(je.Ctx, node.ErrClosed) {
		return ErrStopped
	}
	out := &JoinError{Err: je.Ctx, Attempts: attempts}
	for _, c := range je.Causes {
		a := joinAttempt(c, self)
		if a.Name == "" {
			a.Given = je.Given[a.Address]
		}
		out.Attempts = append(out.Attempts, a)
	}
	return out
}

func joinAttempt(c protocol.JoinCause, self ring.Member) JoinAttempt {
	a := JoinAttempt{Address: c.At.Addr, Name: c.At.Name}
	if f := c.Failure; f != nil {
		a.Other = server(f.By)
		a.Err = failureError(f, self)
		return a
	}
	r := c.Refusal
	a.Other = server(r.Other)
	switch r.Reason {
	case protocol.NameTaken:
		a.Err = fmt.Errorf("%w: %s, incarnation %d", ErrNameTaken, r.Other, r.Other.Incarnation)
	case protocol.IdentifierTaken:
		a.Err = fmt.Errorf("%w: %s, incarnation %d", ErrIdentifierTaken, r.Other, r.Other.Incarnation)
	case protocol.NotReached:
		a.Err = fmt.Errorf("%w: %s", ErrNotReachable, r.Detail)
	case protocol.NotInRing:
		a.Err = ErrNotJoined
	default:
		a.Err = fmt.Errorf("%w: %s", ErrBusy, cmp.Or(r.Detail, r.Reason.String()))
	}
	return a
}

// failureError says in public terms why a request got no answer.
func failureError(f *protocol.Failure, self ring.Member) error {
	switch f.Kind {
	case protocol.WrongRing:
		detail := strings.Join(f.Differing, ", ") + " differs"
		if f.Detail != "" {
			detail += ": " + f.Detail
		}
		return fmt.Errorf("%w: %s", ErrDifferentRing, detail)
	case protocol.NotJoined:
		if !f.By.IsZero() && f.By == self {
			return ErrSelf
		}
		return ErrNotJoined
	case protocol.Isolated:
		return ErrIsolated
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, f)
}

// LookupError is why a lookup found no owner. A lookup gives it rather than a
// wrong answer that it could have avoided.
type LookupError struct {
	// Key is the key that was looked up.
	Key []byte
	// Id is the identifier of the key.
	Id uint64
	// Hops are the members asked, in order.
	Hops []Hop
	// Err is what ended the lookup: the error of the context, ErrHopLimit,
	// ErrIsolated, ErrStopped or ErrSuperseded.
	Err error
}

func (e *LookupError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "concord: lookup of identifier %d: %s", e.Id, strings.TrimPrefix(e.Err.Error(), "concord: "))
	for i, h := range e.Hops {
		if i == 8 {
			fmt.Fprintf(&b, "; %d more asked", len(e.Hops)-i)
			break
		}
		fmt.Fprintf(&b, "; asked %s at %s: %s", h.Server.Name, h.Server.Address, h.outcome())
	}
	return b.String()
}

// Unwrap returns Err.
func (e *LookupError) Unwrap() error { return e.Err }

// lookupError says in public terms why a lookup of key failed.
func lookupError(key []byte, err error) error {
	var le *node.LookupError
	if !errors.As(err, &le) {
		return publicError(err)
	}
	return &LookupError{Key: slices.Clone(key), Id: le.ID, Hops: hops(le.Hops), Err: publicError(le.Err)}
}

func publicError(err error) error {
	switch {
	case errors.Is(err, node.ErrNotInRing):
		return ErrNotJoined
	case errors.Is(err, node.ErrClosed):
		return ErrStopped
	case errors.Is(err, node.ErrSuperseded):
		return ErrSuperseded
	case errors.Is(err, node.ErrIsolated):
		return ErrIsolated
	case errors.Is(err, routing.ErrHopLimit):
		return ErrHopLimit
	}
	return err
}
