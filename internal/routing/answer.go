package routing

import (
	"time"

	"github.com/ollelogdahl/concord/internal/peer"
	"github.com/ollelogdahl/concord/internal/ring"
)

// MaxAvoid bounds how many silent members a Query names.
const MaxAvoid = peer.MaxSuspicions

// MaxCloser bounds how many closer members an Answer names.
const MaxCloser = 3

// Query asks a member where an identifier belongs.
type Query struct {
	ID    uint64
	Avoid []ring.Instance // members found silent; not to be named as closer
}

// Verdict is the kind of an Answer.
type Verdict uint8

const (
	Mine   Verdict = iota + 1 // the answerer owns the identifier
	Owned                     // Owner owns it, as its predecessor, the answerer, says
	Closer                    // one of Closer knows better
)

func (v Verdict) String() string {
	switch v {
	case Mine:
		return "mine"
	case Owned:
		return "owned"
	case Closer:
		return "closer"
	}
	return "unknown"
}

// Answer is what a member knows of where an identifier belongs.
type Answer struct {
	Verdict Verdict
	By      ring.Member   // who answers; zero: Owner does, if Mine, or a legacy member
	Owner   ring.Member   // Mine, Owned
	Arc     ring.Arc      // Mine, Owned: all of it is Owner's
	HasArc  bool          // false when a legacy member answered
	Epoch   uint64        // with an arc: that by which Owner claims it; 0: not known
	Age     time.Duration // how old the certainty was when the answer was given
	Lease   time.Duration // how long the owner lets it be relied on
	Closer  []ring.Member // at most MaxCloser, nearest to the identifier first
	Zone    string        // of Owner, as far as the answerer knows
}
