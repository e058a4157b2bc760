package memory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
	"github.com/ollelogdahl/concord/internal/transport"
	"github.com/ollelogdahl/concord/internal/transport/transporttest"
)

func TestConformance(t *testing.T) {
	transporttest.Run(t, func(*testing.T) transporttest.Listen {
		n := NewNetwork(1)
		return func(addr string) (transport.Transport, error) { return n.Listen(addr) }
	})
}

// Latency, jitter and round trips to connect change no outcome.
func TestConformanceWithLatency(t *testing.T) {
	transporttest.Run(t, func(*testing.T) transporttest.Listen {
		n := NewNetwork(2)
		n.Delay(0, 2*time.Millisecond)
		n.ConnectDelay(2)
		return func(addr string) (transport.Transport, error) { return n.Listen(addr) }
	})
}

// bubble runs f with a network of two, a and b, in a synctest bubble. b answers
// each query by telling its identifier at got.
func bubble(t *testing.T, f func(t *testing.T, n *Network, a, b *Transport, got chan uint64)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n, got := NewNetwork(1), make(chan uint64, 64)
		a, b := listen(t, n, "a:1", nil), listen(t, n, "b:1", got)
		f(t, n, a, b, got)
	})
}

func listen(t *testing.T, n *Network, addr string, got chan<- uint64) *Transport {
	t.Helper()
	tr, err := n.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	tr.Serve(&transporttest.Handler{OnRoute: func(_ context.Context, _ transport.Envelope, q routing.Query) (routing.Answer, error) {
		if got != nil {
			got <- q.ID
		}
		return routing.Answer{Verdict: routing.Closer}, nil
	}})
	t.Cleanup(func() { tr.Close() })
	return tr
}

// ask sends query id and reports after how long it ended, and how.
func ask(tr *Transport, to string, id uint64, patience time.Duration) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	start := time.Now()
	_, err := tr.Route(ctx, transport.Envelope{To: ring.Member{Name: "m", Addr: to}}, routing.Query{ID: id})
	return time.Since(start), err
}

// want asks and compares both; kind 0 is an answer.
func want(t *testing.T, tr *Transport, to string, after time.Duration, kind protocol.FailureKind) {
	t.Helper()
	got, err := ask(tr, to, 1, time.Minute)
	if kindOf(err) != kind || got != after {
		t.Errorf("%s asks %s: %v after %v; want kind %d (%s) after %v", tr.Addr(), to, err, got, kind, kind, after)
	}
}

func kindOf(err error) protocol.FailureKind {
	if err == nil {
		return 0
	}
	if f, ok := errors.AsType[*protocol.Failure](err); ok {
		return f.Kind
	}
	return 255
}

const answered = protocol.FailureKind(0)

func TestListenGivesFreshAddresses(t *testing.T) {
	n := NewNetwork(1)
	seen := make(map[string]bool)
	if tr, err := n.Listen("mem:2"); err != nil || tr.Addr() != "mem:2" {
		t.Fatalf("Listen = %v, %v", tr, err)
	}
	for range 4 {
		tr, err := n.Listen("")
		if err != nil {
			t.Fatal(err)
		}
		if seen[tr.Addr()] || tr.Addr() == "mem:2" {
			t.Errorf("%s was given out twice", tr.Addr())
		}
		seen[tr.Addr()] = true
		tr.Close()
	}
	for _, bad := range []string{"mem", "mem:0", ":1"} {
		if _, err := n.Listen(bad); err == nil {
			t.Errorf("Listen(%q) succeeded", bad)
		}
	}
}

func TestDelayIsPaidBothWays(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, a, b *Transport, _ chan uint64) {
		want(t, a, b.Addr(), 0, answered)
		n.Delay(10*time.Millisecond, 0)
		want(t, a, b.Addr(), 20*time.Millisecond, answered)
		n.DelayBetween(b.Addr(), a.Addr(), time.Second, time.Second)
		want(t, a, b.Addr(), 1010*time.Millisecond, answered)
		want(t, a, "nobody:1", 20*time.Millisecond, protocol.Refused)
	})
}

func TestDelayIsDrawnWithinItsBounds(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, a, b *Transport, got chan uint64) {
		n.Delay(10*time.Millisecond, 30*time.Millisecond)
		least, most := time.Hour, time.Duration(0)
		for range 500 {
			took, err := ask(a, b.Addr(), 1, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			<-got
			least, most = min(least, took), max(most, took)
		}
		if least < 20*time.Millisecond || least > 30*time.Millisecond || most < 50*time.Millisecond || most > 60*time.Millisecond {
			t.Errorf("500 round trips took from %v to %v; want about 20ms to 60ms", least, most)
		}
	})
}

func TestConnectDelayIsPaidByTheFirstRequest(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, a, b *Transport, _ chan uint64) {
		n.Delay(5*time.Millisecond, 0)
		n.ConnectDelay(2)
		want(t, a, b.Addr(), 30*time.Millisecond, answered)
		want(t, a, b.Addr(), 10*time.Millisecond, answered)
		want(t, a, "nobody:1", 10*time.Millisecond, protocol.Refused)
		a.Limit(0)
		a.Limit(8)
		want(t, a, b.Addr(), 30*time.Millisecond, answered)
	})
}

func TestLostPacketsTimeOut(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, a, b *Transport, got chan uint64) {
		n.Lose(1)
		want(t, a, b.Addr(), time.Minute, protocol.TimedOut)
		if len(got) != 0 {
			t.Error("a lost request arrived")
		}
		n.Lose(0.3)
		const tries = 1000
		var lost, arrived int
		for range tries {
			if _, err := ask(a, b.Addr(), 1, time.Second); err != nil {
				if kindOf(err) != protocol.TimedOut {
					t.Fatal(err)
				}
				lost++
			}
			for len(got) > 0 {
				<-got
				arrived++
			}
		}
		// 0.7 arrive, and 0.7 of those are answered. The seed is fixed.
		if arrived < 650 || arrived > 750 || lost < 460 || lost > 560 {
			t.Errorf("of %d requests %d arrived and %d were lost one way or the other; want about 700 and 510", tries, arrived, lost)
		}
	})
}

func TestCutIsOneWay(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, a, b *Transport, got chan uint64) {
		n.Cut(a.Addr(), b.Addr())
		want(t, a, b.Addr(), time.Minute, protocol.TimedOut)
		if len(got) != 0 {
			t.Error("a request crossed the cut")
		}
		// b's requests arrive at a, whose replies are cut.
		want(t, b, a.Addr(), time.Minute, protocol.TimedOut)
		n.Heal(a.Addr(), b.Addr())
		n.Cut(b.Addr(), a.Addr())
		want(t, a, b.Addr(), time.Minute, protocol.TimedOut)
		if len(got) != 1 {
			t.Error("the request did not arrive on the way that is whole")
		}
		n.Heal(b.Addr(), a.Addr())
		want(t, a, b.Addr(), 0, answered)
		want(t, b, a.Addr(), 0, answered)
	})
}

func TestCutTakesPacketsOnTheirWay(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, a, b *Transport, got chan uint64) {
		n.Delay(time.Second, 0)
		time.AfterFunc(500*time.Millisecond, func() { n.Cut(a.Addr(), b.Addr()) })
		want(t, a, b.Addr(), time.Minute, protocol.TimedOut)
		if len(got) != 0 {
			t.Error("a request crossed the cut")
		}
	})
}

func TestPartitionSeparatesGroupsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork(1)
		all := make(map[string]*Transport)
		names := []string{"a:1", "b:1", "c:1", "d:1", "e:1"}
		for _, addr := range names {
			all[addr] = listen(t, n, addr, nil)
		}
		group := map[string]int{"a:1": 1, "b:1": 1, "c:1": 2, "d:1": 3} // e:1 in none
		n.Partition([]string{"a:1", "b:1"}, []string{"c:1"}, []string{"d:1"})
		check := func(apart func(from, to string) bool) {
			t.Helper()
			for _, from := range names {
				for _, to := range names {
					if _, err := ask(all[from], to, 1, time.Second); (kindOf(err) == protocol.TimedOut) != apart(from, to) {
						t.Errorf("%s asks %s: %v", from, to, err)
					}
				}
			}
		}
		check(func(from, to string) bool {
			return group[from] != 0 && group[to] != 0 && group[from] != group[to]
		})
		n.HealAll()
		check(func(_, _ string) bool { return false })
	})
}

func TestRefusalNeedsAWayBack(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, a, b *Transport, _ chan uint64) {
		n.Cut("nobody:1", a.Addr())
		want(t, a, "nobody:1", time.Minute, protocol.TimedOut)
		n.HealAll()
		want(t, a, "nobody:1", 0, protocol.Refused)
	})
}

func TestPausedMemberHandlesNothingUntilResumed(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, a, b *Transport, got chan uint64) {
		n.Pause(b.Addr())
		n.Pause(b.Addr())
		time.AfterFunc(10*time.Second, func() { n.Resume(b.Addr()) })
		if _, err := ask(a, b.Addr(), 7, time.Second); kindOf(err) != protocol.TimedOut {
			t.Errorf("asking a paused member: %v; want a time-out", err)
		}
		synctest.Wait()
		if len(got) != 0 {
			t.Error("a paused member handled a request")
		}
		want(t, a, b.Addr(), 9*time.Second, answered)
		synctest.Wait()
		close(got)
		var ids []uint64
		for id := range got {
			ids = append(ids, id)
		}
		slices.Sort(ids)
		if !slices.Equal(ids, []uint64{1, 7}) {
			t.Errorf("requests handled after Resume: %v; want 1 and the abandoned 7", ids)
		}
	})
}

func TestRequestHandledLateHasAnEndedContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork(1)
		a := listen(t, n, "a:1", nil)
		b, err := n.Listen("b:1")
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		ended := make(chan error, 2)
		b.Serve(&transporttest.Handler{OnRoute: func(ctx context.Context, _ transport.Envelope, _ routing.Query) (routing.Answer, error) {
			ended <- ctx.Err()
			return routing.Answer{}, nil
		}})
		n.Delay(2*time.Second, 0)
		ask(a, "b:1", 1, time.Second)
		if err := <-ended; !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
			t.Errorf("context of a request later than its deadline: %v", err)
		}
		n.Delay(0, 0)
		n.Pause("b:1")
		ask(a, "b:1", 1, time.Second)
		synctest.Wait()
		n.Resume("b:1")
		if err := <-ended; err == nil {
			t.Error("the context of an abandoned request goes on")
		}
	})
}

func TestPausedMemberSendsNothing(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, a, b *Transport, got chan uint64) {
		n.Pause(a.Addr())
		if _, err := ask(a, b.Addr(), 7, time.Second); kindOf(err) != protocol.TimedOut {
			t.Errorf("a paused member asks: %v; want a time-out", err)
		}
		time.AfterFunc(time.Second, func() { n.Resume(a.Addr()) })
		want(t, a, b.Addr(), time.Second, answered)
		if id := <-got; id != 1 || len(got) != 0 {
			t.Errorf("request %d was sent; want 1 only", id)
		}
		// Paused while it handles: the reply waits.
		n.Delay(time.Second, 0)
		time.AfterFunc(500*time.Millisecond, func() { n.Pause(b.Addr()) })
		time.AfterFunc(5*time.Second, func() { n.Resume(b.Addr()) })
		want(t, a, b.Addr(), 6*time.Second, answered)
	})
}

func TestRefuseLooksLikeAnEndedProcess(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, a, b *Transport, _ chan uint64) {
		broken := make(chan string, 8)
		a.Broken(func(addr string) { broken <- addr })
		want(t, a, b.Addr(), 0, answered)

		// One that is on its way when the connection breaks.
		n.DelayBetween(b.Addr(), a.Addr(), time.Second, 0)
		n.Pause(b.Addr())
		time.AfterFunc(time.Second, func() { n.Refuse(b.Addr()) })
		want(t, a, b.Addr(), 2*time.Second, protocol.Unreachable)
		n.Resume(b.Addr())
		synctest.Wait()
		if len(broken) != 1 || <-broken != b.Addr() {
			t.Error("Broken was not called once")
		}
		want(t, a, b.Addr(), time.Second, protocol.Refused)
		want(t, b, a.Addr(), time.Second, answered)
		n.Accept(b.Addr())
		want(t, a, b.Addr(), time.Second, answered)
		if len(broken) != 0 {
			t.Error("Broken was called again")
		}
	})
}

func TestEndOfAPeerUnnoticedBehindACut(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, a, b *Transport, _ chan uint64) {
		broken := make(chan string, 8)
		a.Broken(func(addr string) { broken <- addr })
		want(t, a, b.Addr(), 0, answered)
		n.Cut(b.Addr(), a.Addr())
		b.Close()
		synctest.Wait()
		if len(broken) != 0 {
			t.Error("the news crossed the cut")
		}
		n.HealAll()
		listen(t, n, b.Addr(), nil)
		// The new process knows nothing of the connection.
		want(t, a, b.Addr(), 0, protocol.Unreachable)
		if len(broken) != 1 {
			t.Error("Broken was not called")
		}
		want(t, a, b.Addr(), 0, answered)
	})
}

func TestRequestBeforeServeWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork(1)
		a := listen(t, n, "a:1", nil)
		b, err := n.Listen("b:1")
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		time.AfterFunc(time.Second, func() { b.Serve(&transporttest.Handler{}) })
		want(t, a, b.Addr(), time.Second, answered)
	})
}

func TestRequestsAreCounted(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, a, b *Transport, _ chan uint64) {
		env := transport.Envelope{To: ring.Member{Addr: b.Addr()}}
		for _, kind := range []protocol.RequestKind{protocol.AskRing, protocol.Notify, protocol.AskRing} {
			if _, err := a.Maintain(t.Context(), env, protocol.Request{Kind: kind}); err != nil {
				t.Fatal(err)
			}
		}
		want(t, a, "nobody:1", 0, protocol.Refused)
		got := a.Requests()
		if got.Maintain[protocol.AskRing] != 2 || got.Maintain[protocol.Notify] != 1 || got.Route != 1 || got.Total() != 4 {
			t.Errorf("requests sent: %+v", got)
		}
		if got := b.Requests().Total(); got != 0 {
			t.Errorf("the answerer sent %d requests", got)
		}
		a.Close()
		a.Route(t.Context(), env, routing.Query{})
		if a.Requests().Total() != 4 {
			t.Error("a closed transport counts")
		}
	})
}

func TestErrorOfAnotherTypeArrivesAsInvalid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork(1)
		a := listen(t, n, "a:1", nil)
		b, err := n.Listen("")
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		b.Serve(&transporttest.Handler{OnRoute: func(context.Context, transport.Envelope, routing.Query) (routing.Answer, error) {
			return routing.Answer{}, errors.New("out of order")
		}})
		_, err = ask(a, b.Addr(), 1, time.Second)
		if f, ok := errors.AsType[*protocol.Failure](err); !ok || f.Kind != protocol.Invalid || f.Detail != "out of order" {
			t.Errorf("error %v; want Invalid with the handler's words", err)
		}
	})
}

// Everything at once, for the race detector; and all of it ends.
func TestFaultsUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork(3)
		n.Delay(time.Millisecond, 20*time.Millisecond)
		n.Lose(0.05)
		n.ConnectDelay(1)
		var addrs []string
		var all []*Transport
		for i := range 8 {
			tr := listen(t, n, fmt.Sprintf("m%d:1", i), nil)
			tr.Limit(3)
			tr.Broken(func(string) {})
			addrs, all = append(addrs, tr.Addr()), append(all, tr)
		}
		var wg sync.WaitGroup
		for _, tr := range all {
			for i := range 200 {
				wg.Go(func() {
					time.Sleep(time.Duration(i) * 10 * time.Millisecond)
					if _, err := ask(tr, addrs[i%len(addrs)], 1, 100*time.Millisecond); kindOf(err) == 255 {
						t.Errorf("an error that is no failure: %v", err)
					}
				})
			}
		}
		wg.Go(func() {
			for i := range 20 {
				x, y := addrs[i%8], addrs[(i+3)%8]
				n.Pause(x)
				n.Refuse(y)
				n.Partition(addrs[:i%8], addrs[i%8:])
				time.Sleep(50 * time.Millisecond)
				n.Resume(x)
				n.Accept(y)
				n.HealAll()
				time.Sleep(50 * time.Millisecond)
			}
		})
		time.Sleep(1500 * time.Millisecond)
		for _, tr := range all[:4] {
			wg.Go(func() { tr.Close() })
		}
		wg.Wait()
		time.Sleep(time.Second) // abandoned requests are still on their way
		for _, tr := range all[4:] {
			if got := tr.Connections(); got > 3 {
				t.Errorf("%d connections at rest; want at most 3", got)
			}
			tr.Close()
			if got := tr.Connections(); got != 0 {
				t.Errorf("%d connections after Close", got)
			}
		}
	})
}

// A client is known to the network, for faults and broken connections, but not
// reached.
func TestClientOnlyAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork(1)
		b, err := n.Listen("b:1")
		if err != nil {
			t.Fatal(err)
		}
		b.Serve(&transporttest.Handler{})
		c, err := n.Client("c:1")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.Listen("c:1"); err == nil {
			t.Error("two at one address")
		}
		if c.Addr() != "" {
			t.Errorf("receives at %q", c.Addr())
		}
		n.DelayBetween("c:1", "b:1", time.Second, time.Second)
		broken := make(chan string, 1)
		c.Broken(func(addr string) { broken <- addr })
		route := func(to string) error {
			_, err := c.Route(t.Context(), transport.Envelope{To: ring.Member{Name: "m", Addr: to}}, routing.Query{})
			return err
		}
		began := time.Now()
		if err := route("b:1"); err != nil || time.Since(began) != time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		var f *protocol.Failure
		if err := route("c:1"); !errors.As(err, &f) || f.Kind != protocol.Refused {
			t.Errorf("asked itself: %v", err)
		}
		b.Close()
		if addr := <-broken; addr != "b:1" {
			t.Errorf("connection to %q broke", addr)
		}
		c.Close()
	})
}

func TestBalancedAddressLeadsToAnyoneThatListens(t *testing.T) {
	n := NewNetwork(1)
	var all []*Transport
	var addrs []string
	for i := range 3 {
		addr := fmt.Sprintf("b%d:1", i)
		tr, err := n.Listen(addr)
		if err != nil {
			t.Fatal(err)
		}
		tr.Serve(&transporttest.Handler{Self: transporttest.Member(addr, addr, 1)})
		all, addrs = append(all, tr), append(addrs, addr)
	}
	n.Balance("vip:1", addrs...)
	who := func(to string) string {
		env := transport.Envelope{To: ring.Member{Addr: to}, Settings: transporttest.Settings}
		reply, err := all[0].Maintain(t.Context(), env, protocol.Request{Kind: protocol.AskRing})
		if err != nil {
			t.Fatal(err)
		}
		return reply.State.Self.Addr
	}
	count := func() map[string]int {
		met := map[string]int{}
		for range 60 {
			met[who("vip:1")]++
		}
		return met
	}
	if met := count(); len(met) != 3 {
		t.Errorf("60 questions met %v, want all three, the asker itself among them", met)
	}
	if c := all[0].Connections(); c != 0 {
		t.Errorf("%d connections are kept to an address that is nobody's own", c)
	}
	who(addrs[1])
	if c := all[0].Connections(); c != 1 {
		t.Errorf("%d connections, want the one to the member that answered at its own address", c)
	}
	all[2].Close()
	if met := count(); len(met) != 2 {
		t.Errorf("60 questions met %v, want the two that are left", met)
	}
	all[0].Close()
	all[1].Close()
}

// paths makes a Network a transporttest.Paths.
type paths struct{ *Network }

func (p paths) Listen(t *testing.T, addr string, h transport.Handler) transport.Transport {
	tr, err := p.Network.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	tr.Serve(h)
	t.Cleanup(func() { tr.Close() })
	return tr
}

func (p paths) Lead(addr, to string) { p.Balance(addr, to) }

func TestPathsThatLeadToAnotherMember(t *testing.T) {
	transporttest.RunAstray(t, func() transporttest.Paths { return paths{NewNetwork(3)} })
}
