package child

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ollelogdahl/concord"
)

// NotIdeal says what is wrong with the ring whose members have these states and
// this SuccessorCount; nothing if it is ideal. It sorts the states clockwise.
func NotIdeal(all []concord.Status, successors int) string {
	slices.SortFunc(all, func(a, b concord.Status) int { return cmp.Compare(a.Self.Id, b.Self.Id) })
	n := len(all)
	for i, s := range all {
		pred := all[(i+n-1)%n].Self
		var succ []concord.Server
		for k := 1; k < n && k <= successors; k++ {
			succ = append(succ, all[(i+k)%n].Self)
		}
		switch {
		case s.Phase != concord.PhaseJoined:
			return fmt.Sprintf("%s is %s", s.Self.Name, s.Phase)
		case n == 1 && s.Predecessor != nil:
			return fmt.Sprintf("%s is alone and has predecessor %s", s.Self.Name, s.Predecessor.Name)
		case n > 1 && s.Predecessor == nil:
			return fmt.Sprintf("%s does not know its predecessor %s", s.Self.Name, pred.Name)
		case n > 1 && *s.Predecessor != pred:
			return fmt.Sprintf("%s has predecessor %s, should be %s", s.Self.Name, s.Predecessor.Name, pred.Name)
		case !slices.Equal(s.Successors, succ):
			return fmt.Sprintf("%s has successors %s, should be %s", s.Self.Name, names(s.Successors), names(succ))
		case s.Range == nil || *s.Range != (concord.Range{Start: pred.Id, End: s.Self.Id}):
			return fmt.Sprintf("%s does not know its range", s.Self.Name)
		}
	}
	return ""
}

// WaitIdeal waits until the members are one ideal ring of the default SuccessorCount, for
// at most limit. It returns how long that took. A member that does not say how it is
// may do so later.
func WaitIdeal(ctx context.Context, ring []*Child, limit time.Duration) (took time.Duration, err error) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	began := time.Now()
	for {
		var wrong string
		if all, err := Statuses(ctx, ring); err != nil {
			wrong = err.Error()
		} else {
			wrong = NotIdeal(all, concord.DefaultSuccessorCount)
		}
		took = time.Since(began)
		if wrong == "" {
			return took, nil
		}
		if took > limit || ctx.Err() != nil {
			return took, fmt.Errorf("not ideal after %v: %s", took.Round(time.Millisecond), wrong)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

func names(list []concord.Server) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = s.Name
	}
	return out
}
