package bench

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestQuantilesAndMedians(t *testing.T) {
	var sorted []float64
	for i := range 100 {
		sorted = append(sorted, float64(i))
	}
	if got := quantile(sorted, 0.5); got != 50 {
		t.Errorf("half of 0…99 lie below %v", got)
	}
	if got := quantile(sorted, 0.99); got != 99 {
		t.Errorf("99 %% of 0…99 lie below %v", got)
	}
	if got := quantile([]float64{7}, 0.99); got != 7 {
		t.Errorf("of one value the quantile is %v", got)
	}
	if got := quantile(nil, 0.5); got != 0 {
		t.Errorf("of no value the quantile is %v", got)
	}
	if got := Median([]int{9, 1, 5}); got != 5 {
		t.Errorf("median of 9, 1, 5 is %v", got)
	}
	if got := Median([]float64{4, 1, 2, 3}); got != 2.5 {
		t.Errorf("median of 4, 1, 2, 3 is %v", got)
	}
	if got := Median[int](nil); got != 0 {
		t.Errorf("median of nothing is %v", got)
	}
	for x, want := range map[float64]string{0.04999: "0", 141.26: "141.3", 0.05: "0.1"} {
		if got, err := json.Marshal(rounded(x, 0.1)); err != nil || string(got) != want {
			t.Errorf("%v is rounded to %s (%v), not %s", x, got, err, want)
		}
	}
}

func TestRaceTimesEveryCaseWithEveryNumberOfCallers(t *testing.T) {
	var one, many atomic.Int64
	var order []string
	r := Race{
		Cases: []Case{
			{Name: "one", RPCs: 2, Loop: func(_ context.Context, _, n int) error {
				one.Add(int64(n))
				if n > 8 {
					return errors.New("more at once than the warm-up has")
				}
				return nil
			}},
			{Name: "many", Batch: 10, Loop: func(_ context.Context, from, n int) error {
				if n%10 != 0 || from < 0 {
					return errors.New("not a batch")
				}
				many.Add(int64(n))
				return nil
			}, Requests: func() uint64 { return uint64(many.Load()) }},
		},
		Callers: []int{1, 3}, Rounds: 2, Window: 2 * time.Millisecond,
		Progress: func(_, of int, doing string) {
			if of != 8 {
				t.Errorf("%d windows, not 8", of)
			}
			order = append(order, doing)
		},
	}
	got, err := r.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var rows [][3]any
	for _, x := range got {
		rows = append(rows, [3]any{x.Name, x.Callers, x.Batch})
		if x.Ops == 0 || x.P50 < 0 || x.P99 < x.P50 || x.PerS <= 0 || x.Rounds != 2 {
			t.Errorf("%+v", x)
		}
	}
	want := [][3]any{{"one", 1, 1}, {"one", 3, 1}, {"many", 1, 10}, {"many", 3, 10}}
	if !reflect.DeepEqual(rows, want) {
		t.Errorf("timed %v, not %v", rows, want)
	}
	if got[0].RPCs != 2 || math.Abs(got[2].RPCs-1) > 0.001 {
		t.Errorf("requests are %v and %v, not 2 and 1", got[0].RPCs, got[2].RPCs)
	}
	wantOrder := []string{
		"one, callers: 1", "many, callers: 1", "one, callers: 3", "many, callers: 3",
		"many, callers: 1", "one, callers: 1", "many, callers: 3", "one, callers: 3", "",
	}
	if !slices.Equal(order, wantOrder) {
		t.Errorf("in the order %q, not %q", order, wantOrder)
	}
	if one.Load() == 0 || many.Load() == 0 {
		t.Errorf("%d and %d operations", one.Load(), many.Load())
	}
}

func TestRaceEndsWithTheFirstError(t *testing.T) {
	broken := errors.New("broken")
	r := Race{
		Cases:   []Case{{Name: "x", Loop: func(context.Context, int, int) error { return broken }}},
		Callers: []int{1}, Rounds: 1, Window: time.Millisecond,
	}
	if _, err := r.Run(t.Context()); !errors.Is(err, broken) {
		t.Errorf("the error is %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
}

func TestHistoryJudgesByEveryInstantOfALookup(t *testing.T) {
	t0 := time.Now()
	at := func(ms int) time.Time { return t0.Add(time.Duration(ms) * time.Millisecond) }
	h := history{epochs: []epoch{
		{from: at(0), members: []uint64{100, 200, 300}},
		{from: at(10), members: []uint64{100, 200, 300}, joining: []uint64{150}},
		{from: at(20), members: []uint64{100, 150, 200, 300}},
		{from: at(30), members: []uint64{100, 150, 300}},
	}}
	late := func(ms int) verdict { return verdict{late: time.Duration(ms) * time.Millisecond} }
	right, stranger := verdict{right: true}, verdict{stranger: true}
	for name, c := range map[string]struct {
		id, named    uint64
		began, ended int
		want         verdict
	}{
		"the owner":                          {140, 200, 1, 2, right},
		"at its identifier":                  {200, 200, 1, 2, right},
		"round the circle":                   {301, 100, 1, 2, right},
		"not the first":                      {140, 300, 1, 2, stranger},
		"who is not there yet":               {140, 150, 1, 2, stranger},
		"the successor of who is joining":    {140, 200, 12, 13, right},
		"who is joining":                     {140, 150, 12, 13, right},
		"who is joining, at its identifier":  {150, 150, 12, 13, right},
		"who is joining, of what lies after": {151, 150, 12, 13, stranger},
		"the owner when the lookup began":    {140, 200, 19, 25, right},
		"the owner until before it began":    {140, 200, 21, 26, late(6)},
		"the owner when it ended":            {140, 150, 5, 11, right},
		"one killed meanwhile":               {160, 200, 29, 31, right},
		"one killed before":                  {160, 200, 30, 45, late(15)},
		"whom the killed leaves its keys":    {160, 300, 29, 31, right},
		"whom it has not left them yet":      {160, 300, 21, 29, stranger},
	} {
		if got := h.judge(c.id, c.named, at(c.began), at(c.ended)); got != c.want {
			t.Errorf("%s: %+v, not %+v", name, got, c.want)
		}
	}
}

func TestHistoryFollowsTheRing(t *testing.T) {
	var h history
	h.change(func(e *epoch) { e.members = []uint64{10, 30} })
	h.join(20)
	h.joined(20, true)
	h.kill(10)
	h.join(5)
	h.joined(5, false)
	var members, joining [][]uint64
	for _, e := range h.epochs {
		members, joining = append(members, e.members), append(joining, append([]uint64{}, e.joining...))
	}
	wantMembers := [][]uint64{{10, 30}, {10, 30}, {10, 20, 30}, {20, 30}, {20, 30}, {20, 30}}
	wantJoining := [][]uint64{{}, {20}, {}, {}, {5}, {}}
	if !reflect.DeepEqual(members, wantMembers) || !reflect.DeepEqual(joining, wantJoining) {
		t.Errorf("members %v, joining %v", members, joining)
	}
}

func TestBareMessagesAreAsLargeAsAsked(t *testing.T) {
	for _, size := range []int{2, 50, 100, 129, 131, 200, 300} {
		m := filled(size)
		n := 1 + 1 + len(m.Value) // tag, length
		if len(m.Value) > 127 {
			n++
		}
		if n != size {
			t.Errorf("asked for %d bytes, made %d", size, n)
		}
	}
}

func TestKeysAreTheSameAndAsAsked(t *testing.T) {
	even := func(k []byte) bool { return k[15]%2 == 0 }
	a, err := Keys(50, 1, even)
	if err != nil || len(a) != 50 {
		t.Fatal(len(a), err)
	}
	b, _ := Keys(50, 1, even)
	if !reflect.DeepEqual(a, b) {
		t.Error("keys of one seed differ")
	}
	for _, k := range a {
		if len(k) != 16 || !even(k) {
			t.Errorf("key %x", k)
		}
	}
	if _, err := Keys(1, 1, func([]byte) bool { return false }); err == nil {
		t.Error("keys that nobody has were found")
	}
}

// tiny is a plan that takes a second or two.
func tiny() Plan {
	return Plan{
		Members: 4, Interval: 100 * time.Millisecond, Parts: Parts,
		Settle: 200 * time.Millisecond, Watch: 2 * time.Second, // ten rounds, on a busy machine some
		Callers: []int{1, 3}, Rounds: 2, Window: 20 * time.Millisecond,
		Changes: 1, ChangeTime: time.Minute, Builds: 2,
		Churn: Churn{Members: 6, Interval: 100 * time.Millisecond, Every: 250 * time.Millisecond, Time: time.Second, Rate: 20},
	}
}

func TestRunMeasuresEveryPart(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var results []any
	var names []string
	share := 0.0
	p := tiny()
	err := Run(ctx, p, func(r any) error {
		results = append(results, r)
		return nil
	}, func(s float64, doing string) {
		if s < share-1e-9 || s > 1+1e-9 {
			t.Errorf("progress goes from %v to %v (%s)", share, s, doing)
		}
		share = s
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		switch r := r.(type) {
		case Machine:
			names = append(names, r.Name)
			if r.Go == "" || r.GRPC == "" || r.CPUs < 1 {
				t.Errorf("%+v", r)
			}
		case Idle:
			names = append(names, r.Name)
			if r.Members != 4 || r.Bytes <= 0 || r.Calls <= 0 || r.Heap == 0 || r.Connections <= 0 {
				t.Errorf("%+v", r)
			}
		case AllMembers:
			names = append(names, r.Name)
			if line, err := json.Marshal(r); err != nil || !strings.Contains(string(line), `"cpu_ms_s":`) || r.CPU > 1000 {
				t.Errorf("%s, %v", line, err) // a processor has 1000 ms in a second
			}
			if r.Members != 4 || r.Lookups < 4 || r.Failed > 0 || r.Memory <= 0 || r.Memory > 1 || r.Bytes <= 0 || r.PerS <= 0 {
				t.Errorf("%+v", r)
			}
		case BareIdle:
			names = append(names, r.Name)
			if r.Members != 4 || r.Connections <= 0 {
				t.Errorf("%+v", r)
			}
		case Timing:
			names = append(names, r.Name)
			if r.Members != 4 || r.Ops == 0 || r.P50 <= 0 || r.PerS <= 0 {
				t.Errorf("%+v", r)
			}
			switch r.Name {
			case "grpc-unary":
				if r.Batch != 1 || r.RPCs < 1 || r.Allocs < 10 {
					t.Errorf("%+v: less than a request each", r)
				}
			case "lookup-fresh": // of several callers, some share requests
				if r.Batch != 1 || r.RPCs < 1 && r.Callers == 1 || r.RPCs == 0 {
					t.Errorf("%+v: less than a request each", r)
				}
			case "floor-hash-search", "lookup-owned":
				// A few: a member asks for fingers, and confirms what the
				// window before relied on.
				if r.Batch != Batch || r.RPCs > 0.01 {
					t.Errorf("%+v: requests from memory", r)
				}
			case "lookup-confirmed":
				if r.Batch != Batch || r.RPCs > 0.5 {
					t.Errorf("%+v: more than is confirmed again", r)
				}
			}
		case Span:
			names = append(names, r.Name)
			if r.Members != 4 || r.P50 <= 0 || r.Max < r.P50 || r.Times != map[string]int{"build": 2, "join": 1, "heal": 1}[r.Name] {
				t.Errorf("%+v", r)
			}
		case Subscribed:
			names = append(names, r.Name)
			if r.Members != 4 || r.Lookups < 10 || r.Memory < 0.5 || r.Bytes <= 0 || r.Load < 500 || r.PerS < 1000 {
				t.Errorf("%+v", r)
			}
		case Churned:
			names = append(names, r.Name)
			if r.Members != 6 || r.Lookups < 20 || r.Joins != 4 || r.Strangers > r.Wrong || r.Wrong > r.Lookups || r.Memory > 1 || (r.Memory > 0.5) != (r.Name == "churn") {
				t.Errorf("%+v", r)
			}
		}
	}
	want := []string{
		"machine", "idle", "lookup-all-members", "lookup-subscribed", "grpc-unary", "grpc-unary", "floor-hash-search", "floor-hash-search", "lookup-owned", "lookup-owned",
		"lookup-confirmed", "lookup-confirmed", "lookup-fresh", "lookup-fresh", "build", "join", "heal", "idle-grpc", "churn", "churn-plain",
	}
	if !slices.Equal(names, want) {
		t.Errorf("results are %q, not %q", names, want)
	}
}

func TestRunEndsWhenItsResultsAreNotWanted(t *testing.T) {
	p := tiny()
	p.Parts = []string{PartLookups}
	closed := errors.New("closed")
	if err := Run(t.Context(), p, func(any) error { return closed }, nil); !errors.Is(err, closed) {
		t.Errorf("the error is %v", err)
	}
}

func TestBriefKeepsThreeDigits(t *testing.T) {
	for ns, want := range map[float64]string{
		0: "0 ns", 145.4: "145 ns", 999.4: "999 ns", 999.6: "1.00 µs", 69_120: "69.1 µs", 99_960: "100 µs", 1.234e6: "1.23 ms", 5e10: "50.0 s",
	} {
		if got := Brief(ns); got != want {
			t.Errorf("%v ns is %q, not %q", ns, got, want)
		}
	}
}
