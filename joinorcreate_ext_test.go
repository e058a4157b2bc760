package concord_test

import (
	"context"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/transport/memory"
)

// addresses are those of member1 … membern in a network of this process.
func addresses(n int) []string {
	var out []string
	for i := 1; i <= n; i++ {
		out = append(out, fmt.Sprintf("member%d:1", i))
	}
	return out
}

// joinOrCreate starts member1 … membern at once, each with the same addresses,
// and waits until all have joined or founded.
func joinOrCreate(t *testing.T, network *memory.Network, n int, edits ...func(*concord.Config)) []*concord.Concord {
	t.Helper()
	var members []*concord.Concord
	failed := make(chan error, n)
	for i := 1; i <= n; i++ {
		c := memoryMember(t, network, fmt.Sprintf("member%d", i), edits...)
		members = append(members, c)
		go func() { failed <- c.JoinOrCreate(context.Background(), addresses(n)...) }()
	}
	for range n {
		if err := receive(t, failed, time.Minute, "JoinOrCreate"); err != nil {
			t.Fatal(err)
		}
	}
	return members
}

// untilIdeal waits until the members are one ideal ring and says how long that
// took. It is for bubbles.
func untilIdeal(t *testing.T, limit time.Duration, members []*concord.Concord) time.Duration {
	t.Helper()
	began := time.Now()
	for {
		err := ideal(members)
		if err == nil {
			return time.Since(began)
		}
		if time.Since(began) > limit {
			t.Fatalf("not one ring after %v: %v", limit, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func stopAll(members []*concord.Concord) {
	for _, c := range members {
		c.Stop()
	}
}

func TestAllMembersRestartedAtOnceAreOneRing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		network.Delay(time.Millisecond, 20*time.Millisecond)
		began := time.Now()
		members := joinOrCreate(t, network, 16)
		untilIdeal(t, 15*time.Second, members)
		t.Logf("one ring of 16 after %v", time.Since(began))
		for range 3 {
			time.Sleep(10 * time.Second)
			stopAll(members)
			began := time.Now()
			members = joinOrCreate(t, network, 16)
			untilIdeal(t, 15*time.Second, members)
			if took := time.Since(began); took > 15*time.Second {
				t.Errorf("one ring again after %v", took)
			} else {
				t.Logf("one ring again after %v", took)
			}
		}
		stopAll(members)
	})
}

func TestOneOfThoseListedIsGoneForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(2)
		network.Delay(time.Millisecond, 20*time.Millisecond)
		var members []*concord.Concord
		failed := make(chan error, 4)
		began := time.Now()
		for i := 2; i <= 5; i++ {
			c := memoryMember(t, network, fmt.Sprintf("member%d", i))
			members = append(members, c)
			go func() { failed <- c.JoinOrCreate(context.Background(), addresses(5)...) }()
		}
		for range members {
			if err := receive(t, failed, time.Minute, "JoinOrCreate"); err != nil {
				t.Fatal(err)
			}
		}
		untilIdeal(t, 5*time.Second, members)
		if took := time.Since(began); took < concord.DefaultFoundAfter || took > concord.DefaultFoundAfter+3*time.Second {
			t.Errorf("one ring after %v", took)
		}
		stopAll(members)
	})
}

func TestFoundersThatWereCutApartMerge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(3)
		network.Delay(time.Millisecond, 20*time.Millisecond)
		all := addresses(8)
		network.Partition([]string{all[0], all[2], all[4], all[6]}, []string{all[1], all[3], all[5], all[7]})
		members := joinOrCreate(t, network, 8)
		var odd, even []*concord.Concord
		for i, c := range members {
			if i%2 == 0 {
				odd = append(odd, c)
			} else {
				even = append(even, c)
			}
		}
		untilIdeal(t, 10*time.Second, odd)
		untilIdeal(t, 10*time.Second, even)
		time.Sleep(5 * time.Minute)
		network.HealAll()
		t.Logf("one ring %v after they could reach each other", untilIdeal(t, time.Minute, members))
		stopAll(members)
	})
}

func TestJoinGoesOnUntilItsSeedsAreThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(4)
		network.Delay(time.Millisecond, 20*time.Millisecond)
		b := memoryMember(t, network, "member2")
		joined := make(chan error, 1)
		go func() { joined <- b.Join(context.Background(), addresses(1)...) }()
		time.Sleep(20 * time.Second)
		a := memoryMember(t, network, "member1")
		if err := a.Create(); err != nil {
			t.Fatal(err)
		}
		if err := receive(t, joined, 3*time.Second, "Join"); err != nil {
			t.Fatal(err)
		}
		untilIdeal(t, 3*time.Second, []*concord.Concord{a, b})
		stopAll([]*concord.Concord{a, b})
	})
}

// Both halves of a ring of two are alone for an hour: the one knows the other's
// address by configuration, the other has met it once.
func TestMemberThatIsAloneFindsTheOtherAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(5)
		network.Delay(time.Millisecond, 20*time.Millisecond)
		members := newMemoryRing(t, network, 2)
		network.Partition([]string{"member1:1"}, []string{"member2:1"})
		time.Sleep(time.Hour)
		before := make([]uint64, 2)
		for i, c := range members {
			if !c.Owns([]byte("any")) || !c.Owns([]byte("other")) {
				t.Errorf("%s is alone and does not own everything", c.Name())
			}
			before[i] = c.Status().Counters.RingRequests
		}
		time.Sleep(10 * time.Minute)
		for i, c := range members {
			sent := c.Status().Counters.RingRequests - before[i]
			t.Logf("%s: %d requests in ten minutes alone", c.Name(), sent)
			if sent < 60 || sent > 600 {
				t.Errorf("%s: %d requests in 600 rounds alone", c.Name(), sent)
			}
		}
		network.HealAll()
		t.Logf("one ring %v after they could reach each other", untilIdeal(t, 12*time.Second, members))
		stopAll(members)
	})
}

func TestAloneInItsListFoundsAtOnce(t *testing.T) {
	c := start(t, "only")
	if err := c.JoinOrCreate(t.Context(), c.Address()); err != nil {
		t.Fatal(err)
	}
	awaitIdeal(t, []*concord.Concord{c})
	wantErr(t, "again", c.JoinOrCreate(t.Context(), c.Address()), concord.ErrAlreadyJoined)
}

func TestOwnAddressInTheListUnderAnotherName(t *testing.T) {
	soon := func(c *concord.Config) { c.FoundAfter = 300 * time.Millisecond }
	a, b := start(t, "a", soon, onLocalhost), start(t, "b", soon, onLocalhost)
	var list []string
	for _, c := range []*concord.Concord{a, b} {
		_, port, err := net.SplitHostPort(c.Address())
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, net.JoinHostPort("localhost", port))
	}
	founded := make(chan error, 2)
	began := time.Now()
	for _, c := range []*concord.Concord{a, b} {
		go func() { founded <- c.JoinOrCreate(t.Context(), list...) }()
	}
	for range 2 {
		if err := receive(t, founded, patience, "JoinOrCreate"); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(began); took < 300*time.Millisecond || took > concord.DefaultFoundAfter {
		t.Errorf("took %v; whoever answers under another name may be behind a load balancer", took)
	}
	awaitIdeal(t, []*concord.Concord{a, b})
}

func TestJoinOrCreateJoinsARingThatIsThere(t *testing.T) {
	ring := newRing(t, 2)
	c := start(t, "zz")
	began := time.Now()
	if err := c.JoinOrCreate(t.Context(), nobody(t), c.Address(), ring[1].Address()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took >= concord.DefaultFoundAfter {
		t.Errorf("took %v", took)
	}
	awaitIdeal(t, append(ring, c))
}

func TestJoinOrCreateOfOneThatIsNotListedWaits(t *testing.T) {
	c := start(t, "waits", func(c *concord.Config) { c.FoundAfter = concord.MinFoundAfter })
	idle, dead := start(t, "idle"), nobody(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*concord.MinFoundAfter)
	defer cancel()
	err := c.JoinOrCreate(ctx, dead, idle.Address(), "malformed")
	wantErr(t, "JoinOrCreate", err, context.DeadlineExceeded, concord.ErrUnavailable, concord.ErrNotJoined, concord.ErrAddress)
	mentions(t, err, dead, idle.Address(), "malformed")
	joinsNow(t, c, newRing(t, 2))
}

func TestJoinOrCreateThatCannotSucceed(t *testing.T) {
	other := create(t, "other", func(c *concord.Config) { c.Cluster = "elsewhere" })
	c := start(t, "c")
	for what, tc := range map[string]struct {
		addrs []string
		want  error
	}{
		"no address":                {nil, concord.ErrAddress},
		"malformed":                 {[]string{"nowhere"}, concord.ErrAddress},
		"another ring":              {[]string{other.Address()}, concord.ErrDifferentRing},
		"itself and another ring":   {[]string{c.Address(), other.Address()}, concord.ErrDifferentRing},
		"malformed, another ring":   {[]string{"nowhere", other.Address()}, concord.ErrDifferentRing},
		"another ring, named twice": {[]string{other.Address(), other.Address()}, concord.ErrDifferentRing},
	} {
		t.Run(what, func(t *testing.T) {
			began := time.Now()
			err := c.JoinOrCreate(t.Context(), tc.addrs...)
			wantErr(t, "JoinOrCreate", err, tc.want)
			if took := time.Since(began); took > time.Second {
				t.Errorf("took %v: it cannot get better", took)
			}
			outsideRing(t, c)
			phase(t, c, "outside")
		})
	}
	ring := newRing(t, 2)
	twin := start(t, ring[0].Name())
	wantErr(t, "name taken", twin.JoinOrCreate(t.Context(), ring[1].Address(), twin.Address()), concord.ErrNameTaken)
}

func TestOtherCallsWhileJoinOrCreateLooks(t *testing.T) {
	c := start(t, "c")
	done := make(chan error, 1)
	go func() { done <- c.JoinOrCreate(context.Background(), nobody(t)) }()
	eventually(t, func() error {
		if got := c.Status().Phase; got != "looking" {
			return fmt.Errorf("phase %s", got)
		}
		return nil
	})
	outsideRing(t, c)
	wantErr(t, "Create", c.Create(), concord.ErrAlreadyJoined)
	wantErr(t, "Join", c.Join(t.Context(), "127.0.0.1:1"), concord.ErrAlreadyJoined)
	c.Stop()
	wantErr(t, "JoinOrCreate", receive(t, done, patience, "JoinOrCreate"), concord.ErrStopped)
	wantErr(t, "after Stop", c.JoinOrCreate(t.Context(), "127.0.0.1:1"), concord.ErrStopped)
	wantErr(t, "before Start", concord.New(configure("d")).JoinOrCreate(t.Context(), "127.0.0.1:1"), concord.ErrNotStarted)
}
