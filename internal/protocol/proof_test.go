package protocol

import (
	"testing"

	"github.com/ollelogdahl/concord/internal/ring"
)

// impostor is somebody at an address of its own who answers everything in the name of a
// member, as of a later incarnation that is in the ring.
func (w *world) impostor(of ring.Member, addr string, ahead uint64) *host {
	h := w.add(of.Name, of.ID, addr, of.Incarnation+ahead)
	at := w.hosts[of.Addr].m.Snapshot()
	h.place(at.Succ, at.Pred)
	return h
}

// hear has a host hear a request that somebody sends in the name of from.
func (w *world) hear(h *host, from ring.Member, req Request) {
	h.token++
	h.tokens[h.token] = func(Reply, *Failure) {}
	w.step(h, Asked{Token: h.token, From: from, Request: req})
}

// A later incarnation is claimed of every member, again and again, and somebody answers
// in that name. The neighbours have not met it, so that no member yields.
func TestLaterIncarnationsThatNoNeighbourHasMetTakeNobodysPlace(t *testing.T) {
	w := ringOf(t, 5, 3, 5)
	members := w.live()
	for k, h := range members {
		fake := w.impostor(h.m.self, "evil"+h.addr, uint64(1_000*(k+1)))
		fake.frozen = true // it makes no rounds
	}
	for range 30 {
		for _, h := range members {
			fake := w.hosts["evil"+h.addr]
			fake.m.self.Incarnation = h.m.self.Incarnation + 1_000
			fake.m.phase = Joined
			fake.frozen = false
			w.hear(h, fake.m.self, Request{Kind: Introduce, Subject: fake.m.self})
		}
		w.run(interval)
		for _, h := range members {
			w.hosts["evil"+h.addr].frozen = true
		}
	}
	for _, h := range members {
		w.hosts["evil"+h.addr].up = false
		if h.m.phase != Joined {
			t.Errorf("%v is %v", h.m.self, h.m.phase)
		}
	}
	w.ideal(20*interval, 5)
}

// The claim of an incarnation at the member's own address costs nothing: its neighbours
// name it as it is.
func TestClaimedIncarnationAtTheOwnAddressChangesNothing(t *testing.T) {
	w := ringOf(t, 5, 3, 5)
	h := w.live()[1]
	self := h.m.self
	for k := range uint64(30) {
		claim := self
		claim.Incarnation += 1_000 + k
		w.hear(h, claim, Request{Kind: Introduce, Subject: claim})
		w.run(interval / 2)
	}
	if h.m.self != self || h.m.phase != Joined {
		t.Errorf("%+v is %v, and was %+v", h.m.self, h.m.phase, self)
	}
}

// A Leave in another's name, twenty times a second, to everybody: the member that is
// said to leave says that it stays, and no range changes.
func TestForgedLeavesChangeNoRange(t *testing.T) {
	w := ringOf(t, 5, 3, 5)
	w.run(5 * interval)
	members := w.live()
	leaver := members[2]
	for _, h := range members {
		h.ranges = nil
	}
	for range 100 {
		for _, h := range members {
			if h != leaver {
				w.hear(h, leaver.m.self, Request{Kind: Leave, Pred: members[0].m.self, Succ: []ring.Member{members[4].m.self}})
			}
		}
		w.run(interval / 20)
	}
	w.run(interval)
	for _, h := range members {
		if len(h.ranges) > 0 || len(h.m.farewells) > 0 {
			t.Errorf("%v: %d changes of its range, %d leaves not looked into", h.m.self, len(h.ranges), len(h.m.farewells))
		}
	}
	w.ideal(interval, 5)
}
