package web

import (
	"net/http"
	"net/netip"
	"sync"
)

// slots bound what is under way at once, in all and of one client, so that one cannot
// keep all others out. Of IPv6 a client is a network of 64 bits. Clients behind one
// proxy count as one.
type slots struct {
	all, each int

	mu    sync.Mutex
	taken int
	of    map[netip.Addr]int
}

func newSlots(all, each int) *slots { return &slots{all: all, each: each, of: map[netip.Addr]int{}} }

// take takes a slot for whoever sends r. It reports false if there is none.
func (s *slots) take(r *http.Request) (give func(), ok bool) {
	who := client(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken >= s.all || s.of[who] >= s.each {
		return nil, false
	}
	s.taken++
	s.of[who]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.taken--
		if s.of[who]--; s.of[who] == 0 {
			delete(s.of, who)
		}
	}, true
}

// client is the host that sends r; the zero address if that is not known.
func client(r *http.Request) netip.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	who := at.Addr().Unmap().WithZone("")
	if who.Is6() {
		who = netip.PrefixFrom(who, 64).Masked().Addr()
	}
	return who
}
