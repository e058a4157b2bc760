package mutant

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var (
	all    = flag.Bool("all", false, "plant equivalent mutants, too, and try all seeds")
	update = flag.Bool("update", false, "the same, and write the table of docs/VERIFICATION.md anew")
)

// fewSeeds is how many seeds a search tries where nothing is planted, without -all, besides
// those that find something where something is.
const fewSeeds = 5

// searched is what a hunt is made of. The go command keeps the result of a test
// until a file changes that the test itself has read.
var searched = []string{"ring", "peer", "protocol", "voting", "routing", "ringmap", "invariant", "explore", "standing", "sim", "sim/mapsim", "mutant/hunt"}

func TestEveryMistakeIsFound(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, pkg := range searched {
		files, err := filepath.Glob(filepath.Join(root, "internal", pkg, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no files of %s: %v", pkg, err)
		}
		for _, f := range files {
			if _, err := os.ReadFile(f); err != nil {
				t.Fatal(err)
			}
		}
	}

	docs := filepath.Join(root, "docs", "VERIFICATION.md")
	found := seedsTold(t, docs)
	control := controls(t, root, found)
	rows, chosen := choose()
	plant(t, root, chosen, rows, control, found)
	if t.Failed() {
		return
	}
	told(t, docs, rows)
}

// seedsTold returns the seed that finds each mutant, by what the mutant does, of those that the
// table says is found by the simulator. With -all it returns none, and all seeds are tried.
func seedsTold(t *testing.T, path string) map[string]uint64 {
	t.Helper()
	seeds := map[string]uint64{}
	if thorough() {
		return seeds
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(b), "\n")
	for _, mistake := range Mistakes {
		for _, m := range mistake.Mutants {
			for _, line := range lines {
				row, ok := strings.CutPrefix(line, "| "+m.Does+" |")
				if !ok || m.Sim == "" {
					continue
				}
				_, simulated, ok := strings.Cut(row, "| "+m.Sim+": ")
				_, number, ok2 := strings.Cut(strings.TrimSuffix(simulated, " |"), ", ")
				seed, err := strconv.ParseUint(number, 10, 64)
				if ok && ok2 && err == nil {
					seeds[m.Does] = seed
				}
			}
		}
	}
	return seeds
}

// thorough reports whether all seeds are to be tried.
func thorough() bool { return *all || *update }

// controls makes every search where nothing is planted: some seeds of each, and those that the
// table says find a mutant, unless all are to be tried.
func controls(t *testing.T, root string, finding map[string]uint64) map[string]Finding {
	t.Helper()
	seeds := map[string][]uint64{}
	for _, s := range Searches {
		seeds[s.Name] = s.All()
		if !thorough() {
			seeds[s.Name] = seeds[s.Name][:min(fewSeeds, s.Seeds)]
		}
	}
	for _, mistake := range Mistakes {
		for _, m := range mistake.Mutants {
			if seed, ok := finding[m.Does]; ok && !slices.Contains(seeds[m.Sim], seed) {
				seeds[m.Sim] = append(seeds[m.Sim], seed)
			}
		}
	}
	bin, found := build(t, root, ""), make([]Finding, len(Searches))
	t.Run("control", func(t *testing.T) {
		for i, s := range Searches {
			t.Run(s.Name, func(t *testing.T) {
				t.Parallel()
				found[i] = hunt(t, bin, 0, seeds[s.Name], s.Name)[0]
				if f := found[i]; f.Found {
					t.Errorf("finds something where nothing is planted: %s: %s", f.Rule, f.How)
				}
			})
		}
	})
	control := map[string]Finding{}
	for _, f := range found {
		control[f.Search] = f
	}
	if len(control) != len(Searches) {
		t.Fatalf("%d searches were made, there are %d", len(control), len(Searches))
	}
	return control
}

// planted reports whether a mutant is planted.
func planted(m Mutant) bool { return m.Same == "" || thorough() }

// choose returns the mutants that are planted, with their places in the table, in which
// those that are not planted have no text.
func choose() (rows [][]string, chosen []Mutant) {
	rows = make([][]string, len(Mistakes))
	for i, mistake := range Mistakes {
		rows[i] = make([]string, len(mistake.Mutants))
		for _, m := range mistake.Mutants {
			if planted(m) {
				chosen = append(chosen, m)
			}
		}
	}
	return rows, chosen
}

// plant has each of the chosen mutants found, and writes the rows. The simulator tries the seed
// that finds a mutant by the table, and all others only if it does not.
func plant(t *testing.T, root string, chosen []Mutant, rows [][]string, control map[string]Finding, finding map[string]uint64) {
	t.Helper()
	together, numbers, err := Together(root, t.TempDir(), chosen)
	if err != nil {
		t.Fatal(err)
	}
	bin, tests := build(t, root, together), buildTests(t, root, together, chosen)
	t.Run("mutants", func(t *testing.T) {
		for i, mistake := range Mistakes {
			for k, m := range mistake.Mutants {
				if !planted(m) {
					continue
				}
				t.Run(m.Name, func(t *testing.T) {
					t.Parallel()
					bin, number := bin, numbers[m.Name]
					if number == 0 {
						alone, err := Overlay(root, t.TempDir(), m)
						if err != nil {
							t.Fatal(err)
						}
						bin = build(t, root, alone)
					}
					rows[i][k] = row(t, m, control, func(searches ...string) []Finding {
						if seed, ok := finding[m.Does]; ok && slices.Equal(searches, []string{m.Sim}) {
							if found := hunt(t, bin, number, []uint64{seed}, searches...); found[0].Found {
								return found
							}
						}
						return hunt(t, bin, number, nil, searches...)
					})
					if pkg, name, ok := strings.Cut(m.Test, "."); ok {
						fails(t, tests[pkg], number, name)
					}
				})
			}
		}
	})
}

// row has m found, and returns what the table says of it.
func row(t *testing.T, m Mutant, control map[string]Finding, hunt func(...string) []Finding) string {
	t.Helper()
	if m.Same != "" {
		same(t, control, hunt())
		return fmt.Sprintf("| %s | equivalent: %s | |", m.Does, m.Same)
	}
	check, sim := "–", "–"
	for _, name := range []string{m.Check, m.Sim} {
		if name == "" {
			continue
		}
		f := hunt(name)[0]
		switch {
		case !f.Found:
			t.Errorf("%s does not find it any more: %d states, seeds to %d", name, f.States, f.Seed)
		case name == m.Check:
			check = fmt.Sprintf("%s: %s, %d", name, f.Rule, f.States)
		default:
			sim = fmt.Sprintf("%s: %s, %d", name, f.Rule, f.Seed)
		}
		t.Logf("%s: %s: %s; %d states, seed %d, %.2f s", name, f.Rule, f.How, f.States, f.Seed, f.Seconds)
	}
	if pkg, name, ok := strings.Cut(m.Test, "."); ok {
		sim = fmt.Sprintf("`%s` (`internal/%s`)", name, pkg)
	}
	return fmt.Sprintf("| %s | %s | %s |", m.Does, check, sim)
}

// fails has a test fail with the mutant of that number, and pass without.
func fails(t *testing.T, bin string, number int, test string) {
	t.Helper()
	if number == 0 {
		t.Fatal("a mutant for a test may change bodies of functions only")
	}
	for _, planted := range []int{0, number} {
		cmd := exec.CommandContext(t.Context(), bin, "-test.run=^"+test+"$", "-test.v", "-test.timeout=1m")
		cmd.Dir = t.TempDir()
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", Planted, planted))
		out, _ := cmd.CombinedOutput() // the result is in what it says
		result := "--- PASS: "
		if planted != 0 {
			result = "--- FAIL: "
		}
		if !strings.Contains(string(out), result+test+" ") {
			t.Errorf("with mutant %d, want %q of %s:\n%s", planted, result, test, out)
		}
	}
}

// buildTests builds the tests of each package that has one for a mutant, with what the overlay
// plants.
func buildTests(t *testing.T, root, overlay string, mutants []Mutant) map[string]string {
	t.Helper()
	bins := map[string]string{}
	for _, m := range mutants {
		pkg, _, ok := strings.Cut(m.Test, ".")
		if !ok || bins[pkg] != "" {
			continue
		}
		bins[pkg] = filepath.Join(t.TempDir(), "tests")
		cmd := exec.CommandContext(t.Context(), "go", "test", "-c", "-ldflags=-s -w", gcflags, "-o", bins[pkg], "-overlay", overlay, "./internal/"+pkg)
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	return bins
}

// gcflags spare a third of the compiler's time, which is most of all.
const gcflags = "-gcflags=github.com/ollelogdahl/concord/internal/...=-l"

// build builds package hunt with what the overlay plants; without one, of what other commands
// have compiled.
func build(t *testing.T, root, overlay string) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "hunt")
	args := []string{"build", "-ldflags=-s -w", "-o", bin}
	if overlay != "" {
		args = append(args, gcflags, "-overlay", overlay)
	}
	cmd := exec.CommandContext(t.Context(), "go", append(args, "./internal/mutant/hunt")...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return bin
}

// hunt lets a program with the mutant of that number make searches, all if none are named, with
// seeds, all if there are none.
func hunt(t *testing.T, bin string, number int, seeds []uint64, searches ...string) []Finding {
	t.Helper()
	tried := "all"
	if len(seeds) > 0 {
		tried = strings.Trim(strings.Join(strings.Fields(fmt.Sprint(seeds)), ","), "[]")
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), bin, append([]string{tried}, searches...)...)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", Planted, number))
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	var found []Finding
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var f Finding
		err := dec.Decode(&f)
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, f)
	}
}

// same fails if any search differs from the one of what ships.
func same(t *testing.T, control map[string]Finding, found []Finding) {
	t.Helper()
	if len(found) != len(control) {
		t.Errorf("%d searches, %d of what ships", len(found), len(control))
	}
	for _, f := range found {
		want := control[f.Search]
		want.Seconds = f.Seconds
		if f != want {
			t.Errorf("it is not equivalent: %+v, and without it %+v", f, want)
		}
	}
}

// table is what the docs say. Of mutants that were not planted it has no row.
func table(rows [][]string) string {
	var b strings.Builder
	b.WriteString("| mutant | model checker: rule, states | simulator: rule, seed; or a test |\n|---|---|---|\n")
	for i, mistake := range Mistakes {
		fmt.Fprintf(&b, "| **%s** | | |\n", mistake.Says)
		for _, row := range rows[i] {
			if row != "" {
				b.WriteString(row + "\n")
			}
		}
	}
	b.WriteString("\n| search | what is run | seeds |\n|---|---|---|\n")
	for _, s := range Searches {
		seeds := ""
		if s.Seeds > 0 {
			seeds = fmt.Sprintf("%d to %d", s.First, s.First+uint64(s.Seeds)-1)
		}
		fmt.Fprintf(&b, "| *%s* | %s | %s |\n", s.Name, s.Says, seeds)
	}
	return b.String()
}

// told compares the table, as far as it was made, with the one in the docs, or
// writes it there.
func told(t *testing.T, path string, rows [][]string) {
	t.Helper()
	const begin, end = "<!-- make mutants writes what follows -->\n", "<!-- until here -->\n"
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok1 := strings.Cut(string(b), begin)
	now, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no place for the table", path)
	}
	if *update {
		if err := os.WriteFile(path, []byte(before+begin+table(rows)+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	for line := range strings.Lines(table(rows)) {
		if !strings.Contains(now, line) {
			t.Errorf("%s does not say this (make mutants writes it anew):\n%s", path, line)
		}
	}
	if *all && now != table(rows) {
		t.Errorf("the table of %s is another (make mutants writes it anew)", path)
	}
}

func TestEveryReplacementHasItsPlace(t *testing.T) {
	for _, mistake := range Mistakes {
		for _, m := range mistake.Mutants {
			if _, err := Overlay("../..", t.TempDir(), m); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestMovedAnchorIsNamed(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "a.go"), []byte("one\ntwo\ntwo\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for old, want := range map[string]string{"two\n": "occurs 2 times in a.go", "three\n": "occurs 0 times in a.go"} {
		_, err := Overlay(root, t.TempDir(), Mutant{Name: "m", Edits: []Edit{{"a.go", old, "x"}}})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), old) {
			t.Errorf("%q: %v", old, err)
		}
	}
	dir := t.TempDir()
	overlay, err := Overlay(root, dir, Mutant{Edits: []Edit{{"a.go", "one\n", "1\n"}, {"a.go", "1\n", "uno\n"}}})
	if err != nil {
		t.Fatal(err)
	}
	var o struct{ Replace map[string]string }
	b, err := os.ReadFile(overlay)
	if err == nil {
		err = json.Unmarshal(b, &o)
	}
	if err != nil {
		t.Fatal(err)
	}
	patched, err := os.ReadFile(o.Replace[filepath.Join(root, "a.go")])
	if err != nil || string(patched) != "uno\ntwo\ntwo\n" {
		t.Errorf("%q, %v", patched, err)
	}
}

func TestMistakesAreWellFormed(t *testing.T) {
	kinds := map[string]bool{} // whether a search is the simulator's
	for _, s := range Searches {
		if _, twice := kinds[s.Name]; twice || s.Says == "" {
			t.Errorf("search %q: twice, or says nothing", s.Name)
		}
		kinds[s.Name] = s.Sim != nil || s.Maps != nil
	}
	names := map[string]bool{}
	for _, mistake := range Mistakes {
		both := 0
		for _, m := range mistake.Mutants {
			if names[m.Name] {
				t.Errorf("two mutants are called %s", m.Name)
			}
			names[m.Name] = true
			sim, ok := kinds[m.Sim]
			if m.Sim != "" && !(ok && sim) {
				t.Errorf("%s: no search of the simulator is called %q", m.Name, m.Sim)
			}
			sim, ok = kinds[m.Check]
			if m.Check != "" && (!ok || sim) {
				t.Errorf("%s: no search of the model checker is called %q", m.Name, m.Check)
			}
			if pkg, name, ok := strings.Cut(m.Test, "."); m.Test != "" && (!ok || pkg == "" || !strings.HasPrefix(name, "Test")) {
				t.Errorf("%s: %q is no package and test", m.Name, m.Test)
			}
			if (m.Same != "") == (m.Check != "" || m.Sim != "" || m.Test != "") || m.Does == "" {
				t.Errorf("%s: does nothing, or neither the same nor found, or both", m.Name)
			}
			if m.Check != "" && m.Sim != "" {
				both++
			}
		}
		if both == 0 && mistake.Unchecked == "" && mistake.Unsimulated == "" {
			t.Errorf("%s: no mutant is found by both", mistake.Says)
		}
	}
}
