package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/concordtest"
	"github.com/ollelogdahl/concord/examples/kv/kvpb"
)

const virtualNodes = 4

// inMemory is a member of a ring in memory. The connections to the stores of others are in memory
// as well.
type inMemory struct {
	*concord.Concord

	conns *sync.Map // connections by the names of members
}

func (m inMemory) Conn(s concord.Server) (grpc.ClientConnInterface, error) {
	cc, ok := m.conns.Load(s.Name)
	if !ok {
		return nil, fmt.Errorf("no store of %s", s.Name)
	}
	return cc.(*grpc.ClientConn), nil
}

// stores are the stores of the members of a ring in memory.
type stores struct {
	t     *testing.T
	ring  *concordtest.Ring
	nodes map[string]*node
	stop  map[string]func()
	conns *sync.Map
}

// newStores starts n members with stores, in three zones, each with three copies of its keys.
func newStores(t *testing.T, n int) *stores {
	s := &stores{
		t: t, nodes: make(map[string]*node), stop: make(map[string]func()), conns: new(sync.Map),
		ring: concordtest.New(t, concordtest.Options{Config: concord.Config{
			StabilizeInterval: 250 * time.Millisecond, SuccessorCount: 4, Lease: 2 * time.Second, MinMembers: uint(n/2 + 1),
		}}),
	}
	members := s.ring.Start(n, func(i int, c *concord.Config) { c.VirtualNodes, c.Zone = virtualNodes, fmt.Sprint("zone", i%3) })
	for _, m := range members {
		s.start(m, t.TempDir())
	}
	s.settle()
	return s
}

func (s *stores) start(m *concord.Concord, dir string) {
	d, err := openDisk(dir, m.KeyID)
	if err != nil {
		s.t.Fatal(err)
	}
	n := newNode(inMemory{m, s.conns}, d, 3)
	lis := bufconn.Listen(1 << 20)
	server := newServer(n)
	go server.Serve(lis) //nolint:errcheck // it ends with Stop
	cc, err := grpc.NewClient("passthrough:///"+m.Name(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }))
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan struct{})
	go func() { n.run(ctx); close(done) }()
	s.nodes[m.Name()] = n
	s.conns.Store(m.Name(), cc)
	s.stop[m.Name()] = func() {
		cancel()
		<-done
		server.Stop()
		lis.Close()
		d.db.Close()
	}
	s.t.Cleanup(func() {
		cc.Close()
		if stop := s.stop[m.Name()]; stop != nil {
			stop()
		}
	})
}

// kill kills members, whose data is lost.
func (s *stores) kill(members ...*concord.Concord) {
	s.ring.Kill(members...)
	for _, m := range members {
		s.stop[m.Name()]()
		s.stop[m.Name()] = nil
		delete(s.nodes, m.Name())
	}
}

// settle waits until the ring has settled and all ranges are served.
func (s *stores) settle() {
	s.ring.Settle(s.t.Context())
	time.Sleep(10 * time.Second)
	for _, n := range s.nodes {
		ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Minute)
		err := n.service.Load().Wait(ctx)
		cancel()
		if err != nil {
			s.t.Fatalf("%s does not serve all of its ranges: %v", n.member.Name(), err)
		}
	}
}

func (s *stores) client() kvpb.KVClient {
	return newClient(inMemory{s.ring.Members()[0], s.conns})
}

func (s *stores) put(key, value string) {
	s.t.Helper()
	if _, err := s.client().Put(s.t.Context(), &kvpb.PutRequest{Key: []byte(key), Value: []byte(value)}); err != nil {
		s.t.Errorf("put %s: %v", key, err)
	}
}

// want checks the value of a key, "" for none.
func (s *stores) want(key, value string) {
	s.t.Helper()
	reply, err := s.client().Get(s.t.Context(), &kvpb.GetRequest{Key: []byte(key)})
	if err != nil || reply.GetFound() != (value != "") || string(reply.GetValue()) != value {
		s.t.Errorf("%s is %q, %v, want %q", key, reply.GetValue(), err, value)
	}
}

// holding are the names of the stores that have a key.
func (s *stores) holding(key string) (names []string) {
	for name, n := range s.nodes {
		item, err := n.disk.get([]byte(key))
		if err != nil {
			s.t.Fatal(err)
		}
		if item != nil {
			names = append(names, name)
		}
	}
	return names
}

func TestKeysOutliveTwoNeighboursAndTheirDisks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStores(t, 6)
		for i := range 20 {
			s.put(fmt.Sprint("key", i), fmt.Sprint("value", i))
		}
		members := s.ring.Members()
		s.kill(members[1], members[2])
		s.settle()
		for i := range 20 {
			s.want(fmt.Sprint("key", i), fmt.Sprint("value", i))
			if names := s.holding(fmt.Sprint("key", i)); len(names) < 3 {
				t.Errorf("key%d is kept by %v only", i, names)
			}
		}
	})
}

func TestDeletedKeysStayDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStores(t, 5)
		s.want("apple", "")
		s.put("apple", "red")
		s.put("apple", "green")
		s.want("apple", "green")
		if _, err := s.client().Delete(t.Context(), &kvpb.DeleteRequest{Key: []byte("apple")}); err != nil {
			t.Fatal(err)
		}
		s.want("apple", "")
		s.kill(s.ring.Owner([]byte("apple")))
		s.settle()
		s.want("apple", "")
	})
}

// A member that hangs is replaced, and what it was given before and after is not lost or brought
// back.
func TestMemberThatHungHasTheNewestValues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStores(t, 6)
		owner := s.ring.Owner([]byte("apple"))
		var keys []string // of the owner, at several of its identifiers
		for i := 0; len(keys) < 4; i++ {
			if key := fmt.Sprint("key", i); s.ring.Owner([]byte(key)) == owner {
				keys = append(keys, key)
				s.put(key, "red")
			}
		}
		s.ring.Hang(owner)
		time.Sleep(20 * time.Second)
		for _, key := range keys {
			s.put(key, "green")
		}
		s.ring.Resume(owner)
		s.settle()
		again := 0 // it may stand at other identifiers than before
		for _, key := range keys {
			if s.ring.Owner([]byte(key)) == owner {
				again++
			}
			s.want(key, "green")
		}
		t.Logf("%s owns %d of the %d keys that it had", owner.Name(), again, len(keys))
	})
}

func TestLeaverHandsItsCopiesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStores(t, 5)
		s.put("apple", "red")
		owner := s.ring.Owner([]byte("apple"))
		if err := owner.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		delete(s.nodes, owner.Name())
		if names := s.holding("apple"); len(names) < 3 {
			t.Errorf("the key is kept by %v, want 3 without %s", names, owner.Name())
		}
		s.settle()
		s.want("apple", "red")
	})
}

func TestJoinerTakesItsRangeAndOthersForgetIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStores(t, 4)
		for i := range 20 {
			s.put(fmt.Sprint("key", i), "x")
		}
		for i := range 3 {
			m := s.ring.Start(1, func(_ int, c *concord.Config) {
				c.Name, c.VirtualNodes, c.Zone = fmt.Sprint("late", i), virtualNodes, fmt.Sprint("zone", i%3)
			})[0]
			s.start(m, t.TempDir())
		}
		s.settle()
		time.Sleep(time.Minute)
		for i := range 20 {
			key := fmt.Sprint("key", i)
			s.want(key, "x")
			if names := s.holding(key); len(names) != 3 {
				t.Errorf("%s is kept by %v, want 3", key, names)
			}
		}
	})
}

func TestEarlierOwnerIsRefused(t *testing.T) {
	d, err := openDisk(t.TempDir(), concord.New(concord.Config{Name: "x"}).KeyID)
	if err != nil {
		t.Fatal(err)
	}
	defer d.db.Close()
	all := func(owner string, epoch uint64) *kvpb.Claim {
		return &kvpb.Claim{Owner: owner, Epoch: epoch, Start: 1, End: 1}
	}
	item := func(epoch, number uint64) *kvpb.Item {
		return &kvpb.Item{Key: []byte("apple"), Version: &kvpb.Version{Epoch: epoch, Number: number}}
	}
	if err := d.store(all("a", 1), item(1, 1)); err != nil {
		t.Error(err)
	}
	if err := d.seal(all("b", 2)); err != nil {
		t.Error(err)
	}
	for what, err := range map[string]error{
		"a lesser epoch":                d.store(all("a", 1), item(1, 2)),
		"an equal epoch of another":     d.store(all("a", 2), item(2, 1)),
		"a seal by a lesser epoch":      d.seal(all("a", 1)),
		"a seal by an epoch of another": d.seal(all("a", 2)),
	} {
		if err == nil || !strings.Contains(err.Error(), "b") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := d.store(all("b", 2), item(2, 1)); err != nil {
		t.Error(err)
	}
	if err := d.store(all("b", 2), item(1, 9)); err != errNewer { //nolint:errorlint // as it is
		t.Errorf("an older value: %v", err)
	}
	if got, err := d.get([]byte("apple")); err != nil || got.GetVersion().GetEpoch() != 2 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestFront(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStores(t, 4)
		front := newFront(inMemory{s.ring.Members()[1], s.conns})
		for _, tc := range []struct {
			method, key, body string
			code              int
			answer            string
		}{
			{"GET", "apple", "", http.StatusNotFound, "no such key"},
			{"PUT", "apple", "red", http.StatusNoContent, ""},
			{"GET", "apple", "", http.StatusOK, "red"},
			{"PUT", "a/b", "c", http.StatusNoContent, ""},
			{"GET", "a/b", "", http.StatusOK, "c"},
			{"DELETE", "apple", "", http.StatusNoContent, ""},
			{"GET", "apple", "", http.StatusNotFound, "no such key"},
			{"PUT", "", "x", http.StatusBadRequest, "a key has"},
			{"PUT", "apple", strings.Repeat("x", maxValue+1), http.StatusRequestEntityTooLarge, "too large"},
		} {
			w := httptest.NewRecorder()
			front.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), tc.method, "/kv/"+tc.key, bytes.NewReader([]byte(tc.body))))
			if w.Code != tc.code || !strings.Contains(w.Body.String(), tc.answer) {
				t.Errorf("%s %s: %d %s", tc.method, tc.key, w.Code, w.Body)
			}
		}
	})
}
