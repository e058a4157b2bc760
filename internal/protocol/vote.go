package protocol

import (
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/voting"
)

// This file has a member claim its arc, and ask the processes of its list to vote for it. See
// package voting. Where there are votes, nothing else decides what a member owns by its lease, but that
// its head has to name it, too. Neither a chain of grants nor waits are needed.

// poll is a question to another process that asks for its votes.
type poll struct {
	call   uint64
	of     string
	asked  time.Duration
	claims []voting.Stake
	bare   bool // it asks for nothing else
}

// maxPolls bounds the questions of one member for votes that are under way.
const maxPolls = 4 * MaxList

// stake keeps what this member claims in step with its arc.
func (m *Machine) stake() {
	p, l := m.cfg.Votes, &m.lease
	if p == nil {
		return
	}
	arc, has := m.ownArc()
	self := m.self.Instance()
	switch {
	case m.phase != Joined || m.isolated() || !l.holds && l.named == 0:
		p.Claim(self, ring.Arc{}, false, m.now)
	case has && p.Claim(self, arc, true, m.now):
		p.Soon()
		m.canvass()
	}
	m.renew()
}

// canvass asks for votes: this process, and the others that may vote and were not asked of late.
func (m *Machine) canvass() {
	p := m.cfg.Votes
	if p == nil || m.phase != Joined {
		return
	}
	p.AskItself(m.now)
	m.begins()
	for _, x := range m.voters() {
		if p.Due(x.Name, m.now) {
			m.lease.bare(m.ask(x, Request{Kind: AskRing}, 0, false))
		}
	}
}

// bare notes that a question asks for votes only. It may ask for none, if another member of the
// process has asked meanwhile.
func (l *leasing) bare(call uint64) {
	i := slices.IndexFunc(l.polls, func(q poll) bool { return q.call == call })
	if i < 0 {
		i = len(l.polls)
		l.polls = append(slices.Clip(l.polls), poll{call: call})
	}
	l.polls[i].bare = true
}

// voters are members of other processes, one of each, that are asked for votes: those of the
// list, and then others that this one knows, as many as there are if MinMembers is just more
// than half. Those of the list alone would be too few as long as one of them has only started.
func (m *Machine) voters() (out []ring.Member) {
	add := func(x ring.Member) {
		another := func(y ring.Member) bool { return y.Name == x.Name }
		if len(out) < 2*m.cfg.MinMembers-2 && !x.IsZero() && !x.Legacy() && !another(m.self) && !slices.ContainsFunc(out, another) {
			out = append(out, x)
		}
	}
	for _, x := range m.succ {
		add(x)
	}
	add(m.pred)
	for i := range m.acq.list {
		if a := &m.acq.list[i]; a.inRing() {
			add(a.Member)
		}
	}
	return out
}

// lacks reports whether a part of the arc has not enough votes.
func (m *Machine) lacks() bool {
	arc, has := m.ownArc()
	l := &m.lease
	return has && (l.none || m.now >= l.until || !voting.Covers(l.edge, arc.After, m.self.ID))
}

// polls has a question of that call ask for votes, too, if those are due.
func (m *Machine) polls(to ring.Member, call uint64, a *Asks) {
	p, l := m.cfg.Votes, &m.lease
	if p == nil || to.Legacy() || to.Name == "" || !p.Due(to.Name, m.now) {
		return
	}
	a.Claims, a.Words = p.Ask(to.Name, m.now)
	l.polls = append(slices.Clip(l.polls[max(0, len(l.polls)-maxPolls+1):]), poll{call: call, of: to.Name, asked: m.now, claims: a.Claims})
}

// polled takes the votes that an answer has, and reports whether it was asked for
// nothing else.
func (m *Machine) polled(a Answer) (bare bool) {
	l := &m.lease
	i := slices.IndexFunc(l.polls, func(q poll) bool { return q.call == a.Call })
	if i < 0 {
		return false
	}
	q := l.polls[i]
	l.polls = slices.Delete(slices.Clone(l.polls), i, i+1)
	if st := a.Reply.State; a.Failure == nil && st.Self.Name == q.of && st.Lease.Length == m.cfg.Lease {
		m.cfg.Votes.Take(q.of, q.asked, q.claims, st.Lease.Votes)
		m.begins()
	}
	return q.bare
}

// overhears notes what a neighbour says that it claims: if it claims less than it did, that
// may be this member's.
func (m *Machine) overhears(st State) {
	if p := m.cfg.Votes; p != nil && st.Lease.Length == m.cfg.Lease && (st.Self == m.pred || st.Self == m.head() || st.Pred == m.self) {
		p.Hear(st.Lease.Stake, m.now)
	}
}

// voted finds what has enough votes, and until when.
func (m *Machine) voted() {
	l := &m.lease
	edge, until := l.edge, l.until
	after, good, has := m.cfg.Votes.Held(m.self.Instance(), m.now)
	l.none, l.edge, l.until = !has, after, min(l.grant, good)
	m.dirty = m.dirty || l.edge != edge || l.until != until
}

// votes answers who asks for votes.
func (m *Machine) votes(a Asked) []voting.Vote {
	r := a.Request.Lease
	if m.cfg.Votes == nil || len(r.Claims) == 0 || r.Length != m.cfg.Lease || a.From.Name == "" || !m.phase.InRing() {
		return nil
	}
	return m.cfg.Votes.Vote(r.Claims, r.Words, m.now)
}
