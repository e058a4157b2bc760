//go:build unix

package main

import (
	"encoding/json"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// The last line of --json is one object with what the run has found.
func TestCheckReportsInJSON(t *testing.T) {
	out, err := command(t, "check", "--members", "4", "--successors", "2", "--json").Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	var report struct {
		States, Transitions, Violations int
		Exhausted                       bool
		Seconds                         float64
		Runs                            []struct{ Start string }
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &report); err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	if report.States < 1000 || report.Transitions < report.States || report.Violations != 0 || !report.Exhausted ||
		report.Seconds <= 0 || len(report.Runs) != 2 || report.Runs[0].Start != "ring" || report.Runs[1].Start != "founder" {
		t.Errorf("%+v", report)
	}
}

// A violation is told with a command that tells it again, to the last letter.
func TestCheckReplaysWhatItPrints(t *testing.T) {
	out, err := command(t, "check", "--start", "ring", "--assume", "successor", "--rules", "ordered-ring", "--quiet", "0").Output()
	exit, ok := err.(*exec.ExitError)
	if !ok || exit.ExitCode() != 1 || !strings.Contains(string(exit.Stderr), "ordered-ring") {
		t.Fatalf("%v\n%s", err, out)
	}
	told := string(out)
	_, again, ok := strings.Cut(told, "\nAgain:\n")
	if !ok {
		t.Fatalf("no command in:\n%s", told)
	}
	for line := range strings.SplitSeq(told, "\n") {
		if len(line) > 80 {
			t.Errorf("%d columns: %s", len(line), line)
		}
	}
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	shell := exec.Command("sh", "-c", regexp.MustCompile(`^  concord`).ReplaceAllString(again, "'"+bin+"'"))
	replayed, err := shell.Output()
	if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 1 {
		t.Fatalf("%v\n%s", err, replayed)
	}
	story := told[strings.Index(told, " 0. the start"):strings.Index(told, "\nAgain:\n")]
	if !strings.HasPrefix(string(replayed), story) {
		t.Errorf("replayed:\n%s\nwant:\n%s", replayed, story)
	}
}

func TestCheckNamesEveryBadFlag(t *testing.T) {
	out, err := command(t, "check", "--members", "9", "--start", "middle", "--joins", "x", "--assume", "luck", "--rules", "nice", "--time", "-1s").CombinedOutput()
	if err == nil {
		t.Fatalf("accepted:\n%s", out)
	}
	for _, want := range []string{"--members: 9", "--start middle", "--joins x", "--assume luck", "--time -1s", "--rules: no rule is called \"nice\""} {
		if !strings.Contains(string(out), want) {
			t.Errorf("nothing about %q in:\n%s", want, out)
		}
	}
}
