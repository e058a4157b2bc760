package concord_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/transport/memory"
)

// probes fails the test unless the member is alive, and ready or not for this
// reason.
func probes(t *testing.T, when string, c *concord.Concord, alive, ready error) {
	t.Helper()
	if err := c.Alive(); !errors.Is(err, alive) {
		t.Errorf("%s: alive: %v, want %v", when, err, alive)
	}
	if err := c.Ready(); !errors.Is(err, ready) {
		t.Errorf("%s: ready: %v, want %v", when, err, ready)
	}
}

func TestReadyThroughALife(t *testing.T) {
	ring := newRing(t, 2)
	c := concord.New(configure("c"))
	probes(t, "before Start", c, nil, concord.ErrNotStarted)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	probes(t, "in no ring", c, nil, concord.ErrNotJoined)
	ctx, cancel := context.WithCancel(t.Context())
	looks := make(chan error, 1)
	go func() { looks <- c.JoinOrCreate(ctx, nobody(t)) }()
	eventually(t, func() error {
		if got := c.Status().Phase; got != "looking" {
			return errors.New(got.String())
		}
		return nil
	})
	probes(t, "while it looks", c, nil, concord.ErrNotJoined)
	mentions(t, c.Ready(), "looking")
	cancel()
	receive(t, looks, patience, "JoinOrCreate")
	join(t, c, ring[0].Address())
	probes(t, "in the ring", c, nil, nil)
	if err := c.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	probes(t, "after Leave", c, concord.ErrStopped, concord.ErrStopped)
}

func TestReadyAlone(t *testing.T) {
	probes(t, "a ring of one", create(t, "a"), nil, nil)
	isolated := create(t, "b", func(c *concord.Config) { c.MinMembers = 2 })
	probes(t, "isolated", isolated, nil, concord.ErrIsolated)
	mentions(t, isolated.Ready(), "it knows 1, itself included, and MinMembers is 2")
}

// A process counts once, at however many identifiers it stands, and says once that it is isolated.
func TestReadyCountsProcesses(t *testing.T) {
	var log journal
	isolated := create(t, "a", func(c *concord.Config) {
		c.MinMembers, c.VirtualNodes = 2, 4
		c.LogHandler = slog.NewTextHandler(&log, nil)
	})
	probes(t, "isolated", isolated, nil, concord.ErrIsolated)
	mentions(t, isolated.Ready(), "it knows 1, itself included, and MinMembers is 2")
	if n := isolated.Status().VirtualNodes; n != 4 {
		t.Fatalf("stands at %d identifiers, want 4", n)
	}
	isolated.Stop() // after which all is in the log
	if got := strings.Count(log.String(), "isolated: serves no key"); got != 1 || !strings.Contains(log.String(), "known=1 required=2") {
		t.Errorf("%d records of the isolation, want one of 1 known member:\n%s", got, log.String())
	}
}

func TestSupersededIsAliveAndNotReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		members := newMemoryRing(t, network, 3)
		network.Partition([]string{"member2:1"}, []string{"member1:1", "member3:1", "elsewhere:1"})
		time.Sleep(time.Minute)
		again := memoryMember(t, network, "member2", at("elsewhere:1"))
		join(t, again, "member1:1")
		network.HealAll()
		for i := 0; members[1].Status().Phase != "superseded"; i++ {
			if i > 300 {
				t.Fatal("not superseded")
			}
			time.Sleep(time.Second)
		}
		probes(t, "superseded", members[1], nil, concord.ErrSuperseded)
		probes(t, "the later one", again, nil, nil)
		stopAll(append(members, again))
	})
}

// Nobody answers any more. That is noticed within the time that Ready allows, so
// that the member is ready as a ring of one; a successor that dies does not make
// its member unready at all.
func TestReadyWhileOthersDie(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		network.Delay(time.Millisecond, 20*time.Millisecond)
		members := newMemoryRing(t, network, 5)
		for len(members) > 1 {
			network.Pause(members[1].Address())
			for range 300 {
				time.Sleep(100 * time.Millisecond)
				probes(t, "while another hangs", members[0], nil, nil)
			}
			members[1].Stop()
			members = append(members[:1], members[2:]...)
		}
		stopAll(members)
	})
}
