package concord_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/transport/memory"
)

// Two members of one name that join at once must not both become members, even if
// they began in the same millisecond. If both were told that they had, one yields.
func TestTwoOfOneNameThatStartAtOnceDoNotBothJoin(t *testing.T) {
	ring := newRing(t, 3)
	for round := range 12 {
		name := fmt.Sprintf("twin%d", round%3)
		both := []*concord.Concord{start(t, name), start(t, name)}
		var errs [2]error
		var wg sync.WaitGroup
		for i, c := range both {
			wg.Go(func() { errs[i] = joinFor(t, c, patience, ring[i].Address()) })
		}
		wg.Wait()
		eventually(t, func() error {
			e0 := ideal(append([]*concord.Concord{both[0]}, ring...))
			e1 := ideal(append([]*concord.Concord{both[1]}, ring...))
			if e0 != nil && e1 != nil {
				return errors.Join(e0, e1, fmt.Errorf("%s %d %s %d %v", both[0].Status().Phase, both[0].Status().Incarnation, both[1].Status().Phase, both[1].Status().Incarnation, errs))
			}
			return nil
		})
		for _, c := range both {
			c.Stop()
		}
		awaitIdeal(t, ring)
	}
}

func TestMemberWhoseNameWasTakenWhileItHungYields(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		network.Delay(time.Millisecond, 2*time.Millisecond)
		members := newMemoryRing(t, network, 5)
		old := members[2]
		network.Pause(old.Address())
		rest := append(members[:2:2], members[3:]...)
		awaitIdeal(t, rest)
		heir := memoryMember(t, network, old.Name(), func(c *concord.Config) { c.BindAddr = "elsewhere:1" })
		join(t, heir, members[0].Address())
		now := append([]*concord.Concord{heir}, rest...)
		awaitIdeal(t, now)
		network.Resume(old.Address())
		if err := poll(time.Minute, func() error {
			if p := old.Status().Phase; p != "superseded" {
				return errors.New(p.String())
			}
			return nil
		}); err != nil {
			t.Fatalf("the earlier one is %v after a minute", err)
		}
		awaitIdeal(t, now)
		outsideRing(t, old)
		_, err := old.Lookup([]byte("key"))
		wantErr(t, "Lookup", err, concord.ErrSuperseded)
		wantErr(t, "Create", old.Create(), concord.ErrSuperseded)
		wantErr(t, "Join", old.Join(t.Context(), members[0].Address()), concord.ErrSuperseded)
		old.Stop()
		if err := old.Start(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		wantErr(t, "Join after Start", old.Join(ctx, members[0].Address()), concord.ErrNameTaken)
		for _, c := range append(now, old) {
			c.Stop()
		}
	})
}

func TestNameTaken(t *testing.T) {
	ring := newRing(t, 3)
	before := pointers(ring)
	for _, holder := range ring {
		c := start(t, holder.Name())
		for _, via := range ring {
			began := time.Now()
			err := joinFor(t, c, patience, via.Address())
			wantErr(t, "Join", err, concord.ErrNameTaken)
			mentions(t, err, holder.Name(), holder.Address())
			a := attempts(t, err)
			if len(a) == 0 || a[len(a)-1].Other != serverOf(holder) {
				t.Errorf("attempts %+v", a)
			}
			if took := time.Since(began); took > time.Second {
				t.Errorf("took %v", took)
			}
			phase(t, c, "outside")
		}
		c.Stop()
	}
	samePointers(t, ring, before)
}

func TestNameTakenInRingOfOne(t *testing.T) {
	holder := create(t, "name")
	before := pointers([]*concord.Concord{holder})
	c := start(t, "name")
	err := joinFor(t, c, patience, holder.Address())
	wantErr(t, "Join", err, concord.ErrNameTaken)
	mentions(t, err, "name at "+holder.Address())
	samePointers(t, []*concord.Concord{holder}, before)
	holder.Stop()
	if err := c.Create(); err != nil {
		t.Error(err)
	}
}

func TestIdentifierTaken(t *testing.T) {
	narrow := func(c *concord.Config) { c.HashBits = 8 }
	ids := map[uint64]string{}
	var first, second string
	for i := 0; first == ""; i++ {
		name := fmt.Sprintf("name%d", i)
		id := concord.New(concord.Config{Name: name, HashBits: 8}).Id()
		if ids[id] != "" {
			first, second = ids[id], name
		}
		ids[id] = name
	}
	var ring []*concord.Concord
	holder := create(t, first, narrow)
	ring = append(ring, holder)
	for i := 0; len(ring) < 3; i++ {
		name := fmt.Sprintf("other%d", i)
		if id := concord.New(concord.Config{Name: name, HashBits: 8}).Id(); ids[id] == "" {
			ids[id] = name
			c := start(t, name, narrow)
			join(t, c, holder.Address())
			ring = append(ring, c)
		}
	}
	awaitIdeal(t, ring)
	before := pointers(ring)
	c := start(t, second, narrow)
	for _, via := range ring {
		err := joinFor(t, c, patience, via.Address())
		wantErr(t, "Join", err, concord.ErrIdentifierTaken)
		if errors.Is(err, concord.ErrNameTaken) {
			t.Errorf("also name taken: %v", err)
		}
		mentions(t, err, fmt.Sprintf("identifier %d of %q is that of %s at %s", c.Id(), second, first, holder.Address()))
	}
	samePointers(t, ring, before)
	holder.Stop()
	join(t, c, ring[1].Address())
	awaitIdeal(t, append([]*concord.Concord{c}, ring[1:]...))
}
