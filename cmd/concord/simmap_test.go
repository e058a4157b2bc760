package main

import (
	"strings"
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/sim/mapsim"
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

// A run that takes long tells every ten seconds how far it is.
func TestSimMapTellsHowFarItIs(t *testing.T) {
	var out strings.Builder
	now := time.Unix(0, 0)
	tell := mapProgress(&out, &mapsim.Config{Interval: time.Second, Duration: 3 * time.Minute}, 7, func() time.Time { return now })
	for i := range 6 {
		now = now.Add(5 * time.Second)
		tell(float64(i+1) / 10)
	}
	now = now.Add(10 * time.Second)
	tell(1)
	want := "seed 7: 40s of 3m20s simulated after 10 s\n" +
		"seed 7: 1m20s of 3m20s simulated after 20 s\n" +
		"seed 7: 2m0s of 3m20s simulated after 30 s\n" +
		"seed 7: all is simulated, maps settle, after 40 s\n"
	if out.String() != want {
		t.Errorf("it says\n%s", out.String())
	}
}
