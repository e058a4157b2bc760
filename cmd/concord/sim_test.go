package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// simulate runs the command in this process.
func simulate(t *testing.T, args ...string) (out, errs string, err error) {
	t.Helper()
	var o, e bytes.Buffer
	root := newRoot()
	root.SetArgs(append([]string{"sim"}, args...))
	root.SetOut(&o)
	root.SetErr(&e)
	err = root.ExecuteContext(t.Context())
	return o.String(), e.String(), err
}

// lastLine is the JSON object that the output ends with.
func lastLine(t *testing.T, out string) map[string]any {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(out), "\n")
	var got map[string]any
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &got); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return got
}

func TestSimEndsWithJSON(t *testing.T) {
	out, _, err := simulate(t, "--members", "12", "--seeds", "3", "--duration", "10s", "--faults", "all", "--json")
	if err != nil {
		t.Fatal(err)
	}
	got := lastLine(t, out)
	if got["violations"] != 0.0 || got["seeds"] != 3.0 || got["rounds_max"].(float64) < got["rounds_median"].(float64) || got["seconds"].(float64) <= 0 {
		t.Errorf("%v", got)
	}
	if got["trace"] != nil {
		t.Error("three seeds have one trace")
	}
	var traces []any
	for range 2 {
		out, _, err := simulate(t, "--members", "12", "--seed", "7", "--duration", "10s", "--json")
		if err != nil {
			t.Fatal(err)
		}
		traces = append(traces, lastLine(t, out)["trace"])
	}
	if traces[0] == nil || traces[0] != traces[1] {
		t.Errorf("one seed has the traces %v", traces)
	}
}

// What is printed of a failing run is a command that fails in the same way.
func TestSimPrintsHowToRepeatAFailure(t *testing.T) {
	out, _, err := simulate(t, "--members", "24", "--start", "chain", "--bound", "1", "--seeds", "4", "--duration", "5s")
	if err == nil {
		t.Fatal("all heals in one round")
	}
	line := regexp.MustCompile(`(?m)^  concord sim (.*)$`).FindStringSubmatch(out)
	if line == nil {
		t.Fatalf("no command in\n%s", out)
	}
	args := strings.Fields(line[1])
	for i := range args {
		args[i] = strings.Trim(args[i], `"`)
	}
	again, _, err := simulate(t, args...)
	if err == nil || !strings.Contains(again, "VIOLATION of ideal") {
		t.Errorf("concord sim %s\n%s%v", line[1], again, err)
	}
}

func TestSimScenarios(t *testing.T) {
	dir := t.TempDir()
	for _, args := range [][]string{
		{"heal", "--sizes", "3,8", "--states", "random,star", "--seeds", "2"},
		{"merge", "--sizes", "8,16", "--seeds", "2", "--latency", "constant:1ms"},
		{"merge", "--sizes", "8", "--seeds", "2", "--cut", "20s"},
		{"churn", "--members", "16", "--duration", "30s", "--session", "1m"},
		{"--members", "8", "--duration", "5s", "--seeds", "2"},
	} {
		file := filepath.Join(dir, "plots", "plot.svg")
		out, told, err := simulate(t, append(args, "--json", "--svg", file)...)
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, told)
		}
		if got := lastLine(t, out); got["violations"] != 0.0 {
			t.Errorf("%v: %v", args, got)
		}
		for line := range strings.Lines(told) {
			if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > 80 {
				t.Errorf("%v: a line of %d columns: %s", args, n, line)
			}
		}
		plot, err := os.ReadFile(file)
		if err != nil || !bytes.HasPrefix(plot, []byte("<svg ")) {
			t.Errorf("%v: no plot: %v", args, err)
		}
		os.Remove(file)
	}
}

func TestSimHelpFitsAndNamesEveryFault(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"heal", "--help"}, {"merge", "--help"}, {"churn", "--help"}} {
		out, _, err := simulate(t, args...)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(out) {
			if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > 80 {
				t.Errorf("%v: a line of %d columns: %s", args, n, line)
			}
		}
	}
}

func TestSimMistakesAreNamed(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"--faults", "fire"}, `fault "fire"`},
		{[]string{"--latency", "often"}, `latency "often"`},
		{[]string{"--members", "-3"}, "members -3"},
		{[]string{"--start", "nowhere"}, `start "nowhere"`},
		{[]string{"--seeds", "0"}, "--seeds 0"},
		{[]string{"--members", "0"}, "--members 0"},
		{[]string{"--successors", "0"}, "--successors 0"},
		{[]string{"--bound", "0"}, "--bound 0"},
		{[]string{"--interval", "0"}, "--interval 0s"},
		{[]string{"--parallel", "0"}, "--parallel 0"},
		{[]string{"--lookups", "NaN"}, "lookups NaN"},
		{[]string{"churn", "--shape", "NaN"}, "shape NaN"},
		{[]string{"churn", "--polite", "7"}, "polite 7"},
		{[]string{"merge", "--sizes", "8,0"}, "--sizes 0"},
		{[]string{"heal", "--states", "random,nowhere"}, `--states "nowhere"`},
		{[]string{"--actions", "x"}, `--actions "x"`},
		{[]string{"heal", "--states", "nowhere"}, `--states "nowhere"`},
	} {
		_, _, err := simulate(t, tc.args...)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%v: %v, want %s", tc.args, err, tc.want)
		}
	}
}
