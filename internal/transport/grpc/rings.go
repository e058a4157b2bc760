package grpctransport

import (
	"sync"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// rings are the last answers of the identifiers of one process to AskRing. The zero rings
// is empty. Its methods may be called concurrently.
type rings struct {
	mu sync.Mutex
	of map[uint64]*protocol.State // by identifier
}

// seen is the last answer of to to AskRing, which the peer need not repeat; nil: there is
// none. It may be that of another member.
func (l *link) seen(to ring.Member) *protocol.State {
	if !to.Choice.Several() {
		return l.ring.Load()
	}
	l.rings.mu.Lock()
	defer l.rings.mu.Unlock()
	return l.rings.of[to.ID]
}

// saw keeps an answer to AskRing.
func (l *link) saw(s *protocol.State) {
	if !s.Self.Choice.Several() {
		l.ring.Store(s)
		return
	}
	l.rings.mu.Lock()
	defer l.rings.mu.Unlock()
	if l.rings.of == nil || len(l.rings.of) >= ring.MaxIdentifiers {
		l.rings.of = map[uint64]*protocol.State{}
	}
	l.rings.of[s.Self.ID] = s
}
