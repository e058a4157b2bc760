package protocol

import (
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// successor is the live member after w.live()[k].
func successorOf(w *world, k int) *host { return w.live()[(k+1)%len(w.live())] }

func TestWhoTakesOverClaimsByAGreaterEpoch(t *testing.T) {
	for seed := range uint64(10) {
		w := ringOf(t, seed, 3, 12)
		w.run(3 * interval)
		k := w.rng.IntN(12)
		gone, heir := w.live()[k], successorOf(w, k)
		before := gone.m.State().Epoch
		if before == 0 {
			t.Fatal("a member that owns an arc has no epoch")
		}
		gone.up = false
		w.ideal(10*time.Second, 11)
		if after := heir.m.State().Epoch; after <= before {
			t.Errorf("seed %d: the arc was claimed by %d, and is by %d", seed, before, after)
		}
		if v := heir.view; v.Epoch != heir.m.State().Epoch {
			t.Errorf("seed %d: the view tells of the epoch %d, the state of %d", seed, v.Epoch, heir.m.State().Epoch)
		}
		if last := heir.ranges[len(heir.ranges)-1]; last.Epoch != heir.view.Epoch {
			t.Errorf("seed %d: the program was told of the epoch %d", seed, last.Epoch)
		}
	}
}

func TestJoinerClaimsByAGreaterEpochThanItsSuccessorWhichKeepsItsOwn(t *testing.T) {
	for seed := range uint64(10) {
		w := ringOf(t, seed, 3, 8)
		epochs := map[*host]uint64{}
		for _, h := range w.live() {
			epochs[h] = h.m.State().Epoch
		}
		j := w.member(100)
		w.rejoin(j, w.order[0].addr)
		w.ideal(10*time.Second, 9)
		for k, h := range w.live() {
			s := successorOf(w, k)
			switch {
			case h == j && h.m.State().Epoch <= epochs[s]:
				t.Errorf("seed %d: the joiner claims by %d, its successor did by %d", seed, h.m.State().Epoch, epochs[s])
			case h != j && h.m.State().Epoch != epochs[h]:
				t.Errorf("seed %d: the epoch of a member that gained nothing went from %d to %d", seed, epochs[h], h.m.State().Epoch)
			}
		}
	}
}

func TestMemberThatWasTakenForDeadClaimsItsArcAnew(t *testing.T) {
	for seed := range uint64(10) {
		w := ringOf(t, seed, 3, 8)
		w.run(3 * interval)
		k := w.rng.IntN(8)
		h, heir := w.live()[k], successorOf(w, k)
		h.frozen = true
		w.run(10 * interval)
		by := heir.m.State().Epoch
		h.frozen = false
		w.step(h, Tick{})
		w.ideal(30*time.Second, 8)
		if back := h.m.State().Epoch; back <= by {
			t.Errorf("seed %d: it was replaced by the epoch %d, and claims its arc by %d", seed, by, back)
		}
	}
}

func TestContestedArcIsClaimedAnew(t *testing.T) {
	w := ringOf(t, 1, 3, 4)
	h := w.order[2]
	before := h.m.State()
	w.step(h, Claimed{Epoch: before.Epoch + 5, Contested: true})
	after := h.m.State()
	if after.Epoch != before.Epoch+6 || after.Version == before.Version || h.view.Epoch != after.Epoch {
		t.Errorf("the epoch was %d and is %d, of the view %d", before.Epoch, after.Epoch, h.view.Epoch)
	}
	w.step(h, Claimed{Epoch: after.Epoch - 1, Contested: true})
	if now := h.m.State().Epoch; now != after.Epoch {
		t.Errorf("a smaller epoch changed it to %d", now)
	}
}

func TestClockOfALiarIsNotBelieved(t *testing.T) {
	w := ringOf(t, 1, 3, 4)
	h := w.order[2]
	for range 3 {
		w.step(h, Tick{})
		before := h.m.clock
		for _, lie := range []uint64{before + ring.MaxLeap + 1, MaxEpoch, MaxEpoch + 1, 1<<64 - 1} {
			w.step(h, Claimed{Epoch: lie, Contested: true})
		}
		if h.m.clock > before+ring.MaxLeap+8 || h.m.epoch > before {
			t.Fatalf("in a round its clock went from %d to %d, and it claims by %d", before, h.m.clock, h.m.epoch)
		}
	}
	h.m.clock = MaxEpoch
	w.step(h, Claimed{Epoch: MaxEpoch, Contested: true})
	if h.m.epoch > MaxEpoch || h.m.clock > MaxEpoch {
		t.Errorf("the epoch is %d", h.m.epoch)
	}
}

// A member whose clock is far behind, as those that lies have not reached are, believes the others
// in the end, and claims its arc again.
func TestClockFarBehindReachesTheOthers(t *testing.T) {
	w := ringOf(t, 1, 3, 4)
	h := w.order[2]
	far := h.m.clock + 5*ring.MaxLeap
	rounds := 0
	for ; h.m.epoch < far && rounds < 20; rounds++ {
		w.step(h, Tick{})
		w.step(h, Claimed{Epoch: far, Contested: true})
	}
	if rounds != 5 || h.m.epoch != far+1 {
		t.Errorf("after %d rounds it claims by %d, and others by %d", rounds, h.m.epoch, far)
	}
}
