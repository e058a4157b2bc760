package concord_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/transport/memory"
	"github.com/ollelogdahl/concord/internal/transport/transporttest"
)

// joinFor joins within limit; a join that takes much longer fails the test.
func joinFor(t *testing.T, c *concord.Concord, limit time.Duration, addrs ...string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	began := time.Now()
	err := c.Join(ctx, addrs...)
	if took := time.Since(began); took > limit+time.Second {
		t.Errorf("Join took %v of %v", took, limit)
	}
	if err != nil && c.Joined() {
		t.Errorf("joined, with error %v", err)
	}
	return err
}

// joinsNow checks that a member whose Join failed can join.
func joinsNow(t *testing.T, c *concord.Concord, members []*concord.Concord) {
	t.Helper()
	outsideRing(t, c)
	phase(t, c, "outside")
	join(t, c, members[0].Address())
	awaitIdeal(t, append([]*concord.Concord{c}, members...))
}

// attempts are those of a *JoinError.
func attempts(t *testing.T, err error) []concord.JoinAttempt {
	t.Helper()
	var je *concord.JoinError
	if !errors.As(err, &je) {
		t.Fatalf("no *JoinError: %v", err)
	}
	return je.Attempts
}

// mentions checks that the error says all of what.
func mentions(t *testing.T, err error, what ...string) {
	t.Helper()
	for _, w := range what {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("%v: says nothing of %q", err, w)
		}
	}
}

const short = time.Second

// spent is a context whose deadline passes when done is closed.
type spent struct {
	context.Context
	done chan struct{}
}

func (s spent) Done() <-chan struct{} { return s.done }

func (s spent) Err() error {
	select {
	case <-s.done:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// joinTries joins with a deadline that passes once some attempts have failed: how long that
// takes depends on the machine. They are so many that the pause after them is long, or
// the error would say that the next has no answer yet.
func joinTries(t *testing.T, c *concord.Concord, addrs ...string) error {
	t.Helper()
	const n = 5
	ctx := spent{context.Background(), make(chan struct{})}
	before := c.Status().Counters.JoinRetries
	failed := make(chan error, 1)
	go func() { failed <- c.Join(ctx, addrs...) }()
	err := poll(patience, func() error {
		if k := c.Status().Counters.JoinRetries - before; k < n {
			return fmt.Errorf("%d attempts have failed", k)
		}
		return nil
	})
	close(ctx.done)
	if err != nil {
		t.Error(err)
	}
	return <-failed
}

func TestJoinToDeadAddress(t *testing.T) {
	ring := newRing(t, 2)
	c := start(t, "joiner")
	dead := nobody(t)
	err := joinFor(t, c, short, dead)
	wantErr(t, "Join", err, concord.ErrUnavailable, context.DeadlineExceeded)
	mentions(t, err, dead)
	if a := attempts(t, err); len(a) != 1 || a[0].Address != dead || !errors.Is(a[0].Err, concord.ErrUnavailable) {
		t.Errorf("attempts %+v", a)
	}
	joinsNow(t, c, ring)
}

func TestJoinToUnresolvableHost(t *testing.T) {
	c := start(t, "joiner")
	err := joinFor(t, c, short, "nobody.invalid:7946")
	wantErr(t, "Join", err, concord.ErrUnavailable)
	mentions(t, err, "nobody.invalid")
}

func TestJoinToSilentAddress(t *testing.T) {
	ring := newRing(t, 2)
	c := start(t, "joiner")
	hole := blackHole(t)
	err := joinFor(t, c, short, hole)
	wantErr(t, "Join", err, context.DeadlineExceeded)
	joinsNow(t, c, ring)
}

func TestJoinToSilentAddressSaysWhichOnceItWasTried(t *testing.T) {
	t.Parallel() // it waits
	c := start(t, "joiner")
	hole := blackHole(t)
	err := joinFor(t, c, 3*time.Second, hole)
	wantErr(t, "Join", err, context.DeadlineExceeded, concord.ErrUnavailable)
	mentions(t, err, hole)
}

func TestJoinToServerOfAnotherKind(t *testing.T) {
	addr := transporttest.Stranger(t, "127.0.0.1:0", "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
	c := start(t, "joiner")
	err := joinFor(t, c, short, addr)
	wantErr(t, "Join", err, concord.ErrUnavailable, context.DeadlineExceeded)
}

func TestJoinToOneself(t *testing.T) {
	ring := newRing(t, 2)
	c := start(t, "joiner")
	began := time.Now()
	err := joinFor(t, c, patience, c.Address())
	wantErr(t, "Join", err, concord.ErrSelf)
	if took := time.Since(began); took > time.Second {
		t.Errorf("took %v: it cannot get better", took)
	}
	joinsNow(t, c, ring)
}

func TestJoinThroughOneselfAndAnother(t *testing.T) {
	ring := newRing(t, 2)
	c := start(t, "joiner")
	join(t, c, c.Address(), ring[0].Address())
	awaitIdeal(t, append(ring, c))
}

func TestJoinToMemberThatHasNotJoined(t *testing.T) {
	ring := newRing(t, 2)
	idle := start(t, "idle")
	c := start(t, "joiner")
	err := joinFor(t, c, 2*time.Second, idle.Address())
	wantErr(t, "Join", err, concord.ErrNotJoined, context.DeadlineExceeded)
	mentions(t, err, idle.Address())
	outsideRing(t, idle)
	joinsNow(t, c, ring)
}

func TestJoinWaitsForMemberThatJoinsLater(t *testing.T) {
	late := start(t, "late")
	c := start(t, "joiner")
	joined := make(chan error, 1)
	go func() { joined <- c.Join(context.Background(), late.Address()) }()
	eventually(t, func() error {
		if n := c.Status().Counters.JoinRetries; n < 2 {
			return fmt.Errorf("%d retries", n)
		}
		return nil
	})
	if err := late.Create(); err != nil {
		t.Fatal(err)
	}
	if err := receive(t, joined, patience, "Join"); err != nil {
		t.Fatal(err)
	}
	awaitIdeal(t, []*concord.Concord{late, c})
}

func TestTwoThatJoinEachOtherBothWait(t *testing.T) {
	a, b := start(t, "a"), start(t, "b")
	failed := make(chan error, 1)
	go func() { failed <- joinTries(t, a, b.Address()) }()
	wantErr(t, "b", joinTries(t, b, a.Address()), concord.ErrNotJoined, context.DeadlineExceeded)
	wantErr(t, "a", receive(t, failed, patience, "Join"), concord.ErrNotJoined, context.DeadlineExceeded)
}

func TestJoinInEndedContext(t *testing.T) {
	ring := newRing(t, 2)
	before := pointers(ring)
	c := start(t, "joiner")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantErr(t, "Join", c.Join(ctx, ring[0].Address()), context.Canceled)
	samePointers(t, ring, before)
	joinsNow(t, c, ring)
}

func TestJoinInContextThatEndsMeanwhile(t *testing.T) {
	ring := newRing(t, 2)
	c := start(t, "joiner")
	ctx, cancel := context.WithCancel(t.Context())
	joined := make(chan error, 1)
	go func() { joined <- c.Join(ctx, blackHole(t)) }()
	eventually(t, func() error {
		if got := c.Status().Phase; got != "joining" {
			return errors.New(got.String())
		}
		return nil
	})
	cancel()
	wantErr(t, "Join", receive(t, joined, time.Second, "Join"), context.Canceled)
	joinsNow(t, c, ring)
}

func TestJoinCancelledAtAnyTimeIsAllOrNothing(t *testing.T) {
	ring := newRing(t, 3)
	for i := range 40 {
		c := start(t, "joiner")
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*300*time.Microsecond)
		err := c.Join(ctx, ring[0].Address())
		cancel()
		if (err == nil) != c.Joined() {
			t.Fatalf("error %v, joined %v", err, c.Joined())
		}
		if err != nil {
			wantErr(t, "Join", err, context.DeadlineExceeded)
			join(t, c, ring[1].Address())
		}
		if i%8 == 7 {
			awaitIdeal(t, append([]*concord.Concord{c}, ring...))
		}
		if err := c.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	awaitIdeal(t, ring)
}

func TestJoinNowhere(t *testing.T) {
	ring := newRing(t, 2)
	c := start(t, "joiner")
	if err := joinFor(t, c, patience); err == nil {
		t.Error("joined nobody")
	} else {
		mentions(t, err, "no address")
	}
	for _, addr := range []string{"", "127.0.0.1", ":7946", "127.0.0.1:0", "127.0.0.1:70000", "[::1", "a:b:c", strings.Repeat("a", 300) + ":1"} {
		began := time.Now()
		err := joinFor(t, c, patience, addr)
		attempts(t, err)
		mentions(t, err, "address")
		if took := time.Since(began); took > time.Second {
			t.Errorf("%q: took %v", addr, took)
		}
	}
	joinsNow(t, c, ring)
}

func TestJoinTriesEveryAddress(t *testing.T) {
	ring := newRing(t, 2)
	other := create(t, "elsewhere", func(c *concord.Config) { c.Cluster = "elsewhere" })
	idle := start(t, "idle")
	c := start(t, "joiner")
	join(t, c, nobody(t), "malformed", c.Address(), idle.Address(), other.Address(), ring[1].Address())
	awaitIdeal(t, append(ring, c))
}

func TestMembersOfAnotherRingAreRefused(t *testing.T) {
	for setting, edit := range map[string]func(*concord.Config){
		"Cluster":  func(c *concord.Config) { c.Cluster = "blue" },
		"HashBits": func(c *concord.Config) { c.HashBits = 32 },
		"HashFunc": func(c *concord.Config) { c.HashFunc = customHash },
	} {
		t.Run(setting, func(t *testing.T) {
			ours, theirs := newRing(t, 2), []*concord.Concord{create(t, "theirs", edit)}
			before, beforeTheirs := pointers(ours), pointers(theirs)
			stranger, native := start(t, "joiner", edit), start(t, "joiner")
			for c, via := range map[*concord.Concord]*concord.Concord{stranger: ours[0], native: theirs[0]} {
				began := time.Now()
				err := joinFor(t, c, patience, via.Address())
				wantErr(t, "Join", err, concord.ErrDifferentRing)
				mentions(t, err, setting)
				if took := time.Since(began); took > time.Second {
					t.Errorf("took %v: it cannot get better", took)
				}
			}
			samePointers(t, ours, before)
			samePointers(t, theirs, beforeTheirs)
			joinsNow(t, native, ours)
			joinsNow(t, stranger, theirs)
		})
	}
}

// The settings are compared by the hash of one word. Functions that agree on it may
// differ for the name of the joiner, or of the member that it asks.
func TestHashFuncThatDiffersForSomeNamesIsRefused(t *testing.T) {
	differsFor := func(name string) func(*concord.Config) {
		return func(c *concord.Config) {
			c.HashFunc = func(data []byte) uint64 {
				sum := sha256.Sum256(data)
				id := binary.BigEndian.Uint64(sum[:8])
				if string(data) == name {
					id++
				}
				return id
			}
		}
	}
	for what, name := range map[string]string{"of the joiner": "joiner", "of the member asked": "member1", "of another member": "member2"} {
		t.Run(what, func(t *testing.T) {
			ours := newRing(t, 2)
			before := pointers(ours)
			for method, join := range map[string]func(*concord.Concord, context.Context, ...string) error{
				"Join": (*concord.Concord).Join, "JoinOrCreate": (*concord.Concord).JoinOrCreate,
			} {
				c := start(t, "joiner", differsFor(name))
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				began := time.Now()
				err := join(c, ctx, ours[0].Address())
				cancel()
				wantErr(t, method, err, concord.ErrDifferentRing)
				mentions(t, err, "HashFunc", name)
				if took := time.Since(began); took > time.Second {
					t.Errorf("%s took %v: it cannot get better", method, took)
				}
				c.Stop()
			}
			samePointers(t, ours, before)
			joinsNow(t, start(t, "native"), ours)
		})
	}
}

func TestEverySettingThatDiffersIsNamed(t *testing.T) {
	ours := create(t, "ours", func(c *concord.Config) { c.Cluster = "blue" })
	c := start(t, "joiner", func(c *concord.Config) { c.Cluster, c.HashBits = "red", 32 })
	err := joinFor(t, c, patience, ours.Address())
	wantErr(t, "Join", err, concord.ErrDifferentRing)
	mentions(t, err, "Cluster", "HashBits")
}

func TestUnreachableAdvAddrIsRefused(t *testing.T) {
	t.Parallel() // it waits
	ring := newRing(t, 3)
	idle := start(t, "idle")
	before := pointers(ring)
	for what, adv := range map[string]string{
		"nobody listens":        nobody(t),
		"another member":        ring[1].Address(),
		"another still":         ring[2].Address(),
		"not of the ring":       idle.Address(),
		"does not resolve":      "nobody.invalid:7946",
		"accepts, never speaks": blackHole(t),
	} {
		t.Run(what, func(t *testing.T) {
			c := start(t, "joiner", func(c *concord.Config) { c.AdvAddr = adv })
			via := ring[0]
			var err error
			if what == "does not resolve" { // a name may come to lead there yet
				err = joinTries(t, c, via.Address())
			} else {
				err = joinFor(t, c, patience, via.Address())
			}
			wantErr(t, "Join", err, concord.ErrNotReachable)
			mentions(t, err, adv, "joiner", ownerOf(ring, c.Id()).Name)
			samePointers(t, ring, before)
		})
	}
	c := start(t, "joiner")
	joinsNow(t, c, ring)
}

func TestUnreachableAdvAddrIsRefusedByRingOfOne(t *testing.T) {
	ring := []*concord.Concord{create(t, "one")}
	before := pointers(ring)
	c := start(t, "joiner", func(c *concord.Config) { c.AdvAddr = nobody(t) })
	wantErr(t, "Join", joinFor(t, c, patience, ring[0].Address()), concord.ErrNotReachable)
	samePointers(t, ring, before)
}

func TestJoinThroughMemberThatWasStoppedAndAnother(t *testing.T) {
	ring := newRing(t, 4)
	ring[1].Stop()
	c := start(t, "joiner")
	join(t, c, ring[1].Address(), ring[2].Address())
	awaitIdeal(t, []*concord.Concord{ring[0], ring[2], ring[3], c})
}

func TestManyJoinAtOnce(t *testing.T) {
	first := create(t, "member0")
	members := []*concord.Concord{first}
	failed := make(chan error, 16)
	for i := range cap(failed) {
		c := start(t, fmt.Sprintf("joiner%d", i))
		members = append(members, c)
		go func() { failed <- joinFor(t, c, patience, first.Address()) }()
	}
	for range cap(failed) {
		if err := receive(t, failed, 2*patience, "Join"); err != nil {
			t.Error(err)
		}
	}
	awaitIdeal(t, members)
}

func TestJoinOverIPv6(t *testing.T) {
	lis, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 here")
	}
	lis.Close()
	six := func(c *concord.Config) { c.BindAddr = "[::1]:0" }
	a, b := create(t, "a", six), start(t, "b", six)
	join(t, b, a.Address())
	awaitIdeal(t, []*concord.Concord{a, b})
}

func TestJoinErrorSaysWhatBecameOfEveryAddress(t *testing.T) {
	c := start(t, "joiner")
	idle, dead := start(t, "idle"), nobody(t)
	// The time ends when a whole attempt has failed: every address has answered, or not.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	failed := make(chan error, 1)
	go func() { failed <- c.Join(ctx, idle.Address(), dead, "malformed", c.Address()) }()
	eventually(t, func() error {
		if c.Status().Counters.JoinRetries == 0 {
			return errors.New("no attempt has failed yet")
		}
		return nil
	})
	cancel()
	err := receive(t, failed, patience, "Join")
	wantErr(t, "Join", err, context.Canceled, concord.ErrNotJoined, concord.ErrUnavailable, concord.ErrSelf)
	mentions(t, err, idle.Address(), dead, "malformed", c.Address())
}

func TestJoinToOneselfByAnotherSpelling(t *testing.T) {
	ring := newRing(t, 2)
	c := start(t, "joiner", onLocalhost)
	_, port, _ := net.SplitHostPort(c.Address())
	began := time.Now()
	err := joinFor(t, c, 3*time.Second, net.JoinHostPort("localhost", port))
	wantErr(t, "Join", err, concord.ErrSelf)
	if took := time.Since(began); took > time.Second {
		t.Errorf("took %v: it cannot get better", took)
	}
	joinsNow(t, c, ring)
}

func TestJoinPassesByAddressesThatSayNothing(t *testing.T) {
	t.Parallel() // it waits
	ring := newRing(t, 2)
	c := start(t, "joiner")
	join(t, c, blackHole(t), blackHole(t), ring[1].Address())
	awaitIdeal(t, append(ring, c))
}

func TestJoinWithoutDeadlineEndsAfterThirtySeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		c := memoryMember(t, network, "joiner")
		began := time.Now()
		err := c.Join(t.Context(), "nobody:1")
		if took := time.Since(began); took < 29*time.Second || took > 31*time.Second {
			t.Errorf("took %v", took)
		}
		wantErr(t, "Join", err, context.DeadlineExceeded, concord.ErrUnavailable)
		c.Stop()
	})
}

// Without a deadline a Join and a Dial end by their own time, and say so.
func TestJoinAndDialSayThatTheirOwnTimeIsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		c := memoryMember(t, network, "member1")
		defer c.Stop()
		err := c.Join(context.Background(), "nobody:1")
		wantErr(t, "Join", err, concord.ErrUnavailable, context.DeadlineExceeded)
		mentions(t, err, "(given up after 30s, as the context has no deadline)")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err = c.Join(ctx, "nobody:1")
		wantErr(t, "Join", err, concord.ErrUnavailable, context.DeadlineExceeded)
		mentions(t, err, "(context deadline exceeded)")
		_, err = concord.Dial(context.Background(), concord.ClientConfig{Network: network}, "nobody:1")
		wantErr(t, "Dial", err, concord.ErrUnavailable, context.DeadlineExceeded)
		mentions(t, err, "(given up after 30s, as the context has no deadline)")
	})
}
