//go:build unix

package main

import (
	"context"
	"encoding/json"
	"fmt"
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
}
