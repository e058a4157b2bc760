package concord

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/ollelogdahl/concord/internal/node"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
)

// Source says where the answer of a lookup came from.
type Source string

// The sources of an answer.
const (
	// SourceOwnRange means that the key is in the range of the member that looked it up.
	SourceOwnRange Source = "own range"
	// SourceConfirmedArc means that the owner has confirmed recently that the arc with the key is
	// its own, and that memory answered. No member was asked.
	SourceConfirmedArc Source = "confirmed arc"
	// SourceRingMap means that the member's map of the whole ring answered. No member was asked.
	SourceRingMap Source = "ring map"
	// SourceSuccessorList means that the owner is in the member's own successor list. No member was
	// asked.
	SourceSuccessorList Source = "successor list"
	// SourceAsked means that a member that was asked during the lookup gave the answer.
	SourceAsked Source = "asked"
)

// String returns the source in words.
func (s Source) String() string { return string(s) }

var sources = map[routing.Source]Source{
	routing.OwnRange:      SourceOwnRange,
	routing.ConfirmedArc:  SourceConfirmedArc,
	routing.SuccessorList: SourceSuccessorList,
	routing.Asked:         SourceAsked,
	routing.RingMap:       SourceRingMap,
}

// Reason says why a lookup asked a member.
type Reason string

// The reasons of a Hop.
const (
	// ReasonRemembered means that the member was remembered as the owner of the key.
	ReasonRemembered Reason = "remembered as the owner"
	// ReasonNamed means that another member named this one as the owner of the key.
	ReasonNamed Reason = "named as the owner"
	// ReasonNearest means that no known member is nearer before the key.
	ReasonNearest Reason = "nearest before the key"
	// ReasonQuicker means that the member is about as near to the key as the nearest known one and
	// answers much faster.
	ReasonQuicker Reason = "about as near and quicker"
	// ReasonAgain means that the members it had named do not answer, so it was asked for others.
	ReasonAgain Reason = "asked again for others"
	// ReasonCandidate means that two searches of a verified lookup named the member as the owner.
	ReasonCandidate Reason = "named as the owner on two ways"
	// ReasonBetween means that the member has answered before, and stands between the key and the
	// owner that was named: if it answers, that is not the owner.
	ReasonBetween Reason = "met between the key and the owner named"
)

// String returns the reason in words.
func (r Reason) String() string { return string(r) }

// Verdict is the kind of an answer that a member gave during a lookup.
type Verdict string

// The verdicts of a Hop.
const (
	// VerdictMine means that the member owns the key.
	VerdictMine Verdict = "mine"
	// VerdictOwned means that the member named the owner of the key, which is its successor.
	VerdictOwned Verdict = "owned"
	// VerdictCloser means that the member named members that are closer to the key.
	VerdictCloser Verdict = "closer"
)

// String returns the verdict, which is one word in lower case.
func (v Verdict) String() string { return string(v) }

// Trace is the path of one lookup.
type Trace struct {
	// Key is the key that was looked up. In JSON it is base64.
	Key []byte `json:"key"`
	// Id is the identifier of the key.
	Id uint64 `json:"id,string"`
	// Owner is the member that is responsible for the key. It is zero if the lookup failed.
	Owner Server `json:"owner"`
	// Source says where the answer came from. It is empty if the lookup failed.
	Source Source `json:"source"`
	// Range is the range of Owner according to the answer. It is nil if the answer had none, as
	// those of legacy members have none.
	Range *Range `json:"range,omitempty"`
	// Epoch is the epoch by which Owner claims Range, according to the answer. It is 0 if it is not
	// known. See [Concord.OwnsEpoch].
	Epoch uint64 `json:"epoch,string"`
	// Age is the greatest possible age of the answer when the lookup ended. It is zero if the key
	// is in the member's own range.
	Age time.Duration `json:"age_ns"`
	// Took is the duration of the whole lookup.
	Took time.Duration `json:"took_ns"`
	// Hops are the members asked, in order. It is empty if memory answered.
	Hops []Hop `json:"hops"`
}

// Hop is one member asked during a lookup. The member that looks up is not one of the hops.
type Hop struct {
	// Server is the member that was asked.
	Server Server `json:"server"`
	// Why is the reason for which the member was asked.
	Why Reason `json:"why"`
	// Said is the kind of the member's answer. It is empty if the member did not answer.
	Said Verdict `json:"said,omitempty"`
	// Named are the members in the answer: the owner, or members that are closer to the key.
	Named []Server `json:"named,omitempty"`
	// Took is the time until the member answered or the lookup gave up on it.
	Took time.Duration `json:"took_ns"`
	// Err is nil if the member answered. Otherwise it matches ErrUnavailable, ErrNotJoined,
	// ErrIsolated, ErrBusy, ErrDifferentRing or ErrDenied. In JSON its text is in the field
	// "error".
	Err error `json:"-"`
}

// MarshalJSON implements json.Marshaler.
func (h Hop) MarshalJSON() ([]byte, error) {
	type fields Hop
	out := struct {
		fields
		Error string `json:"error,omitempty"`
	}{fields: fields(h)}
	if h.Err != nil {
		out.Error = h.Err.Error()
	}
	return json.Marshal(out)
}

// outcome is what came of it, in words.
func (h Hop) outcome() string {
	var names []string
	for _, s := range h.Named {
		names = append(names, s.Name)
	}
	switch {
	case h.Err != nil:
		return h.Err.Error()
	case h.Said == VerdictOwned:
		return "named " + names[0] + " as the owner"
	case h.Said == VerdictCloser && len(names) > 0:
		return "named " + strings.Join(names, ", ") + " as closer"
	case h.Said == VerdictCloser:
		return "knew nobody closer"
	}
	return "said that it owns the key"
}

// Trace looks up key as LookupContext does and returns the path of the lookup. If the lookup fails,
// the Trace has the hops until then, and the error is that of LookupContext.
func (c *Concord) Trace(ctx context.Context, key []byte, opts ...LookupOption) (Trace, error) {
	n, err := c.started()
	if err != nil {
		return Trace{Key: slices.Clone(key), Id: c.space.ID(key), Hops: []Hop{}}, err
	}
	return finding{&n.Finder, c.space}.trace(ctx, key, opts)
}

func (f finding) trace(ctx context.Context, key []byte, opts []LookupOption) (Trace, error) {
	began := time.Now()
	out := Trace{Key: slices.Clone(key), Id: f.space.ID(key)}
	r, err := f.finder.Lookup(ctx, out.Id, options(opts))
	out.Took = time.Since(began)
	out.Hops = hops(r.Hops)
	if err != nil {
		if le, ok := errors.AsType[*node.LookupError](err); ok {
			out.Hops = hops(le.Hops)
		}
		return out, lookupError(key, err)
	}
	out.Owner = server(r.Owner)
	out.Source = sources[r.Source]
	if r.HasArc {
		arc := rangeOf(r.Arc)
		out.Range, out.Epoch, out.Age = &arc, r.Epoch, r.Age
	}
	return out, nil
}

// hops says in public terms who was asked.
func hops(in []node.Hop) []Hop {
	out := make([]Hop, len(in))
	for i, h := range in {
		out[i] = Hop{Server: server(h.Member), Why: Reason(h.Why.String()), Took: h.Took}
		var f *protocol.Failure
		switch {
		case errors.As(h.Err, &f):
			out[i].Err = failureError(f, ring.Member{})
		case h.Err != nil:
			out[i].Err = h.Err
		default:
			out[i].Said = Verdict(h.Answer.Verdict.String())
			if h.Answer.Verdict == routing.Owned {
				out[i].Named = []Server{server(h.Answer.Owner)}
			} else {
				out[i].Named = servers(h.Answer.Closer)
			}
		}
	}
	return out
}
