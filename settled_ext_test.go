package concord_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/transport/memory"
)

func TestSettledIsWhenEveryPointerIsRight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		members := newMemoryRing(t, network, 6)
		settled := func(when string) {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			for _, m := range members {
				if err := m.Settled(ctx); err != nil {
					t.Errorf("%s: %s: %v", when, m.Name(), err)
				}
			}
			if err := oneRing(members); err != nil {
				t.Errorf("%s: all are settled, and %v", when, err)
			}
		}
		settled("at first")
		members[2].Stop()
		members = append(members[:2], members[3:]...)
		time.Sleep(5 * time.Second) // until then nobody may have noticed
		settled("after a crash")
		joiner := memoryMember(t, network, "joiner")
		join(t, joiner, members[0].Address())
		members = append(members, joiner)
		settled("after a join")
		// Two that cannot reach each other.
		who, next := members[0], members[0].Successors()[0]
		network.Partition([]string{who.Address()}, []string{next.Address})
		time.Sleep(10 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := who.Settled(ctx); err == nil || !strings.Contains(err.Error(), "predecessor") {
			t.Errorf("with a successor that it cannot reach: %v", err)
		} else {
			wantErr(t, "Settled", err, context.DeadlineExceeded)
		}
		stopAll(members)
		wantErr(t, "after Stop", who.Settled(t.Context()), concord.ErrStopped)
	})
}

func TestSettledInNoRing(t *testing.T) {
	c := concord.New(configure("c"))
	wantErr(t, "before Start", c.Settled(t.Context()), concord.ErrNotStarted)
	wantErr(t, "in no ring", start(t, "a").Settled(t.Context()), concord.ErrNotJoined)
	several := start(t, "several", func(cfg *concord.Config) { cfg.VirtualNodes = 4 })
	wantErr(t, "in no ring, with more identifiers to come", several.Settled(t.Context()), concord.ErrNotJoined)
	if err := create(t, "b").Settled(t.Context()); err != nil {
		t.Errorf("alone: %v", err)
	}
}

// An identifier that the member gives up while it is waited for is waited for no more.
func TestSettledIsNotAboutWhatIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		several := func(cfg *concord.Config) { cfg.VirtualNodes = 4 }
		a, b := memoryMember(t, network, "a", several), memoryMember(t, network, "b", several)
		if err := a.Create(); err != nil {
			t.Fatal(err)
		}
		join(t, b, a.Address())
		defer stopAll([]*concord.Concord{a, b})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := errors.Join(a.Settled(ctx), b.Settled(ctx)); err != nil {
			t.Fatal(err)
		}
		network.Partition([]string{a.Address()}, []string{b.Address()})
		settled := make(chan error, 1)
		go func() { settled <- a.Settled(ctx) }()
		synctest.Wait()
		select {
		case err := <-settled:
			t.Fatalf("while its neighbours do not answer: %v", err)
		default:
		}
		if err := a.SetWeight(ctx, 1); err != nil {
			t.Fatal(err)
		}
		network.Heal(a.Address(), b.Address())
		if err := <-settled; err != nil {
			t.Errorf("when it has given up identifiers: %v", err)
		}
		if got := len(a.Ranges()); got != 1 {
			t.Errorf("it has %d ranges", got)
		}
	})
}
