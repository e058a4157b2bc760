package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/serf/serf"
	"gonum.org/v1/plot/plotter"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/bench"
)

func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// Two members know each other as soon as one has joined; more have to wait for
// gossip, for half a minute sometimes.
func TestEverySystemIsMeasured(t *testing.T) {
	p := groupPlan{Watch: 300 * time.Millisecond, Limit: time.Minute}
	for _, s := range systems {
		t.Run(s.name, func(t *testing.T) {
			r, err := p.measure(bounded(t), s, 2)
			if err != nil {
				t.Fatal(err)
			}
			if r.System != s.name || r.Members != 2 || r.Build <= 0 || r.Goroutines < 1 {
				t.Errorf("%+v", r)
			}
		})
	}
}

func TestGroupsCountWhatTheyWrite(t *testing.T) {
	for _, s := range systems {
		g := s.start()
		if err := g.add(bounded(t), memberName(0)); err != nil {
			t.Fatal(err)
		}
		before := g.written()
		if err := g.add(bounded(t), memberName(1)); err != nil {
			t.Fatal(err)
		}
		// Each had to tell the other its name and its address.
		if n := g.written() - before; n < 2*uint64(len("member-0127.0.0.1")) {
			t.Errorf("%s: a join takes %d bytes", s.name, n)
		}
		g.close()
	}
}

func TestChangesOfARingAreTimed(t *testing.T) {
	p := groupPlan{Changes: 2, ChangeTime: time.Minute, Limit: time.Minute}
	r, err := p.measure(bounded(t), systems[0], 3)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Join) != 2 || len(r.Fail) != 2 || slices.Min(r.Join) <= 0 || slices.Min(r.Fail) <= 0 {
		t.Errorf("%+v", r)
	}
}

// pretended is a group whose members know of a change when told to.
type pretended struct {
	group
	known map[string]int // asker -> how often it is asked until it knows
}

func (g *pretended) add(context.Context, ...string) error { return nil }
func (g *pretended) kill(string)                          {}
func (g *pretended) knows(_ context.Context, asker, _ string, gone bool) bool {
	if !gone {
		return true // before
	}
	g.known[asker]--
	return g.known[asker] < 0
}

func TestAChangeLastsUntilTheLastKnows(t *testing.T) {
	g := &pretended{known: map[string]int{"a": 0, "b": 20, "c": 0}}
	took, err := groupPlan{Limit: time.Minute}.change(t.Context(), g, []string{"a", "b", "c"}, "x", true)
	if err != nil {
		t.Fatal(err)
	}
	if took < 15*time.Millisecond {
		t.Errorf("b knew after 20 looks, a millisecond apart; it is said to have taken %v", took)
	}
	g = &pretended{known: map[string]int{"a": 1 << 30}}
	if _, err := (groupPlan{Limit: 10 * time.Millisecond}).change(t.Context(), g, []string{"a"}, "x", true); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nobody ever knows, and the error is %v", err)
	}
	g = &pretended{known: map[string]int{"a": 5}}
	if _, err := (groupPlan{Limit: time.Minute}).change(t.Context(), g, []string{"a"}, "x", false); err == nil {
		t.Error("a does not know the state before, and that is no error")
	}
}

func TestViewsAreComparedWithTheMembers(t *testing.T) {
	a, b := &view{}, &view{}
	views := map[string]*view{"a": a, "b": b}
	for _, v := range views {
		v.set("a", true)
		v.set("b", true)
	}
	if w := wrongViews(views); w != "" {
		t.Errorf("all know all: %s", w)
	}
	b.set("a", false)
	if w := wrongViews(views); !strings.Contains(w, "b knows 1 of 2") {
		t.Errorf("b has forgotten a: %q", w)
	}
	b.set("c", true)
	if w := wrongViews(views); !strings.Contains(w, "b does not know a") {
		t.Errorf("b knows c in the place of a: %q", w)
	}
}

func TestSerfEventsMakeTheView(t *testing.T) {
	events, done, v := make(chan serf.Event), make(chan struct{}), &view{}
	ended := make(chan struct{})
	go func() {
		follow(events, done, v)
		close(ended)
	}()
	of := func(typ serf.EventType, name string) {
		events <- serf.MemberEvent{Type: typ, Members: []serf.Member{{Name: name}}}
	}
	of(serf.EventMemberJoin, "a")
	of(serf.EventMemberJoin, "b")
	of(serf.EventMemberUpdate, "b")
	of(serf.EventMemberFailed, "a")
	close(done)
	<-ended
	if v.has("a") || !v.has("b") {
		t.Errorf("the view is %v", v.alive)
	}
}

func TestLookupsAreTimedBesideLocalRings(t *testing.T) {
	var out bytes.Buffer
	p := quick()
	p.lookup.Callers, p.lookup.Window = []int{1}, 5*time.Millisecond
	if err := p.one(bounded(t), "lookups:3", &out); err != nil {
		t.Fatal(err)
	}
	var r results
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, x := range r.Lookups {
		names = append(names, x.Name)
		if x.Members != 3 || x.P50 <= 0 {
			t.Errorf("%+v", x)
		}
	}
	want := []string{"grpc-unary", "floor-hash-search", "lookup-owned", "lookup-confirmed", "lookup-fresh",
		"lookup-all-members", "grpc-unary-one", "lookup-fresh-one", "serialx-hashring", "groupcache-crc32", "groupcache-sha256", "groupcache-sha256-1"}
	if !slices.Equal(names, want) {
		t.Errorf("timed %q, not %q", names, want)
	}
}

func TestGroupcacheIsGivenTheSameHash(t *testing.T) {
	key := "some key"
	if got, want := uint64(sum([]byte(key))), concord.New(concord.Config{Name: key}).Id()>>32; got != want {
		t.Errorf("hash is %x, not %x", got, want)
	}
}

// sample is made up.
func sample() results {
	r := results{
		When: "2026-01-02", TookTotal: 40 * time.Minute,
		Machine:  bench.Machine{Go: "go1.26.0", OS: "linux", Arch: "amd64", CPU: "Some CPU", CPUs: 2},
		Versions: []version{{"github.com/hashicorp/memberlist", "v0.7.0"}},
		Idle:     []bench.Idle{{Members: 64, Bytes: 400, Calls: 1.9, CPU: 1e6, Heap: 300 << 10}, {Members: 256, Bytes: 600, Calls: 2.1}},
		IdleGRPC: []bench.BareIdle{{Members: 64, Heap: 200 << 10}},
		Spans:    []bench.Span{{Name: "join", Members: 64, Times: 20, P50: 4 * time.Millisecond, Max: 9 * time.Millisecond}},
		Churned: []bench.Churned{{Members: 32, Interval: 200 * time.Millisecond, Every: 500 * time.Millisecond, Lookups: 1000, Wrong: 3,
			WrongShare: 0.003, LateMax: 150 * time.Millisecond}},
		All: []bench.AllMembers{{Members: 64, Rate: 50, Lookups: 1000, Memory: 0.9995, Bytes: 500, CPU: 1.7},
			{Members: 256, Rate: 50, Lookups: 4000, Memory: 0.99}},
		Subscribed: []bench.Subscribed{{Members: 64, Lookups: 200, Memory: 1, Rest: 120}},
	}
	for _, n := range []int{8, 64} {
		for i, name := range append(slices.Clone(fromMemory), "grpc-unary", "lookup-fresh", "lookup-all-members") {
			for _, callers := range []int{1, 16} {
				r.Lookups = append(r.Lookups, bench.Timing{Name: name, Members: n, Callers: callers, Rounds: 7, P50: float64(100 + 10*i), PerS: float64(callers) * 1e6})
			}
		}
		for _, s := range systems {
			r.Groups = append(r.Groups, groupResult{System: s.name, Members: n, Join: []time.Duration{time.Millisecond, 3 * time.Millisecond},
				Fail: []time.Duration{time.Second}, Bytes: 100, CPU: 1e6, Heap: 1 << 20})
		}
	}
	return r
}

func TestPageHoldsWhatWasMeasured(t *testing.T) {
	got := page(sample())
	for _, want := range []string{
		"Measured on 2026-01-02", "Some CPU", "hashicorp/memberlist v0.7.0",
		"| lookup-confirmed / floor-hash-search, median | at most 1.30 | 0.83 | yes |",
		"| lookup-owned / floor-hash-search, median | at most 1.30 | 0.92 | yes |",
		"| lookup-fresh / grpc-unary, median | at most 0.80 | 1.06 | **no** |",
		"| lookup-all-members, 16 callers | at least 5,000,000/s | 16000000/s | yes |",
		"| wrong owner named, 32 members, one joins and one dies each 500ms | at most 0.1 % | 0.300 % of 1000 | **no** |",
		"| the same, how long after the change | at most 100ms | 150 ms at most, 0 never right | **no** |",
		"| at rest, each | at most 300 B/s | 400 B/s | **no** |",
		"| heap of a member at rest | at most 550 KiB | 300 KiB (in spans of 0 KiB) | yes |",
		"| at rest, bytes at 256 members / at 64 | at most 1.3 | 1.50 | **no** |",
		"| every one of 64 looks up 50 random keys a second: without a request | at least 99.9 % | 99.95 % of 1000 | yes |",
		"| every one of 64 looks up 50 random keys a second: bytes / at rest | at most 1.5 | 500 / 400 = 1.25 | yes |",
		"| every one of 64 looks up 50 random keys a second: CPU of each, less that at rest, with the loops that look up | at most 500 µs/s | 700 µs/s | **no** |",
		"| every one of 256 looks up 50 random keys a second: without a request | at least 99.9 % | 99.00 % of 4000 | **no** |",
		"| all lookups go by a join, median | at most 50ms | 2.00 ms | yes |",
		"| all lookups go by a crash, median | at most 50ms | 1.00 s | **no** |",
		"| a client that has subscribed, 64 members: without a request | at least 99.9 % | 100.00 % of 200 | yes |",
		"| the same, at rest, in both directions | at most 100 B/s | 120 B/s | **no** |",
		"| one joins | 64 | 0 ns | 20 | 4.00 ms | 9.00 ms |",
		"- `serf-lan`: ", "| 8 | serf-local | 0 ns | 2.00 ms (3.00 ms; 2) | 1.00 s (1.00 s; 1) | 100 | 1.00 ms | 1024 KiB |",
		"](plots/fail.svg)",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("lacks %q", want)
		}
	}
	if strings.Contains(got, "%!") || strings.Contains(got, "mean nothing") {
		t.Error(got)
	}
	lacking := sample()
	lacking.Failures = []failure{{"serf-lan:256", "member-0 knows 202 of 256\nand more"}}
	if got := page(lacking); !strings.Contains(got, "- `serf-lan:256`: member-0 knows 202 of 256\n") || strings.Contains(got, "and more") {
		t.Errorf("what could not be measured is not named:\n%s", got)
	}
	hasty := sample()
	hasty.Quick = true
	if !strings.Contains(page(hasty), "mean nothing") {
		t.Error("figures measured in no time are shown as if they were any good")
	}
	if got := page(results{}); strings.Contains(got, "|") {
		t.Errorf("nothing was measured, and the page has tables:\n%s", got)
	}
}

func TestOnlyWhatIsBetweenTheMarksIsRewritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "page.md")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("before\n" + markBegin + "\nold\n" + markEnd + "\nafter\n")
	for range 2 {
		if err := rewrite(file, "new\n"); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := string(b), "before\n"+markBegin+"\n\nnew\n\n"+markEnd+"\nafter\n"; got != want {
			t.Errorf("the page is %q, not %q", got, want)
		}
	}
	for _, text := range []string{"", markBegin + "\nno end\n", markEnd + "\n"} {
		write(text)
		if err := rewrite(file, "new\n"); err == nil {
			t.Errorf("%q lacks a mark, and that is no error", text)
		}
	}
}

func TestTheDocsHaveTheMarks(t *testing.T) {
	b, err := os.ReadFile("../docs/PERFORMANCE.md")
	if err != nil {
		t.Fatal(err)
	}
	if begin, end := strings.Index(string(b), markBegin+"\n"), strings.Index(string(b), markEnd); begin < 0 || end < begin {
		t.Errorf("the marks are at %d and %d", begin, end)
	}
}

func TestPicturesAreDrawn(t *testing.T) {
	dir := t.TempDir()
	r := sample()
	if err := drawAll(r, dir); err != nil {
		t.Fatal(err)
	}
	for _, p := range pictures {
		b, err := os.ReadFile(filepath.Join(dir, p.file))
		if err != nil {
			t.Fatal(err)
		}
		lines := slices.DeleteFunc(p.lines(r), func(l line) bool { return len(l.points) == 0 })
		for _, l := range lines {
			if !bytes.Contains(b, []byte(">"+l.name+"</text>")) {
				t.Errorf("%s does not name %s", p.file, l.name)
			}
		}
		d := xml.NewDecoder(bytes.NewReader(b))
		for err == nil {
			_, err = d.Token()
		}
		if err != io.EOF {
			t.Errorf("%s: %v", p.file, err)
		}
	}
	again := t.TempDir()
	if err := drawAll(r, again); err != nil {
		t.Fatal(err)
	}
	a, _ := os.ReadFile(filepath.Join(dir, "fail.svg"))
	b, _ := os.ReadFile(filepath.Join(again, "fail.svg"))
	if !bytes.Equal(a, b) {
		t.Error("the same results are drawn differently")
	}
	if got := groupLines(func(g groupResult) float64 { return g.Bytes })(r)[0].points; !slices.Equal(got, plotter.XYs{{X: 8, Y: 100}, {X: 64, Y: 100}}) {
		t.Errorf("drawn is %v", got)
	}
}

func TestMistakesInFlagsAreNamed(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"-sizes", "8,two"}, "-sizes"},
		{[]string{"-sizes", "2"}, "3 to 512"},
		{[]string{"-systems", "zookeeper"}, "zookeeper"},
		{[]string{"-one", "lookups"}, "WHAT:MEMBERS"},
		{[]string{"-one", "dance:3"}, "dance"},
		{[]string{"-from", "/no/such/file"}, "/no/such/file"},
	} {
		if err := run(t.Context(), c.args, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v", c.args, err)
		}
	}
}

func TestResultsAreReadBack(t *testing.T) {
	dir := t.TempDir()
	file, again := filepath.Join(dir, "in.json"), filepath.Join(dir, "docs", "out.json")
	b, err := json.Marshal(sample())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-from", file, "-json", again}, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	if out.String() != page(sample()) {
		t.Error("the page of results read back is another one")
	}
	var r results
	if b, err = os.ReadFile(again); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &r); err != nil || page(r) != page(sample()) {
		t.Errorf("what was written is something else: %v", err)
	}
}
