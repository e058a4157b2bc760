package main

import (
	"strings"
	"testing"
)

func TestSimBalanceEndsWithJSON(t *testing.T) {
	out, errs, err := simulate(t, "balance", "--members", "3..16", "--virtual-nodes", "8", "--seeds", "4", "--json")
	if err != nil {
		t.Fatal(err)
	}
	got := lastLine(t, out)
	plain, _ := got["plain"].(map[string]any)
	for _, name := range []string{"max_mean_p50", "max_mean_p99", "moved_join_max"} {
		chosen, _ := got[name].(float64)
		hashed, _ := plain[name].(float64)
		if chosen < 1 || chosen > 1.2 || hashed <= chosen {
			t.Errorf("%s: %v, plain %v", name, got[name], plain[name])
		}
	}
	if !strings.Contains(errs, "half replaced") {
		t.Errorf("the report is not on standard error: %s", errs)
	}
	for want, args := range map[string][]string{
		`--members "many"`: {"--members", "many"},
		"9..3 members":     {"--members", "9..3"},
		"--seeds 0":        {"--seeds", "0"},
		"0 identifiers":    {"--virtual-nodes", "0"},
	} {
		if _, _, err := simulate(t, append([]string{"balance"}, args...)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v is not refused with %q", err, want)
		}
	}
}
