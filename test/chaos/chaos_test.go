//go:build unix

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/child"
)

const patience = 60 * time.Second

// asProgram makes the test binary the command.
const asProgram = "CHAOS_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// binary builds the command concord.
func binary(t *testing.T) string {
	t.Helper()
	bin, err := child.Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// needLab makes a network of n hosts, or skips.
func needLab(t *testing.T, n int) *lab {
	t.Helper()
	l, err := newLab(t.Context(), n)
	if err != nil {
		if advice := unavailable(err); advice != "" {
			t.Skipf("SKIPPED: %v: %s", err, advice)
		}
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	return l
}

func TestCutsDropWhatTheySayAndNothingElse(t *testing.T) {
	l := needLab(t, 3)
	conns := make([]net.PacketConn, 3)
	for i := range conns {
		if err := l.hosts[i].on(func() (err error) {
			conns[i], err = net.ListenPacket("udp", net.JoinHostPort(l.addr(i).String(), "7946"))
			return err
		}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conns[i].Close() })
		conns[i].SetDeadline(time.Now().Add(patience))
	}
	send := func(from, to int, text string) {
		t.Helper()
		if _, err := conns[from].WriteTo([]byte(text), conns[to].LocalAddr()); err != nil {
			t.Fatal(err)
		}
	}
	// What is expected is what comes first: whatever was sent before it is lost.
	expect := func(at int, want string) {
		t.Helper()
		buf := make([]byte, 64)
		n, _, err := conns[at].ReadFrom(buf)
		if err != nil || string(buf[:n]) != want {
			t.Fatalf("host %d receives %q, %v; want %q", at, buf[:n], err, want)
		}
	}
	send(0, 1, "before the cut")
	expect(1, "before the cut")
	if err := l.cut(t.Context(), []int{0}, []int{1}); err != nil {
		t.Fatal(err)
	}
	send(0, 1, "lost")
	send(2, 1, "from another")
	expect(1, "from another")
	send(1, 0, "the other way")
	expect(0, "the other way")
	send(0, 2, "to another")
	expect(2, "to another")
	if err := l.mend(t.Context()); err != nil {
		t.Fatal(err)
	}
	send(0, 1, "mended")
	expect(1, "mended")
}

// fake is a ring without processes.
func fake(names ...string) *ring {
	r := &ring{settled: map[int]time.Time{}, phase: &phase{began: time.Now()}}
	for i, name := range names {
		r.seats = append(r.seats, &seat{name: name, id: uint64(i+1) * 10, addr: name + ":1", up: true})
	}
	return r
}

func TestOwnerIsTheFirstMemberOfTheSideAtOrAfterTheKey(t *testing.T) {
	r := fake("a", "b", "c", "d")
	for id, want := range map[uint64]string{5: "a", 10: "a", 11: "b", 40: "d", 41: "a"} {
		if got := r.owner(id, 0); got.name != want {
			t.Errorf("%d belongs to %s, want %s", id, got.name, want)
		}
	}
	r.seats[1].side = 1
	r.seats[2].up = false
	for id, want := range map[uint64]string{11: "d", 21: "d", 41: "a"} {
		if got := r.owner(id, 0); got.name != want {
			t.Errorf("with b cut off and c dead, %d belongs to %s, want %s", id, got.name, want)
		}
	}
	if got := r.owner(41, 1); got.name != "b" {
		t.Errorf("cut off, all belongs to b, not %s", got.name)
	}
}

func TestJudge(t *testing.T) {
	says := func(name string) child.Answer {
		return child.Answer{Server: &concord.Server{Name: name, Address: name + ":1"}}
	}
	old := func(a child.Answer, age time.Duration) child.Answer {
		a.Age = age
		return a
	}
	for name, c := range map[string]struct {
		settled   bool // for 5 s
		hole      bool
		meanwhile func(r *ring)
		answer    child.Answer
		err       error
		want      counts // without times
		holes     counts
		faults    int
	}{
		"right":                        {settled: true, answer: says("b"), want: counts{lookups: 1}},
		"wrong":                        {answer: says("c"), want: counts{lookups: 1, wrong: 1}},
		"wrong though settled":         {settled: true, answer: says("c"), want: counts{lookups: 1, wrong: 1}, faults: 1},
		"wrong as it was before":       {settled: true, answer: old(says("c"), 6*time.Second), want: counts{lookups: 1, wrong: 1}},
		"wrong and not so old":         {settled: true, answer: old(says("c"), 4*time.Second), want: counts{lookups: 1, wrong: 1}, faults: 1},
		"right and too old":            {answer: old(says("b"), oldest+1), want: counts{lookups: 1}, faults: 1},
		"another address":              {answer: child.Answer{Server: &concord.Server{Name: "b", Address: "b:2"}}, want: counts{lookups: 1, wrong: 1}},
		"error":                        {err: child.MemberError("no"), want: counts{lookups: 1, errs: 1}},
		"error though settled":         {settled: true, err: child.MemberError("no"), want: counts{lookups: 1, errs: 1}, faults: 1},
		"no answer":                    {err: context.DeadlineExceeded, want: counts{lookups: 1, errs: 1}, faults: 1},
		"wrong in the hole":            {settled: true, hole: true, answer: says("c"), holes: counts{lookups: 1, wrong: 1}},
		"no answer in the hole":        {hole: true, err: context.DeadlineExceeded, holes: counts{lookups: 1, errs: 1}, faults: 1},
		"right by the new truth":       {settled: true, meanwhile: func(r *ring) { r.down(r.seats[1]) }, answer: says("c"), want: counts{lookups: 1}},
		"right by the old truth":       {settled: true, meanwhile: func(r *ring) { r.down(r.seats[1]) }, answer: says("b"), want: counts{lookups: 1}},
		"wrong as it changes":          {settled: true, meanwhile: func(r *ring) { r.down(r.seats[1]) }, answer: says("a"), want: counts{lookups: 1, wrong: 1}},
		"whoever was asked was killed": {settled: true, meanwhile: func(r *ring) { r.down(r.seats[0]) }, err: context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			r := fake("a", "b", "c")
			r.phase.imperfect = c.hole
			q := question{seat: r.seats[0], id: 15, want: r.owner(15, 0), hole: c.hole, ideal: -1, epoch: r.epoch}
			if c.settled {
				q.ideal = 5 * time.Second
			}
			if c.meanwhile != nil {
				c.meanwhile(r)
			}
			r.judge(q, c.answer, c.err, time.Second)
			for _, x := range []*counts{&r.phase.counts, &r.phase.holes} {
				if bad := x.wrong+x.errs > 0; bad != (x.until > 0) {
					t.Errorf("bad until %v", x.until)
				}
				x.slowest, x.until = 0, 0
			}
			if r.phase.counts != c.want || r.phase.holes != c.holes || r.phase.nfaults != c.faults {
				t.Errorf("counts %+v, in the hole %+v, violations %q", r.phase.counts, r.phase.holes, r.phase.faults)
			}
		})
	}
}

func TestTableFitsEightyColumns(t *testing.T) {
	c := counts{lookups: 9999999, wrong: 99999, errs: 99999, slowest: 99 * time.Second, until: 999 * time.Second}
	p := &phase{name: "keys between two members", counts: c, holes: c, ideal: 999 * time.Second, allowed: 999 * time.Second}
	for line := range strings.Lines(heading + p.text()) {
		if len(strings.TrimRight(line, "\n")) > 80 {
			t.Errorf("wider than 80 columns: %q", line)
		}
	}
	for _, ci := range []bool{true, false} {
		for _, s := range scenarios(ci) {
			if len(s.title) > 80 {
				t.Errorf("wider than 80 columns: %q", s.title)
			}
		}
	}
}

func TestRingIsIdealUntilItChanges(t *testing.T) {
	r := fake("a", "b")
	for _, since := range []time.Duration{0, settling / 4, settling, time.Hour} {
		r.settled[0] = time.Now().Add(-since)
		if q, ok := r.question(r.seats[0], 5); !ok || q.ideal < since {
			t.Errorf("ideal for %v, and said to be for %v", since, q.ideal)
		}
	}
	r.change(func() {})
	if q, _ := r.question(r.seats[0], 5); q.ideal >= 0 {
		t.Error("ideal after a change")
	}
	if q, _ := r.question(r.seats[0], 5); q.want != r.seats[0] {
		t.Errorf("the truth is %v", q.want.name)
	}
}

// TestDamageIsSeen stops a member of a real ring behind the back of the judge.
func TestDamageIsSeen(t *testing.T) {
	b := &bench{binary: binary(t)}
	r, err := newRing(t.Context(), b, "damage", 4, r3)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	if err := r.run(t.Context(), &phase{name: "nothing happens", allowed: patience}, func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	if p := r.phase; p.nfaults > 0 || p.lookups == 0 || p.wrong+p.errs > 0 {
		t.Errorf("%+v", p)
	}
	if err := r.run(t.Context(), &phase{name: "one is killed", allowed: time.Second, hold: 8 * time.Second},
		func() error { r.seats[1].process.Kill(); return nil }); err != nil {
		t.Fatal(err)
	}
	p := r.phase
	if p.wrong == 0 || p.errs == 0 || p.nfaults == 0 || !slices.ContainsFunc(p.faults, func(s string) bool {
		return strings.Contains(s, "lookup without an answer")
	}) {
		t.Errorf("%+v", p)
	}
}

func TestKilledRunLeavesNoProcesses(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("elsewhere the members leave when their input ends, which may take a while")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-only", "kill2", "-binary", binary(t))
	cmd.Env = append(os.Environ(), asProgram+"=1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	deadline := time.After(patience)
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	members := map[string]bool{}
	for len(members) < 3 {
		for _, pid := range children(t, cmd.Process.Pid) {
			members[pid] = true
		}
		select {
		case <-again.C:
		case <-ended:
			t.Fatal("it ends by itself")
		case <-deadline:
			t.Fatal("no members are started")
		}
	}
	cmd.Process.Kill()
	<-ended
	for pid := range members {
		for runs(pid) {
			select {
			case <-again.C:
			case <-deadline:
				t.Fatalf("process %s is left", pid)
			}
		}
	}
}

// children lists the members that are children of a process.
func children(t *testing.T, pid int) (out []string) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range stats {
		name, state, parent := stat(path)
		if name == "concord" && state != "Z" && parent == pid {
			out = append(out, strings.Split(path, "/")[2])
		}
	}
	return out
}

// stat reads name, state and parent of a process; nothing if it is gone.
func stat(path string) (name, state string, parent int) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", "", 0
	}
	_, rest, _ := strings.Cut(string(text), "(")
	name, rest, _ = strings.Cut(rest, ") ")
	fmt.Sscan(rest, &state, &parent)
	return name, state, parent
}

func runs(pid string) bool {
	name, state, _ := stat("/proc/" + pid + "/stat")
	return name == "concord" && state != "Z"
}

func TestScenariosThatCannotBeAreNamed(t *testing.T) {
	t.Setenv("PATH", t.TempDir()) // there is no ip and no nft
	notes := filepath.Join(t.TempDir(), "notes")
	t.Setenv("SECTION_NOTES", notes)
	var out bytes.Buffer
	p := &player{bench: &bench{}, out: &out}
	if err := p.play(t.Context(), []scenario{{name: "halves", lab: true}, {name: "pair", lab: true}}); err != nil {
		t.Fatal(err)
	}
	noted, err := os.ReadFile(notes)
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range []string{out.String(), string(noted)} {
		if !strings.Contains(got, "SKIPPED halves, pair: ") || !strings.Contains(got, "install") {
			t.Errorf("it says %q", got)
		}
	}
}

// A run of nothing would be one without violations.
func TestMistakesInFlagsAreNamed(t *testing.T) {
	for want, o := range map[string]options{
		`"nowhere"`: {only: "halves,nowhere"}, "-runs": {runs: -1, only: "halves"}, "-parallel": {parallel: -1, only: "halves"},
	} {
		if err := run(t.Context(), o, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", o, err, want)
		}
	}
}
