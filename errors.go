package concord

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ollelogdahl/concord/internal/node"
	"github.com/ollelogdahl/concord/internal/plain"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
)

// Errors that a program may want to tell apart. Test for them with errors.Is.
var (
	// ErrNotStarted means that Start has not been called or has failed.
	ErrNotStarted = errors.New("concord: not started")
	// ErrStarted means that the member is running already.
	ErrStarted = errors.New("concord: already started")
	// ErrStopped means that Stop, Leave, or Close of a Client, was called.
	ErrStopped = errors.New("concord: stopped")
	// ErrNotJoined means that the member is in no ring. In a JoinError, a DialError or a Hop it
	// means that the member that was asked is in none.
	ErrNotJoined = errors.New("concord: not joined")
	// ErrAlone means that the member was not drained: it knows no other member of its ring that
	// could take over.
	ErrAlone = errors.New("concord: the member alone holds the ring, so nobody can take over")
	// ErrDrained means that Create or Join was called for a member that has drained. SetWeight
	// brings it back.
	ErrDrained = errors.New("concord: drained")
	// ErrAlreadyJoined means that the member is in a ring, or that another Create or Join is in
	// progress.
	ErrAlreadyJoined = errors.New("concord: already joined or joining")
	// ErrSuperseded means that another member of the same name started later, and that this one has
	// yielded to it.
	ErrSuperseded = errors.New("concord: superseded by a later member of the same name")

	// ErrAddress means that an argument of Join or Dial is neither host:port nor the name of SRV
	// records, or that there was no argument.
	ErrAddress = errors.New("concord: not an address")
	// ErrSelf means that an address given to Join is the member's own.
	ErrSelf = errors.New("concord: the address is this member's own")
	// ErrNameTaken means that a live member has the same name.
	ErrNameTaken = errors.New("concord: name taken by a live member")
	// ErrIdentifierTaken means that a live member of another name has the same identifier.
	ErrIdentifierTaken = errors.New("concord: identifier taken by a live member")
	// ErrDifferentRing means that the other member has another Cluster, HashBits or HashFunc.
	ErrDifferentRing = errors.New("concord: the member belongs to another kind of ring")
	// ErrDenied means that one side does not accept the other as the member that it claims to be,
	// because of TLSConfig.Identity or Config.Authorize. The error names the side and the rule.
	ErrDenied = errors.New("concord: not accepted as the member that it claims to be")
	// ErrNotReachable means that the members of the ring cannot reach this one at its AdvAddr, or
	// that another member answers there.
	ErrNotReachable = errors.New("concord: not reachable at the advertised address")
	// ErrUnavailable means that a member refused the connection or did not answer. A legacy member
	// also causes it when it gets no answer from a third member.
	ErrUnavailable = errors.New("concord: member unavailable")
	// ErrBusy means that a member has too many requests at once.
	ErrBusy = errors.New("concord: member busy")
	// ErrIsolated means that the member knows fewer live members than Config.MinMembers. In a Hop
	// it means that the member that was asked does.
	ErrIsolated = errors.New("concord: isolated: the member knows fewer live members than MinMembers")
	// ErrHopLimit means that a lookup, or the loop over Members, asked as many members as it may.
	ErrHopLimit = errors.New("concord: hop limit reached")
	// ErrUnverified means that a lookup with Verified found no owner that two searches agree on and
	// that confirms it itself.
	ErrUnverified = errors.New("concord: no two members that know the owner independently agree")
	// ErrNoMap means that no member tells a Client of its map of the ring. All that were asked are
	// members of an earlier version, or legacy members.
	ErrNoMap = errors.New("concord: no member tells clients of its map of the ring")
	// ErrCount means that LookupN or LookupRange was asked for less than one server or for more
	// than MaxLookupN.
	ErrCount = errors.New("concord: number of servers out of bounds")
	// ErrRange means that LookupRange was called with the zero Range, which has no keys.
	ErrRange = errors.New("concord: the range has no keys")
)

// JoinError says why a join failed.
type JoinError struct {
	// Attempts are the results of the last attempt, one for each member that was asked. The most
	// telling is the first: what is no address, then what members of a ring have refused and why,
	// then those in no ring, those that did not answer, and the member's own addresses.
	Attempts []JoinAttempt
	// Err is the error of the context if the context ended the join. It is nil if further tries
	// would not have helped.
	Err error
}

// JoinAttempt is the result of asking one member to join its ring.
type JoinAttempt struct {
	// Address is the address of the member.
	Address string
	// Given is the name given to Join from which Address was resolved. It is empty if Address was
	// given itself, or belongs to a member that another one named.
	Given string
	// Name is the name of the member. It is empty if the address was given to Join or remembered.
	Name string
	// Other is the member that the error is about, if there is one: the member that has the name or
	// the identifier, or the one that answered instead.
	Other Server
	// Err says why the member was not joined. It matches one of the errors of this package.
	Err error
}

// Error lists the attempts, and says what ended the join.
func (e *JoinError) Error() string {
	var b strings.Builder
	b.WriteString("concord: join failed")
	for i, a := range e.Attempts {
		if i == 0 {
			b.WriteString(": ")
		} else {
			b.WriteString("; ")
		}
		if a.Name != "" {
			fmt.Fprintf(&b, "%s at ", plain.Text(a.Name))
		} else if a.Given != "" {
			fmt.Fprintf(&b, "%s, ", a.Given)
		}
		if a.Address != "" {
			fmt.Fprintf(&b, "%s: ", a.Address)
		}
		b.WriteString(strings.TrimPrefix(a.Err.Error(), "concord: "))
	}
	writeEnd(&b, e.Err, len(e.Attempts))
	return b.String()
}

// Unwrap returns the error of the context and those of the attempts.
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

// DialError says why Dial found no member of a ring.
type DialError struct {
	// Attempts are the results of the last attempt, one for each address that was asked, in the
	// order of those of a JoinError.
	Attempts []DialAttempt
	// Err is the error of the context if the context ended Dial. It is nil if further tries would
	// not have helped.
	Err error
}

// DialAttempt is the result of asking one address.
type DialAttempt struct {
	// Address is the address that was asked.
	Address string
	// Other is the member that answered, if it said who it is.
	Other Server
	// Err matches ErrUnavailable, ErrNotJoined, ErrBusy, ErrDifferentRing, ErrDenied or ErrAddress.
	Err error
}

// Error lists the attempts, and says what ended Dial.
func (e *DialError) Error() string {
	var b strings.Builder
	b.WriteString("concord: dial failed")
	for i, a := range e.Attempts {
		b.WriteString([]string{": ", "; "}[min(i, 1)])
		if a.Address != "" {
			fmt.Fprintf(&b, "%s: ", a.Address)
		}
		b.WriteString(strings.TrimPrefix(a.Err.Error(), "concord: "))
	}
	writeEnd(&b, e.Err, len(e.Attempts))
	return b.String()
}

// writeEnd adds the error of the context that ended all, if one did, after the attempts.
func writeEnd(b *strings.Builder, err error, attempts int) {
	switch {
	case err == nil:
	case attempts == 0:
		fmt.Fprintf(b, ": %v", err)
	default:
		fmt.Fprintf(b, " (%v)", err)
	}
}

// Unwrap returns the error of the context and those of the attempts.
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

// seeking is how a Join or Dial has looked for a ring.
type seeking struct {
	own  time.Duration // that it has set itself, as its context had no deadline; 0: it had
	bare bool          // without TLS
}

// timeUp is what ends a Join or Dial whose context has no deadline. It is a
// context.DeadlineExceeded, and does not read as if the caller's context had ended.
type timeUp struct{ after time.Duration }

func (e timeUp) Error() string {
	return fmt.Sprintf("given up after %v, as the context has no deadline", e.after)
}

func (timeUp) Unwrap() error { return context.DeadlineExceeded }

// end is the error of the context that has ended it, nil if none has.
func (s seeking) end(err error) error {
	if s.own > 0 && errors.Is(err, context.DeadlineExceeded) {
		return timeUp{s.own}
	}
	return err
}

// hint adds to the error of an attempt what it may come from: a server that expects TLS does not
// say so to one that does not use it.
func (s seeking) hint(c protocol.JoinCause, err error) error {
	if f := c.Failure; s.bare && f != nil && f.Kind == protocol.Unreachable &&
		(strings.HasSuffix(f.Detail, "the connection was closed") || strings.Contains(f.Detail, "error reading server preface")) {
		return fmt.Errorf("%w, as a member with TLS does to one without", err)
	}
	return err
}

// dialError converts the error of a dial to public terms. attempts are the ones that could not be
// made.
func dialError(je *node.JoinError, by seeking, attempts []DialAttempt) *DialError {
	out := &DialError{Err: by.end(je.Ctx), Attempts: attempts}
	for _, c := range je.Causes {
		a := joinAttempt(c, ring.Member{})
		a.Err = by.hint(c, a.Err)
		out.Attempts = append(out.Attempts, DialAttempt{Address: a.Address, Other: a.Other, Err: a.Err})
	}
	return out
}

// joinError converts the error of a join to public terms. attempts are the ones that could not be
// made.
func joinError(err error, by seeking, self ring.Member, attempts []JoinAttempt) error {
	var je *node.JoinError
	if !errors.As(err, &je) {
		return publicError(err)
	}
	if errors.Is(je.Ctx, node.ErrClosed) {
		return ErrStopped
	}
	out := &JoinError{Err: by.end(je.Ctx), Attempts: attempts}
	for _, c := range je.Causes {
		a := joinAttempt(c, self)
		a.Err = by.hint(c, a.Err)
		if a.Name == "" {
			a.Given = je.Given[a.Address]
		}
		out.Attempts = append(out.Attempts, a)
	}
	ownLast(out.Attempts)
	return out
}

// ownLast moves attempts at the member's own addresses behind all others: they are expected.
func ownLast(attempts []JoinAttempt) {
	rank := func(a JoinAttempt) int {
		if errors.Is(a.Err, ErrSelf) {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(attempts, func(a, b JoinAttempt) int { return cmp.Compare(rank(a), rank(b)) })
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
		a.Err = fmt.Errorf("%w: %s, incarnation %d", ErrNameTaken, r.Other.Whom(), r.Other.Incarnation)
	case protocol.IdentifierTaken:
		a.Err = fmt.Errorf("%w: identifier %d of %q is that of %s, incarnation %d", ErrIdentifierTaken, self.ID, self.Name, r.Other.Whom(), r.Other.Incarnation)
	case protocol.NotReached:
		a.Err = fmt.Errorf("%w: %s", ErrNotReachable, r.Detail)
	case protocol.NotInRing:
		a.Err = ErrNotJoined
	default:
		a.Err = fmt.Errorf("%w: %s", ErrBusy, cmp.Or(r.Detail, r.Reason.String()))
	}
	return a
}

// failureError converts the failure of a request to public terms.
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
	case protocol.Overloaded:
		return fmt.Errorf("%w: %s", ErrBusy, f.Detail)
	case protocol.Denied:
		return fmt.Errorf("%w: %s", ErrDenied, f.Detail)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, f)
}

// LookupError says why a lookup found no owner. A lookup returns it instead of a wrong answer.
type LookupError struct {
	// Key is the key that was looked up.
	Key []byte
	// Id is the identifier of the key.
	Id uint64
	// Hops are the members asked, in order.
	Hops []Hop
	// Err is what ended the lookup: the error of the context, ErrHopLimit, ErrUnverified,
	// ErrIsolated, ErrStopped or ErrSuperseded.
	Err error
}

// Error says what ended the lookup and what the first eight members asked have answered.
func (e *LookupError) Error() string {
	var b strings.Builder
	b.WriteString("concord: lookup of ")
	if e.Key != nil {
		fmt.Fprintf(&b, "key %s, ", briefly(e.Key))
	}
	fmt.Fprintf(&b, "identifier %d: %s", e.Id, strings.TrimPrefix(e.Err.Error(), "concord: "))
	for i, h := range e.Hops {
		if i == 8 {
			fmt.Fprintf(&b, "; %d more asked", len(e.Hops)-i)
			break
		}
		fmt.Fprintf(&b, "; asked %s at %s: %s", plain.Text(h.Server.Name), plain.Text(h.Server.Address), h.outcome())
	}
	return b.String()
}

// maxShownKey is how many bytes of a key an error shows.
const maxShownKey = 64

// briefly is a key in quotes, or its beginning if it is long.
func briefly(key []byte) string {
	if len(key) > maxShownKey {
		return fmt.Sprintf("%q…", key[:maxShownKey])
	}
	return fmt.Sprintf("%q", key)
}

// Unwrap returns Err.
func (e *LookupError) Unwrap() error { return e.Err }

// lookupError converts the error of a lookup of key to public terms.
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
	case errors.Is(err, node.ErrAlone):
		return ErrAlone
	case errors.Is(err, node.ErrNoMap):
		return ErrNoMap
	case errors.Is(err, routing.ErrHopLimit):
		return ErrHopLimit
	case errors.Is(err, routing.ErrUnverified):
		return ErrUnverified
	}
	return err
}
