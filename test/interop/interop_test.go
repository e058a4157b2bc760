package interop_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ollelogdahl/concord"
)

func TestMixedRingSettlesWhoeverEntersFirst(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		pattern string
		order   []int
	}{
		{"+-", []int{0, 1}},
		{"+-", []int{1, 0}},
		{"+-+", []int{0, 1, 2}},
		{"+-+", []int{1, 0, 2}},
		{"-+-", []int{0, 2, 1}},
		{"-+-", []int{1, 0, 2}},
		{"-+-+-+-+", []int{0, 2, 4, 6, 1, 3, 5, 7}}, // all legacy ones first
		{"-+-+-+-+", []int{1, 3, 5, 7, 0, 2, 4, 6}}, // all of ours first
		{"----++++", []int{0, 4, 1, 5, 2, 6, 3, 7}}, // by turns, through a legacy one
		{"++--++--", []int{0, 3, 5, 7, 1, 2, 4, 6}}, // by turns, through ours
	} {
		t.Run(fmt.Sprintf("%s in the order %v", tc.pattern, tc.order), func(t *testing.T) {
			t.Parallel()
			newRing(t, tc.pattern, tc.order...)
		})
	}
}

func TestMembersJoiningAtOnceSettle(t *testing.T) {
	t.Parallel()
	for _, founder := range []int{0, 1} {
		t.Run(fmt.Sprint(founder), func(t *testing.T) {
			t.Parallel()
			pattern := "+-+-+-+-"
			var members []member
			for i, name := range names(t, len(pattern)) {
				members = append(members, start(t, pattern[i], name))
			}
			members[founder].create(t)
			var wg sync.WaitGroup
			for _, s := range without(members, members[founder]) {
				wg.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), patience)
					defer cancel()
					if err := s.tryJoin(ctx, members[founder]); err != nil {
						t.Errorf("%s: %v", s.Name, err)
					}
				})
			}
			wg.Wait()
			settle(t, members)
		})
	}
}

func TestEitherKindIsLeftAloneAndJoinedAgain(t *testing.T) {
	t.Parallel()
	for _, killed := range []int{0, 1} {
		t.Run("+-"[killed:killed+1]+" is killed", func(t *testing.T) {
			t.Parallel()
			members := newRing(t, "+-")
			gone, left := members[killed], members[1-killed]
			gone.stop()
			settle(t, []member{left})
			again := start(t, "+-"[killed], gone.Name+" again")
			again.join(t, left)
			settle(t, []member{left, again})
		})
	}
}

func TestMixedRingOfThreeSurvivesAKill(t *testing.T) {
	t.Parallel()
	for _, pattern := range []string{"+-+", "-+-"} {
		for _, killed := range []int{0, 1} {
			t.Run(fmt.Sprintf("%s without %d", pattern, killed), func(t *testing.T) {
				t.Parallel()
				members := newRing(t, pattern)
				members[killed].stop()
				rest := without(members, members[killed])
				settle(t, rest)
				joined := []member{startOurs(t, t.Name()+"/ours"), startLegacy(t, t.Name()+"/legacy")}
				joined[0].join(t, rest[0])
				joined[1].join(t, rest[1])
				settle(t, append(rest, joined...))
			})
		}
	}
}

// Lists of three entries outlast two failures at once, those of legacy members
// too: what they drop of a list is made up for by its giver at their head.
func TestMixedRingOfEightSurvivesTwoAdjacentKills(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		pattern string
		killed  int // and the next
	}{
		{"+-+-+-+-", 2}, // ours, then a legacy one; a legacy one is before them
		{"+-+-+-+-", 3}, // a legacy one, then ours; ours is before them
		{"++--++--", 2}, // two legacy ones
		{"++--++--", 4}, // two of ours, seen by a legacy one
	} {
		t.Run(fmt.Sprintf("%s without %d and the next", tc.pattern, tc.killed), func(t *testing.T) {
			t.Parallel()
			members := newRing(t, tc.pattern)
			gone := members[tc.killed : tc.killed+2]
			var wg sync.WaitGroup
			for _, s := range gone {
				wg.Go(s.stop)
			}
			wg.Wait()
			rest := without(members, gone...)
			settle(t, rest)
			joined := []member{startOurs(t, t.Name()+"/ours"), startLegacy(t, t.Name()+"/legacy")}
			joined[0].join(t, rest[slices.IndexFunc(rest, func(s member) bool { return s.legacy != nil })])
			joined[1].join(t, rest[slices.IndexFunc(rest, func(s member) bool { return s.ours != nil })])
			settle(t, append(rest, joined...))
		})
	}
}

func TestLeaveNextToLegacyMembers(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		pattern string
		leaver  int
	}{
		{"+-", 0}, {"-+-", 1}, {"--++-+--", 2}, {"-+-+-+-+", 3},
	} {
		t.Run(fmt.Sprintf("%s without %d", tc.pattern, tc.leaver), func(t *testing.T) {
			t.Parallel()
			members := newRing(t, tc.pattern)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if err := members[tc.leaver].ours.Leave(ctx); err != nil {
				t.Fatal(err)
			}
			settle(t, without(members, members[tc.leaver]))
		})
	}
}

func TestLegacyMemberRestartsElsewhereUnderItsName(t *testing.T) {
	t.Parallel()
	for via, what := range []string{"through ours", "through a legacy one"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			members := newRing(t, "+--+")
			members[2].stop()
			again := startLegacy(t, members[2].Name) // at another address
			again.insist(t, members[via])
			settle(t, append(without(members, members[2]), again))
		})
	}
}

// A legacy member that comes back where it was has not joined at first, and
// answers all the same.
func TestLegacyMemberRestartsWhereItWas(t *testing.T) {
	t.Parallel()
	members := newRing(t, "++-+")
	a, c, d := members[0].Server, members[2].Server, members[3].Server
	members[2].stop()
	again := startScripted(t, c.Name, c.Address)
	rest := without(members, members[2])
	settle(t, rest) // it is not taken for alive in the ring

	caller := newCaller(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, s := range rest {
		if got, err := caller.findSuccessor(ctx, s.Address, c.Id); err != nil || got != d {
			t.Errorf("its successor, says %s, is %v, %v; want %v", s.Name, got, err, d)
		}
	}
	again.shows(members[1].Server, d, a, members[1].Server)
	again.finds(func(context.Context, uint64) (concord.Server, error) { return d, nil })
	if err := caller.notify(ctx, d.Address, c); err != nil {
		t.Fatal(err)
	}
	settle(t, append(rest, again.member))
}

// Legacy members keep entries that are dead, and fill their lists with what is
// no entry at all. None of it gets into the lists of ours.
func TestStaleEntriesOfLegacyMembersAreNotTakenOver(t *testing.T) {
	t.Parallel()
	in := names(t, 5)
	dead := startLegacy(t, in[3])
	dead.stop()
	a, b, d := startOurs(t, in[0]), startScripted(t, in[1], ""), startOurs(t, in[4])
	c := startOurs(t, in[2])
	a.create(t)
	c.join(t, a)
	d.join(t, a)
	settle(t, []member{a, c, d})
	b.finds(func(ctx context.Context, id uint64) (concord.Server, error) {
		return ownerOf([]member{a, b.member, c, d}, id).Server, nil
	})
	caller := newCaller(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for what, list := range map[string][]concord.Server{
		"after a copy":               {c.Server, c.Server, dead.Server},
		"after itself":               {c.Server, b.Server, dead.Server},
		"after the one before":       {c.Server, d.Server, a.Server, dead.Server, d.Server},
		"against the clock":          {c.Server, d.Server, c.Server, dead.Server},
		"after itself, many entries": slices.Repeat([]concord.Server{c.Server, b.Server, dead.Server}, 9),
	} {
		b.shows(a.Server, list...)
		if err := caller.notify(ctx, c.Address, b.Server); err != nil {
			t.Fatal(err)
		}
		eventually(t, func() error {
			// Its list may be short, but says nothing wrong.
			got, want := a.ours.Successors(), []concord.Server{b.Server, c.Server, d.Server}
			if len(got) < 2 || !slices.Equal(got, want[:len(got)]) {
				return fmt.Errorf("%s: %v, want the beginning of %v", what, got, want)
			}
			return errors.Join(
				wrongOurs(a.ours, d.Server, got),
				wrongOurs(c.ours, b.Server, []concord.Server{d.Server, a.Server, b.Server}),
				wrongOurs(d.ours, c.Server, []concord.Server{a.Server, b.Server, c.Server}))
		})
		eventually(t, func() error {
			if err := wrongLookups(ctx, []member{a, b.member, c, d}); err != nil {
				return fmt.Errorf("%s: %w", what, err)
			}
			return nil
		})
	}
	// A dead predecessor is asked in vain, and the member kept.
	b.shows(dead.Server, c.Server, d.Server, a.Server)
	for range 3 {
		before := a.ours.Status().Counters.RingRequests
		eventually(t, func() error {
			if now := a.ours.Status().Counters.RingRequests; now < before+4 {
				return errors.New("no rounds are made")
			}
			return nil
		})
		if err := wrong([]member{a, b.member, c, d}); err != nil {
			t.Error(err)
		}
	}
}

func TestOursRestartsNextToLegacyMembers(t *testing.T) {
	t.Parallel()
	for via, what := range []string{"through a legacy one", "through ours"} {
		for _, sameAddress := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, at the same address: %v", what, sameAddress), func(t *testing.T) {
				t.Parallel()
				members := newRing(t, "-+-+-")
				members[3].stop()
				again := startOurs(t, members[3].Name, func(c *concord.Config) {
					if sameAddress {
						c.BindAddr = members[3].Address
					}
				})
				again.join(t, members[via])
				settle(t, append(without(members, members[3]), again))
			})
		}
	}
}

// Whoever it asks, a member is not let in under the name of one of ours that is
// alive, and the ring is as it was.
func TestNameOfALiveMemberIsTaken(t *testing.T) {
	t.Parallel()
	members := newRing(t, "-+-+")
	for _, holder := range members {
		for _, via := range members {
			again := startOurs(t, holder.Name)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			err := again.tryJoin(ctx, via)
			cancel()
			if !errors.Is(err, concord.ErrNameTaken) {
				t.Errorf("as %s through %s: got %v, want %v", holder.Name, via.Name, err, concord.ErrNameTaken)
			}
			mentions(t, err, holder.Name, holder.Address)
			again.stop()
		}
	}
	settle(t, members)
}

func TestClusterRefusesLegacyMembersInBothDirections(t *testing.T) {
	t.Parallel()
	blue := func(c *concord.Config) { c.Cluster = "blue" }
	ours, legacy := startOurs(t, "ours", blue), startLegacy(t, "legacy")
	ours.create(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	mentions(t, legacy.tryJoin(ctx, ours), "the caller names no cluster")

	legacy.create(t)
	joiner := startOurs(t, "joiner", blue)
	err := joiner.tryJoin(ctx, legacy)
	if !errors.Is(err, concord.ErrDifferentRing) {
		t.Errorf("got %v, want %v", err, concord.ErrDifferentRing)
	}
	mentions(t, err, "Cluster", "legacy member", legacy.Address)
	if err := ctx.Err(); err != nil {
		t.Error("the refusals were waited for:", err)
	}
	if err := wrong([]member{ours}); err != nil {
		t.Error(err)
	}
	if err := wrong([]member{legacy}); err != nil {
		t.Error(err)
	}
}

// perRound bounds what a member of ours asks and serves in one round of a
// settled ring of eight: the ring of its head, and its fingers; and the rounds of
// its neighbours, and lookups that legacy members pass on.
const perRound = 8

func TestIdleMixedRingIsQuiet(t *testing.T) {
	// Not parallel: it measures.
	members := newRing(t, "+-+-+-+-")
	quiet := func() error {
		for _, s := range members {
			if s.ours != nil {
				if st := s.ours.Status(); st.Pending > 0 {
					return fmt.Errorf("%s still places itself from %d others", s.Name, st.Pending)
				}
			}
		}
		return nil
	}
	eventually(t, quiet)
	asked, served := requests(members)
	<-time.After(time.Second)
	asked2, served2 := requests(members)
	if err := quiet(); err != nil {
		t.Error(err)
	}
	bound := uint64(perRound * 4 * int(time.Second/interval))
	t.Logf("in a second the four of ours asked %d and served %d", asked2-asked, served2-served)
	if asked2-asked+served2-served > bound {
		t.Errorf("asked %d and served %d in an idle second; want at most %d", asked2-asked, served2-served, bound)
	}
}

// Whatever happens to the ring: a lookup ends, right or not, and costs little.
func TestLookupsEndWhileTheRingIsWrong(t *testing.T) {
	t.Parallel()
	const (
		limit = 2 * time.Second
		most  = 16 // requests of ours for each lookup, on average
	)
	members := newRing(t, "+--++-+-")
	rest := without(members, members[1], members[4])
	asked, served := requests(rest)
	began := time.Now()
	ctx, cancel := context.WithCancel(t.Context())
	var lookups, failed atomic.Int64
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for _, s := range rest {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				ctx, cancel := context.WithTimeout(t.Context(), limit)
				began := time.Now()
				_, err := s.lookup(ctx, fmt.Sprintf("%s %d", s.Name, i))
				took := time.Since(began)
				cancel()
				lookups.Add(1)
				if err != nil {
					failed.Add(1)
				}
				if took > limit+time.Second {
					t.Errorf("%s: a lookup took %v", s.Name, took)
				}
			}
		})
	}
	members[1].stop()
	members[4].stop()
	joined := []member{startOurs(t, t.Name()+"/ours"), startLegacy(t, t.Name()+"/legacy")}
	joined[0].insist(t, rest[0])
	joined[1].insist(t, rest[0])
	all := slices.Concat(rest, joined)
	eventually(t, func() error { return wrong(all) })
	cancel()
	wg.Wait()
	rounds := int64(time.Since(began)/interval) + 1
	askedNow, servedNow := requests(all)
	n := int64(askedNow - asked + servedNow - served)
	t.Logf("%d lookups, %d of them failed; ours asked %d and served %d", lookups.Load(), failed.Load(), askedNow-asked, servedNow-served)
	if bound := most*lookups.Load() + perRound*rounds*int64(len(all)); n > bound {
		t.Errorf("%d lookups in %d rounds made %d requests, want at most %d", lookups.Load(), rounds, n, bound)
	}
	settle(t, all)
}

// Legacy members whose successors are wrong send lookups back to ours for ever.
func TestLookupThatGoesInALoopEnds(t *testing.T) {
	t.Parallel()
	const (
		limit = time.Second
		most  = 128 // requests of one lookup
	)
	for _, pattern := range []string{"+-------", "+----+--", "+-+-+-+-"} {
		t.Run(pattern, func(t *testing.T) {
			t.Parallel()
			in := names(t, 8)
			ring := make([]member, len(in))
			var ours []member
			for i := range in {
				if pattern[i] == '+' {
					ring[i] = startOurs(t, in[i])
					ours = append(ours, ring[i])
				}
			}
			var loops []*scripted
			caller := newCaller(t)
			for i := range in {
				if pattern[i] == '-' {
					p := startScripted(t, in[i], "")
					to := ours[(slices.IndexFunc(ours, func(s member) bool { return s.Id > p.Id })+1+len(ours))%len(ours)]
					p.finds(func(ctx context.Context, id uint64) (concord.Server, error) {
						return caller.findSuccessor(ctx, to.Address, id)
					})
					ring[i] = p.member
					loops = append(loops, p)
				}
			}
			for _, p := range loops {
				i := slices.Index(in, p.Name)
				p.shows(ring[(i+7)%8].Server, ring[(i+1)%8].Server, ring[(i+2)%8].Server, ring[(i+3)%8].Server)
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			ours[0].create(t)
			for _, s := range ours[1:] {
				s.join(t, ours[0])
			}
			for i := range in {
				if next := ring[(i+1)%8]; pattern[i] == '-' && next.ours != nil {
					if err := caller.notify(ctx, next.Address, ring[i].Server); err != nil {
						t.Fatal(err)
					}
				}
			}
			eventually(t, func() error { return wrong(ring) })
			count := func() (n int64) {
				for _, p := range loops {
					n += p.asked.Load()
				}
				return n
			}
			lost := 0
			for key := 0; lost < 3 && key < 200; key++ {
				key := fmt.Sprint("key ", key)
				asked, before := ours[0].ours.Status().Counters, count()
				began := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), limit)
				_, err := ours[0].lookup(ctx, key)
				cancel()
				if took := time.Since(began); took > limit+time.Second {
					t.Errorf("%q: took %v", key, took)
				}
				if n := count() - before; n > most {
					t.Errorf("%q: %d requests came to those who send them back, want at most %d; ours asked %d, %v", key, n, most,
						ours[0].ours.Status().Counters.RouteRequests-asked.RouteRequests, err)
				} else if n > 0 {
					lost++
				}
			}
			// Where every other member is ours, lookups find their way by the arcs that ours claim.
			if lost == 0 && pattern != "+-+-+-+-" {
				t.Error("no lookup went in a loop")
			}
		})
	}
}
