package concord_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/transport/memory"
)

// notes are what an Observer was told.
type notes struct {
	mu       sync.Mutex
	lookups  []concord.LookupEnd
	begun    []concord.LookupBegin
	requests map[concord.RequestKind][]concord.RequestEnd
	served   map[concord.RequestKind][]concord.RequestEnd
	open     int // what has begun and not ended
	changes  []string
}

// observer is an Observer that takes notes.
func (n *notes) observer() *concord.Observer {
	n.requests, n.served = map[concord.RequestKind][]concord.RequestEnd{}, map[concord.RequestKind][]concord.RequestEnd{}
	note := func(f func()) {
		n.mu.Lock()
		defer n.mu.Unlock()
		f()
	}
	asked := func(in map[concord.RequestKind][]concord.RequestEnd) func(context.Context, concord.RequestInfo) (context.Context, func(concord.RequestEnd)) {
		return func(ctx context.Context, r concord.RequestInfo) (context.Context, func(concord.RequestEnd)) {
			note(func() { n.open++ })
			return ctx, func(e concord.RequestEnd) {
				note(func() { n.open--; in[r.Kind] = append(in[r.Kind], e) })
			}
		}
	}
	changed := func(what string) func(concord.Server) {
		return func(s concord.Server) { note(func() { n.changes = append(n.changes, what+" "+s.Name) }) }
	}
	replaced := func(what string) func(old, now concord.Server) {
		return func(old, now concord.Server) {
			note(func() { n.changes = append(n.changes, fmt.Sprintf("%s %s -> %s", what, old.Name, now.Name)) })
		}
	}
	return &concord.Observer{
		Lookup: func(ctx context.Context, l concord.LookupBegin) (context.Context, func(concord.LookupEnd)) {
			note(func() { n.open++ })
			return ctx, func(e concord.LookupEnd) {
				note(func() {
					n.open--
					if !l.Background {
						n.begun, n.lookups = append(n.begun, l), append(n.lookups, e)
					}
				})
			}
		},
		Request:     asked(n.requests),
		Serve:       asked(n.served),
		Range:       func(e concord.Event) { note(func() { n.changes = append(n.changes, "range "+e.Cause.String()) }) },
		Successor:   replaced("successor"),
		Predecessor: replaced("predecessor"),
		Suspicion:   changed("suspicion"),
		RingMet:     changed("ring met"),
	}
}

// take returns what was told of changes since it was called last.
func (n *notes) take() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := n.changes
	n.changes = nil
	return out
}

func (n *notes) last(t *testing.T) concord.LookupEnd {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.lookups) == 0 {
		t.Fatal("told of no lookup")
	}
	return n.lookups[len(n.lookups)-1]
}

func (n *notes) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.lookups)
}

func TestObserverIsToldOfLookupsThatMemoryDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		const way = 5 * time.Millisecond
		network.Delay(way, way)
		n := &notes{}
		members := newMemoryRing(t, network, 8, func(c *concord.Config) {
			if c.Name == "member1" {
				c.Observer = n.observer()
			}
		})
		time.Sleep(10 * time.Second)
		c := members[0]

		if _, err := c.Lookup([]byte(c.Name())); err != nil || n.count() != 0 {
			t.Errorf("own key: %v, told of %d lookups", err, n.count())
		}
		far := members[4]
		id := idOf(far.Name())
		if _, err := c.LookupContext(t.Context(), []byte(far.Name()), concord.Fresh()); err != nil {
			t.Fatal(err)
		}
		e := n.last(t)
		if e.Outcome != concord.OutcomeOK || e.Err != nil || e.Owner.Name != far.Name() || e.Source != concord.SourceAsked ||
			e.Hops == 0 || e.Took != time.Duration(e.Hops)*2*way || n.begun[0] != (concord.LookupBegin{Id: id}) {
			t.Errorf("fresh: %+v, %+v", n.begun[0], e)
		}
		before := n.count()
		for range 10 {
			if _, err := c.Lookup([]byte(far.Name())); err != nil {
				t.Fatal(err)
			}
		}
		if n.count() != before {
			t.Error("told of lookups from memory")
		}

		// So that c is asked, too.
		if _, err := far.LookupContext(t.Context(), []byte(c.Name()), concord.Fresh()); err != nil {
			t.Fatal(err)
		}

		ended, cancel := context.WithCancel(t.Context())
		cancel()
		late, stop := context.WithDeadline(t.Context(), time.Now().Add(way))
		defer stop()
		for _, tc := range []struct {
			ctx  context.Context
			want concord.Outcome
			err  error
		}{{ended, concord.OutcomeCancelled, context.Canceled}, {late, concord.OutcomeTimedOut, context.DeadlineExceeded}} {
			_, err := c.LookupContext(tc.ctx, []byte(far.Name()), concord.Fresh(), concord.Cold())
			var le *concord.LookupError
			if e := n.last(t); e.Outcome != tc.want || !errors.Is(e.Err, tc.err) || !errors.As(err, &le) || e.Hops != len(le.Hops) || e.Owner != (concord.Server{}) {
				t.Errorf("%v: %+v, %v", tc.want, e, err)
			}
		}

		c.Stop()
		if n.open != 0 {
			t.Errorf("%d have not ended", n.open)
		}
		for kind, ends := range n.requests {
			for _, e := range ends {
				if (e.Err == nil) != (e.Outcome == concord.OutcomeOK) || e.Outcome == "" {
					t.Errorf("%s: %+v", kind, e)
				}
			}
		}
		for _, kind := range []concord.RequestKind{concord.KindRoute, concord.KindRing, concord.KindIntroduce} {
			if len(n.requests[kind]) == 0 || len(n.served[kind]) == 0 {
				t.Errorf("%s: told of %d requests, %d served", kind, len(n.requests[kind]), len(n.served[kind]))
			}
		}
	})
}

func TestObserverIsToldWhyALookupCouldNotBegin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		n := &notes{}
		c := memoryMember(t, network, "member1", func(c *concord.Config) { c.Observer, c.MinMembers = n.observer(), 2 })
		if _, err := c.Lookup([]byte("x")); !errors.Is(err, concord.ErrNotJoined) || n.last(t).Outcome != concord.OutcomeNotJoined {
			t.Errorf("%v, %+v", err, n.last(t))
		}
		if err := c.Create(); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Lookup([]byte("x")); !errors.Is(err, concord.ErrIsolated) || n.last(t).Outcome != concord.OutcomeIsolated {
			t.Errorf("%v, %+v", err, n.last(t))
		}
	})
}

func TestObserverIsToldOfChangesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		network.Delay(time.Millisecond, time.Millisecond)
		n := &notes{}
		a := memoryMember(t, network, "member1", func(c *concord.Config) { c.Observer = n.observer() })
		if err := a.Create(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got, want := n.take(), []string{"range created"}; !slices.Equal(got, want) {
			t.Errorf("created: %q", got)
		}
		b := memoryMember(t, network, "member2")
		join(t, b, a.Address())
		time.Sleep(5 * time.Second)
		want := []string{"predecessor  -> member2", "range predecessor joined", "successor  -> member2"}
		if got := n.take(); !slices.Equal(got, want) {
			t.Errorf("joined: %q", got)
		}
		b.Stop()
		time.Sleep(10 * time.Second)
		got := n.take()
		for _, want := range []string{"suspicion member2", "successor member2 -> ", "predecessor member2 -> ", "range alone"} {
			if !slices.Contains(got, want) {
				t.Errorf("%q is not among %q", want, got)
			}
		}
		s := a.Status()
		if k := s.Counters; k.SuccessorChanges != 2 || k.PredecessorChanges != 2 || k.RangeChanges != 3 || k.Suspicions == 0 || k.Rounds < 14 || k.Rounds > 17 {
			t.Errorf("%+v", k)
		}
		if s.Share != 1 || s.SuccessorAge != nil {
			t.Errorf("share %v, successor heard of %v ago", s.Share, s.SuccessorAge)
		}
	})
}

func TestObserverIsToldWhenRingsMeet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		network.Delay(time.Millisecond, 2*time.Millisecond)
		all := map[string]*notes{}
		members := newMemoryRing(t, network, 4, func(c *concord.Config) {
			all[c.Name] = &notes{}
			c.Observer = all[c.Name].observer()
		})
		time.Sleep(time.Minute)
		network.Partition([]string{members[0].Address()}, []string{members[1].Address(), members[2].Address(), members[3].Address()})
		time.Sleep(time.Minute)
		met := func() (times uint64) {
			for _, c := range members {
				times += c.Status().Counters.RingsMet
			}
			return times
		}
		if got := met(); got != 0 {
			t.Errorf("%d meetings before and while they are apart", got)
		}
		var share float64
		for _, c := range members {
			share += c.Status().Share
		}
		if share < 1.99 || share > 2.01 {
			t.Errorf("both sides together own %v of the circle", share)
		}
		network.HealAll()
		time.Sleep(2 * time.Minute)
		awaitIdeal(t, members)
		told := uint64(0)
		for _, n := range all {
			for _, c := range n.take() {
				if strings.HasPrefix(c, "ring met") {
					told++
				}
			}
		}
		if got := met(); got == 0 || got != told {
			t.Errorf("%d meetings, told of %d", got, told)
		}
	})
}

func TestStatusTellsTheAgeOfTheSuccessor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		members := newMemoryRing(t, network, 3)
		time.Sleep(10 * time.Second)
		var share float64
		for _, c := range members {
			s := c.Status()
			if s.SuccessorAge == nil || *s.SuccessorAge > 1200*time.Millisecond {
				t.Errorf("%s: %v", c.Name(), s.SuccessorAge)
			}
			share += s.Share
		}
		if share < 0.999999 || share > 1.000001 {
			t.Errorf("all own %v of the circle", share)
		}
	})
}

func TestClientsAreObserved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		members := newMemoryRing(t, network, 4)
		time.Sleep(5 * time.Second)
		n := &notes{}
		c, err := concord.Dial(t.Context(), concord.ClientConfig{Observer: n.observer(), Network: network}, members[0].Address())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for _, m := range members {
			if got, err := c.Lookup([]byte(m.Name())); err != nil || got.Name != m.Name() {
				t.Errorf("%v, %v", got, err)
			}
		}
		if e := n.last(t); n.count() != 4 || e.Outcome != concord.OutcomeOK || e.Source != concord.SourceAsked {
			t.Errorf("told of %d lookups: %+v", n.count(), e)
		}
		if s := c.Status(); s.Counters.Lookups != 4 || s.Arcs == 0 || s.Connections == 0 || len(s.Contacts) == 0 {
			t.Errorf("%+v", s)
		}
		if len(n.requests["ring"]) == 0 || len(n.requests["route"]) == 0 {
			t.Errorf("told of requests %v", n.requests)
		}
		c.Close()
		if s := c.Status(); s.Counters.Lookups != 4 || len(s.Contacts) != 0 {
			t.Errorf("closed: %+v", s)
		}
	})
}

// An Observer may stop the member that it observes.
func TestObserverMayStopTheMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		var c *concord.Concord
		stopped := make(chan struct{})
		c = memoryMember(t, network, "member1", func(cfg *concord.Config) {
			cfg.Observer = &concord.Observer{Range: func(concord.Event) { c.Stop(); close(stopped) }}
		})
		if err := c.Create(); err != nil {
			t.Fatal(err)
		}
		<-stopped
	})
}

func TestObserversCallsAllOfThem(t *testing.T) {
	var got []string
	type key struct{}
	make1 := func(name string) *concord.Observer {
		say := func(what string) { got = append(got, name+" "+what) }
		request := func(ctx context.Context, r concord.RequestInfo) (context.Context, func(concord.RequestEnd)) {
			say(fmt.Sprint("begin ", r.Kind, " ", ctx.Value(key{})))
			return context.WithValue(ctx, key{}, name), func(concord.RequestEnd) { say("end") }
		}
		return &concord.Observer{
			Lookup: func(ctx context.Context, _ concord.LookupBegin) (context.Context, func(concord.LookupEnd)) {
				say("lookup")
				return ctx, nil
			},
			Request: request, Serve: request,
			Inject: func(_ context.Context, set func(key, value string)) { say("inject"); set(name, name) },
			Extract: func(ctx context.Context, get func(string) string) context.Context {
				say("extract " + get(name))
				return ctx
			},
			Range: func(concord.Event) { say("range") }, Successor: func(_, _ concord.Server) { say("successor") },
			Predecessor: func(_, _ concord.Server) { say("predecessor") }, Suspicion: func(concord.Server) { say("suspicion") },
			RingMet: func(concord.Server) { say("ring met") },
		}
	}
	o := concord.Observers(nil, make1("a"), &concord.Observer{}, make1("b"), nil)
	// Every function there is, those added later included.
	for _, f := range reflect.VisibleFields(reflect.TypeFor[concord.Observer]()) {
		if reflect.ValueOf(o).Elem().FieldByIndex(f.Index).IsNil() {
			t.Errorf("%s is lost", f.Name)
		}
	}
	check := func(what string, want ...string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
		got = nil
	}
	for _, f := range []func(context.Context, concord.RequestInfo) (context.Context, func(concord.RequestEnd)){o.Request, o.Serve} {
		_, done := f(t.Context(), concord.RequestInfo{Kind: "ring"})
		done(concord.RequestEnd{})
		check("request", "a begin ring <nil>", "b begin ring a", "b end", "a end")
	}
	if _, done := o.Lookup(t.Context(), concord.LookupBegin{}); done != nil {
		t.Error("an end that nobody wants to know")
	}
	check("lookup", "a lookup", "b lookup")
	o.Inject(t.Context(), func(_, _ string) {})
	o.Extract(t.Context(), func(k string) string { return k + "!" })
	check("headers", "a inject", "b inject", "a extract a!", "b extract b!")
	o.Range(concord.Event{})
	o.Successor(concord.Server{}, concord.Server{})
	o.Predecessor(concord.Server{}, concord.Server{})
	o.Suspicion(concord.Server{})
	o.RingMet(concord.Server{})
	check("changes", "a range", "b range", "a successor", "b successor", "a predecessor", "b predecessor",
		"a suspicion", "b suspicion", "a ring met", "b ring met")
	if o := concord.Observers(); !reflect.ValueOf(*o).IsZero() {
		t.Error("of none is told something")
	}
}

// What Inject names arrives at the member asked, and nothing else does.
func TestHeadersTravelWithRoute(t *testing.T) {
	type key struct{}
	var mu sync.Mutex
	var arrived []string
	served := func(c *concord.Config) {
		c.Observer = &concord.Observer{
			Extract: func(ctx context.Context, get func(string) string) context.Context {
				return context.WithValue(ctx, key{}, get("x-trace"))
			},
			Serve: func(ctx context.Context, r concord.RequestInfo) (context.Context, func(concord.RequestEnd)) {
				if v, _ := ctx.Value(key{}).(string); v != "" {
					mu.Lock()
					arrived = append(arrived, r.Kind.String()+" "+v)
					mu.Unlock()
				}
				return ctx, nil
			},
		}
	}
	members := newRing(t, 2, served)
	c := dial(t, concord.ClientConfig{Observer: &concord.Observer{
		Inject: func(ctx context.Context, set func(key, value string)) {
			set("grpc-timeout", "1n")
			set("x-bad", "a\nb")
			set("X y", "z")
			set("", "z")
			set("x-bin", "z")
			set("x-long", string(make([]byte, 9<<10)))
			if v, ok := ctx.Value(key{}).(string); ok {
				set("X-Trace", v)
			}
		},
	}}, members[0].Address())
	if _, err := c.LookupContext(context.WithValue(t.Context(), key{}, "one"), []byte("member1"), concord.Fresh()); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(arrived) == 0 || arrived[0] != "route one" {
		t.Errorf("arrived: %q", arrived)
	}
}
