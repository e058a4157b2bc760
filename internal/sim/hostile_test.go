package sim

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/invariant"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// With names and addresses bound to who sends, members that lie cost no honest member its
// place, and no honest member another.
func TestHonestMembersStandAmongHostileOnes(t *testing.T) {
	for _, k := range LieKinds {
		t.Run(k.Name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(3) {
				cfg := Config{Members: 20, Duration: 10 * time.Second, Hostile: 0.1, Identity: true, Lies: k.Set, Maps: k.Set&aboutMaps != 0}
				r := run(t, cfg, seed)
				if len(r.Violations) > 0 {
					t.Errorf("seed %d: %v", seed, r.Violations[0])
				}
				if r.Siege == nil || r.Siege.Plain.Count == 0 || r.Siege.Fresh.Count == 0 {
					t.Errorf("seed %d: no lookups in the siege", seed)
				}
				// What they do is felt: the run is not that in which they do nothing.
				cfg.Actions = []int{}
				if calm := run(t, cfg, seed); calm.Trace == r.Trace {
					t.Errorf("seed %d: the hostile members have changed nothing", seed)
				}
			}
		})
	}
}

// What hostile members say of maps, and what they are asked for besides, harms nothing else, and
// the maps are those of the ring when they have gone. Meanwhile maps name wrong owners.
func TestMapsAreTheRingWhenHostileMembersHaveGone(t *testing.T) {
	for _, lies := range []Lies{FalseClaims, AllLies} {
		wrong := 0
		for seed := range uint64(4) {
			r := run(t, Config{Members: 20, Duration: 10 * time.Second, Hostile: 0.1, Identity: true, Lookups: 20, Lies: lies, Maps: true}, seed)
			if len(r.Violations) > 0 {
				t.Errorf("%v, seed %d: %v", lies, seed, r.Violations[0])
			}
			if r.Maps.Right == 0 {
				t.Errorf("%v, seed %d: no map has named an owner", lies, seed)
			}
			wrong += r.Maps.Wrong
		}
		if wrong == 0 {
			t.Errorf("%v: no map was misled", lies)
		}
	}
}

// With other faults besides, and without identities, the ring heals once hostile
// members are gone.
func TestRingsHealFromHostileMembers(t *testing.T) {
	for name, cfg := range map[string]Config{
		"identities":           {Identity: true, Faults: All, Lies: Ghosts | Forgeries | Replays | Floods | Placements},
		"no identities":        {},
		"no identities, fault": {Faults: All},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg.Members, cfg.Duration, cfg.Hostile = 16, 10*time.Second, 0.1
			for seed := range uint64(3) {
				r := run(t, cfg, seed)
				if len(r.Violations) > 0 {
					t.Errorf("seed %d: %v", seed, r.Violations[0])
				}
				if cfg.Identity == (r.Siege.Refused == 0) {
					t.Errorf("seed %d: %d messages were refused", seed, r.Siege.Refused)
				}
			}
		})
	}
}

// Processes that lie at all of their identifiers cost no honest member its place either, whatever
// they say, and no verified lookup.
func TestHostileProcessesAtSeveralIdentifiers(t *testing.T) {
	for name, cfg := range map[string]Config{
		"all":       {Maps: true},
		"many":      {Hostile: 0.4},
		"owners":    {Lies: WrongOwners},
		"siblings":  {Lies: Forgeries},
		"of others": {Lies: FalseClaims, Maps: true, Faults: Crash | Joins},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg.Members, cfg.Identifiers, cfg.Duration, cfg.Identity = 42, []int{1, 4, 16}, 5*time.Second, true
			if cfg.Hostile == 0 {
				cfg.Hostile = 0.1
			}
			for seed := range uint64(2) {
				r := run(t, cfg, seed)
				if len(r.Violations) > 0 {
					t.Errorf("seed %d: %v", seed, r.Violations[0])
				}
				if r.Siege == nil || r.Siege.Verified.Count == 0 {
					t.Errorf("seed %d: no lookups in the siege", seed)
				}
			}
		})
	}
}

// A process is hostile at all of its identifiers, also at those that it joins with later, and may
// say at each that it is any of them.
func TestProcessIsHostileAtAllIdentifiers(t *testing.T) {
	cfg, err := Config{Members: 41, Identifiers: []int{1, 4, 16}, Hostile: 0.5, Identity: true}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(8) {
		w := newWorld(cfg, seed)
		w.settle()
		w.recruit()
		w.newcomer() // the last of the process that is begun last
		processes := map[string]bool{}
		for _, h := range w.hosts {
			if hostile := h.hostile != nil; hostile != (h.first().hostile != nil) || hostile != slices.Contains(w.liars, h.index) {
				t.Errorf("seed %d: %s of %s is hostile: %t, and the first: %t", seed, h.name, h.of, hostile, h.first().hostile != nil)
			}
			processes[h.of] = processes[h.of] || h.hostile != nil
		}
		hostile := 0
		for _, is := range processes {
			if is {
				hostile++
			}
		}
		if len(processes) != 6 || hostile != 3 {
			t.Errorf("seed %d: %d of %d processes are hostile", seed, hostile, len(processes))
		}
		h := w.hosts[w.liars[0]]
		for _, g := range w.hosts[:cfg.Members] {
			x := w.self(g)
			if got, want := w.proves(h, x), g.of == h.of; got != want {
				t.Errorf("seed %d: %s of %s may say that it is %s of %s: %t", seed, h.name, h.of, g.name, g.of, got)
			}
			if x.Addr = h.addr; g != h && w.proves(h, x) {
				t.Errorf("seed %d: %s may say that %s is at its address", seed, h.name, g.name)
			}
		}
	}
}

func TestOneHostileMemberAndOneHonest(t *testing.T) {
	for n, want := range map[int]int{1: 0, 2: 1, 3: 1, 19: 1, 20: 2} {
		cfg, err := Config{Members: n, Hostile: 0.1}.withDefaults()
		if err != nil {
			t.Fatal(err)
		}
		w := newWorld(cfg, 1)
		w.settle()
		w.recruit()
		if got := len(w.liars); got != want {
			t.Errorf("of %d members %d are hostile, want %d", n, got, want)
		}
	}
}

// What the transport refuses is a sender or an answerer that is another than it says.
func TestIdentitiesBindNamesAndAddresses(t *testing.T) {
	for _, identity := range []bool{false, true} {
		cfg, err := Config{Members: 4, Hostile: 0.25, Identity: identity}.withDefaults()
		if err != nil {
			t.Fatal(err)
		}
		w := newWorld(cfg, 1)
		w.settle()
		w.recruit()
		h := w.hosts[w.liars[0]]
		honest := w.hosts[w.ring[w.at(h.id+1)%len(w.ring)]]
		later := h.self()
		later.Incarnation++
		elsewhere := h.self()
		elsewhere.Addr = honest.addr
		for _, tc := range []struct {
			what string
			from ring.Member
			want bool
		}{
			{"itself", h.self(), true},
			{"a later incarnation of itself", later, true},
			{"nobody", ring.Member{}, true},
			{"an honest member", honest.self(), !identity},
			{"itself at another's address", elsewhere, !identity},
			{"one that never was", w.ghost(h, 1), !identity},
		} {
			if got := w.proves(h, tc.from); got != tc.want {
				t.Errorf("identity %t: %s may send as %s: %t", identity, h.name, tc.what, got)
			}
			failure := w.checked(&call{to: h.index, meant: h.self(), reply: protocol.Reply{State: protocol.State{Self: tc.from}}}, nil)
			if (failure == nil) != tc.want {
				t.Errorf("identity %t: an answer of %s as %s: %v", identity, h.name, tc.what, failure)
			}
		}
	}
}

func TestSkippingAnHonestMemberIsSeen(t *testing.T) {
	cfg, err := Config{Members: 8, Hostile: 0.2, Identity: true}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(cfg, 1)
	w.settle()
	w.recruit()
	if skips := w.skips(); len(skips) > 0 {
		t.Fatal(skips)
	}
	// An honest member with two honest ones after it.
	i := slices.IndexFunc(w.ring, func(i int32) bool {
		at := w.at(w.hosts[i].id)
		return !slices.ContainsFunc([]int{0, 1, 2}, func(k int) bool { return w.hosts[w.ring[(at+k)%len(w.ring)]].hostile != nil })
	})
	h := w.hosts[w.ring[i]]
	v := *h.view
	v.Succ = v.Succ[1:]
	h.view = &v
	if skips := w.skips(); len(skips) != 1 || skips[0].By != h.view.Self {
		t.Errorf("%s has dropped its head, and nobody sees it", h.name)
	}
	out := *h.view
	out.Phase = protocol.Superseded
	old := h.view
	h.view = &out
	w.judgePlace(h, old)
	if v := w.result.Violations; len(v) != 1 || v[0].Rule != invariant.KeepsItsPlace.Name {
		t.Errorf("an honest member is superseded, and the violations are %v", v)
	}
}

func TestLiesAreReadByName(t *testing.T) {
	for _, k := range LieKinds {
		if got, err := ParseLies(k.Name); err != nil || got != k.Set || got.String() != k.Name {
			t.Errorf("%q is %v, %v", k.Name, got, err)
		}
	}
	if got, err := ParseLies("all"); err != nil || got != 0 || got.String() != "all" {
		t.Errorf("all is %v, %v", got, err)
	}
	if _, err := ParseLies("ghosts,truth"); err == nil || !strings.Contains(err.Error(), `"truth"`) {
		t.Errorf("truth is no lie: %v", err)
	}
}

// Two members that skip another one after the other do not take the time of one.
func TestEachSkipHasItsOwnTime(t *testing.T) {
	cfg, err := Config{Members: 8, Hostile: 0.2, Identity: true}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(cfg, 1)
	w.settle()
	w.recruit()
	var honest []*host
	for _, i := range w.ring {
		if h := w.hosts[i]; h.hostile == nil && w.hosts[w.ringAt(h.id, 1)].hostile == nil {
			honest = append(honest, h)
		}
	}
	lost := func(h *host, is bool) {
		v := *h.view
		if v.Succ = h.m.State().Succ; is {
			v.Succ = nil
		}
		h.view = &v
	}
	look := func(h *host) {
		for range int(w.recovery()/w.cfg.Interval) + 2 {
			w.now += w.cfg.Interval / 2
			lost(h, true)
			w.siege.look(w)
		}
		lost(h, false)
	}
	look(honest[0])
	look(honest[1])
	if len(w.result.Violations) > 0 {
		t.Fatalf("%v", w.result.Violations)
	}
	look(honest[1])
	look(honest[1])
	if len(w.result.Violations) == 0 {
		t.Errorf("%s has skipped another for %v, and nobody sees it", honest[1].name, 2*w.recovery())
	}
}
