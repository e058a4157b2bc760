package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestRingHealsAfterRandomSteps(t *testing.T) {
	seeds := []uint64{1, 2, 3, 5}
	if testing.Short() {
		seeds = seeds[:1]
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			o := defaults()
			o.seed, o.time, o.members = seed, 2*time.Second, 10
			if err := run(t.Context(), o, t.Output()); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestStepsFollowFromTheSeed(t *testing.T) {
	first := func() []string {
		o := defaults()
		o.seed = 7
		f := newFuzzer(o, t.Output())
		defer f.end()
		var steps []string
		for len(steps) < 8 {
			s := f.next()
			if _, err := f.take(s); err != nil {
				t.Fatal(err)
			}
			steps = append(steps, s.what)
		}
		return steps
	}
	a, b := first(), first()
	if got, want := strings.Join(b, "\n"), strings.Join(a, "\n"); got != want {
		t.Errorf("seed 7 first gave\n%s\nand then\n%s", want, got)
	}
}

func TestKillsKeepTheAssumption(t *testing.T) {
	o := defaults()
	o.seed = 11
	f := newFuzzer(o, t.Output())
	defer f.end()
	ctx, cancel := context.WithTimeout(t.Context(), slowCall)
	defer cancel()
	for n := 1; n <= 6; n++ {
		if _, err := f.ring.Add(ctx); err != nil {
			t.Fatal(err)
		}
		may := o.successors - 1
		if n <= o.successors {
			may = n - 1
		}
		most := 0
		for range 500 {
			s := f.next()
			gone := len(s.kill) + len(s.leave)
			if gone > may {
				t.Fatalf("%s: %d of %d go at once, at most %d may", s.what, gone, n, may)
			}
			most = max(most, gone)
		}
		if most != may {
			t.Errorf("of %d, at most %d go at once, %d may", n, most, may)
		}
	}
}

func TestReportTellsHowToRepeat(t *testing.T) {
	o := defaults()
	o.seed = 13
	f := newFuzzer(o, t.Output())
	defer f.end()
	if _, err := f.take(f.next()); err != nil {
		t.Fatal(err)
	}
	f.history = append(f.history, "1. member-0 founds")
	got := f.report(errors.New("something")).Error()
	for _, want := range []string{"something", "seed 13", "1. member-0 founds", "-seed=13", "member-0 " + fmt.Sprint(f.ring.Members()[0].Id())} {
		if !strings.Contains(got, want) {
			t.Errorf("the report lacks %q:\n%s", want, got)
		}
	}
}

func TestRunFailsWhenTheRingDoesNotHeal(t *testing.T) {
	o := defaults()
	o.seed = 17
	f := newFuzzer(o, t.Output())
	defer f.end()
	if _, err := f.take(f.next()); err != nil {
		t.Fatal(err)
	}
	f.ring.Members()[0].Stop() // behind the fuzzer's back
	o.bound = 1
	f.o = o
	_, err := f.heal(step{})
	if err == nil || !strings.Contains(err.Error(), "member-0: is stopped") {
		t.Errorf("heal says %v", err)
	}
}

func TestFlagsAreChecked(t *testing.T) {
	for flags, want := range map[string]string{
		"-members=1":    "-members",
		"-successors=1": "-successors",
		"-interval=1ms": "-interval",
		"-bound=0":      "-bound",
		"60":            "no arguments",
	} {
		var out bytes.Buffer
		cmd := exec.CommandContext(t.Context(), "go", "run", "fuzz.go", flags)
		cmd.Stderr = &out
		if err := cmd.Run(); err == nil || !strings.Contains(out.String(), want) {
			t.Errorf("%s: %v, %q; want %q", flags, err, out.String(), want)
		}
	}
}
