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
		for seed := range uint64(3) {
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
	for _, h := range w.hosts {
		following := w.following(w.ring, w.at(h.id))
		if got := protocol.Cut(h.view.Self, cfg.Successors, following); !slices.Equal(got, following) {
			t.Errorf("%s: %v is no list", h.name, following)
		}
	}
}

func TestIdentifiersAreChecked(t *testing.T) {
	for _, cfg := range []Config{{Identifiers: []int{0}}, {Identifiers: []int{4}, Hostile: 0.1}, {Identifiers: []int{4}, MinMembers: 2}} {
		if _, err := Run(cfg, 1); err == nil || !strings.Contains(err.Error(), "identifiers") {
			t.Errorf("%v: %v", cfg.Identifiers, err)
		}
	}
}
