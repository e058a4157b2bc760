package concord_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/cluster"
	"github.com/ollelogdahl/concord/internal/transport/memory"
)

// A lookup of a name whose caller has gone goes on in package net until its time-out.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("net.(*Resolver).lookupIPAddr.func2"),
		goleak.IgnoreAnyFunction("net.(*Resolver).goLookupIPCNAMEOrder"),
		goleak.IgnoreAnyFunction("net.(*Resolver).goLookupIPCNAMEOrder.func3.1"))
}

// testInterval is the interval of members in tests on real time: short, since
// what is awaited may need a round or two.
const testInterval = 50 * time.Millisecond

// patience is how long a test waits for what should come at once.
const patience = 10 * time.Second

// configure is the configuration of a member on loopback.
func configure(name string, edits ...func(*concord.Config)) concord.Config {
	cfg := concord.Config{Name: name, BindAddr: cluster.Address(), StabilizeInterval: testInterval}
	for _, edit := range edits {
		edit(&cfg)
	}
	return cfg
}

// onLocalhost has a member listen where the name localhost and the tests' certificates
// lead.
func onLocalhost(c *concord.Config) { c.BindAddr = "127.0.0.1:0" }

// start starts a member that is in no ring and is stopped when the test ends.
func start(t *testing.T, name string, edits ...func(*concord.Config)) *concord.Concord {
	t.Helper()
	c := concord.New(configure(name, edits...))
	if err := c.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	t.Cleanup(func() { c.Stop() })
	return c
}

// create starts a member and makes it a ring of one.
func create(t *testing.T, name string, edits ...func(*concord.Config)) *concord.Concord {
	t.Helper()
	c := start(t, name, edits...)
	if err := c.Create(); err != nil {
		t.Fatalf("create %s: %v", name, err)
	}
	return c
}

// join joins a started member to the ring of the addresses.
func join(t *testing.T, c *concord.Concord, addrs ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := c.Join(ctx, addrs...); err != nil {
		t.Fatalf("join %s: %v", c.Name(), err)
	}
}

// newRing makes an ideal ring of member1 … membern.
func newRing(t *testing.T, n int, edits ...func(*concord.Config)) []*concord.Concord {
	t.Helper()
	members := []*concord.Concord{create(t, "member1", edits...)}
	for i := 2; i <= n; i++ {
		c := start(t, fmt.Sprintf("member%d", i), edits...)
		join(t, c, members[0].Address())
		members = append(members, c)
	}
	awaitIdeal(t, members)
	return members
}

// newMemoryRing is newRing on a network of this process, for bubbles.
func newMemoryRing(t *testing.T, network *memory.Network, n int, edits ...func(*concord.Config)) []*concord.Concord {
	t.Helper()
	members := memoryRing(t, network, n, edits...)
	awaitIdeal(t, members)
	return members
}

// memoryRing is newMemoryRing for members whose rounds are so seldom that a part of a map
// that has not come to them is not missed in time.
func memoryRing(t *testing.T, network *memory.Network, n int, edits ...func(*concord.Config)) []*concord.Concord {
	t.Helper()
	var members []*concord.Concord
	for i := 1; i <= n; i++ {
		c := memoryMember(t, network, fmt.Sprintf("member%d", i), edits...)
		members = enter(t, members, c)
	}
	eventually(t, func() error { return oneRing(members) })
	return members
}

// enter has c create the ring, or join that of the members, and returns them all.
func enter(t *testing.T, members []*concord.Concord, c *concord.Concord) []*concord.Concord {
	t.Helper()
	if len(members) == 0 {
		if err := c.Create(); err != nil {
			t.Fatal(err)
		}
	} else {
		join(t, c, members[0].Address())
	}
	return append(members, c)
}

// memoryMember starts a member on a network of this process, at "name:1".
func memoryMember(t *testing.T, network *memory.Network, name string, edits ...func(*concord.Config)) *concord.Concord {
	t.Helper()
	c := concord.New(configure(name, append([]func(*concord.Config){func(cfg *concord.Config) {
		cfg.Network = network
		cfg.BindAddr = name + ":1"
		cfg.StabilizeInterval = time.Second
	}}, edits...)...))
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Stop() })
	return c
}

// eventually polls until f returns nil, and fails the test if it does not
// within patience.
func eventually(t *testing.T, f func() error) {
	t.Helper()
	if err := poll(patience, f); err != nil {
		t.Fatalf("not within %v: %v", patience, err)
	}
}

func poll(limit time.Duration, f func() error) error {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			return err
		}
	}
}

// within runs f and fails the test if it has not returned within limit.
func within(t *testing.T, limit time.Duration, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	receive(t, done, limit, what)
}

// receive takes a value from ch and fails the test if none comes within limit.
func receive[T any](t *testing.T, ch <-chan T, limit time.Duration, what string) T {
	t.Helper()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case v := <-ch:
		return v
	case <-timer.C:
		t.Fatalf("%s: not within %v", what, limit)
		panic("unreachable")
	}
}

// awaitIdeal waits until the members are one ideal ring.
func awaitIdeal(t *testing.T, members []*concord.Concord, count ...int) {
	t.Helper()
	eventually(t, func() error { return ideal(members, count...) })
}

// ideal reports in what the members differ from the one ring that they should be, and
// their maps from it. Lists have 3 entries unless count says otherwise.
func ideal(members []*concord.Concord, count ...int) error {
	if err := oneRing(members, count...); err != nil {
		return err
	}
	ring := slices.Clone(members)
	slices.SortFunc(ring, func(a, b *concord.Concord) int { return cmp.Compare(a.Id(), b.Id()) })
	for _, c := range ring {
		if err := charted(c, ring); err != nil {
			return err
		}
	}
	return nil
}

// oneRing is ideal but for the maps: every predecessor, entry of every list and range.
func oneRing(members []*concord.Concord, count ...int) error {
	full := concord.DefaultSuccessorCount
	if len(count) > 0 {
		full = count[0]
	}
	ring := slices.Clone(members)
	slices.SortFunc(ring, func(a, b *concord.Concord) int { return cmp.Compare(a.Id(), b.Id()) })
	n := len(ring)
	for i, c := range ring {
		before := ring[(i+n-1)%n]
		var want []concord.Server
		for k := 1; k <= min(full, max(1, n-1)); k++ {
			want = append(want, serverOf(ring[(i+k)%n]))
		}
		if got := c.Successors(); !slices.Equal(got, want) {
			return fmt.Errorf("%s: successors %v, want %v", c.Name(), got, want)
		}
		if got, ok := c.Predecessor(); !ok || got != serverOf(before) {
			return fmt.Errorf("%s: predecessor %v, %v, want %v", c.Name(), got, ok, serverOf(before))
		}
		if got, want := c.Range(), (concord.Range{Start: before.Id(), End: c.Id()}); got != want {
			return fmt.Errorf("%s: range %v, want %v", c.Name(), got, want)
		}
		if !c.Joined() {
			return fmt.Errorf("%s: not joined", c.Name())
		}
	}
	return nil
}

// ringMap is the map of the ring that a member has now.
func ringMap(ctx context.Context, c *concord.Concord) map[concord.Server]concord.Range {
	known := map[concord.Server]concord.Range{}
	for list := range c.WatchRing(ctx) {
		for _, x := range list {
			known[x.Server] = x.New
		}
		break
	}
	return known
}

// charted reports in what the map of a member differs from the ring, which is in the order
// of the identifiers.
func charted(c *concord.Concord, ring []*concord.Concord) error {
	got, want := ringMap(context.Background(), c), map[concord.Server]concord.Range{}
	for i, x := range ring {
		want[serverOf(x)] = concord.Range{Start: ring[(i+len(ring)-1)%len(ring)].Id(), End: x.Id()}
	}
	if !maps.Equal(got, want) {
		return fmt.Errorf("%s: its map is %v, want %v", c.Name(), got, want)
	}
	return nil
}

// serverOf is how the others know c.
func serverOf(c *concord.Concord) concord.Server {
	return concord.Server{Name: c.Name(), Id: c.Id(), Address: c.Address()}
}

// ownerOf is the member that is responsible for an identifier: the truth that
// lookups are compared with.
func ownerOf(members []*concord.Concord, id uint64) concord.Server {
	best := members[0]
	for _, c := range members {
		if c.Id()-id < best.Id()-id {
			best = c
		}
	}
	return serverOf(best)
}

// lookup looks key up at c and fails the test if that fails.
func lookup(t *testing.T, c *concord.Concord, key string, opts ...concord.LookupOption) concord.Server {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s, err := c.LookupContext(ctx, []byte(key), opts...)
	if err != nil {
		t.Fatalf("%s: lookup of %q: %v", c.Name(), key, err)
	}
	return s
}

// idOf is the identifier of a key with the default hash.
func idOf(key string) uint64 { return concord.New(concord.Config{Name: key}).Id() }

// wantErr fails the test unless err matches every one of the targets.
func wantErr(t *testing.T, what string, err error, targets ...error) {
	t.Helper()
	for _, target := range targets {
		if !errors.Is(err, target) {
			t.Errorf("%s: got %v, want %v", what, err, target)
		}
	}
}

// descriptors counts the open file descriptors of the process.
func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skipf("cannot count descriptors: %v", err)
	}
	return len(entries)
}

// pointer is what a member relies on, for comparison before and after.
type pointer struct {
	Phase       concord.Phase
	Range       concord.Range
	Predecessor concord.Server
	Successors  []concord.Server
	Incarnation uint64
}

func pointers(members []*concord.Concord) []pointer {
	var out []pointer
	for _, c := range members {
		s := c.Status()
		p := pointer{Phase: s.Phase, Successors: s.Successors, Incarnation: s.Incarnation}
		if s.Range != nil {
			p.Range = *s.Range
		}
		if s.Predecessor != nil {
			p.Predecessor = *s.Predecessor
		}
		out = append(out, p)
	}
	return out
}

// samePointers fails the test if the members rely on others than before.
func samePointers(t *testing.T, members []*concord.Concord, before []pointer) {
	t.Helper()
	if now := pointers(members); !reflect.DeepEqual(now, before) {
		t.Errorf("the ring has changed from\n%+v to\n%+v", before, now)
	}
}
