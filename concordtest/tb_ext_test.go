package concordtest_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/concordtest"
)

// fakeTB is a test that keeps what it is told. Like testing.T, it does not go on
// after Fatalf.
type fakeTB struct {
	failed   bool
	said     strings.Builder
	cleanups []func()
}

// stopped is what Fatalf ends a fake test by.
type stopped struct{}

func (*fakeTB) Helper()                  {}
func (f *fakeTB) Cleanup(cleanup func()) { f.cleanups = append(f.cleanups, cleanup) }
func (f *fakeTB) Failed() bool           { return f.failed }

func (f *fakeTB) Logf(format string, args ...any) { fmt.Fprintf(&f.said, format+"\n", args...) }

func (f *fakeTB) Fatalf(format string, args ...any) {
	f.Logf(format, args...)
	f.failed = true
	panic(stopped{})
}

// run runs test and its cleanups, and gives what was said.
func (f *fakeTB) run(test func()) string {
	func() {
		defer func() {
			if r := recover(); r != nil && r != (stopped{}) {
				panic(r)
			}
		}()
		test()
	}()
	for _, cleanup := range f.cleanups {
		cleanup()
	}
	return f.said.String()
}

func TestMisuseFailsTheTestWithTheSeed(t *testing.T) {
	for _, tc := range []struct {
		name, want string
		misuse     func(ring *concordtest.Ring, stranger *concord.Concord)
	}{
		{"a stranger is killed", "stranger is not a member of this ring", func(r *concordtest.Ring, s *concord.Concord) { r.Kill(s) }},
		{"a stranger hangs", "stranger is not a member of this ring", func(r *concordtest.Ring, s *concord.Concord) { r.Hang(s) }},
		{"a stranger is cut", "stranger is not a member of this ring", func(r *concordtest.Ring, s *concord.Concord) { r.Cut(r.Members()[0], s) }},
		{"a stranger has not joined", "it has not joined", func(r *concordtest.Ring, s *concord.Concord) { r.Adopt(s) }},
		{"a stranger is elsewhere", "not on the Network of this ring", func(r *concordtest.Ring, s *concord.Concord) {
			if err := s.Start(); err != nil {
				panic(err)
			}
			defer s.Stop()
			if err := s.Create(); err != nil {
				panic(err)
			}
			r.Adopt(s)
		}},
		{"a configuration is wrong", "Config.HashBits: is 65", func(r *concordtest.Ring, _ *concord.Concord) {
			r.Start(1, func(_ int, c *concord.Config) { c.HashBits = 65 })
		}},
		{"a member runs already", "restart member-0: concord: already started", func(r *concordtest.Ring, _ *concord.Concord) { r.Restart(r.Members()[0]) }},
		{"a probability is none", "the probability is 1.5", func(r *concordtest.Ring, _ *concord.Concord) { r.Lose(1.5) }},
		{"less than no members", "Start: the number of members is -1", func(r *concordtest.Ring, _ *concord.Concord) { r.Start(-1, nil) }},
		{"a delay is negative", "Delay: the time is from -1s to 0s", func(r *concordtest.Ring, _ *concord.Concord) { r.Delay(-time.Second, 0) }},
		{"a delay ends before it begins", "DelayBetween: the time is from 2s to 1s", func(r *concordtest.Ring, _ *concord.Concord) {
			r.Start(1, nil)
			r.DelayBetween(r.Members()[0], r.Members()[1], 2*time.Second, time.Second)
		}},
		{"a client of nobody", "Client: the ring has no members", func(r *concordtest.Ring, _ *concord.Concord) {
			r.Kill(r.Members()...)
			r.Client()
		}},
		{"a name is taken", "concordtest: member-0: concord: join failed", func(r *concordtest.Ring, _ *concord.Concord) {
			r.Start(1, func(_ int, c *concord.Config) { c.Name = "member-0" })
		}},
		{"nobody is left", "nobody owns \"k\"", func(r *concordtest.Ring, _ *concord.Concord) {
			r.Kill(r.Members()...)
			r.Owner([]byte("k"))
		}},
		{"a ring is not to be settled", "member-1: predecessor is ", func(r *concordtest.Ring, _ *concord.Concord) {
			r.Start(2, nil)
			r.Partition(r.Members()[0])
			time.Sleep(time.Minute)
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			r.Settle(ctx)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := &fakeTB{}
				said := fake.run(func() {
					ring := concordtest.New(fake, concordtest.Options{Seed: 4711})
					ring.Start(1, nil)
					cfg := concordtest.New(nil, concordtest.Options{}).Config("stranger")
					cfg.BindAddr = "elsewhere:1"
					tc.misuse(ring, concord.New(cfg))
				})
				if !fake.failed || !strings.Contains(said, tc.want) {
					t.Errorf("said %q, want %q in it", said, tc.want)
				}
				if !strings.Contains(said, "Options{Seed: 4711}") {
					t.Errorf("no seed in %q", said)
				}
			})
		})
	}
}

// Also when something else failed, what the members were like is logged, and a
// seed that was drawn.
func TestFailedTestLogsMembersAndSeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := &fakeTB{}
		said := fake.run(func() {
			ring := concordtest.New(fake, concordtest.Options{})
			ring.Start(2, nil)
			ring.Settle(t.Context())
			fake.failed = true
		})
		for _, want := range []string{"member-0", "member-1", "joined", "successors", "Options{Seed: "} {
			if !strings.Contains(said, want) {
				t.Errorf("said %q, want %q in it", said, want)
			}
		}
	})
}

func TestTestThatPassesIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := &fakeTB{}
		if said := fake.run(func() {
			ring := concordtest.New(fake, concordtest.Options{})
			ring.Start(2, nil)
			ring.Settle(t.Context())
		}); said != "" {
			t.Errorf("said %q", said)
		}
	})
}

func TestFailureWithoutATestPanics(t *testing.T) {
	ring := concordtest.New(nil, concordtest.Options{})
	defer ring.Close()
	defer func() {
		if r := fmt.Sprint(recover()); !strings.Contains(r, "nobody owns") || !strings.Contains(r, "Seed: ") {
			t.Errorf("recovered %q", r)
		}
	}()
	ring.Owner([]byte("k"))
	t.Error("no panic")
}

// Whatever faults there are: nothing is left after Close, of a ring on sockets
// neither.
func TestNothingIsLeftAfterClose(t *testing.T) {
	before := goleak.IgnoreCurrent()
	ring := concordtest.New(nil, concordtest.Options{Sockets: true})
	members := ring.Start(4, nil)
	ring.Client()
	ring.Delay(10*time.Millisecond, 20*time.Millisecond)
	ring.Hang(members[0])
	ring.Cut(members[1], members[2])
	ring.CutOneWay(members[3], members[1])
	ring.Kill(members[2])
	ring.Close()
	ring.Close()
	goleak.VerifyNone(t, before)
	for _, m := range members {
		if m.Status().Phase != "stopped" {
			t.Errorf("%s is %s", m.Name(), m.Status().Phase)
		}
	}
}

// The runtime would end the process if a ring was used outside of its bubble, and a ring on sockets
// would stand still in one.
func TestRingInTheWrongBubbleFailsTheTest(t *testing.T) {
	t.Run("sockets inside", func(t *testing.T) {
		synctest.Test(t, func(*testing.T) {
			fake := &fakeTB{}
			said := fake.run(func() { concordtest.New(fake, concordtest.Options{Sockets: true}).Start(1, nil) })
			if want := "a ring on sockets does not work inside a testing/synctest bubble"; !strings.Contains(said, want) {
				t.Errorf("said %q, want %q in it", said, want)
			}
		})
	})
	for name, use := range map[string]func(*concordtest.Ring){
		"Start":  func(r *concordtest.Ring) { r.Start(1, nil) },
		"Settle": func(r *concordtest.Ring) { r.Settle(context.Background()) },
		"Client": func(r *concordtest.Ring) { r.Client() },
	} {
		t.Run(name, func(t *testing.T) {
			fake := &fakeTB{}
			ring := concordtest.New(fake, concordtest.Options{})
			synctest.Test(t, func(t *testing.T) {
				said := fake.run(func() { use(ring) })
				if want := "in another testing/synctest bubble than New was called in"; !strings.Contains(said, want) {
					t.Errorf("said %q, want %q in it", said, want)
				}
			})
		})
	}
}

// Two halves that remember many dead members may need more than a minute to meet, so Settle waits
// longer where time costs nothing.
func TestSettleOutwaitsAMinuteInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ring := concordtest.New(t, concordtest.Options{})
		members := ring.Start(3, nil)
		ring.Partition(members[0])
		began := time.Now()
		time.AfterFunc(2*time.Minute, ring.Heal)
		// Until its time-outs are over, a member that is cut off counts as one that answers.
		time.Sleep(30 * time.Second)
		ring.Settle(t.Context())
		if took := time.Since(began); took < 2*time.Minute {
			t.Errorf("settled after %v, before the network had healed", took)
		}
	})
}
