package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/ollelogdahl/concord/internal/bench"
)

// What is between these lines of a page is made here.
const (
	markBegin = "<!-- Made by make bench from here on: changes are lost. -->"
	markEnd   = "<!-- Made by make bench up to here. -->"
)

// rewrite puts text between the marks of a page, and leaves the rest as it is.
func rewrite(file, text string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(b), markBegin+"\n")
	if !ok {
		return fmt.Errorf("%s: lacks the line %s", file, markBegin)
	}
	_, after, ok := strings.Cut(rest, markEnd)
	if !ok {
		return fmt.Errorf("%s: lacks the line %s", file, markEnd)
	}
	return os.WriteFile(file, []byte(before+markBegin+"\n\n"+text+"\n"+markEnd+after), 0o644)
}

// page is the generated part of PERFORMANCE.md.
func page(r results) string {
	w := &strings.Builder{}
	r.writeHead(w)
	r.writeAsked(w)
	r.writeLookups(w)
	r.writeLocal(w)
	r.writeRing(w)
	r.writeGroups(w)
	r.writeFailures(w)
	return w.String()
}

func (r results) writeHead(w *strings.Builder) {
	if r.Quick {
		fmt.Fprintf(w, "**These figures were measured in no time, to see that the measuring works. They mean nothing.**\n\n")
	}
	m := r.Machine
	fmt.Fprintf(w, "Measured on %s in %s by `make bench`: %d CPUs", r.When, r.TookTotal.Round(time.Minute), m.CPUs)
	if m.CPU != "" {
		fmt.Fprintf(w, " (%s)", m.CPU)
	}
	fmt.Fprintf(w, ", %s/%s, %s", m.OS, m.Arch, m.Go)
	for _, v := range r.Versions {
		fmt.Fprintf(w, ", %s %s", strings.TrimPrefix(v.Module, "github.com/"), v.Version)
	}
	if m.Load != nil {
		fmt.Fprintf(w, "; load %.1f when it began", *m.Load)
	}
	fmt.Fprint(w, ".\nEvery group of members ran in a process of its own, all its members in it, over loopback.\n\n")
}

// timing finds what was timed, nil if it was not.
func (r results) timing(name string, members, callers int) *bench.Timing {
	i := slices.IndexFunc(r.Lookups, func(t bench.Timing) bool { return t.Name == name && t.Members == members && t.Callers == callers })
	if i < 0 {
		return nil
	}
	return &r.Lookups[i]
}

func (r results) idle(members int) *bench.Idle {
	i := slices.IndexFunc(r.Idle, func(x bench.Idle) bool { return x.Members == members })
	if i < 0 {
		return nil
	}
	return &r.Idle[i]
}

// writeAsked holds what was measured against what was asked for, as far as it was
// measured.
func (r results) writeAsked(w *strings.Builder) {
	var rows [][]string
	row := func(what, asked, measured string, reached bool) {
		verdict := "yes"
		if !reached {
			verdict = "**no**"
		}
		rows = append(rows, []string{what, asked, measured, verdict})
	}
	const n = 64
	ratio := func(what, a string, callersA int, b string, callersB int, value func(*bench.Timing) float64, most float64) {
		x, y := r.timing(a, n, callersA), r.timing(b, n, callersB)
		if x == nil || y == nil || value(y) == 0 {
			return
		}
		q := value(x) / value(y)
		row(what, fmt.Sprintf("at most %.2f", most), fmt.Sprintf("%.2f", q), q <= most)
	}
	atLeast := func(what, a string, callersA int, b string, callersB int, value func(*bench.Timing) float64, least float64) {
		x, y := r.timing(a, n, callersA), r.timing(b, n, callersB)
		if x == nil || y == nil || value(y) == 0 {
			return
		}
		q := value(x) / value(y)
		row(what, fmt.Sprintf("at least %.2f", least), fmt.Sprintf("%.2f", q), q >= least)
	}
	p50 := func(t *bench.Timing) float64 { return t.P50 }
	perS := func(t *bench.Timing) float64 { return t.PerS }
	allocs := func(t *bench.Timing) float64 { return t.Allocs }
	for _, name := range []string{"lookup-owned", "lookup-confirmed"} {
		ratio(name+" / floor-hash-search, median", name, 1, "floor-hash-search", 1, p50, 1.3)
		if t := r.timing(name, n, 1); t != nil {
			row(name+", allocations", "0", fmt.Sprintf("%.1f", t.Allocs), t.Allocs == 0)
		}
		atLeast(name+", 16 callers / 1, throughput", name, 16, name, 1, perS, 1.7)
		ratio(name+" / serialx-hashring, median", name, 1, "serialx-hashring", 1, p50, 1)
		ratio(name+" / groupcache-sha256, median", name, 1, "groupcache-sha256", 1, p50, 1.15)
	}
	ratio("lookup-fresh / grpc-unary, median", "lookup-fresh", 1, "grpc-unary", 1, p50, 1.25)
	atLeast("lookup-fresh / grpc-unary, 16 callers, throughput", "lookup-fresh", 16, "grpc-unary", 16, perS, 0.8)
	ratio("lookup-fresh / grpc-unary, allocations", "lookup-fresh", 1, "grpc-unary", 1, allocs, 1.3)
	if t := r.timing("lookup-fresh", n, 1); t != nil {
		row("lookup-fresh, requests", "at most 1.1", fmt.Sprintf("%.2f", t.RPCs), t.RPCs <= 1.1)
	}
	for _, c := range r.Churned {
		if c.Name == "churn-plain" {
			continue // nothing was asked of that
		}
		row(fmt.Sprintf("wrong owner named, %d members, one joins and one dies each %v", c.Members, c.Every), "at most 0.5 %",
			fmt.Sprintf("%.3f %% of %d", 100*c.WrongShare, c.Lookups), c.WrongShare <= 0.005)
		row("the same, how long after the change", fmt.Sprintf("at most %v", 2*c.Interval),
			fmt.Sprintf("%s, %d never right", brief(c.LateMax), c.Strangers), c.LateMax <= 2*c.Interval && c.Strangers == 0)
	}
	if i := r.idle(n); i != nil {
		row("idle, 64 members, each", "at most 450 B/s", fmt.Sprintf("%.0f B/s", i.Bytes), i.Bytes <= 450)
		row("idle, 64 members, requests of each", "at most 2/s", fmt.Sprintf("%.2f/s", i.Calls), i.Calls <= 2)
		row("heap of an idle member, 64 members", "at most 600 KiB", fmt.Sprintf("%s (in spans of %s)", kibi(i.Heap), kibi(i.Spans)), i.Heap <= 600<<10)
		if j := r.idle(256); j != nil {
			q := j.Bytes / i.Bytes
			row("idle, bytes at 256 members / at 64", "0.7 to 1.3", fmt.Sprintf("%.2f", q), q >= 0.7 && q <= 1.3)
		}
	}
	if len(rows) == 0 {
		return
	}
	fmt.Fprint(w, "### What was asked for\n\nRing of 64, one caller unless said. Ratios are of one run.\n\n")
	table(w, []string{"what", "asked for", "measured", "reached"}, rows)
}

func (r results) writeLookups(w *strings.Builder) {
	var sizes []int
	for _, t := range r.Lookups {
		if !slices.Contains(sizes, t.Members) {
			sizes = append(sizes, t.Members)
		}
	}
	if len(sizes) == 0 {
		return
	}
	n := sizes[len(sizes)/2]
	if slices.Contains(sizes, 64) {
		n = 64
	}
	var rows [][]string
	for _, t := range r.Lookups {
		if t.Members == n {
			rows = append(rows, []string{t.Name, fmt.Sprint(t.Callers), ns(t.P50), ns(t.P99), fmt.Sprintf("%.0f", t.PerS),
				fmt.Sprintf("%.1f", t.Allocs), ns(t.CPU), fmt.Sprintf("%.2f", t.RPCs)})
		}
	}
	fmt.Fprintf(w, `### One lookup

%d members; one of them looks up random keys of 16 bytes, warm. %s is a call of a bare gRPC server with messages as large as a
lookup's, %s hashes the key, searches %d identifiers and looks at the clock. Medians of %d rounds, in turns; what takes less
than 2 µs in batches of 1,000, the quantiles being of the batches' means. Allocations and CPU are the whole process's, both ends of
every request, less what the ring's upkeep takes meanwhile. %s: what a ring answers from memory, of keys that are others' and of the
member's own; %s: on the owner's own word.

`, n, "`grpc-unary`", "`floor-hash-search`", n, r.Lookups[0].Rounds, "`lookup-confirmed`, `lookup-owned`", "`lookup-fresh`")
	table(w, []string{"name", "callers", "median", "99 %", "per second", "allocations", "CPU", "requests"}, rows)
}

func (r results) writeLocal(w *strings.Builder) {
	rows := [][]string{}
	head := []string{"members"}
	names := append(slices.Clone(fromMemory), "groupcache-sha256-1")
	head = append(head, names...)
	var sizes []int
	for _, t := range r.Lookups {
		if !slices.Contains(sizes, t.Members) {
			sizes = append(sizes, t.Members)
		}
	}
	for _, n := range sizes {
		row := []string{fmt.Sprint(n)}
		for _, name := range names {
			cell := "–"
			if t := r.timing(name, n, 1); t != nil {
				cell = ns(t.P50)
			}
			row = append(row, cell)
		}
		rows = append(rows, row)
	}
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(w, `### Beside local hash rings

One caller, median; the same members and keys. groupcache's consistenthash has %d points a member, its default, and its own CRC-32 or
the hash that concord uses; -1 has one point a member. They are asked as they are: the lock, or the copy, by which an application
would keep them up to date is not timed.

![One lookup from memory](plots/lookup.svg)

`, replicas)
	table(w, head, rows)
}

func (r results) writeRing(w *strings.Builder) {
	var rows [][]string
	for _, i := range r.Idle {
		rows = append(rows, []string{fmt.Sprint(i.Members), "concord", fmt.Sprintf("%.0f", i.Bytes), fmt.Sprintf("%.2f", i.Calls),
			ns(i.CPU), kibi(i.Heap), kibi(i.Spans), kibi(i.Stacks), fmt.Sprintf("%.1f", i.Goroutines), fmt.Sprintf("%.1f", i.Connections)})
		if k := slices.IndexFunc(r.IdleGRPC, func(b bench.BareIdle) bool { return b.Members == i.Members }); k >= 0 {
			b := r.IdleGRPC[k]
			rows = append(rows, []string{fmt.Sprint(b.Members), "bare gRPC", "–", "–", "–", kibi(b.Heap), kibi(b.Spans), kibi(b.Stacks),
				fmt.Sprintf("%.1f", b.Goroutines), fmt.Sprintf("%.1f", b.Connections)})
		}
	}
	if len(rows) > 0 {
		i := r.Idle[0]
		fmt.Fprintf(w, `### A ring at rest

Interval %v, watched for %v from %v after the build on; each member. Bytes are what is written to TCP connections in both roles,
without TCP's headers. Heap is what is reachable. Bare gRPC is as many servers with as many idle connections, in a process by themselves.

`, i.Interval, i.Watched, i.Settled)
		table(w, []string{"members", "what", "bytes/s", "requests/s", "CPU a second", "heap", "heap's spans", "stacks", "goroutines", "connections"}, rows)
	}
	rows = nil
	for _, s := range r.Spans {
		what := map[string]string{
			"build": "all join at once, until ideal", "join": "one joins", "heal": "one is killed, until ideal",
		}[s.Name]
		rows = append(rows, []string{what, fmt.Sprint(s.Members), brief(s.Interval), fmt.Sprint(s.Times), brief(s.P50), brief(s.Max)})
	}
	if len(rows) > 0 {
		fmt.Fprint(w, "### Joining and healing\n\n")
		table(w, []string{"what", "members", "interval", "times", "median", "slowest"}, rows)
	}
	for i, c := range r.Churned {
		if i == 0 {
			fmt.Fprint(w, "### Churn\n\n")
		}
		how := "by default options"
		if c.Name == "churn-plain" {
			how = "that leave out what earlier ones have taught, as plain Chord's do (`Cold`)"
		}
		fmt.Fprintf(w, `%d members, interval %v, one killed and one joining each %v, for %v: %d joins, %d failed; %d lookups %s, %d failed,
%.1f %% without a request, median %s, slowest %s. %d (%.3f %%) named a member that at no instant of the lookup was the owner, at most %s after
it had ceased to be (median %s); %d named one that had never been. Ideal %s after the last change.

`, c.Members, c.Interval, c.Every, c.Time, c.Joins, c.JoinsFailed, c.Lookups, how, c.Failed, 100*c.Memory, brief(c.P50), brief(c.Max),
			c.Wrong, 100*c.WrongShare, brief(c.LateMax), brief(c.LateP50), c.Strangers, brief(c.Ideal))
	}
}

func (r results) writeGroups(w *strings.Builder) {
	if len(r.Groups) == 0 {
		return
	}
	fmt.Fprint(w, `### Beside gossip

What others do instead: every member knows every other, by gossip, and asks a hash ring of its own. Until *all know*: with gossip, until
every member has been told; in a ring, until the lookups of every member go by it. A member is killed by closing its sockets
without a word, as the end of its process does. That breaks its TCP connections, which a ring hears at once, and says nothing to
gossip over UDP; a host that vanishes without closing anything is found by a ring in 3 to 4 s at the default interval (`+"`sigstop`"+` above).
Bytes are the payloads of TCP and UDP, CPU is processor time a second.

`)
	for _, s := range systems {
		if slices.ContainsFunc(r.Groups, func(g groupResult) bool { return g.System == s.name }) {
			fmt.Fprintf(w, "- `%s`: %s\n", s.name, s.settings)
		}
	}
	fmt.Fprintln(w)
	for _, p := range pictures[1:] {
		fmt.Fprintf(w, "![%s](plots/%s)\n", p.title, p.file)
	}
	fmt.Fprintln(w)
	var rows [][]string
	for _, g := range r.Groups {
		rows = append(rows, []string{fmt.Sprint(g.Members), g.System, brief(g.Build), several(g.Join), several(g.Fail), fmt.Sprintf("%.0f", g.Bytes),
			ns(g.CPU), kibi(g.Heap), kibi(g.Stacks), fmt.Sprintf("%.0f", g.Goroutines)})
	}
	fmt.Fprint(w, "Median, and in brackets the slowest and how many there were.\n\n")
	table(w, []string{"members", "system", "all built", "all know of a join", "all know of a failure", "bytes/s", "CPU", "heap", "stacks", "goroutines"}, rows)
}

// writeFailures says what is missing.
func (r results) writeFailures(w *strings.Builder) {
	if len(r.Failures) == 0 {
		return
	}
	fmt.Fprint(w, "Could not be measured:\n\n")
	for _, f := range r.Failures {
		first, _, _ := strings.Cut(f.Error, "\n")
		fmt.Fprintf(w, "- `%s`: %s\n", f.Thing, first)
	}
	fmt.Fprintln(w)
}

// several words the median of several, the slowest, and how many there were.
func several(all []time.Duration) string {
	if len(all) == 0 {
		return "–"
	}
	return fmt.Sprintf("%s (%s; %d)", brief(bench.Median(all)), brief(slices.Max(all)), len(all))
}

func table(w *strings.Builder, head []string, rows [][]string) {
	line := func(cells []string) { fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | ")) }
	line(head)
	line(slices.Repeat([]string{"---"}, len(head)))
	for _, row := range rows {
		line(row)
	}
	fmt.Fprintln(w)
}

func brief(d time.Duration) string { return ns(float64(d)) }

// ns words nanoseconds with three digits.
func ns(x float64) string {
	for _, u := range []struct {
		name string
		is   float64
	}{{"s", 1e9}, {"ms", 1e6}, {"µs", 1e3}} {
		if v := x / u.is; v >= 0.9995 {
			switch {
			case v < 9.995:
				return fmt.Sprintf("%.2f %s", v, u.name)
			case v < 99.95:
				return fmt.Sprintf("%.1f %s", v, u.name)
			}
			return fmt.Sprintf("%.0f %s", v, u.name)
		}
	}
	return fmt.Sprintf("%.0f ns", x)
}

func kibi(bytes uint64) string { return fmt.Sprintf("%d KiB", (bytes+512)/1024) }
