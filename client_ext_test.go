package concord_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/transport/memory"
)

// dial makes a client that is closed when the test ends.
func dial(t *testing.T, cfg concord.ClientConfig, addrs ...string) *concord.Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := concord.Dial(ctx, cfg, addrs...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestClientNamesTheSameOwnersAsMembers(t *testing.T) {
	members := newRing(t, 5)
	c := dial(t, concord.ClientConfig{}, members[3].Address())
	for i := range 40 {
		key := fmt.Appendf(nil, "key%d", i)
		for _, opts := range [][]concord.LookupOption{nil, {concord.Fresh()}, {concord.MaxAge(time.Millisecond)}, {concord.Cold()}} {
			if got, err := c.LookupContext(t.Context(), key, opts...); err != nil || got != ownerOf(members, idOf(string(key))) {
				t.Errorf("%s: %v, %v", key, got, err)
			}
		}
		if got, err := c.Lookup(key); err != nil || got != ownerOf(members, idOf(string(key))) {
			t.Errorf("%s: %v, %v", key, got, err)
		}
	}
	awaitIdeal(t, members)
}

func TestClientInOtherSpaces(t *testing.T) {
	narrow := func(c *concord.Config) { c.HashBits, c.HashFunc, c.Cluster = 32, customHash, "blue" }
	members := newRing(t, 3, narrow)
	c := dial(t, concord.ClientConfig{HashBits: 32, HashFunc: customHash, Cluster: "blue"}, members[0].Address())
	for i := range 20 {
		key := fmt.Appendf(nil, "key%d", i)
		if got, err := c.Lookup(key); err != nil || got != ownerOf(members, customHash(key)) {
			t.Errorf("%s: %v, %v", key, got, err)
		}
	}
}

func TestClientOverMutualTLS(t *testing.T) {
	a := newAuthority(t)
	members := secureRing(t, a, 3)
	dir := a.files(t, "client.example.com")
	cfg := mtls(t, dir, "client").TLS.Client
	c := dial(t, concord.ClientConfig{TLS: cfg}, members[0].Address())
	if got, err := c.Lookup([]byte("key")); err != nil || got != ownerOf(members, idOf("key")) {
		t.Errorf("%v, %v", got, err)
	}
	stranger := mtls(t, newAuthority(t).files(t, "client.example.com"), "client").TLS.Client
	for what, cfg := range map[string]*tls.Config{"plaintext": nil, "another authority": stranger} {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		_, err := concord.Dial(ctx, concord.ClientConfig{TLS: cfg}, members[0].Address())
		cancel()
		wantErr(t, what, err, concord.ErrUnavailable, context.DeadlineExceeded)
	}
}

func TestDialReportsEveryMistakeWithItsField(t *testing.T) {
	_, err := concord.Dial(t.Context(), concord.ClientConfig{HashBits: 65, TLS: &tls.Config{InsecureSkipVerify: true}}, "127.0.0.1:1")
	var ce *concord.ConfigError
	if !errors.As(err, &ce) || ce.Field != "HashBits" {
		t.Errorf("%v", err)
	}
	for _, want := range []string{"ClientConfig.HashBits: is 65", "ClientConfig.TLS: has no certificate", "ClientConfig.TLS: InsecureSkipVerify"} {
		if !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%q not in %v", want, err)
		}
	}
}

func TestDialErrorsSayWhatBecameOfEveryAddress(t *testing.T) {
	ring := newRing(t, 2, func(c *concord.Config) { c.Cluster = "red" })
	outside := start(t, "outside")
	gone := start(t, "gone")
	gone.Stop()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, tc := range map[string]struct {
		ctx   context.Context // nil: one that ends soon
		addrs []string
		want  []error
		late  bool // it is tried until the context ends
		says  []string
	}{
		"nowhere":              {want: []error{concord.ErrAddress}, says: []string{"dial failed: not an address: no address given"}},
		"no address":           {addrs: []string{"x", ":1"}, want: []error{concord.ErrAddress}, says: []string{`"x"`, `":1"`}},
		"another kind of ring": {addrs: []string{ring[0].Address(), ring[1].Address()}, want: []error{concord.ErrDifferentRing}, says: []string{ring[0].Address(), ring[1].Address(), "Cluster"}},
		"not joined":           {addrs: []string{outside.Address()}, want: []error{concord.ErrNotJoined}, late: true},
		"refused":              {addrs: []string{gone.Address()}, want: []error{concord.ErrUnavailable}, late: true, says: []string{gone.Address()}},
		"of every kind": {addrs: []string{"x", ring[0].Address(), outside.Address(), gone.Address()}, late: true,
			want: []error{concord.ErrAddress, concord.ErrDifferentRing, concord.ErrNotJoined, concord.ErrUnavailable}},
		"ended": {ctx: ended, addrs: []string{ring[0].Address()}, want: []error{context.Canceled}},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := tc.ctx
			if ctx == nil {
				limit := patience
				if tc.late { // after the first answer, on a slow machine too
					limit = 2 * time.Second
				}
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(t.Context(), limit)
				defer cancel()
			}
			c, err := concord.Dial(ctx, concord.ClientConfig{}, tc.addrs...)
			var de *concord.DialError
			if c != nil || !errors.As(err, &de) {
				t.Fatalf("%v, %v", c, err)
			}
			wantErr(t, name, err, tc.want...)
			if errors.Is(err, context.DeadlineExceeded) != tc.late {
				t.Errorf("ended by %v", de.Err)
			}
			mentions(t, err, tc.says...)
		})
	}
}

func TestClosedClient(t *testing.T) {
	members := newRing(t, 2)
	before := descriptors(t)
	c := dial(t, concord.ClientConfig{}, members[0].Address())
	if _, err := c.LookupAll(t.Context(), keys(20), concord.Fresh()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	_, err := c.Lookup([]byte("key"))
	wantErr(t, "Lookup", err, concord.ErrStopped)
	_, err = c.LookupN(t.Context(), []byte("key"), 2)
	wantErr(t, "LookupN", err, concord.ErrStopped)
	_, err = c.LookupAll(t.Context(), keys(3))
	wantErr(t, "LookupAll", err, concord.ErrStopped)
	_, err = c.Trace(t.Context(), []byte("key"))
	wantErr(t, "Trace", err, concord.ErrStopped)
	c.Reject([]byte("key"), serverOf(members[0]))
	eventually(t, func() error { // the members' ends are theirs to close
		if now := descriptors(t); now > before {
			return fmt.Errorf("%d descriptors, %d before", now, before)
		}
		return nil
	})
}

// A client goes on when whom it dialled dies, and when a member that it is told
// of hangs.
func TestClientOutlivesMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		network.Delay(time.Millisecond, 2*time.Millisecond)
		members := newMemoryRing(t, network, 6)
		c, err := concord.Dial(t.Context(), concord.ClientConfig{Network: network}, members[0].Address())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		check := func(live []*concord.Concord) {
			t.Helper()
			awaitIdeal(t, live)
			time.Sleep(3 * time.Second)
			for i := range 40 {
				key := fmt.Appendf(nil, "key%d", i)
				began := time.Now()
				if got, err := c.Lookup(key); err != nil || got != ownerOf(live, idOf(string(key))) {
					t.Errorf("%s: %v, %v", key, got, err)
				}
				if took := time.Since(began); took > 2*time.Second {
					t.Errorf("%s: took %v", key, took)
				}
			}
		}
		check(members)
		members[0].Stop()
		check(members[1:])
		network.Pause(members[1].Address())
		check(members[2:])
		network.Resume(members[1].Address())
		check(members[1:])
		for _, m := range members {
			m.Stop()
		}
	})
}

func TestClientGoesRoundWhomItRejects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		network.Delay(time.Millisecond, time.Millisecond)
		lazy := func(c *concord.Config) { c.StabilizeInterval = time.Minute }
		members := memoryRing(t, network, 4, lazy)
		c, err := concord.Dial(t.Context(), concord.ClientConfig{Network: network}, members[0].Address())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		owner := members[2]
		key := []byte(owner.Name())
		for range 3 {
			if got, err := c.Lookup(key); err != nil || got != serverOf(owner) {
				t.Fatalf("%v, %v", got, err)
			}
		}
		c.Reject(key, serverOf(owner))
		for range 3 {
			tr, err := c.Trace(t.Context(), key)
			if err != nil || tr.Owner != serverOf(owner) || len(tr.Hops) == 0 || tr.Hops[len(tr.Hops)-1].Said != "mine" {
				t.Errorf("named without its own word: %+v, %v", tr, err)
			}
		}
		for _, m := range members {
			m.Stop()
		}
	})
}

func keys(n int) [][]byte {
	out := make([][]byte, n)
	for i := range out {
		out[i] = fmt.Appendf(nil, "key%d", i)
	}
	return out
}

// finder is what a member and a client have in common.
type finder interface {
	LookupContext(ctx context.Context, key []byte, opts ...concord.LookupOption) (concord.Server, error)
	LookupN(ctx context.Context, key []byte, n int, opts ...concord.LookupOption) ([]concord.Server, error)
	LookupAll(ctx context.Context, keys [][]byte, opts ...concord.LookupOption) ([]concord.Server, error)
	Trace(ctx context.Context, key []byte, opts ...concord.LookupOption) (concord.Trace, error)
}

func TestLookupNAndLookupAll(t *testing.T) {
	members := newRing(t, 5)
	clockwise := slices.Clone(members)
	slices.SortFunc(clockwise, func(a, b *concord.Concord) int { return int(a.Id()>>1) - int(b.Id()>>1) })
	for who, f := range map[string]finder{"member": members[1], "client": dial(t, concord.ClientConfig{}, members[0].Address())} {
		all, err := f.LookupAll(t.Context(), keys(100))
		if err != nil {
			t.Errorf("%s: %v", who, err)
		}
		for i, key := range keys(100) {
			owner := ownerOf(members, idOf(string(key)))
			if all[i] != owner {
				t.Errorf("%s: %s: %v, want %v", who, key, all[i], owner)
			}
			first := slices.IndexFunc(clockwise, func(c *concord.Concord) bool { return serverOf(c) == owner })
			for _, n := range []int{1, 2, 5, concord.MaxLookupN} {
				got, err := f.LookupN(t.Context(), key, n)
				if err != nil || len(got) != min(n, 5) {
					t.Fatalf("%s: %d of %s: %v, %v", who, n, key, got, err)
				}
				for k, s := range got {
					if want := serverOf(clockwise[(first+k)%5]); s != want {
						t.Errorf("%s: %s: replica %d is %v, want %v", who, key, k, s, want)
					}
				}
			}
		}
		for _, n := range []int{-1, 0, concord.MaxLookupN + 1} {
			_, err := f.LookupN(t.Context(), []byte("key"), n)
			wantErr(t, who, err, concord.ErrCount)
		}
		if all, err := f.LookupAll(t.Context(), nil); len(all) != 0 || err != nil {
			t.Errorf("%s: of no keys %v, %v", who, all, err)
		}
	}
	_, err := members[1].LookupRange(t.Context(), concord.Range{}, 1)
	wantErr(t, "the zero Range", err, concord.ErrRange)
	_, err = members[1].LookupRange(t.Context(), members[1].Range(), 0)
	wantErr(t, "no servers", err, concord.ErrCount)
}

func TestLookupAllJoinsAFewErrorsAndCountsTheRest(t *testing.T) {
	members := newRing(t, 3)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	all, err := members[0].LookupAll(ctx, keys(100), concord.Fresh())
	wantErr(t, "LookupAll", err, context.Canceled)
	var le *concord.LookupError
	if !errors.As(err, &le) || !strings.HasPrefix(string(le.Key), "key") {
		t.Errorf("%v", err)
	}
	mentions(t, le, fmt.Sprintf("lookup of key %q, identifier %d: ", le.Key, le.Id))
	mentions(t, &concord.LookupError{Key: make([]byte, 1000), Err: context.Canceled}, strings.Repeat(`\x00`, 64)+`"…, identifier 0`)
	if n := strings.Count(err.Error(), "lookup of key "); n != 8 {
		t.Errorf("%d errors: %v", n, err)
	}
	mentions(t, err, "92 more keys")
	if slices.ContainsFunc(all, func(s concord.Server) bool { return s != concord.Server{} }) || len(all) != 100 {
		t.Errorf("servers %v", all)
	}
}

func TestManyLookupsOutsideARing(t *testing.T) {
	c := start(t, "alone")
	check := func(c *concord.Concord, want error) {
		t.Helper()
		_, err := c.LookupN(t.Context(), []byte("key"), 2)
		wantErr(t, "LookupN", err, want)
		_, err = c.LookupRange(t.Context(), concord.Range{Start: 1, End: 2}, 2)
		wantErr(t, "LookupRange", err, want)
		all, err := c.LookupAll(t.Context(), keys(3))
		if wantErr(t, "LookupAll", err, want); len(all) != 3 || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v, %q", all, err)
		}
		tr, err := c.Trace(t.Context(), []byte("key"))
		if wantErr(t, "Trace", err, want); tr.Id != idOf("key") || string(tr.Key) != "key" {
			t.Errorf("%+v", tr)
		}
	}
	check(concord.New(configure("never")), concord.ErrNotStarted)
	check(c, concord.ErrNotJoined)
	c.Stop()
	check(c, concord.ErrStopped)
}

func TestLookupFromMemoryAllocatesNothing(t *testing.T) {
	members := newRing(t, 4)
	c := dial(t, concord.ClientConfig{}, members[0].Address())
	far := []byte(members[2].Name())
	for _, tc := range []struct {
		what string
		f    finder
		key  []byte
	}{
		{"a member's own key", members[0], []byte(members[0].Name())},
		{"a confirmed one", members[0], far},
		{"a client's confirmed one", c, far},
	} {
		// The arc may be over while this is measured; then it is measured again.
		eventually(t, func() error {
			if _, err := tc.f.LookupContext(t.Context(), tc.key, concord.Fresh()); err != nil {
				return err
			}
			if n := testing.AllocsPerRun(20, func() {
				if _, err := tc.f.LookupContext(context.Background(), tc.key); err != nil {
					t.Error(err)
				}
			}); n != 0 {
				return fmt.Errorf("%s: %v allocations", tc.what, n)
			}
			return nil
		})
	}
}
