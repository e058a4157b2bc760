package concord_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/concordtest"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/transport/legacytest"
)

// virtual starts members with so many VirtualNodes each on real sockets, in one ring.
func virtual(t *testing.T, nodes ...uint) []*concord.Concord {
	t.Helper()
	var all []*concord.Concord
	for i, v := range nodes {
		c := virtualMember(t, fmt.Sprintf("node-%d", i), v, nil)
		var err error
		if i == 0 {
			err = c.Create()
		} else {
			err = c.Join(t.Context(), all[0].Address())
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	return all
}

func virtualMember(t *testing.T, name string, nodes uint, change func(*concord.Config)) *concord.Concord {
	t.Helper()
	cfg := concord.Config{Name: name, BindAddr: "127.0.0.1:0", StabilizeInterval: 100 * time.Millisecond, VirtualNodes: nodes}
	if change != nil {
		change(&cfg)
	}
	c := concord.New(cfg)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Stop() })
	return c
}

// settledRanges waits until all are settled, and checks that each key has one owner on
// whom all agree.
func settledRanges(t *testing.T, all []*concord.Concord) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for again := true; again; { // until a whole pass finds all of them settled
		before := fmt.Sprint(allRanges(all))
		for _, c := range all {
			if err := c.Settled(ctx); err != nil {
				t.Fatalf("%s: %v", c.Name(), err)
			}
		}
		again = before != fmt.Sprint(allRanges(all))
	}
	for _, key := range keys(100) {
		owners := 0
		var owner concord.Server
		for _, c := range all {
			if c.Owns(key) {
				owners++
				owner = serverOf(c)
			}
		}
		if owners != 1 {
			t.Fatalf("%d members own %q", owners, key)
		}
		for _, c := range all {
			if got, err := c.LookupContext(ctx, key, concord.Fresh()); err != nil || got != owner {
				t.Fatalf("%s: %q belongs to %v, %v; not to %v", c.Name(), key, got, err, owner)
			}
		}
	}
}

func allRanges(all []*concord.Concord) (out []concord.Range) {
	for _, c := range all {
		out = append(out, c.Ranges()...)
	}
	return out
}

func TestVirtualNodes(t *testing.T) {
	all := virtual(t, 4, 4)
	settledRanges(t, all)
	all = append(all, virtualMember(t, "one", 1, nil), virtualMember(t, "many", 16, nil))
	for _, c := range all[2:] {
		if err := c.Join(t.Context(), all[0].Address()); err != nil {
			t.Fatal(err)
		}
	}
	settledRanges(t, all)
	for i, want := range []int{4, 4, 1, 16} {
		s := all[i].Status()
		if len(all[i].Ranges()) != want || s.VirtualNodes != want || !slices.Equal(s.Ranges, all[i].Ranges()) {
			t.Errorf("%s has %d ranges, Status %d; not %d", all[i].Name(), len(all[i].Ranges()), s.VirtualNodes, want)
		}
		if s.Self.Id != all[i].KeyID([]byte(all[i].Name())) {
			t.Errorf("%s has the identifier %d", all[i].Name(), s.Self.Id)
		}
	}
	met := map[string]int{}
	for m, err := range all[2].Members(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		met[m.Server.Name] += len(m.Ranges)
	}
	if fmt.Sprint(met) != "map[many:16 node-0:4 node-1:4 one:1]" {
		t.Errorf("Members yields %v", met)
	}
	for _, key := range keys(20) {
		got, err := all[0].LookupN(t.Context(), key, 4)
		if err != nil || len(got) != 4 {
			t.Fatalf("four servers of %q: %v, %v", key, got, err)
		}
		slices.SortFunc(got, func(a, b concord.Server) int { return cmp.Compare(a.Name, b.Name) })
		if len(slices.Compact(got)) != 4 {
			t.Errorf("not four members: %v", got)
		}
	}

	all[3].Stop()
	settledRanges(t, all[:3])
	if err := all[1].Leave(t.Context()); err != nil {
		t.Error(err)
	}
	settledRanges(t, []*concord.Concord{all[0], all[2]})
}

func TestVirtualNodesAreChecked(t *testing.T) {
	for _, k := range []struct{ n, bits uint }{{1025, 0}, {1025, 64}, {5, 2}} {
		c := concord.New(concord.Config{Name: "x", BindAddr: "127.0.0.1:0", VirtualNodes: k.n, HashBits: k.bits})
		var e *concord.ConfigError
		if err := c.Start(); !errors.As(err, &e) || e.Field != "VirtualNodes" {
			t.Errorf("%d virtual nodes with HashBits %d: %v", k.n, k.bits, err)
		}
	}
	one, two := virtualMember(t, "one", 1, nil), virtualMember(t, "two", 2, nil)
	for _, c := range []*concord.Concord{one, two} {
		if err := c.Create(); err != nil {
			t.Fatal(err)
		}
	}
	for _, w := range []int{-1, 1025} {
		if err := two.SetWeight(t.Context(), w); !errors.Is(err, concord.ErrWeight) {
			t.Errorf("weight %d: %v", w, err)
		}
	}
	if err := one.SetWeight(t.Context(), 2); !errors.Is(err, concord.ErrWeight) {
		t.Errorf("weight 2 without VirtualNodes: %v", err)
	}
	if err := one.SetWeight(t.Context(), 1); err != nil {
		t.Error(err)
	}
	if err := two.Settled(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(two.Ranges()); n != 2 {
		t.Errorf("%d ranges after weights that were refused", n)
	}
}

func TestWeightsChange(t *testing.T) {
	changed := make(chan concord.Range, 1024)
	all := virtual(t, 4, 4)
	c := virtualMember(t, "weighed", 3, func(cfg *concord.Config) { cfg.OnRangeChange = func(r concord.Range) { changed <- r } })
	if err := c.SetWeight(t.Context(), 2); !errors.Is(err, concord.ErrNotJoined) {
		t.Errorf("outside of a ring: %v", err)
	}
	if err := c.Join(t.Context(), all[0].Address()); err != nil {
		t.Fatal(err)
	}
	all = append(all, c)
	s := c.Serve(t.Context(), concord.Handler{})
	for _, w := range []int{6, 1, 3} {
		if err := c.SetWeight(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		settledRanges(t, all)
		if n := len(c.Ranges()); n != w {
			t.Errorf("%d ranges with weight %d", n, w)
		}
		eventually(t, func() error {
			if n := concord.Identifiers(s); n != w {
				return fmt.Errorf("the service knows %d identifiers with weight %d", n, w)
			}
			return nil
		})
	}
	ends := map[uint64]bool{}
	for len(changed) > 0 {
		ends[(<-changed).End] = true
	}
	for _, r := range c.Ranges() {
		if !ends[r.End] {
			t.Errorf("OnRangeChange was not told of %v", r)
		}
	}
}

// Watch and Serve know all ranges of a member.
func TestEventsOfVirtualNodes(t *testing.T) {
	all := virtual(t, 4)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := all[0].Serve(ctx, concord.Handler{})
	if err := s.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	known := map[uint64]concord.Range{}
	wanted := func() bool {
		mine := all[0].Ranges()
		for _, r := range mine {
			if known[r.End] != r {
				return false
			}
		}
		return len(known) == len(mine)
	}
	joined := false
	for e := range all[0].Watch(ctx) {
		if e.Had {
			delete(known, e.Old.End)
		}
		if e.Has {
			known[e.New.End] = e.New
		}
		if !joined && wanted() && len(known) == 4 {
			joined = true
			b := virtualMember(t, "b", 4, nil)
			if err := b.Join(ctx, all[0].Address()); err != nil {
				t.Fatal(err)
			}
			all = append(all, b)
			if err := all[0].Settled(ctx); err != nil {
				t.Fatal(err)
			}
			if wanted() { // nothing of it was the first's: no event comes
				break
			}
		} else if joined && wanted() {
			break
		}
	}
	settledRanges(t, all)
	for _, key := range keys(50) {
		for {
			if _, ok := s.Serves(key); ok == all[0].Owns(key) {
				break
			}
			if err := s.Wait(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// legacyMember is a member of the base contract, in no ring.
func legacyMember(t *testing.T, name string) *legacytest.Member {
	t.Helper()
	m, err := legacytest.Listen(legacytest.Config{Name: name, Space: ring.Space{Bits: 64, Hash: ring.SHA256}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Stop)
	return m
}

// Legacy members and members with VirtualNodes refuse each other in words.
func TestVirtualNodesAndLegacyMembers(t *testing.T) {
	legacy := legacyMember(t, "legacy")
	legacy.Create()
	c := virtualMember(t, "several", 4, nil)
	err := c.Join(t.Context(), legacy.Self().Addr)
	if !errors.Is(err, concord.ErrDifferentRing) || !strings.Contains(err.Error(), "VirtualNodes") || c.Joined() {
		t.Errorf("into a ring of legacy members: %v", err)
	}
	if err := c.Create(); err != nil {
		t.Fatal(err)
	}
	other := legacyMember(t, "other")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if err := other.Join(ctx, c.Address()); err == nil || !strings.Contains(err.Error(), "VirtualNodes") {
		t.Errorf("a legacy member joins: %v", err)
	}
	told := false
	for _, f := range c.Status().Failures {
		told = told || f.Incoming && strings.Contains(f.Error, "VirtualNodes")
	}
	if !told {
		t.Errorf("the member does not tell that it has refused one: %+v", c.Status().Failures)
	}
}

// The rings of concordtest settle with VirtualNodes, over clients, too.
func TestRingOfVirtualNodesSettles(t *testing.T) {
	r := concordtest.New(t, concordtest.Options{})
	members := r.Start(6, func(i int, c *concord.Config) {
		c.VirtualNodes = []uint{1, 4, 16}[i%3]
		c.Zone = string(rune('a' + i%3))
	})
	r.Settle(t.Context())
	client := r.Client()
	for _, key := range keys(50) {
		want := r.Owner(key)
		for who, f := range map[string]finder{"member": members[1], "client": client} {
			got, err := f.LookupN(t.Context(), key, 3)
			if err != nil || len(got) != 3 || got[0] != serverOf(want) {
				t.Fatalf("%s: %v, %v; the owner is %v", who, got, err, want)
			}
		}
	}
	for _, m := range members {
		for _, of := range m.Ranges() {
			got, err := m.LookupRange(t.Context(), of, 3)
			if err != nil || len(got) != 3 || got[0] != serverOf(m) {
				t.Fatalf("%s: %v, %v; it owns %v", m.Name(), got, err, of)
			}
			for _, key := range keys(50) {
				if !of.Contains(m.KeyID(key)) {
					continue
				}
				if want, err := m.LookupN(t.Context(), key, 3); err != nil || !slices.Equal(got, want) {
					t.Errorf("the servers of %v are %v, those of a key of it %v, %v", of, got, want, err)
				}
			}
		}
	}
	r.Kill(members[2])
	r.Settle(t.Context())
}

// What Status says is true of the process at all of its identifiers, and names each other member
// once. A successor that is not asked in every round, since its process is, does not make the
// member unready, however long the rounds.
func TestStatusIsOfAllIdentifiers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := concordtest.New(t, concordtest.Options{})
		const interval = 4 * time.Second
		members := r.Start(3, func(_ int, c *concord.Config) { c.VirtualNodes, c.StabilizeInterval = 16, interval })
		r.Settle(t.Context())
		for range 5 * 60 {
			time.Sleep(time.Second)
			total := 0.0
			for i, m := range members {
				if err := m.Ready(); err != nil {
					t.Fatal(err)
				}
				s := m.Status()
				total += s.Share
				others := slices.DeleteFunc([]concord.Server{serverOf(members[0]), serverOf(members[1]), serverOf(members[2])}, func(x concord.Server) bool { return x == s.Self })
				slices.SortFunc(s.Acquaintances, func(a, b concord.Server) int { return cmp.Compare(a.Name, b.Name) })
				if !slices.Equal(s.Acquaintances, others) || s.Isolated || s.Silent > 0 || s.SuccessorAge == nil || *s.SuccessorAge > 7*interval {
					t.Fatalf("member %d: %+v", i, s)
				}
			}
			if total < 1-1e-9 || total > 1+1e-9 {
				t.Fatalf("the shares add up to %v", total)
			}
		}
	})
}

// A process is isolated, and serves nothing, at all of its identifiers.
func TestIsolatedProcessServesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := concordtest.New(t, concordtest.Options{})
		members := r.Start(3, func(_ int, c *concord.Config) { c.VirtualNodes, c.MinMembers = 8, 2 })
		r.Settle(t.Context())
		members[0].Stop()
		members[1].Stop()
		time.Sleep(time.Minute)
		if s := members[2].Status(); !s.Isolated || s.Share != 0 || len(s.Ranges) == 0 || s.Size != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// A ring with a legacy member and one of members with VirtualNodes meet at an address that
// each has been given. They stay two rings, and both say why.
func TestRingsOfLegacyMembersAndOfVirtualNodesRefuseEachOther(t *testing.T) {
	legacy := legacyMember(t, "legacy")
	legacy.Create()
	one, several := virtualMember(t, "one", 1, nil), virtualMember(t, "several", 4, nil)
	if err := one.Join(t.Context(), legacy.Self().Addr, several.Address()); err != nil {
		t.Fatal(err)
	}
	if err := several.Create(); err != nil {
		t.Fatal(err)
	}
	other := virtualMember(t, "other", 4, nil)
	if err := other.Join(t.Context(), several.Address(), one.Address()); err != nil {
		t.Fatal(err)
	}
	says := func(c *concord.Concord, incoming bool) bool {
		return slices.ContainsFunc(c.Status().Failures, func(f concord.PeerFailure) bool {
			return f.Incoming == incoming && strings.Contains(f.Error, "VirtualNodes")
		})
	}
	eventually(t, func() error {
		for _, c := range []*concord.Concord{one, several, other} {
			if !says(c, false) && !says(c, true) {
				return fmt.Errorf("%s does not say that it has met the other ring: %+v", c.Name(), c.Status().Failures)
			}
		}
		return nil
	})
	for _, m := range []struct {
		of   *concord.Concord
		want int
	}{{one, 2}, {several, 2}, {other, 2}} {
		var names []string
		for x, err := range m.of.Members(t.Context(), concord.Fresh()) {
			if err != nil && x.Server == (concord.Server{}) {
				t.Fatal(err)
			}
			names = append(names, x.Server.Name)
		}
		if len(names) != m.want {
			t.Errorf("the ring of %s has %v", m.of.Name(), names)
		}
	}
}
