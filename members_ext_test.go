package concord_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/transport/memory"
)

// clockwise are the members in the order in which one meets them from the first.
func clockwise(members []*concord.Concord, first *concord.Concord) []concord.Server {
	var out []concord.Server
	for _, m := range members {
		out = append(out, serverOf(m))
	}
	slices.SortFunc(out, func(a, b concord.Server) int {
		if a.Id-first.Id() < b.Id-first.Id() {
			return -1
		}
		return 1
	})
	return out
}

// walked are the members that a loop yields; it must end without an error of its own.
func walked(t *testing.T, loop iter.Seq2[concord.Member, error]) (live []concord.Member, failed map[string]error) {
	t.Helper()
	failed = map[string]error{}
	for m, err := range loop {
		switch {
		case err == nil:
			live = append(live, m)
		case m.Server.Name == "":
			t.Fatalf("the loop ends with %v", err)
		default:
			if m.NamedBy == nil {
				t.Errorf("%s, of whom nobody spoke: %v", m.Server.Name, err)
			}
			failed[m.Server.Name] = err
		}
	}
	return live, failed
}

func serversOf(members []concord.Member) (out []concord.Server) {
	for _, m := range members {
		out = append(out, m.Server)
	}
	return out
}

func TestMembersAreYieldedClockwise(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, n := range []int{1, 2, 3, 40} {
			network := memory.NewNetwork(uint64(n))
			members := newMemoryRing(t, network, n)
			client, err := concord.Dial(t.Context(), concord.ClientConfig{Network: network}, members[n/2].Address())
			if err != nil {
				t.Fatal(err)
			}
			for what, tc := range map[string]struct {
				loop  iter.Seq2[concord.Member, error]
				first *concord.Concord
			}{
				"a member": {members[0].Members(t.Context(), concord.Fresh()), members[0]},
				"a client": {client.Members(t.Context(), concord.Fresh()), members[n/2]},
			} {
				live, failed := walked(t, tc.loop)
				if want := clockwise(members, tc.first); !slices.Equal(serversOf(live), want) || len(failed) != 0 {
					t.Errorf("of %d, by %s:\n%v\nwant\n%v\n%v", n, what, serversOf(live), want, failed)
				}
			}
			for m := range members[0].Members(t.Context(), concord.Fresh()) {
				c := members[slices.IndexFunc(members, func(c *concord.Concord) bool { return c.Name() == m.Server.Name })]
				s := c.Status()
				if m.Phase != "joined" || m.Incarnation != s.Incarnation || !slices.Equal(m.Successors, s.Successors) ||
					(m.Predecessor == nil) != (n == 1) || n > 1 && *m.Predecessor != *s.Predecessor || (m.NamedBy == nil) != (c == members[0]) {
					t.Errorf("%+v, it says itself %+v", m, s)
				}
			}
			client.Close()
			for _, m := range members {
				m.Stop()
			}
		}
	})
}

// A member whose map is certain of the whole ring names all members, and several servers of
// a key in their zones, without a request.
func TestMapAnswersForAllMembersAndForSeveralServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		i := 0
		members := memoryRing(t, network, 12, func(c *concord.Config) {
			c.Zone = []string{"a", "b", "c"}[i%3]
			i++
		})
		time.Sleep(20 * concord.DefaultStabilizeInterval)
		asked := func(c *concord.Concord) uint64 {
			k := c.Status().Counters
			return k.RingRequests + k.RouteRequests
		}
		for _, m := range members {
			before, began := asked(m), time.Now()
			live, failed := walked(t, m.Members(t.Context()))
			several, err := m.LookupN(t.Context(), []byte("key"), 3)
			if err != nil {
				t.Fatal(err)
			}
			if n := asked(m) - before; n > 0 || time.Since(began) > 0 {
				t.Errorf("%s has made %d requests in %v", m.Name(), n, time.Since(began))
			}
			all, _ := walked(t, m.Members(t.Context(), concord.Fresh()))
			for k := range all {
				all[k].NamedBy = nil
			}
			if !reflect.DeepEqual(live, all) || len(failed) > 0 {
				t.Errorf("by its map %+v\nthey say %+v", live, all)
			}
			fresh, err := m.LookupN(t.Context(), []byte("key"), 3, concord.Fresh())
			if err != nil || !slices.Equal(several, fresh) {
				t.Errorf("by its map %v, by those themselves %v: %v", several, fresh, err)
			}
		}
		for _, m := range members {
			m.Stop()
		}
	})
}

// A client that has subscribed names all members as they do themselves, and asks only those that
// have not confirmed to it what they own.
func TestMapOfAClientAnswersForAllMembers(t *testing.T) {
	for _, identifiers := range []uint{1, 4} {
		synctest.Test(t, func(t *testing.T) {
			network := memory.NewNetwork(uint64(identifiers))
			var members []*concord.Concord
			for i := range 12 {
				members = enter(t, members, memoryMember(t, network, fmt.Sprint("member", i), func(c *concord.Config) {
					c.Zone, c.VirtualNodes = []string{"a", "b", "c"}[i%3], identifiers
				}))
			}
			time.Sleep(20 * concord.DefaultStabilizeInterval)
			client, err := concord.Dial(t.Context(), concord.ClientConfig{Network: network}, members[0].Address())
			if err != nil {
				t.Fatal(err)
			}
			apart, err := concord.Dial(t.Context(), concord.ClientConfig{Network: network, NoSubscribe: true}, members[0].Address())
			if err != nil {
				t.Fatal(err)
			}
			asked := func(c *concord.Client) uint64 {
				k := c.Status().Counters
				return k.RingRequests + k.RouteRequests
			}
			// the same as all say themselves, for so many requests at most
			same := func(c *concord.Client, most int, opts ...concord.LookupOption) {
				t.Helper()
				before := asked(c)
				live, failed := walked(t, c.Members(t.Context(), opts...))
				if n := asked(c) - before; n > uint64(most) {
					t.Errorf("%d requests, at most %d are needed", n, most)
				}
				all, _ := walked(t, c.Members(t.Context(), concord.Fresh()))
				for _, list := range [][]concord.Member{live, all} {
					for k := range list {
						list[k].NamedBy = nil
					}
				}
				if !reflect.DeepEqual(live, all) || len(live) != len(members) || len(failed) > 0 {
					t.Errorf("by its map %+v\nthey say %+v\n%v", live, all, failed)
				}
			}
			for range 10 { // which makes it subscribe
				walked(t, client.Members(t.Context()))
				time.Sleep(concord.DefaultStabilizeInterval)
			}
			if n := client.Status().Counters.Subscriptions; n != 1 {
				t.Errorf("%d subscriptions", n)
			}
			same(client, 0)
			same(client, 0, concord.MaxAge(time.Minute))
			same(client, 500, concord.MaxAge(time.Millisecond))
			same(apart, 500)
			if before := asked(apart); before < 12 || apart.Status().Counters.Subscriptions != 0 {
				t.Errorf("one that does not subscribe: %+v", apart.Status().Counters)
			}
			late := memoryMember(t, network, "late", func(c *concord.Config) { c.VirtualNodes = identifiers })
			members = enter(t, members, late)
			time.Sleep(20 * concord.DefaultStabilizeInterval)
			same(client, 8*int(identifiers)) // only those whose ranges are new
			same(client, 0)
			members[5].Stop()
			members = slices.Delete(members, 5, 6)
			time.Sleep(20 * concord.DefaultStabilizeInterval)
			same(client, 500) // it may hold the one that is gone for a member still
			same(client, int(identifiers))
			same(client, 0)
			client.Close()
			apart.Close()
			for _, m := range members {
				m.Stop()
			}
		})
	}
}

func TestMembersSayWhoDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		// So seldom that nobody notices by itself what happens here.
		members := memoryRing(t, network, 8, func(c *concord.Config) { c.StabilizeInterval = time.Hour })
		order := clockwise(members, members[0])
		named := func(i int) *concord.Concord {
			return members[slices.IndexFunc(members, func(c *concord.Concord) bool { return c.Name() == order[i].Name })]
		}
		network.Pause(named(2).Address())
		network.Pause(named(5).Address())
		began := time.Now()
		live, failed := walked(t, members[0].Members(t.Context(), concord.Fresh()))
		if want := slices.Concat(order[:2], order[3:5], order[6:]); !slices.Equal(serversOf(live), want) {
			t.Errorf("%v\nwant\n%v", serversOf(live), want)
		}
		if len(failed) != 2 || !errors.Is(failed[order[2].Name], concord.ErrUnavailable) || !errors.Is(failed[order[5].Name], concord.ErrUnavailable) {
			t.Errorf("%v", failed)
		}
		if took := time.Since(began); took > 6*time.Second {
			t.Errorf("a silent member is waited for during %v", took)
		}
		network.Resume(named(2).Address())
		network.Resume(named(5).Address())
		for _, m := range members {
			m.Stop()
		}
	})
}

func TestMembersEndsWhenItMust(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		members := newMemoryRing(t, network, 6)
		client, err := concord.Dial(t.Context(), concord.ClientConfig{Network: network}, members[0].Address())
		if err != nil {
			t.Fatal(err)
		}
		count := 0
		for range members[0].Members(t.Context(), concord.Fresh()) {
			if count++; count == 3 {
				break
			}
		}
		if count != 3 {
			t.Errorf("broke after %d", count)
		}
		// last is the error that ends a loop.
		last := func(loop iter.Seq2[concord.Member, error]) (last error) {
			for m, err := range loop {
				if last != nil {
					t.Errorf("goes on after %v", last)
				}
				if err != nil && m.Server.Name == "" {
					last = err
				}
			}
			return last
		}
		over, cancel := context.WithCancel(t.Context())
		defer cancel()
		wantErr(t, "not started", last(concord.New(concord.Config{Name: "new"}).Members(t.Context(), concord.Fresh())), concord.ErrNotStarted)
		outside := memoryMember(t, network, "outside")
		wantErr(t, "outside", last(outside.Members(t.Context(), concord.Fresh())), concord.ErrNotJoined)
		var ended error
		for m, err := range members[0].Members(over, concord.Fresh()) {
			cancel() // in the loop
			if err != nil {
				ended = err
			} else if m.Server != serverOf(members[0]) {
				t.Errorf("%v", m.Server)
			}
		}
		wantErr(t, "cancelled", ended, context.Canceled)
		wantErr(t, "a client, cancelled", last(client.Members(over)), context.Canceled)
		for _, m := range members {
			network.Refuse(m.Address())
		}
		err = last(client.Members(t.Context(), concord.Fresh()))
		var de *concord.DialError
		if !errors.As(err, &de) || !errors.Is(err, concord.ErrUnavailable) {
			t.Errorf("nobody answers: %v", err)
		}
		client.Close()
		wantErr(t, "closed", last(client.Members(t.Context(), concord.Fresh())), concord.ErrStopped)
		outside.Stop()
		for _, m := range members {
			m.Stop()
		}
		wantErr(t, "stopped", last(members[0].Members(t.Context(), concord.Fresh())), concord.ErrStopped)
	})
}

func TestMembersFindsWhoJoinsMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		members := newMemoryRing(t, network, 5)
		var late *concord.Concord
		for m, err := range members[0].Members(t.Context(), concord.Fresh()) {
			if err != nil {
				t.Fatal(err)
			}
			if late == nil {
				late = memoryMember(t, network, "late")
				join(t, late, members[0].Address())
			} else if m.Server == serverOf(late) {
				late = nil
				break
			}
		}
		if late != nil {
			t.Errorf("%s joined during the loop, which did not meet it", late.Name())
			late.Stop()
		}
		for _, m := range members {
			m.Stop()
		}
	})
}

func TestMemberInJSON(t *testing.T) {
	b, err := json.Marshal(concord.Member{Server: concord.Server{Name: "a", Id: 7, Address: "h:1"}, Phase: "joined", Successors: []concord.Server{}})
	const want = `{"server":{"name":"a","id":"7","address":"h:1"},"incarnation":"0","phase":"joined","successors":[]}`
	if err != nil || string(b) != want {
		t.Errorf("%s, %v", b, err)
	}
}

func TestMetaIsAskedFromTheMember(t *testing.T) {
	given := []byte("app.example.com:8080")
	with := func(c *concord.Config) { c.Meta = given }
	a, b := create(t, "a", with), start(t, "b")
	given[0] = 'X' // New has copied it
	join(t, b, a.Address())
	c := dial(t, concord.ClientConfig{}, b.Address())
	const want = "app.example.com:8080"
	for what, ask := range map[string]func(context.Context, concord.Server) ([]byte, error){"member": b.Meta, "itself": a.Meta, "client": c.Meta} {
		if got, err := ask(t.Context(), serverOf(a)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", what, got, err)
		}
		if got, err := ask(t.Context(), concord.Server{Address: a.Address()}); err != nil || string(got) != want {
			t.Errorf("%s, by the address: %q, %v", what, got, err)
		}
		if got, err := ask(t.Context(), serverOf(b)); err != nil || got != nil {
			t.Errorf("%s, of one without: %q, %v", what, got, err)
		}
		_, err := ask(t.Context(), concord.Server{Name: "b", Id: b.Id(), Address: a.Address()})
		wantErr(t, what+", of another at the address", err, concord.ErrUnavailable)
		_, err = ask(t.Context(), concord.Server{Name: "b", Address: a.Address()})
		wantErr(t, what+", of another without its identifier", err, concord.ErrUnavailable)
		if got, err := ask(t.Context(), concord.Server{Name: "a", Address: a.Address()}); err != nil || string(got) != want {
			t.Errorf("%s, without the identifier: %q, %v", what, got, err)
		}
		_, err = ask(t.Context(), concord.Server{Name: "a"})
		wantErr(t, what+", nowhere", err, concord.ErrAddress)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := b.Meta(over, serverOf(a))
	wantErr(t, "cancelled", err, context.Canceled)
	_, err = dial(t, concord.ClientConfig{}, a.Address()).Meta(t.Context(), concord.Server{Address: start(t, "outside", with).Address()})
	if err != nil {
		t.Errorf("of one that is in no ring: %v", err)
	}
	_, err = start(t, "of another ring", func(c *concord.Config) { c.Cluster = "x" }).Meta(t.Context(), serverOf(a))
	wantErr(t, "of another ring", err, concord.ErrDifferentRing)
	b.Stop()
	_, err = b.Meta(t.Context(), serverOf(a))
	wantErr(t, "stopped", err, concord.ErrStopped)
	_, err = a.Meta(t.Context(), serverOf(b))
	wantErr(t, "of one that is gone", err, concord.ErrUnavailable)
	_, err = concord.New(concord.Config{Name: "new"}).Meta(t.Context(), serverOf(a))
	wantErr(t, "not started", err, concord.ErrNotStarted)
}

func TestMetaTooLong(t *testing.T) {
	err := concord.New(configure("a", func(c *concord.Config) { c.Meta = make([]byte, concord.MaxMeta+1) })).Start()
	var ce *concord.ConfigError
	if !errors.As(err, &ce) || ce.Field != "Meta" || !strings.Contains(fmt.Sprint(err), "257 bytes, at most 256") {
		t.Errorf("%v", err)
	}
}
