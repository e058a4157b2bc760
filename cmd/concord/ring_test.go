//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/cluster"
	"github.com/ollelogdahl/concord/internal/survey"
)

// Every member of a ring is met, whoever is asked first. How long that takes is
// logged: what it says depends on what else the machine does.
func TestRingOfMany(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	c := cluster.New(func(i int) concord.Config {
		return concord.Config{Name: fmt.Sprint("node", i), BindAddr: "127.0.0.1:0"}
	})
	defer c.Close()
	const size = 16
	first, err := c.AddMany(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.AddMany(ctx, size-1, first...); err != nil {
		t.Fatal(err)
	}
	if _, err := c.WaitIdeal(ctx); err != nil {
		t.Fatal(err)
	}
	cmd := command(t, "ring", "--addr", c.Members()[size/2].Address(), "--successors", "3", "--json",
		"--timeout", "25s", "--wait", "25s") // of which a busy machine may need some
	began := time.Now()
	out, err := cmd.Output()
	t.Logf("the process took %v, %v of a processor", time.Since(began), cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var r survey.Report
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatal(err)
	}
	if !r.Ideal || len(r.Members) != size || len(r.Rings) != 1 || len(r.Rings[0]) != size {
		t.Errorf("ideal %t, %d members, rings %v", r.Ideal, len(r.Members), r.Rings)
	}
	ringByItsMap(t, c.Members()[size/3].Address(), size)
}

// ringByItsMap asks one member for all others, and to be told of changes.
func ringByItsMap(t *testing.T, addr string, size int) {
	out, err := command(t, "ring", "--addr", addr, "--map", "--json", "--timeout", "25s", "--wait", "25s").Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var r survey.Report
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatal(err)
	}
	if !r.Ideal || len(r.Members) != size {
		t.Errorf("by the map: ideal %t, %d members", r.Ideal, len(r.Members))
	}
	watch := command(t, "watch", "--ring", "--addr", addr, "--json")
	lines, err := watch.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := watch.Start(); err != nil {
		t.Fatal(err)
	}
	var first []concord.RingChange
	if err := json.NewDecoder(lines).Decode(&first); err != nil || len(first) != size {
		t.Errorf("watch --ring begins with %d members, %v", len(first), err)
	}
	if err := watch.Process.Signal(os.Interrupt); err != nil {
		t.Error(err)
	}
	if err := watch.Wait(); err != nil {
		t.Errorf("watch --ring ends with %v", err)
	}
}

// What a client makes of two walks is what WatchRing would have said.
func TestChangesBetweenWalks(t *testing.T) {
	a, b, x := concord.Server{Name: "a", Id: 10}, concord.Server{Name: "b", Id: 20}, concord.Server{Name: "x", Id: 15}
	r := func(start, end uint64) concord.Range { return concord.Range{Start: start, End: end} }
	before := map[rangeKey]concord.Range{{a, 10}: r(20, 10), {b, 20}: r(10, 20)}
	after := map[rangeKey]concord.Range{{a, 10}: r(15, 10), {x, 15}: r(10, 15)}
	want := []concord.RingChange{
		{Server: a, Old: r(20, 10), New: r(15, 10), Had: true, Has: true},
		{Server: x, New: r(10, 15), Has: true},
		{Server: b, Old: r(10, 20), Had: true},
	}
	if got := different(before, after); !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
	if got := population(want[:2]); got != "2 members" {
		t.Errorf("two members with a range each: %s", got)
	}
	if got := population(append(want, want[0])); got != "3 members, 4 ranges" {
		t.Errorf("three members, one with two ranges: %s", got)
	}
	var out bytes.Buffer
	if err := printChanges(&out, time.Time{}, want, false); err != nil {
		t.Fatal(err)
	}
	for _, words := range []string{"changed: a at", "had (20, 10]", "new: x at", "has (10, 15]", "gone: b at", "had (10, 20]"} {
		if !strings.Contains(out.String(), words) {
			t.Errorf("%q is not in\n%s", words, &out)
		}
	}
}
