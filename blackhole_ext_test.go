package concord_test

import (
	"fmt"
	"net"
	"sync"
	"testing"

	"github.com/ollelogdahl/concord"
)

// blackHole is the address of a listener that accepts and never answers.
func blackHole(t *testing.T) string {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	swallow(t, lis)
	return lis.Addr().String()
}

func swallow(t *testing.T, lis net.Listener) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	wg.Go(func() {
		for {
			conn, err := lis.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, conn)
			mu.Unlock()
		}
	})
	t.Cleanup(func() {
		lis.Close()
		wg.Wait()
		for _, conn := range open {
			conn.Close()
		}
	})
}

// nobody is an address that nobody listens at.
func nobody(t *testing.T) string {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	return lis.Addr().String()
}

// besideBlackHole is one half of a ring of two whose other half accepts
// connections from now on and says nothing, and a key of that half's.
func besideBlackHole(t *testing.T) (*concord.Concord, []byte) {
	t.Helper()
	members := newRing(t, 2)
	c, other := members[0], members[1]
	var key []byte
	for i := 0; ; i++ {
		key = fmt.Appendf(nil, "key%d", i)
		if ownerOf(members, idOf(string(key))) == serverOf(other) {
			break
		}
	}
	addr := other.Address()
	other.Stop()
	lis, err := net.Listen("tcp", addr)
	if err != nil {
		t.Skipf("the address was taken: %v", err)
	}
	swallow(t, lis)
	return c, key
}
