package main

import (
	"strings"
	"testing"
)

func TestSimLeases(t *testing.T) {
	out, errs, err := simulate(t, "leases", "--seeds", "3", "--members", "5", "--faults", "leave,crash", "--min-members", "0", "--json")
	if err != nil {
		t.Fatal(err)
	}
	r := lastLine(t, out)
	if r["seeds"] != 3.0 || r["violations"] != 0.0 || r["two_owner_ns_max"] != 0.0 || len(r["no_owner_ms_p99"].(map[string]any)) == 0 {
		t.Errorf("%v", r)
	}
	if !strings.Contains(errs, "violations    0") {
		t.Errorf("the report is not on standard error: %s", errs)
	}
	out, _, err = simulate(t, "leases", "--seeds", "2", "--members", "5", "--faults", "leave,crash", "--identifiers", "1,4", "--json")
	if err != nil {
		t.Fatal(err)
	}
	if r := lastLine(t, out); r["violations"] != 0.0 || r["two_owner_ns_max"] != 0.0 {
		t.Errorf("at several identifiers: %v", r)
	}
	for what, flag := range map[string][]string{
		"use at least": {"--lease", "1s"},
		"cut off":      {"--min-members", "0"},
	} {
		if _, _, err := simulate(t, append([]string{"leases"}, flag...)...); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%v: %v", flag, err)
		}
	}
}
