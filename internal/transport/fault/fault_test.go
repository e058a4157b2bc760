package fault

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// after runs f in d of the bubble's time.
func after(d time.Duration, f func()) {
	time.AfterFunc(d, f)
}

// took is whether f says true, and after how long it returned.
func took(f func(ctx context.Context) bool) (bool, time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	began := time.Now()
	return f(ctx), time.Since(began)
}

func TestWhatWaitsGoesOnWhenTheFaultIsOver(t *testing.T) {
	for _, tc := range []struct {
		name       string
		fault, end func(f *Faults)
		wait       func(ctx context.Context, f *Faults) bool
	}{
		{"a paused process", func(f *Faults) { f.Pause("a") }, func(f *Faults) { f.Resume("a") },
			func(ctx context.Context, f *Faults) bool { return f.Awake(ctx, "a") }},
		{"a cut way", func(f *Faults) { f.Cut("a", "b") }, func(f *Faults) { f.Heal("a", "b") },
			func(ctx context.Context, f *Faults) bool { return f.Open(ctx, "a", "b") }},
		{"a partition", func(f *Faults) { f.Partition([]string{"a"}, []string{"b"}) }, func(f *Faults) { f.HealAll() },
			func(ctx context.Context, f *Faults) bool { return f.Open(ctx, "b", "a") }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := New(1)
				wait := func(ctx context.Context) bool { return tc.wait(ctx, f) }
				if ok, d := took(wait); !ok || d != 0 {
					t.Errorf("without a fault: %v after %v", ok, d)
				}
				tc.fault(f)
				tc.fault(f)
				if ok, d := took(wait); ok || d != time.Minute {
					t.Errorf("with the fault: %v after %v", ok, d)
				}
				after(time.Second, func() { tc.end(f) })
				if ok, d := took(wait); !ok || d != time.Second {
					t.Errorf("with the fault for a second: %v after %v", ok, d)
				}
				tc.end(f)
			})
		})
	}
}

func TestOnlyTheWayThatIsCutIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := New(1)
		f.Cut("a", "b")
		after(time.Second, func() { f.Heal("c", "d") }) // wakes, and opens nothing
		if ok, _ := took(func(ctx context.Context) bool { return f.Open(ctx, "a", "b") }); ok {
			t.Error("healing another way opened it")
		}
		if f.Passes("a", "b") || !f.Passes("b", "a") || !f.Severed("a", "b") || f.Severed("b", "a") {
			t.Error("not exactly the way from a to b is cut")
		}
		f.Pause("c")
		if f.Passes("c", "a") || f.Passes("a", "c") {
			t.Error("a paused process says or hears something")
		}
	})
}

func TestDrawsAreThoseOfTheSeed(t *testing.T) {
	draws := func(seed uint64) (out []time.Duration) {
		f := New(seed)
		f.Delay(time.Millisecond, time.Second)
		f.Lose(0.5)
		for range 100 {
			d, lost := f.Draw("a", "b")
			if d < time.Millisecond || d > time.Second {
				t.Errorf("drew %v", d)
			}
			if lost {
				d = -d
			}
			out = append(out, d)
		}
		return out
	}
	a, b, c := draws(1), draws(1), draws(2)
	same := 0
	for i := range a {
		if a[i] != b[i] {
			t.Fatalf("draw %d of one seed is %v and %v", i, a[i], b[i])
		}
		if a[i] == c[i] {
			same++
		}
	}
	if same > 5 {
		t.Errorf("%d of 100 draws of two seeds are the same", same)
	}
}

func TestSeedsOfMembersDiffer(t *testing.T) {
	a := Seed(1, "a")
	if a == 0 || Seed(1, "b") == a || Seed(2, "a") == a {
		t.Error("the seed is not that of the network and the name")
	}
	if again := Seed(1, "a"); again != a {
		t.Errorf("the seed is %d and %d", a, again)
	}
}
