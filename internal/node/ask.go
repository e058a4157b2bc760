package node

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/ollelogdahl/concord/internal/peer"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/ringmap"
	"github.com/ollelogdahl/concord/internal/transport"
)

// Bounds on what is under way at once on the machine's account.
const (
	maxAsks  = 512
	maxTells = 128
)

// ask carries out a question of the machine. It is called under the lock and
// delivers exactly one answer, later.
func (n *Node) ask(e protocol.Ask) {
	if n.inflight >= maxAsks {
		n.wg.Go(func() {
			n.step(protocol.Answer{Call: e.Call, Failure: &protocol.Failure{Kind: protocol.Cancelled, Detail: "too many requests in progress"}})
		})
		return
	}
	n.inflight++
	env := n.envelope(e.To)
	env.Source = n.cause
	limit := peer.PatientTimeout
	if !e.Patient {
		limit = n.peers.of(e.To.Addr).Timeout(e.Attempt)
	}
	asked := n.now()
	done := func(reply protocol.Reply, f *protocol.Failure) { n.answered(e, env.Source, asked, reply, f) }
	if n.startMaintain(env, e.Request, limit, done) {
		return
	}
	n.carry(func() { done(n.maintain(n.ctx, env, e.Request, limit)) })
}

// answered gives the machine the answer to a question that was asked at a time, on account of a
// request from a host, or its failure.
func (n *Node) answered(e protocol.Ask, cause netip.Addr, asked time.Duration, reply protocol.Reply, f *protocol.Failure) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.inflight--
	if n.stopped() {
		return
	}
	if f == nil {
		n.onMap(func(m *ringmap.Map) { m.Heard(e.To.Instance()) })
		ringAsked := e.Request.Kind == protocol.AskRing
		if ringAsked {
			n.compareLease(&reply.State)
		}
		// A process that is to stand at several identifiers chooses them by the map: it loads that
		// when it has joined, not before.
		if ringAsked || !n.cfg.Self.Choice.Several() {
			defer n.headMap(&reply.State, asked)
		}
	}
	n.stepFor(cause, protocol.Answer{Call: e.Call, Reply: reply, Failure: f})
	if e.To.Name != "" {
		n.noteOutcome(e.To, f)
	}
}

// compareLease notes that a member owns by leases of another length, or by none. Neither of
// the two grants the other any.
func (n *Node) compareLease(st *protocol.State) {
	if own := n.cfg.Lease; st.Phase.InRing() && st.Lease.Length != own {
		n.noteFailure(PeerFailure{Name: st.Self.Name, Addr: st.Self.Addr, Kind: protocol.WrongRing,
			Err: fmt.Sprintf("Lease differs: %v here, %v there; neither grants the other a lease", own, st.Lease.Length)})
	}
}

// tell carries out a message whose fate is not wanted. It is called under the
// lock. One too many is dropped: what is told is found out in time anyway.
func (n *Node) tell(e protocol.Tell) {
	if n.tells >= maxTells {
		return
	}
	n.tells++
	env := n.envelope(e.To)
	env.Source = n.cause
	n.carry(func() {
		_, _ = n.maintain(n.ctx, env, e.Request, peer.InitialTimeout)
		n.mu.Lock()
		n.tells--
		n.mu.Unlock()
	})
}

func (n *Node) envelope(to ring.Member) transport.Envelope {
	return transport.Envelope{From: n.machine.Self(), To: to, Settings: n.cfg.Settings}
}
