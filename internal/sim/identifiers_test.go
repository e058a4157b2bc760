package sim

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
)

// Rings of processes at one, four and sixteen identifiers heal from every fault.
func TestProcessesAtSeveralIdentifiers(t *testing.T) {
	for _, start := range []string{"ideal", "joiners", "two-rings", "random"} {
		cfg := Config{Members: 42, Identifiers: []int{1, 4, 16}, Start: start, Duration: 20 * time.Second, Faults: All, Maps: start == "ideal"}
		for seed := range seedsOf(2, 3) {
			r, err := Run(cfg, seed)
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Violations) > 0 {
				t.Errorf("%s, seed %d: %v", start, seed, r.Violations[0])
			}
		}
	}
}

// A process counts once towards the members that there have to be, at however many identifiers.
func TestProcessesAreCountedOnce(t *testing.T) {
	cfg := Config{Members: 16, Identifiers: []int{1, 4}, MinMembers: 4, Duration: 20 * time.Second, Faults: All}
	for seed := range uint64(3) {
		r, err := Run(cfg, seed)
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Violations) > 0 {
			t.Errorf("seed %d: %v", seed, r.Violations[0])
		}
	}
}

// Of the few processes all end in the seeds 0 and 7, and who founds a ring anew begins at small
// epochs. In the others a process ends before any other has heard by which epochs it claims.
func TestWhoHasHeardOfNoClaimMayClaimByALesserEpoch(t *testing.T) {
	cfg := Config{
		Members: 42, Identifiers: []int{1, 4, 16}, Clients: 8, Duration: 20 * time.Second, Maps: true,
		Faults: Joins | Leaves | Crash | Vanish,
	}
	for _, seed := range []uint64{0, 7, 236, 242} {
		r, err := Run(cfg, seed)
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Violations) > 0 {
			t.Errorf("seed %d: %v", seed, r.Violations[0])
		}
	}
}

// A claim is forgotten when all have ended that have it on their maps, and not before.
func TestClaimIsForgottenWithTheLastThatHasHeardOfIt(t *testing.T) {
	cfg, err := Config{Members: 42, Identifiers: []int{1, 4, 16}, Maps: true, Faults: Crash}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	for _, all := range []bool{false, true} {
		w := newWorld(cfg, 1)
		w.settle()
		w.run(5*time.Second, nil)
		h := w.hosts[0]
		v := *h.view
		if !v.HasArc {
			t.Fatal("it owns nothing")
		}
		v.Epoch = h.m.State().Clock + 100
		w.epochs.Claim(&v, w.isMember)
		if !all { // another hears of it
			g := w.hosts[len(w.hosts)-1]
			w.step(g, protocol.Claimed{Epoch: v.Epoch})
		}
		for _, g := range slices.Clone(h.chart.hosts) {
			w.stop(g, true)
		}
		heir := *w.owner(v.Arc.To).view
		heir.Arc.After, heir.HasArc, heir.Epoch = v.Arc.After, true, v.Epoch-50
		if broken := w.epochs.Claim(&heir, w.isMember); (broken == "") != all {
			t.Errorf("all that had heard of it have ended: %t, and %q", all, broken)
		}
	}
}

// A fault of one identifier is a fault of its process.
func TestProcessesFailWhole(t *testing.T) {
	cfg, err := Config{Members: 42, Identifiers: []int{1, 4, 16}}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(cfg, 1)
	w.settle()
	processes := map[string]int{}
	for _, h := range w.hosts {
		processes[h.of]++
	}
	sizes := []int{}
	for _, n := range processes {
		sizes = append(sizes, n)
	}
	if slices.Sort(sizes); !slices.Equal(sizes, []int{1, 1, 4, 4, 16, 16}) {
		t.Errorf("processes of %v identifiers", sizes)
	}
	for shape := range uint64(3) {
		f := &fault{}
		f.fault, f.pick, f.shape = Crash, 1<<61, shape
		hit := map[string]int{}
		for _, i := range w.some(f) {
			hit[w.hosts[i].of]++
		}
		for of, n := range hit {
			if n != processes[of] {
				t.Errorf("%d of the %d identifiers of %s fail", n, processes[of], of)
			}
		}
	}
	for shape := range uint64(4) {
		f := &fault{one: w.hosts[1].first().index}
		f.pick, f.shape, f.level = 1<<61, shape, 0.9
		for _, h := range w.hosts {
			if first := h.first(); f.apart(h) != f.apart(first) || f.concerns(h) != f.concerns(first) {
				t.Errorf("shape %d: %s and %s, of one process, are cut apart", shape, h.name, first.name)
			}
		}
	}
	links := &fault{}
	links.fault, links.pick, links.level = Links, 1<<61, 1
	w.net.now = []*fault{links}
	for _, h := range w.hosts {
		for _, g := range h.chart.hosts {
			if _, arrives := w.transit(h, g); !arrives {
				t.Errorf("%s and %s, of one process, cannot reach each other", h.name, g.name)
			}
		}
	}
	for _, h := range w.hosts {
		if n, all := len(h.view.Succ), len(w.following(w.ring, w.at(h.id))); n != all {
			t.Errorf("%s begins with a list of %d, of %d", h.name, n, all)
		}
		following := w.following(w.ring, w.at(h.id))
		if got := protocol.Cut(h.view.Self, cfg.Successors, following); !slices.Equal(got, following) {
			t.Errorf("%s: %v is no list", h.name, following)
		}
	}
}

func TestIdentifiersAreChecked(t *testing.T) {
	for _, cfg := range []Config{{Identifiers: []int{0}}, {Identifiers: []int{4, 1025}}} {
		if _, err := Run(cfg, 1); err == nil || !strings.Contains(err.Error(), "identifiers") {
			t.Errorf("%v: %v", cfg.Identifiers, err)
		}
	}
}

// processes is a settled world of processes at one, four and sixteen identifiers, and the
// hosts of one at four.
func processes(t *testing.T) (*world, []*host) {
	t.Helper()
	cfg, err := Config{Members: 42, Identifiers: []int{1, 4, 16}, Maps: true}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(cfg, 1)
	w.settle()
	return w, w.hosts[1].chart.hosts
}

// in counts the hosts that are in the ring.
func in(hosts []*host) (n int) {
	for _, h := range hosts {
		if h.inRing() {
			n++
		}
	}
	return n
}

// A process starts, leaves and ends with its first identifier.
func TestProcessIsInTheRingByItsFirstIdentifier(t *testing.T) {
	w, hosts := processes(t)
	if len(hosts) != 4 || hosts[0] != hosts[3].first() {
		t.Fatalf("%d identifiers", len(hosts))
	}
	w.stop(hosts[0], false)
	w.run(w.now+time.Second, nil)
	for _, h := range hosts {
		if h.up {
			t.Errorf("%s runs on without the first", h.name)
		}
	}
	for _, h := range hosts[1:] {
		w.launch(h)
	}
	w.run(w.now+20*time.Second, nil)
	if n := in(hosts); n > 0 || w.comes() {
		t.Errorf("%d have joined without the first; more come: %t", n, w.comes())
	}
	w.launch(hosts[0])
	if !w.comes() {
		t.Error("the process has not joined with all identifiers, and no more come")
	}
	w.run(w.now+5*time.Second, nil)
	if n := in(hosts); n != 4 || w.comes() {
		t.Errorf("%d of 4 have joined after the first; more come: %t", n, w.comes())
	}
	w.leave(hosts[0])
	for end := w.now + 20*time.Second; in(hosts) > 0 && w.now < end; {
		if w.run(w.now+10*time.Millisecond, nil); !hosts[0].inRing() && in(hosts) > 0 {
			t.Fatalf("the first has left, and %d others are in the ring", in(hosts))
		}
	}
	if n := in(hosts); n > 0 {
		t.Errorf("%d have not left", n)
	}
}

// A process that leaves to return says so at each of its identifiers, stands in for nobody
// meanwhile, and comes back with all of them.
func TestProcessLeavesToReturnWithAllIdentifiers(t *testing.T) {
	w, hosts := processes(t)
	w.cfg.Faults = Returns
	f := &fault{}
	f.fault, f.pick, f.last, f.active = Returns, hosts[2].id, 4*time.Second, true
	w.restart(f)
	if len(f.who) != len(hosts) || !w.leaves(hosts[0]) || hosts[0].leaving || !hosts[3].leaving {
		t.Fatalf("%d identifiers are to come back of %d; the first leaves before the others: %t", len(f.who), len(hosts), hosts[0].leaving)
	}
	w.run(w.now+2*time.Second, nil)
	if n := in(hosts); n > 0 {
		t.Fatalf("%d identifiers are still in the ring", n)
	}
	for _, h := range hosts {
		by := w.owner(h.id)
		if _, ok := by.standIns.At(h.id); !ok {
			t.Errorf("%s does not stand in for %s", by.name, h.name)
		}
	}
	w.restarted(f)
	w.run(w.now+5*time.Second, nil)
	if n := in(hosts); n != len(hosts) || w.comes() {
		t.Errorf("%d of %d identifiers are back", n, len(hosts))
	}
	for _, i := range w.ring {
		for _, h := range hosts {
			if _, ok := w.hosts[i].standIns.At(h.id); ok {
				t.Errorf("%s stands in for %s, which is back", w.hosts[i].name, h.name)
			}
		}
	}
	for _, v := range w.result.Violations {
		t.Error(v)
	}
}

// Processes at several identifiers leave to return, and others join and leave.
func TestProcessesLeaveToReturn(t *testing.T) {
	for _, faults := range []Faults{Returns, Returns | Joins | Leaves, All | Drains | Returns} {
		cfg := Config{Members: 42, Identifiers: []int{1, 4, 16}, Duration: 20 * time.Second, Faults: faults, Maps: faults == Returns}
		for seed := range seedsOf(2, 4) {
			r, err := Run(cfg, seed)
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Violations) > 0 {
				t.Errorf("%v, seed %d: %v", faults, seed, r.Violations[0])
			}
		}
	}
}

// A second process of a name that lives joins with no identifier. If it has joined while the
// other hung, that one ends with all identifiers.
func TestOneOfTwoProcessesOfANameHasAllIdentifiers(t *testing.T) {
	for _, hangs := range []time.Duration{400 * time.Millisecond, 30 * time.Second} {
		w, hosts := processes(t)
		f := &fault{}
		f.fault, f.last, f.pick, f.active = Twin, hangs, hosts[0].id, true
		w.twin(f)
		twin := w.hosts[len(w.hosts)-4:]
		w.run(w.now+hangs+30*time.Second, nil)
		if a, b := in(hosts), in(twin); a != 4 && b != 4 || a > 0 && b > 0 {
			t.Errorf("the first hung for %v: %d identifiers of it are in the ring, and %d of the other", hangs, a, b)
		} else if first := hangs < time.Second; first != (a == 4) {
			t.Errorf("the first hung for %v, and has %d identifiers", hangs, a)
		}
	}
}

// MinMembers counts names, and two processes of one name may live on two sides of a cut. So
// leases promise one owner only for as many as live.
func TestTwoProcessesOfANameAreTwo(t *testing.T) {
	w, hosts := processes(t)
	before := w.lives()
	hosts[3].chart = &chart{hosts: hosts[3:]}
	if n := w.lives(); before != 6 || n != 7 {
		t.Errorf("%d processes live, and %d if one has its name twice", before, n)
	}
}
