package main

import (
	"strings"
	"testing"
)

func TestSimMapEndsWithJSON(t *testing.T) {
	out, errs, err := simulate(t, "map", "--members", "16", "--duration", "20s", "--session", "5m", "--loss", "0.01", "--lookups", "100", "--json")
	if err != nil {
		t.Fatal(err)
	}
	got := lastLine(t, out)
	if got["members"] != 16.0 || got["right"].(float64) < 1000 || got["bytes_s"].(float64) <= 0 || got["settled"].(float64) < 0 {
		t.Errorf("%v", got)
	}
	if !strings.Contains(errs, "from memory") {
		t.Errorf("the report is not on standard error: %s", errs)
	}
	if _, _, err := simulate(t, "map", "--members", "0"); err == nil || !strings.Contains(err.Error(), "0 members") {
		t.Errorf("a ring of no members: %v", err)
	}
}
