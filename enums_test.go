package concord

import (
	"slices"
	"testing"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/routing"
)

// The runtime hands its words to users. Each of them has a constant here, and no constant stands
// for a word that does not exist.
func TestEveryWordOfTheRuntimeHasAConstant(t *testing.T) {
	phases := append(words[Phase](protocol.Phase.String), PhaseNew, PhaseStopped, PhaseDraining, PhaseDrained)
	same(t, "phases", phases, PhaseNew, PhaseOutside, PhaseLooking, PhaseJoining, PhaseJoined, PhaseLeaving, PhaseDraining, PhaseDrained, PhaseSuperseded, PhaseStopped)
	kinds := append(words[RequestKind](protocol.RequestKind.String), KindRoute, KindFindSuccessor, KindMeta)
	same(t, "kinds of requests", kinds, KindRoute, KindFindSuccessor, KindMeta, KindRing, KindNotify, KindSeek, KindPlace,
		KindIntroduce, KindChanged, KindLook, KindLeave)
	same(t, "reasons", words[Reason](routing.Why.String), ReasonRemembered, ReasonNamed, ReasonNearest, ReasonQuicker, ReasonAgain, ReasonCandidate, ReasonBetween)
	same(t, "verdicts", words[Verdict](routing.Verdict.String), VerdictMine, VerdictOwned, VerdictCloser)
}

// words are the words for the values of an enumeration of the runtime, which begin at 1.
func words[Public ~string, Inside ~uint8](name func(Inside) string) []Public {
	var out []Public
	for v := Inside(1); name(v) != "unknown"; v++ {
		out = append(out, Public(name(v)))
	}
	return out
}

func same[T ~string](t *testing.T, what string, got []T, want ...T) {
	t.Helper()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s: the runtime has %q, the constants are %q", what, got, want)
	}
}
