//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/ollelogdahl/concord/internal/bench"
)

func TestBenchPrintsOneObjectALine(t *testing.T) {
	cmd := command(t, "bench", "--members", "4", "--interval", "100ms", "--quick", "--rounds", "1", "--callers", "1,2", "--only", "lookups,changes", "--json")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, errs.String())
	}
	if errs.Len() > 0 {
		t.Errorf("standard error is no terminal and got %q", errs.String())
	}
	type key struct {
		name    string
		callers float64
	}
	timed := map[key]bool{}
	for line := range strings.Lines(string(out)) {
		var o map[string]any
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		name, _ := o["name"].(string)
		callers, is := o["callers"].(float64)
		timed[key{name, callers}] = true
		if !is {
			continue
		}
		for _, field := range []string{"members", "p50_ns", "p99_ns", "per_s", "allocs_op", "cpu_ns_op", "batch", "rounds", "rpcs_op"} {
			if v, ok := o[field].(float64); !ok || v < 0 {
				t.Errorf("%s is %v in %s", field, o[field], line)
			}
		}
		want := 1000.0
		if name == "grpc-unary" || name == "lookup-fresh" {
			want = 1
		}
		if o["batch"] != want || o["members"] != 4.0 {
			t.Errorf("batch is %v and members %v in %s", o["batch"], o["members"], line)
		}
	}
	for _, name := range []string{"grpc-unary", "floor-hash-search", "lookup-owned", "lookup-confirmed", "lookup-fresh"} {
		for _, callers := range []float64{1, 2} {
			if !timed[key{name, callers}] {
				t.Errorf("%s is not timed with %v callers", name, callers)
			}
		}
	}
	for _, name := range []string{"machine", "build", "join", "heal"} {
		if !timed[key{name: name}] {
			t.Errorf("there is no %s", name)
		}
	}
}

func TestBenchTextFitsTheTerminal(t *testing.T) {
	load := 123.4
	for _, r := range []any{
		bench.Machine{Go: "go1.26.8", GRPC: "1.85.0", OS: "linux", Arch: "amd64", CPU: "AMD EPYC 7763 64-Core Processor", CPUs: 128, Load: &load},
		bench.Idle{Members: 512, Interval: 1500 * time.Millisecond, Watched: 30 * time.Second, Bytes: 123456, Calls: 123.45, CPU: 99.9e6,
			Heap: 1 << 30, Spans: 1 << 30, Stacks: 1 << 30, Goroutines: 12345.6, Connections: 1234.5},
		bench.BareIdle{Members: 512, Heap: 1 << 30, Spans: 1 << 30, Stacks: 1 << 30, Goroutines: 12345.6, Connections: 1234.5},
		bench.Timing{Name: "floor-hash-search", Members: 512, Callers: 1024, P50: 999.4e6, P99: 999.4e6, PerS: 123456789, Allocs: 1234.5, CPU: 999.4e6, RPCs: 12.34},
		bench.Span{Name: "build", Members: 512, Times: 100, P50: 99 * time.Second, Max: 99 * time.Second, Interval: 1500 * time.Millisecond},
		bench.Span{Name: "heal", Members: 512, Times: 100, P50: 99 * time.Second, Max: 99 * time.Second, Interval: 1500 * time.Millisecond},
		bench.Churned{Members: 512, Interval: 200 * time.Millisecond, Every: 500 * time.Millisecond, Time: time.Hour, Joins: 7200, JoinsFailed: 7200,
			Lookups: 1e8, Failed: 1e8, Wrong: 1e8, WrongShare: 1, LateP50: 999 * time.Millisecond, LateMax: 999 * time.Millisecond, Strangers: 1e8,
			Memory: 1, P50: 999 * time.Millisecond, Max: 999 * time.Millisecond, Ideal: 999 * time.Millisecond,
			FirstError: strings.Repeat("asked member-29 at 127.0.0.1:36295: no answer; ", 9) + strings.Repeat("x", 200)},
	} {
		var out bytes.Buffer
		if err := (&benchText{out: &out}).show(r); err != nil {
			t.Fatal(err)
		}
		if out.Len() == 0 {
			t.Errorf("nothing is said of %+v", r)
		}
		for line := range strings.Lines(out.String()) {
			if utf8.RuneCountInString(strings.TrimRight(line, "\n")) > 80 {
				t.Errorf("wider than 80 columns: %q", line)
			}
		}
	}
	if err := (&benchText{out: new(bytes.Buffer)}).show(7); err == nil {
		t.Error("a result that it does not know is no error")
	}
}

func TestTextIsWrappedBetweenWords(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", ""},
		{"one two three", "  one two\n  three\n"},
		{"sixteen or so characters long", "  sixteen\n  or so\n"},
		{"éééééééé é", "  éééééééé\n  é\n"},
		{"0123456789abc d", "  0123456…\n  d\n"},
	} {
		if got := wrapped(c.text, "  ", 10, 2); got != c.want {
			t.Errorf("%q becomes %q, not %q", c.text, got, c.want)
		}
	}
}

func TestBenchPlans(t *testing.T) {
	plan := func(f benchFlags, set ...string) bench.Plan {
		p, err := f.plan(func(flag string) bool {
			return slices.Contains(set, flag)
		})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	base := benchFlags{members: 64, callers: []int{1, 16, 64}, rounds: 7, interval: time.Second, churnTime: time.Minute}
	if p := plan(base); len(p.Parts) != 6 || len(p.Callers) != 3 || p.Churn.Members != 32 || p.Churn.Interval != 200*time.Millisecond {
		t.Errorf("by default: %+v", p)
	}
	quick := base
	quick.quick = true
	p := plan(quick)
	if len(p.Parts) != 4 || len(p.Callers) != 2 || p.Rounds != 3 {
		t.Errorf("quick: %+v", p)
	}
	windows := p.Rounds * (1 + 5*len(p.Callers))
	if total := p.Settle + p.Watch*5/2 + time.Duration(windows)*p.Window*5/4 + p.ChangeTime; total > 42*time.Second {
		t.Errorf("quick takes %v, besides building the ring", total)
	}
	if p := plan(quick, "callers", "rounds"); len(p.Callers) != 3 || p.Rounds != 7 {
		t.Errorf("quick, with flags: %+v", p)
	}
	base.only, base.members = []string{"churn"}, 5
	if p := plan(base, "members", "interval"); len(p.Parts) != 1 || p.Churn.Members != 5 || p.Churn.Interval != time.Second {
		t.Errorf("only churn: %+v", p)
	}
}
