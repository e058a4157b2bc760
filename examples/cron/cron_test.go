package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/concordtest"
	"github.com/ollelogdahl/concord/examples/internal/runs"
)

// ring is a ring in memory with the jobs on its members, and what they have done.
type ring struct {
	*concordtest.Ring

	t      *testing.T
	ledger *ledger
	mu     sync.Mutex
	steps  bytes.Buffer
	stop   map[string]func()
}

func (r *ring) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.steps.Write(b)
}

func virtual(i int, c *concord.Config) { c.VirtualNodes, c.Zone = 4, fmt.Sprint("zone", i%3) }

func newRing(t *testing.T, n int) (*ring, []*concord.Concord) {
	l, err := openLedger(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r := &ring{t: t, ledger: l, stop: make(map[string]func()), Ring: concordtest.New(t, concordtest.Options{Config: concord.Config{
		StabilizeInterval: 250 * time.Millisecond, SuccessorCount: 4, Lease: 2 * time.Second, MinMembers: uint(n/2 + 1),
	}})}
	t.Cleanup(func() {
		for _, stop := range r.stop {
			stop()
		}
		l.file.Close()
	})
	members := r.Ring.Start(n, virtual)
	for _, m := range members {
		r.begin(m)
	}
	return r, members
}

// begin starts the jobs on a member.
func (r *ring) begin(m *concord.Concord) {
	ctx, cancel := context.WithCancel(r.t.Context())
	ask := func(_ context.Context, q request) (answer, error) { return r.ledger.ask(q) }
	_, done := start(ctx, m, ask, jobs(options{name: m.Name(), jobs: 12, every: time.Second, takes: 200 * time.Millisecond}, r))
	r.stop[m.Name()] = func() { cancel(); <-done }
}

// judge checks what was done from some time on until the last seconds: each run once.
func (r *ring) judge() {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	v := runs.Judge(&r.steps, time.Second, 10*time.Second)
	if v.Runs < 100 || v.Overlapping+v.Double+v.Missed > 0 {
		r.t.Errorf("%+v", v)
	}
}

func TestJobsRunOnceThroughFaults(t *testing.T) {
	for name, fault := range map[string]func(*ring, []*concord.Concord){
		"none":  func(*ring, []*concord.Concord) {},
		"crash": func(r *ring, m []*concord.Concord) { r.Kill(m[0], m[1]) },
		"leave": func(r *ring, m []*concord.Concord) {
			if err := m[0].Leave(r.t.Context()); err != nil {
				r.t.Error(err)
			}
		},
		"join": func(r *ring, _ []*concord.Concord) {
			for _, m := range r.Start(2, func(i int, c *concord.Config) {
				virtual(i, c)
				c.Name = fmt.Sprint("late", i)
			}) {
				r.begin(m)
			}
		},
		"hang": func(r *ring, m []*concord.Concord) {
			r.Hang(m[0])
			time.Sleep(5 * time.Second)
			r.Resume(m[0])
		},
		"partition": func(r *ring, m []*concord.Concord) {
			r.Partition(m[0], m[1])
			time.Sleep(10 * time.Second)
			r.Heal()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, members := newRing(t, 6)
				time.Sleep(5 * time.Second)
				fault(r, members)
				time.Sleep(25 * time.Second)
				r.judge()
			})
		})
	}
}

func TestLedgerDecides(t *testing.T) {
	now := time.Unix(1000, 0)
	r := record{Job: "j", Last: 6}
	do := func(q request, want string) {
		t.Helper()
		q.Job = "j"
		if got := decide(&r, q, now); got.Verdict != want {
			t.Errorf("%+v gives %s, want %s", q, got.Verdict, want)
		}
	}
	do(request{Do: "claim", Owner: "a", Epoch: 2}, ok)
	do(request{Do: "claim", Owner: "b", Epoch: 1}, stale)
	do(request{Do: "claim", Owner: "b", Epoch: 2}, stale)
	do(request{Do: "begin", Owner: "a", Epoch: 2, Tick: 6, For: time.Second}, past)
	do(request{Do: "begin", Owner: "a", Epoch: 2, Tick: 7, For: time.Second}, ok)
	do(request{Do: "claim", Owner: "b", Epoch: 3}, ok)
	do(request{Do: "begin", Owner: "b", Epoch: 3, Tick: 7, For: time.Second}, busy)
	do(request{Do: "done", Owner: "a", Epoch: 2, Tick: 7}, ok) // the run that went on
	do(request{Do: "begin", Owner: "a", Epoch: 2, Tick: 8, For: time.Second}, stale)
	do(request{Do: "begin", Owner: "b", Epoch: 3, Tick: 7, For: time.Second}, past)
	do(request{Do: "begin", Owner: "b", Epoch: 3, Tick: 8, For: time.Second}, ok)
	do(request{Do: "aborted", Owner: "b", Epoch: 3, Tick: 8}, ok)
	do(request{Do: "begin", Owner: "b", Epoch: 3, Tick: 8, For: time.Second}, ok)
	now = now.Add(2 * time.Second)
	do(request{Do: "begin", Owner: "b", Epoch: 3, Tick: 8, For: time.Second}, ok) // its time is over
	do(request{Do: "claim", Owner: "c", Epoch: 4}, ok)
	now = now.Add(2 * time.Second)
	do(request{Do: "begin", Owner: "c", Epoch: 4, Tick: 8, For: time.Second}, ok)
	do(request{Do: "done", Owner: "b", Epoch: 3, Tick: 8}, stale)
	do(request{Do: "done", Owner: "c", Epoch: 4, Tick: 8}, ok)
	if r.Last != 8 || r.Owner != "c" || r.Run.Tick != 0 {
		t.Errorf("%+v", r)
	}
}

func TestLedgerOutlivesItsProcess(t *testing.T) {
	dir := t.TempDir()
	for i := range 3 {
		l, err := openLedger(dir)
		if err != nil {
			t.Fatal(err)
		}
		a, err := l.ask(request{Do: "claim", Job: "j", Owner: "a", Epoch: 5, Tick: 10})
		if err != nil || a.Verdict != ok || a.Last != 9+int64(i) {
			t.Errorf("%d: %+v, %v", i, a, err)
		}
		for _, do := range []string{"begin", "done"} {
			if a, err := l.ask(request{Do: do, Job: "j", Owner: "a", Epoch: 5, Tick: 10 + int64(i), For: time.Second}); err != nil || a.Verdict != ok {
				t.Errorf("%s: %+v, %v", do, a, err)
			}
		}
		if i == 1 { // a line that was cut short
			if _, err := io.WriteString(l.file, `{"job":"j","la`); err != nil {
				t.Fatal(err)
			}
		}
		l.file.Close()
	}
}
