//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
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
}

// Nobody comes or goes after the output has failed, and the command does not wait for that.
func TestWatchOfARingEndsWhenItsOutputFails(t *testing.T) {
	t.Parallel()
	_, ready := runMember(t, "--name", "a")
	_, addr, _ := strings.Cut(ready, "address=")
	for _, args := range [][]string{nil, {"--json"}} {
		r, w := io.Pipe()
		r.Close()
		watch := newWatch()
		watch.SilenceUsage, watch.SilenceErrors = true, true
		watch.SetArgs(append([]string{"--ring", "--addr", addr}, args...))
		watch.SetOut(w)
		ended := make(chan error, 1)
		go func() { ended <- watch.ExecuteContext(t.Context()) }()
		select {
		case err := <-ended:
			if !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("%v: ends with %v", args, err)
			}
		case <-time.After(patience):
			t.Fatalf("%v: it goes on", args)
		}
	}
}

// A burst of changes is told of as one change of each member, who came and went first.
func TestChangesOfARingAreToldMemberByMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, x := concord.Server{Name: "a", Address: "a:1"}, concord.Server{Name: "b", Address: "b:1"}, concord.Server{Name: "x", Address: "x:1"}
		r := func(start, end uint64) concord.Range { return concord.Range{Start: start, End: end} }
		has := func(s concord.Server, r concord.Range) concord.RingChange {
			return concord.RingChange{Server: s, New: r, Has: true, Incarnation: 1}
		}
		gone := func(s concord.Server, r concord.Range) concord.RingChange {
			return concord.RingChange{Server: s, Old: r, Had: true, Incarnation: 1}
		}
		changed := func(s concord.Server, old, now concord.Range) concord.RingChange {
			return concord.RingChange{Server: s, Old: old, New: now, Had: true, Has: true, Incarnation: 1}
		}
		elements := make(chan ringElement)
		var out lockedLog
		ended := make(chan error, 1)
		go func() { ended <- tellChanges(&out, elements, 8) }()
		says := func(want string) {
			t.Helper()
			synctest.Wait()
			if got := out.take(); got != want {
				t.Errorf("told\n%s\nwant\n%s", got, want)
			}
		}
		elements <- ringElement{list: []concord.RingChange{has(a, r(128, 64)), has(b, r(64, 128))}}
		says(`00:00:00.000 the ring has 2 members
             a at a:1
               has (128, 64], 75.0 %
             b at b:1
               has (64, 128], 25.0 %
`)
		time.Sleep(time.Minute)
		// x comes at one identifier, then at another; b restarts.
		elements <- ringElement{list: []concord.RingChange{has(x, r(128, 0)), changed(a, r(128, 64), r(0, 64))}}
		time.Sleep(changesApart / 2)
		back := has(b, r(64, 128))
		back.Incarnation = 2
		elements <- ringElement{list: []concord.RingChange{has(x, r(0, 32)), changed(a, r(0, 64), r(32, 64)), gone(b, r(64, 128)), back}}
		says("")
		time.Sleep(changesApart)
		says(`00:01:00.000 new: x at x:1
               has 2 ranges, 62.5 %
             back: b at b:1
               had (64, 128], 25.0 %
               has (64, 128], 25.0 %
             changed: a at a:1
               had (128, 64], 75.0 %
               has (32, 64], 12.5 %
`)
		// What goes and comes back within a burst is not told of. What does not end is.
		for range 4 {
			elements <- ringElement{list: []concord.RingChange{gone(a, r(32, 64))}}
			time.Sleep(changesApart / 2)
			elements <- ringElement{list: []concord.RingChange{has(a, r(32, 64))}}
			time.Sleep(changesApart / 2)
		}
		says("")
		time.Sleep(time.Second)
		says("")
		elements <- ringElement{list: []concord.RingChange{gone(a, r(32, 64))}}
		for range 10 {
			time.Sleep(changesApart / 2)
			elements <- ringElement{list: []concord.RingChange{changed(x, r(0, 32), r(0, 32))}}
		}
		says(`00:01:02.100 gone: a at a:1
               had (32, 64], 12.5 %
`)
		close(elements)
		if err := <-ended; err != nil {
			t.Error(err)
		}
		says("")
	})
}
