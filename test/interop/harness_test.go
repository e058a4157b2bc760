// Package interop tests rings of our members and legacy members, over real sockets.
package interop_test

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/cluster"
	"github.com/ollelogdahl/concord/internal/transport/legacytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	interval = 50 * time.Millisecond // between rounds of maintenance, on both sides
	patience = 20 * time.Second      // for what takes a few rounds
	full     = concord.DefaultSuccessorCount
)

// member is a live member, of either kind: exactly one of ours and legacy
// is set, or neither for a member whose answers the test decides (scripted).
type member struct {
	concord.Server
	ours   *concord.Concord
	legacy *legacytest.Member
}

func (s member) stop() {
	switch {
	case s.ours != nil:
		s.ours.Stop()
	case s.legacy != nil:
		s.legacy.Stop()
	}
}

// idOf is the identifier of a key or name.
func idOf(name string) uint64 {
	sum := sha256.Sum256([]byte(name))
	return binary.BigEndian.Uint64(sum[:8])
}

func startOurs(t *testing.T, name string, edits ...func(*concord.Config)) member {
	t.Helper()
	cfg := concord.Config{Name: name, BindAddr: cluster.Address(), StabilizeInterval: interval}
	for _, edit := range edits {
		edit(&cfg)
	}
	c := concord.New(cfg)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Stop() })
	return member{Server: concord.Server{Name: name, Id: c.Id(), Address: c.Address()}, ours: c}
}

func startLegacy(t *testing.T, name string) member {
	t.Helper()
	return startLegacyAt(t, name, "")
}

// startLegacyAt starts a legacy member at an address; empty: anywhere.
func startLegacyAt(t *testing.T, name, addr string) member {
	t.Helper()
	if addr == "" {
		addr = cluster.Address()
	}
	cfg := legacytest.Config{Name: name, Successors: full, Interval: interval, Addr: addr}
	cfg.Space.Bits, cfg.Space.Hash = 64, func(b []byte) uint64 { return idOf(string(b)) }
	m, err := legacytest.Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Stop)
	return member{Server: concord.Server{Name: name, Id: idOf(name), Address: m.Self().Addr}, legacy: m}
}

// startOursAt starts a member of ours at an address.
func startOursAt(t *testing.T, name, addr string) member {
	t.Helper()
	return startOurs(t, name, func(c *concord.Config) { c.BindAddr = addr })
}

// start starts a member of the kind that a pattern names: + is ours, - legacy.
func start(t *testing.T, kind byte, name string) member {
	t.Helper()
	if kind == '+' {
		return startOurs(t, name)
	}
	return startLegacy(t, name)
}

func (s member) create(t *testing.T) {
	t.Helper()
	if s.legacy != nil {
		s.legacy.Create()
	} else if err := s.ours.Create(); err != nil {
		t.Fatal(err)
	}
}

// tryJoin makes one attempt to join; a legacy member gives up at the first thing
// that goes wrong, and hangs at some.
func (s member) tryJoin(ctx context.Context, via member) error {
	if s.ours != nil {
		return s.ours.Join(ctx, via.Address)
	}
	return s.legacy.Join(ctx, via.Address)
}

func (s member) join(t *testing.T, via member) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.tryJoin(ctx, via); err != nil {
		t.Fatalf("%s joins through %s: %v", s.Name, via.Name, err)
	}
}

// insist tries to join again and again, as whoever runs a legacy member does.
func (s member) insist(t *testing.T, via member) {
	t.Helper()
	eventually(t, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		return s.tryJoin(ctx, via)
	})
}

// sorted puts members clockwise.
func sorted(members []member) []member {
	out := slices.Clone(members)
	slices.SortFunc(out, func(a, b member) int { return cmp.Compare(a.Id, b.Id) })
	return out
}

// without is what is left of the members when some have gone.
func without(members []member, gone ...member) []member {
	return slices.DeleteFunc(slices.Clone(members), func(s member) bool { return slices.Contains(gone, s) })
}

// names makes n names in the order of their identifiers.
func names(t *testing.T, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("%s/%d", t.Name(), i)
	}
	slices.SortFunc(out, func(a, b string) int { return cmp.Compare(idOf(a), idOf(b)) })
	return out
}

// newRing makes a settled ring of the pattern, whose i-th sign says of what kind
// the i-th member clockwise is. order gives the places in which they enter, each
// through the one that entered first; nil: as they lie.
func newRing(t *testing.T, pattern string, order ...int) []member {
	t.Helper()
	if order == nil {
		for i := range pattern {
			order = append(order, i)
		}
	}
	members := make([]member, len(pattern))
	for i, name := range names(t, len(pattern)) {
		members[i] = start(t, pattern[i], name)
	}
	for i, place := range order {
		if i == 0 {
			members[place].create(t)
		} else {
			members[place].join(t, members[order[0]])
		}
	}
	settle(t, members)
	return members
}

// wrong says what keeps the members from being one right ring: of ours every
// pointer, of legacy ones the predecessor and the beginning of the list.
func wrong(members []member) error {
	in := sorted(members)
	n := len(in)
	var errs []error
	for i, s := range in {
		before := in[(i+n-1)%n].Server
		var after []concord.Server
		for k := 1; k <= min(full, max(1, n-1)); k++ {
			after = append(after, in[(i+k)%n].Server)
		}
		var err error
		switch {
		case s.ours != nil:
			err = wrongOurs(s.ours, before, after)
		case s.legacy != nil:
			err = wrongLegacy(s.legacy, before, after)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.Name, err))
		}
	}
	return errors.Join(errs...)
}

func wrongOurs(c *concord.Concord, before concord.Server, after []concord.Server) error {
	if got, ok := c.Predecessor(); !ok || got != before {
		return fmt.Errorf("predecessor %v (%v), want %v", got, ok, before)
	}
	if got := c.Successors(); !slices.Equal(got, after) {
		return fmt.Errorf("successors %v, want %v", got, after)
	}
	if got, want := c.Range(), (concord.Range{Start: before.Id, End: c.Id()}); got != want {
		return fmt.Errorf("range %v, want %v", got, want)
	}
	return nil
}

func wrongLegacy(m *legacytest.Member, before concord.Server, after []concord.Server) error {
	if got := m.Predecessor(); got.Addr != before.Address {
		return fmt.Errorf("predecessor %v, want %v", got, before)
	}
	got := m.Successors()
	if len(after) < full && after[0].Address != m.Self().Addr {
		// It is isolated when all others fail, unless it is in its list itself.
		after = append(after, concord.Server{Address: m.Self().Addr})
	}
	for i, want := range after {
		if i >= len(got) || got[i].Addr != want.Address {
			return fmt.Errorf("successors %v, want %v first", got, after)
		}
	}
	return nil
}

// ownerOf is the truth: the first member at or after id.
func ownerOf(members []member, id uint64) member {
	return slices.MinFunc(members, func(a, b member) int { return cmp.Compare(a.Id-id, b.Id-id) })
}

// lookup asks a member for the owner of a key, and gives its address.
func (s member) lookup(ctx context.Context, key string) (string, error) {
	if s.ours != nil {
		owner, err := s.ours.LookupContext(ctx, []byte(key))
		return owner.Address, err
	}
	owner, err := s.legacy.Lookup(ctx, idOf(key))
	return owner.Addr, err
}

// wrongLookups looks keys up at every member, all members at once, and says
// which answers are not the truth. A key that is a member's very name may be
// answered with the member before it if any legacy member is in the ring.
func wrongLookups(ctx context.Context, members []member) error {
	var keys []string
	for i := range 24 {
		keys = append(keys, fmt.Sprintf("key %d", i))
	}
	for _, s := range members {
		keys = append(keys, s.Name)
	}
	in := sorted(members)
	legacy := slices.ContainsFunc(in, func(s member) bool { return s.ours == nil })
	errs := make([]error, len(in))
	var wg sync.WaitGroup
	for i, s := range in {
		if s.ours == nil && s.legacy == nil {
			continue
		}
		wg.Go(func() {
			for _, key := range keys {
				got, err := s.lookup(ctx, key)
				want := ownerOf(in, idOf(key))
				at := slices.Index(in, want)
				exact := want.Name == key && legacy && got == in[(at+len(in)-1)%len(in)].Address
				if err != nil || got != want.Address && !exact {
					errs[i] = errors.Join(errs[i], fmt.Errorf("%s: lookup of %q gives %q, %w, want %s at %s", s.Name, key, got, err, want.Name, want.Address))
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// settle waits until the members are one right ring, and looks keys up. A ring is right
// once it has been for a few rounds: a legacy member whose question was on its way while
// the ring changed takes over a list of before, and others take it from that one.
func settle(t *testing.T, members []member) {
	t.Helper()
	var since time.Time
	eventually(t, func() error {
		switch err := wrong(members); {
		case err != nil:
			since = time.Time{}
			return err
		case since.IsZero():
			since = time.Now()
		}
		if right := time.Since(since); right < 4*interval {
			return fmt.Errorf("right for no more than %v", right)
		}
		return nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	eventually(t, func() error { return wrongLookups(ctx, members) }) // may be ten intervals old
}

// eventually polls until f returns nil, and fails the test if it does not
// within patience.
func eventually(t *testing.T, f func() error) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not within %v: %v", patience, err)
		}
	}
}

// requests is how much the members of ours have asked and served so far.
func requests(members []member) (asked, served uint64) {
	for _, s := range members {
		if s.ours != nil {
			c := s.ours.Status().Counters
			asked += c.RingRequests + c.RouteRequests
			served += c.Served
		}
	}
	return asked, served
}

// mentions fails the test unless err is one that says every one of the words.
func mentions(t *testing.T, err error, words ...string) {
	t.Helper()
	for _, w := range words {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("error %v, want one that says %q", err, w)
		}
	}
}
