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
	return os.WriteFile(file, []byte(before+markBegin+"\n\n"+text+"\n"+markEnd+after), 0o644) //nolint:gosec // documentation is for all to read
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

func (r *results) writeHead(w *strings.Builder) {
	if r.Quick {
		fmt.Fprintf(w, "**This was a quick run, which only shows that the measuring works. Its figures mean nothing.**\n\n")
	}
	m := r.Machine
	fmt.Fprintf(w, "Measured on %s in %s by `make bench`. Each group of members ran in one process of\nits own, over loopback.\n\n",
		r.When, r.TookTotal.Round(time.Minute))
	fmt.Fprintf(w, "- %d CPUs", m.CPUs)
	if m.CPU != "" {
		fmt.Fprintf(w, " (%s)", m.CPU)
	}
	fmt.Fprintf(w, ", %s/%s, %s", m.OS, m.Arch, m.Go)
	if m.Load != nil {
		fmt.Fprintf(w, "; load %.1f at the beginning", *m.Load)
	}
	fmt.Fprintln(w)
	for _, v := range r.Versions {
		fmt.Fprintf(w, "- %s %s\n", strings.TrimPrefix(v.Module, "github.com/"), v.Version)
	}
	fmt.Fprintln(w)
}

// timing finds what was timed, nil if it was not.
func (r *results) timing(name string, members, callers int) *bench.Timing {
	i := slices.IndexFunc(r.Lookups, func(t bench.Timing) bool { return t.Name == name && t.Members == members && t.Callers == callers })
	if i < 0 {
		return nil
	}
	return &r.Lookups[i]
}

func (r *results) idle(members int) *bench.Idle {
	i := slices.IndexFunc(r.Idle, func(x bench.Idle) bool { return x.Members == members })
	if i < 0 {
		return nil
	}
	return &r.Idle[i]
}

// group is what was measured of a ring beside other systems, nil if it was not.
func (r *results) group(system string, members int) *groupResult {
	i := slices.IndexFunc(r.Groups, func(g groupResult) bool { return g.System == system && g.Members == members })
	if i < 0 {
		return nil
	}
	return &r.Groups[i]
}

// writeAsked holds what was measured against what was asked for, as far as it was
// measured.
func (r *results) writeAsked(w *strings.Builder) {
	var rows [][]string
	row := func(what, asked, measured string, reached bool) {
		verdict := "yes"
		if !reached {
			verdict = "**no**"
		}
		rows = append(rows, []string{what, asked, measured, verdict})
	}
	const n = 64
	ratio := func(what, a, b string, value func(*bench.Timing) float64, most float64) { // of one caller
		x, y := r.timing(a, n, 1), r.timing(b, n, 1)
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
	for _, name := range []string{"lookup-owned", "lookup-confirmed"} {
		ratio(name+" / floor-hash-search, median", name, "floor-hash-search", p50, 1.3)
		if t := r.timing(name, n, 1); t != nil {
			row(name+", allocations", "0", fmt.Sprintf("%.1f", t.Allocs), t.Allocs == 0)
		}
		atLeast(name+", 16 callers / 1, throughput", name, 16, name, 1, perS, 1.7)
		ratio(name+" / serialx-hashring, median", name, "serialx-hashring", p50, 1)
		ratio(name+" / groupcache-sha256, median", name, "groupcache-sha256", p50, 1.15)
	}
	ratio("lookup-fresh / grpc-unary, median", "lookup-fresh", "grpc-unary", p50, 0.8)
	atLeast("lookup-fresh / grpc-unary, 16 callers, throughput", "lookup-fresh", 16, "grpc-unary", 16, perS, 1.5)
	atLeast("the same, all 16 of one member", "lookup-fresh-one", 16, "grpc-unary-one", 16, perS, 4)
	if t := r.timing("lookup-all-members", n, 16); t != nil {
		row("lookup-all-members, 16 callers", "at least 5,000,000/s", fmt.Sprintf("%.0f/s", t.PerS), t.PerS >= 5e6)
		row("lookup-all-members, allocations", "0", fmt.Sprintf("%.1f", t.Allocs), t.Allocs == 0)
	}
	atLeast("lookup-all-members / serialx-hashring, 16 callers, throughput", "lookup-all-members", 16, "serialx-hashring", 16, perS, 1)
	if t := r.timing("lookup-fresh", n, 1); t != nil {
		row("lookup-fresh, allocations", "at most 50", fmt.Sprintf("%.1f", t.Allocs), t.Allocs <= 50)
		row("lookup-fresh, requests", "at most 1.1", fmt.Sprintf("%.2f", t.RPCs), t.RPCs <= 1.1)
	}
	for _, a := range r.All {
		size := fmt.Sprintf("every one of %d looks up %.0f random keys a second: ", a.Members, a.Rate)
		row(size+"without a request", "at least 99.9 %", fmt.Sprintf("%.2f %% of %d", 100*a.Memory, a.Lookups), a.Memory >= 0.999)
		if i := r.idle(a.Members); i != nil && a.Members == n {
			row(size+"bytes / at rest", "at most 1.5", fmt.Sprintf("%.0f / %.0f = %.2f", a.Bytes, i.Bytes, a.Bytes/i.Bytes), a.Bytes <= 1.5*i.Bytes)
			more := time.Duration(1e6*a.CPU - i.CPU) // of milliseconds, and of nanoseconds
			row(size+"CPU of each, less that at rest, with the loops that look up", "at most 500 µs/s", fmt.Sprintf("%v/s", brief(more)),
				more <= 500*time.Microsecond)
		}
	}
	if g := r.group("concord", n); g != nil && len(g.Join) > 0 && len(g.Fail) > 0 {
		const most = 50 * time.Millisecond
		join, fail := bench.Median(g.Join), bench.Median(g.Fail)
		row("all lookups go by a join, median", fmt.Sprintf("at most %v", most), brief(join), join <= most)
		row("all lookups go by a crash, median", fmt.Sprintf("at most %v", most), brief(fail), fail <= most)
	}
	for _, c := range r.Churned {
		if c.Name == "churn-plain" {
			continue // nothing was asked of that
		}
		const most = 100 * time.Millisecond
		row(fmt.Sprintf("wrong owner named, %d members, one joins and one dies each %v", c.Members, c.Every), "at most 0.1 %",
			fmt.Sprintf("%.3f %% of %d", 100*c.WrongShare, c.Lookups), c.WrongShare <= 0.001)
		row("the same, how long after the change", fmt.Sprintf("at most %v", most),
			fmt.Sprintf("%s at most, %d never right", brief(c.LateMax), c.Strangers), c.LateMax <= most && c.Strangers == 0)
	}
	if i := r.idle(n); i != nil {
		row("at rest, each", "at most 300 B/s", fmt.Sprintf("%.0f B/s", i.Bytes), i.Bytes <= 300)
		row("at rest, CPU of each", "at most 800 µs/s", bench.Brief(i.CPU)+"/s", i.CPU <= 800e3)
		row("heap of a member at rest", "at most 550 KiB", fmt.Sprintf("%s (in spans of %s)", bench.KiB(i.Heap), bench.KiB(i.Spans)), i.Heap <= 550<<10)
		if j := r.idle(256); j != nil {
			row("at rest, bytes at 256 members / at 64", "at most 1.3", fmt.Sprintf("%.2f", j.Bytes/i.Bytes), j.Bytes <= 1.3*i.Bytes)
			row("at rest, CPU at 256 members / at 64", "at most 1.3", fmt.Sprintf("%.2f", j.CPU/i.CPU), j.CPU <= 1.3*i.CPU)
		}
	}
	for _, c := range r.Subscribed {
		row(fmt.Sprintf("a client that has subscribed, %d members: without a request", c.Members), "at least 99.9 %",
			fmt.Sprintf("%.2f %% of %d", 100*c.Memory, c.Lookups), c.Memory >= 0.999)
		row("the same, at rest, in both directions", "at most 100 B/s", fmt.Sprintf("%.0f B/s", c.Rest), c.Rest <= 100)
	}
	if len(rows) == 0 {
		return
	}
	fmt.Fprint(w, "### What was asked for\n\nA ring of 64, one caller unless said otherwise. Both sides of a ratio are of one run.\n\n")
	table(w, []string{"what", "asked for", "measured", "reached"}, rows)
}

func (r *results) writeLookups(w *strings.Builder) {
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
			rows = append(rows, []string{t.Name, fmt.Sprint(t.Callers), bench.Brief(t.P50), bench.Brief(t.P99), fmt.Sprintf("%.0f", t.PerS),
				fmt.Sprintf("%.1f", t.Allocs), bench.Brief(t.CPU), fmt.Sprintf("%.2f", t.RPCs)})
		}
	}
	fmt.Fprintf(w, `### One lookup

%d members. One of them looks up random keys of 16 bytes, after a warm-up.

- %s calls a bare gRPC server with messages as large as a lookup's.
- %s hashes the key, searches %d identifiers and reads the clock.
- %s is answered from memory, for keys of other members.
- %s is answered from memory, for the member's own keys.
- %s asks for the owner's own answer.
- %s and %s are the same with keys of one member only, and a
  server that all callers call. Such lookups share requests, see the last column.
- %s: each caller asks a random member for a random key, so that all members of the
  ring look keys up.

Values are medians of %d rounds, which take turns. A call that takes less than 2 µs is measured in
batches of 1,000, and its quantiles are those of the batches' means. Allocations and CPU are those
of the whole process, so of both ends of every request, less what the ring's maintenance takes
meanwhile.

`, n, "`grpc-unary`", "`floor-hash-search`", n, "`lookup-confirmed`", "`lookup-owned`", "`lookup-fresh`",
		"`lookup-fresh-one`", "`grpc-unary-one`", "`lookup-all-members`", r.Lookups[0].Rounds)
	table(w, []string{"name", "callers", "median", "99 %", "per second", "allocations", "CPU", "requests"}, rows)
}

func (r *results) writeLocal(w *strings.Builder) {
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
				cell = bench.Brief(t.P50)
			}
			row = append(row, cell)
		}
		rows = append(rows, row)
	}
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(w, `### Beside local hash rings

One caller, median, with the same members and keys. groupcache's consistenthash has %d points per
member, its default, and its own CRC-32 or Concord's hash; %s has one point per
member. The rings are asked without a lock and without a copy: what an application needs to keep
them up to date is not timed.

![One lookup from memory](plots/lookup.svg)

`, replicas, "`groupcache-sha256-1`")
	table(w, head, rows)
}

func (r *results) writeRing(w *strings.Builder) {
	var rows [][]string
	for _, i := range r.Idle {
		rows = append(rows, []string{fmt.Sprint(i.Members), "concord", fmt.Sprintf("%.0f", i.Bytes), fmt.Sprintf("%.2f", i.Calls),
			bench.Brief(i.CPU), bench.KiB(i.Heap), bench.KiB(i.Spans), bench.KiB(i.Stacks), fmt.Sprintf("%.1f", i.Goroutines), fmt.Sprintf("%.1f", i.Connections)})
		if k := slices.IndexFunc(r.IdleGRPC, func(b bench.BareIdle) bool { return b.Members == i.Members }); k >= 0 {
			b := r.IdleGRPC[k]
			rows = append(rows, []string{fmt.Sprint(b.Members), "bare gRPC", "–", "–", "–", bench.KiB(b.Heap), bench.KiB(b.Spans), bench.KiB(b.Stacks),
				fmt.Sprintf("%.1f", b.Goroutines), fmt.Sprintf("%.1f", b.Connections)})
		}
	}
	if len(rows) > 0 {
		i := r.Idle[0]
		fmt.Fprintf(w, `### A ring at rest

StabilizeInterval %v. Each ring was watched for %v, beginning %v after it was built. Values are
those of one member. Bytes are those written to TCP connections in both roles, without TCP's
headers. Heap is what is reachable. *Bare gRPC* is as many servers with as many idle connections, in
a process of their own.

`, i.Interval, i.Watched, i.Settled)
		table(w, []string{"members", "what", "bytes/s", "requests/s", "CPU per second", "heap", "heap spans", "stacks", "goroutines", "connections"}, rows)
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
	r.writeChurn(w)
}

func (r *results) writeChurn(w *strings.Builder) {
	if len(r.Churned) == 0 {
		return
	}
	c := r.Churned[0]
	fmt.Fprintf(w, `### Churn

%d members, StabilizeInterval %v. For %v, one member is killed and one joins every %v.

- *Wrong*: lookups that named a member which was not the owner at any instant of the lookup.
- *Late*: how long that member had ceased to be the owner, median and most.
- *Never right*: lookups that named a member which had never been the owner.
- *Ideal*: how long after the last change the ring was ideal.
- *Cold* lookups use nothing that earlier lookups have learned, as in plain Chord.

`, c.Members, c.Interval, c.Time, c.Every)
	var rows [][]string
	for _, c := range r.Churned {
		name := "default"
		if c.Name == "churn-plain" {
			name = "`Cold`"
		}
		rows = append(rows, []string{name, fmt.Sprintf("%d, %d failed", c.Joins, c.JoinsFailed), fmt.Sprintf("%d, %d failed", c.Lookups, c.Failed),
			fmt.Sprintf("%.1f %%", 100*c.Memory), brief(c.P50), brief(c.Max), fmt.Sprintf("%d (%.3f %%)", c.Wrong, 100*c.WrongShare),
			fmt.Sprintf("%s, %s", brief(c.LateP50), brief(c.LateMax)), fmt.Sprint(c.Strangers), brief(c.Ideal)})
	}
	table(w, []string{"lookups", "joins", "number", "without a request", "median", "slowest", "wrong", "late", "never right", "ideal"}, rows)
}

func (r *results) writeGroups(w *strings.Builder) {
	if len(r.Groups) == 0 {
		return
	}
	fmt.Fprint(w, `### Beside gossip

The alternative to a ring: every member learns of every other by gossip, and asks a hash ring of its
own. *All know* is the time until every member has been told (gossip), or until the lookups of every
member go by the change (ring).

A member is killed by closing its sockets without a word, as the end of its process does. That
breaks its TCP connections, which the members of a ring notice at once. Gossip over UDP notices
nothing by it. A host that vanishes without closing anything is noticed by a ring after 3 to 4 s at
the default interval (`+"`sigstop`"+` above). Bytes are the payloads of TCP and UDP. CPU is processor
time per second.

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
			bench.Brief(g.CPU), bench.KiB(g.Heap), bench.KiB(g.Stacks), fmt.Sprintf("%.0f", g.Goroutines)})
	}
	fmt.Fprint(w, "Medians; in brackets the slowest, and how many changes were measured.\n\n")
	table(w, []string{"members", "system", "all built", "all know of a join", "all know of a failure", "bytes/s", "CPU", "heap", "stacks", "goroutines"}, rows)
}

// writeFailures says what is missing.
func (r *results) writeFailures(w *strings.Builder) {
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

func brief(d time.Duration) string { return bench.Brief(float64(d)) }
