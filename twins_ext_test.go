package concord_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/ollelogdahl/concord"
)

// Two members of one name that join at once must not both become members, even if
// they began in the same millisecond. If both were told that they had, one yields.
func TestTwinsDoNotBothJoin(t *testing.T) {
	ring := newRing(t, 3)
	for round := range 12 {
		name := fmt.Sprintf("twin%d", round%3)
		twins := []*concord.Concord{start(t, name), start(t, name)}
		var errs [2]error
		var wg sync.WaitGroup
		for i, c := range twins {
			wg.Go(func() { errs[i] = joinFor(t, c, patience, ring[i].Address()) })
		}
		wg.Wait()
		eventually(t, func() error {
			e0 := ideal(append([]*concord.Concord{twins[0]}, ring...))
			e1 := ideal(append([]*concord.Concord{twins[1]}, ring...))
			if e0 != nil && e1 != nil {
				return errors.Join(e0, e1, fmt.Errorf("%s %d %s %d %v", twins[0].Status().Phase, twins[0].Status().Incarnation, twins[1].Status().Phase, twins[1].Status().Incarnation, errs))
			}
			return nil
		})
		for _, c := range twins {
			c.Stop()
		}
		awaitIdeal(t, ring)
	}
}
