package mutant

const (
	originFile       = "internal/protocol/origin.go"
	restFile         = "internal/protocol/rest.go"
	reachFile        = "internal/protocol/reach.go"
	acquaintanceFile = "internal/protocol/acquaintance.go"
	stabilizeFile    = "internal/protocol/stabilize.go"
	grantFile        = "internal/protocol/grant.go"
	leaseFile        = "internal/protocol/lease.go"
	voteFile         = "internal/protocol/vote.go"
	votesFile        = "internal/voting/voting.go"
	takeoverFile     = "internal/protocol/takeover.go"
	departFile       = "internal/protocol/depart.go"
	drainFile        = "internal/protocol/drain.go"
	doubtFile        = "internal/protocol/doubt.go"
	contactsFile     = "internal/routing/contacts.go"
	epochFile        = "internal/protocol/epoch.go"
	eventFile        = "internal/protocol/event.go"
	farewellFile     = "internal/protocol/farewell.go"
	bootstrapFile    = "internal/protocol/bootstrap.go"
	messageFile      = "internal/protocol/message.go"
	machineFile      = "internal/protocol/machine.go"
	placeFile        = "internal/protocol/place.go"
	pointersFile     = "internal/protocol/pointers.go"
	rectifyFile      = "internal/protocol/rectify.go"
	replacedFile     = "internal/protocol/replaced.go"
	ringFile         = "internal/ring/ring.go"
	seedFile         = "internal/protocol/seed.go"
	certifyFile      = "internal/ringmap/certify.go"
	mapFile          = "internal/ringmap/map.go"
	snapshotFile     = "internal/ringmap/snapshot.go"
	copyFile         = "internal/ringmap/copy.go"
	growthFile       = "internal/ringmap/growth.go"
	feedFile         = "internal/ringmap/feed.go"
	sweepFile        = "internal/ringmap/sweep.go"
	anchorFile       = "internal/ringmap/anchor.go"
	pushFile         = "internal/ringmap/push.go"
	ownFile          = "internal/ringmap/own.go"
	standInFile      = "internal/protocol/standin.go"
	searchFile       = "internal/routing/search.go"
	lookupFile       = "internal/routing/lookup.go"
	arcsFile         = "internal/routing/arcs.go"
	tableFile        = "internal/routing/table.go"
	verifiedFile     = "internal/routing/verified.go"
	proofFile        = "internal/routing/proof.go"
	estimateFile     = "internal/peer/estimate.go"
	rivalFile        = "internal/protocol/rival.go"
	marksFile        = "internal/ring/origin.go"
)

// Mistakes are all that are planted.
var Mistakes = []Mistake{
	{Says: "adopting a pointer without asking it first", Mutants: []Mutant{
		{
			Name: "head-unasked",
			Does: "The predecessor that the head names is put before the list, and asked afterwards.",
			Edits: []Edit{{stabilizeFile, `
	if p := st.Pred; m.mayPrecede(p) {
`, `
	if p := st.Pred; m.mayPrecede(p) {
		m.setSucc(m.cut(p, m.succ))
`}},
			Check: "ring",
			Sim:   "joiners",
		},
		{
			Name: "head-replaced-unasked",
			Does: "The predecessor that the head names replaces the head in the list, and is asked afterwards.",
			Edits: []Edit{{stabilizeFile, `
	if p := st.Pred; m.mayPrecede(p) {
`, `
	if p := st.Pred; m.mayPrecede(p) {
		m.setSucc(m.cut(p, m.succ[1:]))
`}},
			Check: "ring",
			Sim:   "joiners",
		},
		{
			Name: "candidate-unasked",
			Does: "An acquaintance nearer than the head is put before the list, and asked afterwards.",
			Edits: []Edit{{stabilizeFile, `
	if x := m.nearestCandidate(); !x.IsZero() {
`, `
	if x := m.nearestCandidate(); !x.IsZero() {
		m.setSucc(m.cut(x, m.succ))
`}},
			Check: "ring",
			Sim:   "joiners",
		},
		{
			Name: "notifier-unasked",
			Does: "A notifier becomes the predecessor before it has answered at its own address.",
			Edits: []Edit{{rectifyFile, `
	case r.met || m.hasVerified(r.n):
`, `
	case r.met || m.hasVerified(r.n) || true:
`}},
			Check: "lost lists",
			Sim:   "joiners",
		},
		{
			Name: "leavers-word",
			Does: "The predecessor that a leaver names is adopted before it has answered.",
			Edits: []Edit{{farewellFile, `
			m.startRectification(rectification{n: before, gone: x, left: true, token: token})
`, `
			m.startRectification(rectification{n: before, gone: x, left: true, token: token, met: true})
`}},
			Check: "leaves",
			Sim:   "comings and goings",
		},
	}},
	{Says: "notifying the old head instead of the new one", Mutants: []Mutant{
		{
			Name: "old-head-notified",
			Does: "A stabilization notifies the head with which it began.",
			Edits: []Edit{
				{stabilizeFile, `
	heard, headPred ring.Member
`, `
	heard, headPred ring.Member
	first           ring.Member
`},
				{stabilizeFile, `
	m.stabilization = stabilization{open: true, waiters: m.waiters}
`, `
	m.stabilization = stabilization{open: true, waiters: m.waiters, first: m.head()}
`},
				{stabilizeFile, `
	if h := m.head(); !h.IsZero() && op.heard == h && op.headPred != m.self {
`, `
	if h := op.first; !h.IsZero() && (h != op.heard || op.headPred != m.self) {
`},
			},
			Check: "ring",
			Sim:   "two rings",
		},
		{
			Name: "old-head-notified-on-change",
			Does: "A stabilization notifies only if it has changed the head, and then it notifies the old one.",
			Edits: []Edit{
				{stabilizeFile, `
	heard, headPred ring.Member
`, `
	heard, headPred ring.Member
	first           ring.Member
`},
				{stabilizeFile, `
	m.stabilization = stabilization{open: true, waiters: m.waiters}
`, `
	m.stabilization = stabilization{open: true, waiters: m.waiters, first: m.head()}
`},
				{stabilizeFile, `
	if h := m.head(); !h.IsZero() && op.heard == h && op.headPred != m.self {
`, `
	if h := op.first; !h.IsZero() && h != m.head() {
`},
			},
			Check: "ring",
			Sim:   "joiners",
		},
	}},
	{Says: "not testing the condition again when the answer is used", Mutants: []Mutant{
		{
			Name: "notifier-not-compared-again",
			Does: "A notifier is adopted once it has answered, whatever the predecessor is by then.",
			Edits: []Edit{{rectifyFile, `
	m.noticeIncarnation(m.rects[i].n)
	m.advance(i)
}

// acceptPred`, `
	m.noticeIncarnation(m.rects[i].n)
	m.acceptPred(i)
}

// acceptPred`}},
			Check: "apart",
			Sim:   "joiners",
		},
		{
			Name: "dead-predecessor-not-compared-again",
			Does: "When the predecessor does not answer, the notifier is adopted, though another may have been adopted meanwhile.",
			Edits: []Edit{{rectifyFile, `
			return
		}
	}
	m.advance(i)
}
`, `
			return
		}
	}
	if r.met || m.hasVerified(r.n) {
		m.acceptPred(i)
		return
	}
	m.advance(i)
}
`}},
			Check: "lists of one",
			Sim:   "joiners",
		},
		{
			Name: "head-not-compared-again",
			Does: "A member that was nearer than the head is adopted when it answers, whatever the head is by then.",
			Edits: []Edit{{stabilizeFile, `
	case m.nearer(x):
`, `
	case x.ID != m.self.ID:
`}},
			Same: "Only one question about the head is open at once, and only its answer brings a nearer head. A leave removes the head, and the next one is farther.",
		},
	}},
	{Says: "filling a short list with oneself or with copies", Mutants: []Mutant{
		{
			Name: "self-listed",
			Does: "A list taken over may contain the member itself.",
			Edits: []Edit{{pointersFile, `
		if len(out) == MaxList || !ring.Between(last.ID, x.ID, of.ID) || processes(of, out) >= most {
			break
		}
`, `
		if len(out) == MaxList || last.ID == of.ID || x.ID != of.ID && !ring.Between(last.ID, x.ID, of.ID) || processes(of, out) >= most {
			break
		}
`}},
			Check: "founder",
			Sim:   "joiners",
		},
		{
			Name: "copies-listed",
			Does: "A list that is not full is filled with copies of its last entry.",
			Edits: []Edit{{pointersFile, `
		last = x
	}
	return out
}

// Cut is the list`, `
		last = x
	}
	for len(out) < most {
		out = append(out, last)
	}
	return out
}

// Cut is the list`}},
			Check: "founder",
			Sim:   "joiners",
		},
	}},
	{Says: "inferring from a short list that the circle is closed", Mutants: []Mutant{
		{
			Name: "short-list-closes-lookup",
			Does: "A member answers lookups behind the last entry of a list that is not full as the owner.",
			Edits: []Edit{{tableFile, `
	if t.Alone && !t.Pred.IsZero() {
`, `
	if n := len(t.Succ); n > 0 && n < t.Full {
		return Answer{Verdict: Mine, Owner: t.Self}, true
	}
	if t.Alone && !t.Pred.IsZero() {
`}},
			Check: "ring",
			Sim:   "crashes",
		},
		{
			Name: "short-list-closes-range",
			Does: "A member without a predecessor uses the last entry of a list that is not full as its predecessor.",
			Edits: []Edit{{pointersFile, `
	case m.alone:
		return ring.Arc{After: m.self.ID`, `
	case len(m.succ) > 0 && len(m.succ) < m.cfg.Successors:
		return ring.Arc{After: m.succ[len(m.succ)-1].ID, To: m.self.ID}, true
	case m.alone:
		return ring.Arc{After: m.self.ID`}},
			Check: "ring",
			Sim:   "joiners",
		},
	}},
	{Says: "answering \"I own it\" when the whole list is dead", Mutants: []Mutant{
		{
			Name: "dead-list-owns-all",
			Does: "A member whose whole list is dead becomes a ring of one.",
			Edits: []Edit{{stabilizeFile, `
		if len(m.succ) == 0 {
			m.recoverAll()
			return
		}
`, `
		if len(m.succ) == 0 {
			m.becomeAlone()
			m.closeStabilization()
			return
		}
`}},
			Check: "lost lists",
			Sim:   "crashes",
		},
		{
			Name: "nobody-answers-owns-all",
			Does: "A member that has lost its list becomes a ring of one while its predecessor lives.",
			Edits: []Edit{
				{stabilizeFile, `
	if !m.pred.IsZero() && (all || m.eligible(m.pred)) {
`, `
	if false {
`},
				{stabilizeFile, `
	if m.pred.IsZero() || m.believedDead() {
`, `
	if true {
`},
			},
			Check: "lost lists",
			Sim:   "random",
		},
		{
			Name: "dead-list-answers",
			Does: "A member that has lost its list answers all lookups as the owner.",
			Edits: []Edit{{tableFile, `
	if t.Alone && !t.Pred.IsZero() {
`, `
	if len(t.Succ) == 0 && !t.Alone {
		return Answer{Verdict: Mine, Owner: t.Self}, true
	}
	if t.Alone && !t.Pred.IsZero() {
`}},
			Check: "lost lists",
			Sim:   "crashes",
		},
	}},
	{Says: "trimming the last entry as if it were self", Mutants: []Mutant{
		{
			Name: "last-entry-trimmed",
			Does: "The last entry of a list taken over is left out.",
			Edits: []Edit{{pointersFile, `
	for _, x := range list {
		if len(out)`, `
	for _, x := range list[:max(0, len(list)-1)] {
		if len(out)`}},
			Check: "ring",
			Sim:   "joiners",
		},
	}},
	{Says: "an open interval where it must be closed at the right", Mutants: []Mutant{
		{
			Name: "arc-open",
			Does: "An arc does not contain its right end.",
			Edits: []Edit{{ringFile, `
	return id == a.To || Between(a.After, id, a.To)
`, `
	return Between(a.After, id, a.To)
`}},
			Check: "ring",
			Sim:   "joiners",
		},
		{
			Name: "own-arc-open",
			Does: "A member does not answer for its own identifier.",
			Edits: []Edit{
				{tableFile, `
	if t.HasArc && t.Arc.Contains(q.ID) {
`, `
	if t.HasArc && ring.Between(t.Arc.After, q.ID, t.Arc.To) {
`},
				{tableFile, `
	if q.ID == t.Self.ID && len(t.Succ) > 0 {
`, `
	if false {
`},
			},
			Check: "founder",
			Sim:   "joiners",
		},
		{
			Name: "listed-arc-open",
			Does: "The arc between two entries of a list is open at the right, and the entry after it owns its end.",
			Edits: []Edit{{tableFile, `
		if (ring.Arc{After: prev.ID, To: s.ID}).Contains(id) {
`, `
		if id == prev.ID && i > 0 || ring.Between(prev.ID, id, s.ID) {
`}},
			Check: "ring",
			Sim:   "joiners",
		},
	}},
	{Says: "replacing a live entry by a dead one learned from a stale answer", Mutants: []Mutant{
		{
			Name: "silent-stays-head",
			Does: "A member that the head names is put before the list though it did not answer.",
			Edits: []Edit{{stabilizeFile, `
func (m *Machine) stabilizeWithout(x ring.Member) {
`, `
func (m *Machine) stabilizeWithout(x ring.Member) {
	if len(m.succ) > 0 && m.nearer(x) {
		m.setSucc(m.cut(x, m.succ))
	}
`}},
			Check: "lost lists of one",
			Sim:   "churn and lookups",
		},
	}},
	{Says: "answering with what is too old, or is not the owner's own answer", Unchecked: "it reads no clock, and confirmations age with time", Mutants: []Mutant{
		{
			Name: "memory-without-end",
			Does: "A confirmed arc answers lookups until it is contradicted.",
			Edits: []Edit{{arcsFile, `
	return now < latest.Until && (age == 0 || now-latest.At <= age)
`, `
	return age == 0 || now-latest.At <= age
`}},
			Sim: "churn and lookups",
		},
		{
			Name: "age-left-out",
			Does: "A confirmed arc answers lookups though it is older than their MaxAge.",
			Edits: []Edit{{arcsFile, `
	return now < latest.Until && (age == 0 || now-latest.At <= age)
`, `
	return now < latest.Until
`}},
			Sim: "churn and lookups",
		},
		{
			Name: "fresh-by-another",
			Does: "A Fresh lookup accepts the answer of the member before the owner.",
			Edits: []Edit{{searchFile, `
		if a.Owner == from || !fresh && s.recent(from, a) {
`, `
		if _ = fresh; a.Owner == from || s.recent(from, a) {
`}},
			Sim: "churn and lookups",
		},
	}},
	{Says: "taking the answer to the question of another Fresh lookup that does not serve", Unchecked: "its lookups share no questions", Mutants: []Mutant{
		{
			Name: "shared-too-old",
			Does: "A Fresh lookup takes what the owner was asked before the lookup began.",
			Edits: []Edit{{lookupFile, `
	return a.Verdict == Mine && a.HasArc && a.Arc.Contains(l.id) && sent >= q.wanted
`, `
	return a.Verdict == Mine && a.HasArc && a.Arc.Contains(l.id) && (sent >= 0 || q == nil)
`}},
			Test: "routing.TestFreshLookupIsServedByTheOwnersWordOnAnotherIdentifier",
		},
		{
			Name: "shared-another-arc",
			Does: "A Fresh lookup takes an arc of the owner that its identifier is not on.",
			Edits: []Edit{{lookupFile, `
	return a.Verdict == Mine && a.HasArc && a.Arc.Contains(l.id) && sent >= q.wanted
`, `
	return a.Verdict == Mine && a.HasArc && sent >= q.wanted
`}},
			Test: "routing.TestFreshLookupIsServedByTheOwnersWordOnAnotherIdentifier",
		},
		{
			Name: "shared-hearsay",
			Does: "A Fresh lookup takes the word of another on the owner.",
			Edits: []Edit{{lookupFile, `
	return a.Verdict == Mine && a.HasArc && a.Arc.Contains(l.id) && sent >= q.wanted
`, `
	return a.HasArc && a.Arc.Contains(l.id) && sent >= q.wanted
`}},
			Test: "routing.TestFreshLookupIsServedByTheOwnersWordOnAnotherIdentifier",
		},
	}},
	{Says: "answering though too few are known to live", Unchecked: "its members serve in any number", Mutants: []Mutant{
		{
			Name: "serves-isolated",
			Does: "An isolated member answers lookups.",
			Edits: []Edit{{eventFile, `
func (v *View) Serves() bool { return v.Phase.InRing() && !v.Isolated }
`, `
func (v *View) Serves() bool { return v.Phase.InRing() }
`}},
			Sim: "too few",
		},
		{
			Name: "isolated-without-itself",
			Does: "A member does not count itself.",
			Edits: []Edit{{pointersFile, `
	return m.phase.InRing() && 1+processes(m.self, m.succ) < m.cfg.MinMembers
`, `
	return m.phase.InRing() && processes(m.self, m.succ) < m.cfg.MinMembers
`}},
			Sim: "too few",
		},
		{
			Name: "isolated-counts-identifiers",
			Does: "Each identifier of a process counts as a member.",
			Edits: []Edit{{pointersFile, `
	return m.phase.InRing() && 1+processes(m.self, m.succ) < m.cfg.MinMembers
`, `
	return m.phase.InRing() && 1+len(m.succ) < m.cfg.MinMembers
`}},
			Sim: "too few processes",
		},
	}},
	{Says: "taking a client for a member", Unchecked: "it has no clients", Mutants: []Mutant{
		{
			Name: "client-in-place",
			Does: "A client answers as the member that it has met last would, by the others for a list.",
			Edits: []Edit{{contactsFile, `
	return NewTable(Known{Others: list, Bits: bits, Certain: -1})
`, `
	if len(c.list) > 1 {
		return NewTable(Known{Self: c.list[0], Succ: c.list[1:], Bits: bits, Certain: -1})
	}
	return NewTable(Known{Bits: bits, Certain: -1})
`}},
			Sim: "clients",
		},
		{
			Name: "addresses-once",
			Does: "A client that nobody answers any more does not go back to the addresses that it was given.",
			Edits: []Edit{{contactsFile, `
	for _, a := range addrs {
`, `
	if arcs != nil {
		addrs = nil
	}
	for _, a := range addrs {
`}},
			Sim: "clients",
		},
	}},
	{Says: "leaving out what keeps rings together", Mutants: []Mutant{
		{
			Name: "no-notify",
			Does: "No member notifies its successor.",
			Edits: []Edit{{stabilizeFile, `
	if h := m.head(); !h.IsZero() && op.heard == h && op.headPred != m.self {
`, `
	if h := m.head(); !h.IsZero() && op.heard == h && false {
`}},
			Check: "ring",
			Sim:   "joiners",
		},
		{
			Name: "dropped-is-forgotten",
			Does: "A live member that falls out of the pointers is forgotten.",
			Edits: []Edit{{pointersFile, `
	return []fact{{kind: fellOutOfView, who: x}}
}

// inView`, `
	m.acq.list = slices.DeleteFunc(m.acq.list, func(a acquaintance) bool { return a.Member == x })
	return nil
}

// inView`}},
			Check: "every",
		},
		{
			Name: "pending-evicted",
			Does: "Pending acquaintances are evicted like others.",
			Edits: []Edit{{acquaintanceFile, `
	return !a.kept() && !(q.guarded && a.verified && a.responsive())
`, `
	return !(q.guarded && a.verified && a.responsive())
`}},
			Sim: "hub",
		},
		{
			Name: "no-check",
			Does: "No member places itself.",
			Edits: []Edit{{machineFile, `
		m.check()
	}
`, `
	}
`}},
			Check: "every",
			Sim:   "two rings",
		},
		{
			Name: "nothing-pending",
			Does: "No acquaintance is ever pending.",
			Edits: []Edit{{acquaintanceFile, `
		a.pending, a.next = true, 0
`, `
		a.next = 0
`}},
			Sim: "two rings",
		},
	}},
	{Says: "founding beside a member that has answered", Unchecked: "it starts no bootstrapping member", Mutants: []Mutant{
		{
			Name: "founds-disputed",
			Does: "A member founds when FoundAfter is over, though a member that has answered it names another.",
			Edits: []Edit{{bootstrapFile, `
	return fresh && o.founder == m.self, o.enters || !fresh || o.founder != m.self && !o.founder.IsZero()
`, `
	return fresh && o.founder == m.self, o.enters
`}},
			Sim: "founders cut apart",
		},
		{
			Name: "founds-sooner-unmet",
			Does: "A member that may found names itself, whoever has answered it.",
			Edits: []Edit{{bootstrapFile, `
		if o.met && names && b.hears(o) && b.counts(o) && (best.IsZero() || sooner(o.who, best)) {
`, `
		if o.met && names && b.hears(o) && b.counts(o) && best.IsZero() {
`}},
			Sim: "founders",
		},
		{
			Name: "listed-names-itself",
			Does: "A member that is at one of the addresses given lets nobody found but itself.",
			Edits: []Edit{{bootstrapFile, `
		if o.met && names && b.hears(o) && b.counts(o) && (best.IsZero() || sooner(o.who, best)) {
`, `
		if !b.listed && o.met && names && b.hears(o) && b.counts(o) && (best.IsZero() || sooner(o.who, best)) {
`}},
			Sim: "founders by lists",
		},
		{
			Name: "address-for-member",
			Does: "The member that answers at a given address is taken for the one that advertises it.",
			Edits: []Edit{{bootstrapFile, `
	case st.Self == m.self:
		o.mine, o.anyone = true, true
		b.list()
	case st.Self.Addr != o.addr:
`, `
	case st.Self == m.self:
		o.own, o.selves = true, ownAsks
		b.list()
	case false:
`}},
			Sim: "founders",
		},
	}},
	{Says: "waiting for a founder that never founds", Unchecked: "it starts no bootstrapping member", Mutants: []Mutant{
		{
			Name: "stalled-founder-awaited",
			Does: "A member lets another found that would, for however long that does not.",
			Edits: []Edit{{bootstrapFile, `
	return o.chosen < enough && (o.given || o.recall || o.placed || b.round < enough)
`, `
	return o.chosen < enough || enough > 0
`}},
			Sim: "founders stalled",
		},
	}},
	{Says: "not telling a member that was taken for dead", Mutants: []Mutant{
		{
			Name: "replaced-not-told",
			Does: "A member whose head answers for its own identifier tells its program nothing.",
			Edits: []Edit{{pointersFile, `
	case m.hasArc && (m.lease.resumed || !m.replaced.by.IsZero()):
`, `
	case false:
`}},
			Check: "taken for dead",
			Sim:   "pauses",
		},
		{
			Name: "together-not-told",
			Does: "A member that was replaced says nothing to its predecessor, which was replaced with it.",
			Edits: []Edit{{replacedFile, `
		m.say(p, by, after)
`, `
`}},
			Sim: "pauses",
		},
		{
			Name: "replacing-forgotten",
			Does: "A member that takes back a predecessor that it had replaced does not say that it had.",
			Edits: []Edit{{replacedFile, `
			m.say(old, m.self, p.ID)
`, `
`}, {replacedFile, `
		m.say(n, m.self, start)
`, `
`}},
			Sim: "cuts",
		},
		{
			Name: "replaced-said-once",
			Does: "A member that says it has replaced another does not say so anew when it claims the arc of that again.",
			Edits: []Edit{{replacedFile, `
		t.Number = m.version
`, `
`}},
			Test: "protocol.TestReplacedIsSaidAnewWithEachClaim",
		},
		{
			Name: "replaced-before-alone",
			Does: "A member that was replaced, and has been a ring of one since, takes what another head says of that for what it has told.",
			Edits: []Edit{{pointersFile, `
	m.replaced.known, m.replaced.bare, m.doubts = false, false, false
`, `
	m.replaced.known, m.doubts = false, false
`}},
			Test: "protocol.TestMemberThatWasAloneIsToldAgainThatItWasReplaced",
		},
	}},
	{Says: "owning an arc after a pause without having heard of it", Unchecked: "to it, no time passes", Mutants: []Mutant{
		{
			Name: "woken-without-doubt",
			Does: "A member that has hung goes on as the owner of its arc.",
			Edits: []Edit{{doubtFile, `
	m.doubts = true
`, `
	m.doubts = false
`}},
			Sim: "pauses",
		},
		{
			Name: "assured-by-old-answer",
			Does: "A member that has hung believes an answer of its head to a question that it asked before.",
			Edits: []Edit{{doubtFile, `
	if m.doubts && asked >= m.replaced.since {
`, `
	if m.doubts {
`}},
			Sim: "pauses",
		},
		{
			Name: "doubt-at-rounds-only",
			Does: "A member finds that it has hung when its round begins, and not by what it hears before.",
			Edits: []Edit{{machineFile, `
	m.wake()
	m.expire()
	switch ev := ev.(type) {
	case Tick:
`, `
	m.expire()
	switch ev := ev.(type) {
	case Tick:
		m.wake()
`}},
			Sim: "pauses",
		},
	}},
	{Says: "owning by a lease that another does not know of, or has not ended", Unchecked: "to it, no time passes", Mutants: []Mutant{
		{
			Name: "lease-without-wait",
			Does: "A member owns at once what a predecessor had that does not answer.",
			Edits: []Edit{{leaseFile, `
		l.rest = max(l.rest, m.now+m.cfg.Lease)
`, `
		l.rest = m.now
`}},
			Sim: "leases and pauses",
		},
		{
			Name: "lease-without-second-wait",
			Does: "A member that waits for the arc of one that failed waits no longer when another fails.",
			Edits: []Edit{{leaseFile, `
		l.rest = max(l.rest, m.now+m.cfg.Lease)
`, `
		if m.now >= l.rest {
			l.rest = m.now + m.cfg.Lease
		}
`}},
			Sim: "leases and pauses",
		},
		{
			Name: "granted-while-contested",
			Does: "A predecessor is granted its arc while another of its name asks for one in its place.",
			Edits: []Edit{{grantFile, `
	if m.byGrants() && m.contested(to) {
		return false, false
	}
`, `
	m.contested(to)
`}},
			Test: "protocol.TestNobodyIsGrantedAContestedPlace",
		},
		{
			Name: "one-link",
			Does: "A member relies on a grant however long ago its head was named by its own.",
			Edits: []Edit{{grantFile, `
			chain = append(chain, asked-age)
`, `
			chain = append(chain, asked+0*age)
`}},
			Test: "protocol.TestChainIsLongerThanTheList",
		},
		{
			Name: "given-all",
			Does: "A joiner, or a member whose lease ran out, owns all of its arc by its first grant.",
			Edits: []Edit{{grantFile, `
	l.rest = max(l.named, l.took) + m.cfg.Lease
`, `
	l.rest = m.now
`}},
			Sim: "leases and pauses",
		},
		{
			Name: "grants-not-compared",
			Does: "A member grants an arc of which another that it named has a part.",
			Edits: []Edit{{grantFile, `
			if !gone(g, to) || !within(g.arc, a.Arc) {
				return false, false
			}
			linked = true
`, `
			_ = within
`}},
			Test: "protocol.TestGrantIsOfAnArcThatNobodyElseWasGranted",
		},
		{
			Name: "head-grants-alone",
			Does: "A member grants what its head has granted another, if that stands before it.",
			Edits: []Edit{{grantFile, `
		m.hears(st.Lease.Others)
`, `
`}},
			Test: "protocol.TestNobodyIsGrantedWhatTheHeadHasGrantedOthers",
		},
		{
			Name: "wait-not-handed-on",
			Does: "A joiner does not go on with the wait that its head hands on to it.",
			Edits: []Edit{{grantFile, `
			l.goes = wait{has: true, after: st.Lease.From, over: m.now + st.Lease.Wait/8*9, lasts: asked + m.leased()}
`, `
			l.goes = wait{has: true, after: st.Lease.From, over: m.now, lasts: asked + m.leased()}
`}},
			Test: "protocol.TestJoinerGoesOnWithTheWaitOfItsHead",
		},
		{
			Name: "wait-said-to-be-over",
			Does: "A member that joins while another waits for its arc is told that the wait is over, if one has joined there before it.",
			Edits: []Edit{{leaseFile, `
		out.after, out.over = w.after, max(out.over, w.over) // old has not asked for it
`, `
		out.after, out.over = w.after, m.now
`}},
			Sim: "leases and joiners",
		},
		{
			Name: "wait-passed-on-as-over",
			Does: "A joiner that hears of a wait tells the one before it that the wait is over.",
			Edits: []Edit{{leaseFile, `
		l.owed = wait{has: true, after: w.after, over: w.over}
`, `
		l.owed = wait{has: true, after: w.after, over: m.now}
`}},
			Sim: "leases and joiners",
		},
		{
			Name: "leaver-owns-on",
			Does: "A member that leaves owns its arc until it has stopped.",
			Edits: []Edit{{leaseFile, `
	l.none, l.rest, l.owed = true, forever, wait{}
}

// saysLease is what the member says of leases now.
`, `
}

// saysLease is what the member says of leases now.
`}, {leaseFile, `
	if !has || l.none || !l.holds || m.phase != Joined {
`, `
	if !has || l.none || !l.holds {
`}},
			Sim: "leases and pauses",
		},
	}},
	{Says: "voting for two members at a point, or counting a vote that is not there", Unchecked: "to it, no time passes", Mutants: []Mutant{
		{
			Name: "votes-for-two",
			Does: "A process votes for what a member claims, though it has voted for another there.",
			Edits: []Edit{{votesFile, `
		case next.arc.Contains(arc.To), before.arc.Contains(arc.To):
`, `
		case next.who.Incarnation+before.who.Incarnation == 0:
`}},
			Sim: "leases",
		},
		{
			Name: "votes-at-once",
			Does: "A process votes as soon as it has started, though it has forgotten its votes.",
			Edits: []Edit{{votesFile, `
	if now-p.since < p.Lease {
		return out
	}
`, `
`}},
			Test: "voting.TestNoVotesForALeaseAfterAStart",
		},
		{
			Name: "one-vote-too-few",
			Does: "A member owns what one process less than MinMembers has voted for.",
			Edits: []Edit{{votesFile, `
	needed := p.Needed
`, `
	needed := p.Needed - 1
`}},
			Sim: "leases of processes",
		},
		{
			Name: "old-words",
			Does: "A process takes an old word of a member for what it claims now.",
			Edits: []Edit{{votesFile, `
	if !known || s.Number <= p.given[i].number {
`, `
	if !known {
`}},
			Test: "voting.TestWordsFree",
		},
		{
			Name: "votes-for-more",
			Does: "A member that claims less, and then more again, counts votes from before.",
			Edits: []Edit{{votesFile, `
				s.by[i].after = arc.After
`, `
`}},
			Test: "voting.TestWordsFree",
		},
		{
			Name: "less-told-first",
			Does: "A process tells others that a member claims less before that is shown to its program.",
			Edits: []Edit{{votesFile, `
			claims = append(claims, s.told)
`, `
			claims = append(claims, s.Stake)
`}},
			Test: "voting.TestLessIsToldOnceItIsShown",
		},
		{
			Name: "less-never-told",
			Does: "A process never tells others that a member claims less.",
			Edits: []Edit{{machineFile, `
		p.Shown(m.self.Instance()) // the last Step has been published
`, `
`}},
			Sim: "leases",
		},
		{
			Name: "outlived-claims",
			Does: "A member that has become a later incarnation goes on claiming by the one before.",
			Edits: []Edit{{votesFile, `
	p.outlived(who, now)
`, `
`}},
			Test: "voting.TestLaterIncarnationClaimsAlone",
		},
		{
			Name: "votes-in-the-past",
			Does: "A vote counts from when the clock was read, also if others of the process know by then that it has leapt.",
			Edits: []Edit{{votesFile, `
	now = max(now, p.touched) // the clock may have leapt since it was read for this member
`, `
`}},
			Test: "voting.TestVotesAreNotCastInThePast",
		},
		{
			Name: "vote-from-answer",
			Does: "A member counts a vote from when the answer came, and not from when it asked.",
			Edits: []Edit{{voteFile, `
		m.cfg.Votes.Take(q.of, q.asked, q.claims, st.Lease.Votes)
`, `
		m.cfg.Votes.Take(q.of, m.now, q.claims, st.Lease.Votes)
`}},
			Test: "protocol.TestVotesCountFromTheQuestion",
		},
		{
			Name: "vote-and-a-half",
			Does: "A member relies on a vote for half as long again.",
			Edits: []Edit{{votesFile, `
	good := func(x voter) time.Duration { return x.asked + p.Lease/10*9 }
`, `
	good := func(x voter) time.Duration { return x.asked + p.Lease/2*3 }
`}},
			Test: "protocol.TestVotesCountFromTheQuestion",
		},
		{
			Name: "leap-ends-votes",
			Does: "The votes of a process whose clock leaps ahead end earlier by as much.",
			Edits: []Edit{{votesFile, `
		p.given[i].at += by
`, `
		_ = i
`}},
			Sim: "leases and leaps",
		},
	}},
	{Says: "gaining what a lease leaves to clocks and messages", Unchecked: "to it, no time passes", Mutants: []Mutant{
		{
			Name: "lease-and-a-half",
			Does: "A member relies on a lease for half as long again.",
			Edits: []Edit{{leaseFile, `
func (m *Machine) leased() time.Duration { return m.cfg.Lease / 10 * 9 }
`, `
func (m *Machine) leased() time.Duration { return m.cfg.Lease / 2 * 3 }
`}},
			Test: "protocol.TestLeaseCountsFromTheQuestion",
		},
		{
			Name: "lease-from-answer",
			Does: "A member counts a grant from when the answer came, and not from when it asked.",
			Edits: []Edit{{grantFile, `
		m.lengthen(st.Lease, asked)
`, `
		m.lengthen(st.Lease, m.now)
`}},
			Test: "protocol.TestLeaseCountsFromTheQuestion",
		},
		{
			Name: "leap-ends-waits",
			Does: "A member whose clock leaps ahead has waited for as much longer.",
			Edits: []Edit{{doubtFile, `
	m.lease.hung(m.now - r.due)
`, `
	m.lease.hung(0)
`}},
			Sim: "waits and leaps",
		},
	}},
	{Says: "standing in for a member that is not to be back, for too long, or for more than it had", Unchecked: "to it, no time passes", Mutants: []Mutant{
		{
			Name: "stands-in-for-all",
			Does: "A member that takes over from several that have left stands in for all of them as for the last.",
			Edits: []Edit{{pointersFile, `
	just := m.hasArc && m.arc.After == m.leaver.ID && arc.After == m.back.after
`, `
	just := m.hasArc || arc.Whole()
`}},
			Sim: "restarts",
		},
		{
			Name: "back-of-another",
			Does: "What one that has left has said of its return is believed of the next one that leaves.",
			Edits: []Edit{{farewellFile, `
func (m *Machine) leaves(x ring.Member) { m.leaver, m.back = x, returning{} }
`, `
func (m *Machine) leaves(x ring.Member) { m.leaver = x }
`}},
			Sim: "restarts",
		},
		{
			Name: "finds-the-leaver-itself",
			Does: "A successor that finds by itself that its predecessor leaves does not hear that it is to be back.",
			Edits: []Edit{{rectifyFile, `
			m.leaves(p)
			m.isBack(p, st)
`, `
			m.leaves(p)
`}},
			Sim: "restarts",
		},
		{
			Name: "stands-in-for-ever",
			Does: "A program stands in for a member that is not back in time.",
			Edits: []Edit{{standInFile, `
		if x.end > now {
			return false
		}
`, `
		if x.end > 0*now {
			return false
		}
`}},
			Sim: "restarts",
		},
		{
			Name: "stands-in-beside",
			Does: "A program stands in for a member that is back.",
			Edits: []Edit{{standInFile, `
		for _, left := range x.arc.Minus(arc) {
			kept = append(kept, standIn{left, x.end})
		}
`, `
		if x.arc != arc {
			kept = append(kept, x)
		}
`}},
			Sim: "restarts",
		},
		{
			Name: "takes-over-early",
			Does: "A program takes over before the member is to be back that it stands in for.",
			Edits: []Edit{{standInFile, `
		if x.end > now {
			return false
		}
`, `
		if x.end > now+now/8 {
			return false
		}
`}},
			Sim: "restarts",
		},
	}},
	{Says: "leaving with several identifiers that do not know of each other's leave", Unchecked: "to it, no time passes", Mutants: []Mutant{
		{
			Name: "leaves-untold-to-own",
			Does: "An identifier that leaves does not tell a neighbour that is of its own process.",
			Edits: []Edit{{departFile, `
	if x.Name == "" || x.Legacy() || x.ID == m.self.ID {
`, `
	if x.Name == "" || x.Legacy() || x.Name == m.self.Name {
`}},
			Sim: "restarts of processes",
		},
		{
			Name: "leaves-untold-to-next",
			Does: "A leaver whose head has left just before tells nobody in its place.",
			Edits: []Edit{{departFile, `
	case Refused, Unreachable, TimedOut, WrongMember, NotJoined:
		if i := slices.Index(m.succ, n.to)`, `
	case Invalid:
		if i := slices.Index(m.succ, n.to)`}},
			Sim: "restarts of processes",
		},
	}},
	{Says: "taking over what another has not released", Mutants: []Mutant{
		{
			Name: "given-up-for-a-question",
			Does: "A member that is asked whether it would consent takes the joiner for its predecessor.",
			Edits: []Edit{{rectifyFile, `
		if r.preparing {
`, `
		if false {
`}},
			Check: "taking over",
			Sim:   "takeovers",
		},
		{
			Name: "enters-prepared",
			Does: "A joiner owns its arc when its successor would consent.",
			Edits: []Edit{{takeoverFile, `
	if t.until == 0 {
		t.until = m.now + t.most
	}
`, `
	if t.until == 0 {
		m.enter(s, Reply{State: st, Former: st.Pred})
		m.introduce()
		return
	}
`}},
			Check: "taking over",
			Sim:   "takeovers",
		},
		{
			Name: "owns-from-the-search",
			Does: "A joiner owns from the member on that it was told to join after, whoever has joined there since.",
			Edits: []Edit{{takeoverFile, `
	if former.IsZero() || former != j.before {
		return
	}
	m.setPred(former, CauseJoined)
`, `
	if j.before.IsZero() {
		return
	}
	m.setPred(j.before, CauseJoined)
`}},
			Check: "taking over",
			Sim:   "takeovers",
		},
	}},
	{Says: "waiting for a program that takes for ever", Unchecked: "to it, no time passes", Mutants: []Mutant{
		{
			Name: "takes-for-ever",
			Does: "A joiner joins when its program has taken over, and not before.",
			Edits: []Edit{{takeoverFile, `
	if _, ok := m.Taking(); ok && m.now >= m.join.takeover.until {
`, `
	if _, ok := m.Taking(); ok && m.now < 0 {
`}},
			Sim: "takeovers",
		},
	}},
	{Says: "claiming an arc by an epoch that is not new", Unchecked: "to it, states that differ only in epochs are one", Mutants: []Mutant{
		{
			Name: "epoch-kept",
			Does: "A member that gains a part of its arc claims it by the epoch that it has.",
			Edits: []Edit{{epochFile, `
	m.claims, m.claimed = true, arc
	m.raise()
`, `
	if !m.claims {
		m.raise()
	}
	m.claims, m.claimed = true, arc
`}},
			Sim: "sessions",
		},
		{
			Name: "clock-unheard",
			Does: "A member does not hear of epochs by answers.",
			Edits: []Edit{{machineFile, `
		m.hearClock(a.Reply.State.Clock)
`, `
`}},
			Sim: "sessions",
		},
		{
			Name: "clock-untold",
			Does: "A member that notifies another does not say of which epochs it has heard.",
			Edits: []Edit{{machineFile, `
		req.Clock = m.clock
`, `
`}},
			Sim: "sessions",
		},
		{
			Name: "claims-unheard",
			Does: "A map does not have its members hear by which epochs others claim.",
			Edits: []Edit{{mapFile, `
	m.effects = append(m.effects, Effect{Do: Hear, Epoch: epoch})
`, `
`}},
			Sim: "epochs of processes",
		},
	}},
	{Says: "letting rings become one that have nothing in common", Mutants: []Mutant{
		{
			Name: "origins-not-compared",
			Does: "A member refuses nobody for the ring that it is in.",
			Edits: []Edit{{originFile, `
	if own.Kin(o) {
`, `
	if own.Kin(o) || true {
`}},
			Check: "strangers",
			Sim:   "strangers meet",
		},
		{
			Name: "joiner-without-origin",
			Does: "A member that enters a ring does not take its origin.",
			Edits: []Edit{{originFile, `
	m.setOrigin(o.Given(m.self, m.join.brings))
`, `
`}},
			Sim: "strangers meet",
		},
		{
			Name: "joiner-brings-both",
			Does: "A joiner adds to the origin of the ring that it enters those of all that it has heard of.",
			Edits: []Edit{{originFile, `
	case j.origin.Kin(o):
`, `
	case j.origin.Kin(o) || true:
`}, {originFile, `
	m.setOrigin(o.Given(m.self, m.join.brings))
`, `
	m.setOrigin(o.And(m.join.origin))
`}},
			Sim: "strangers meet",
		},
	}},
	{Says: "keeping rings apart that have something in common", Mutants: []Mutant{
		{
			Name: "only-numbers-compared",
			Does: "Members of rings of other numbers refuse each other, whatever the marks.",
			Edits: []Edit{{originFile, `
	if own.Kin(o) {
`, `
	if own == nil || o == nil || own.ID == o.ID {
`}},
			Check: "akin",
			Sim:   "akin meet",
		},
		{
			Name: "marks-not-taken",
			Does: "A member does not take over the marks of rings that have something in common with its own.",
			Edits: []Edit{{originFile, `
		m.setOrigin(m.origin.And(a.Reply.State.Origin))
`, `
`}, {originFile, `
		m.setOrigin(m.origin.And(o))
`, `
`}},
			Sim: "akin meet",
		},
	}},
	{Says: "dropping a member that has too much to do", Unchecked: "all of its members have time", Mutants: []Mutant{
		{
			Name: "busy-predecessor-dropped",
			Does: "A predecessor that answers that it has too much to do is taken for dead when another notifies.",
			Edits: []Edit{{messageFile, `
func (k FailureKind) unsaid() bool { return k == Cancelled || k == Overloaded }
`, `
func (k FailureKind) unsaid() bool { return k == Cancelled }
`}},
			Sim: "busy",
		},
		{
			Name: "busy-head-dropped",
			Does: "A head that answers that it has too much to do is taken for dead.",
			Edits: []Edit{{stabilizeFile, `
		case Cancelled, Overloaded:
			m.closeStabilization()
`, `
		case Cancelled:
			m.closeStabilization()
`}},
			Sim: "busy",
		},
	}},
	{Says: "believing a member that lies", Unchecked: "it has no hostile members", Mutants: []Mutant{
		{
			Name: "rival-believed",
			Does: "A member yields to a later incarnation of its name as soon as it hears of one.",
			Edits: []Edit{{rivalFile, `
	m.contest = contest{open: true, rival: x, refused: refused}
	m.contestAsk(m.head())
`, `
	m.yield(x)
`}},
			Sim: "hostile",
		},
		{
			Name: "leave-believed",
			Does: "A member does without a neighbour when somebody says that it leaves.",
			Edits: []Edit{{farewellFile, `
	default:
		f := farewell{who: x, pred: req.Pred, token: token}
`, `
	case true:
		m.without(x, req.Pred, token)
	default:
		f := farewell{who: x, pred: req.Pred, token: token}
`}},
			Sim: "hostile",
		},
		{
			Name: "named-not-met",
			Does: "A lookup counts an owner that another names, though that has never answered.",
			Edits: []Edit{{searchFile, `
		fresh := s.opts.Fresh || s.opts.Met != nil && !a.Owner.Legacy() && !s.opts.Met(a.Owner) || slices`, `
		fresh := s.opts.Fresh || slices`}},
			Sim: "false owners",
		},
		{
			Name: "met-as-another",
			Does: "Whoever has answered at an address counts as met under every name.",
			Edits: []Edit{{estimateFile, `
func (e Estimate) Met(x ring.Instance) bool { return e.Known() && e.met == x }
`, `
func (e Estimate) Met(x ring.Instance) bool { return e.Known() && e.met.Incarnation == x.Incarnation }
`}},
			Sim: "false owners",
		},
		{
			Name: "met-passed-over",
			Does: "A lookup counts an owner whatever members it knows that stand before it.",
			Edits: []Edit{{proofFile, `
	for _, x := range s.known.near {
		switch {
		case x.Legacy(),`, `
	for _, x := range s.known.near {
		switch {
		case true, x.Legacy(),`}},
			Sim: "hostile owners",
		},
		{
			Name: "address-shared",
			Does: "A member keeps records of two members at one address.",
			Edits: []Edit{{acquaintanceFile, `
	if i < 0 {
		return pending, true
	}
	a := &q.list[i]
`, `
	if i < 0 || true {
		return pending, true
	}
	a := &q.list[i]
`}},
			Sim: "ghosts",
		},
		{
			Name: "one-way",
			Does: "A verified lookup counts an owner that one search has named.",
			Edits: []Edit{{verifiedFile, `
	return named >= 2 || named == 1 && l.opts.Proven && x.ID == l.id
`, `
	return named >= 1
`}},
			Sim: "hostile owners",
		},
		{
			Name: "same-way",
			Does: "The second search of a verified lookup may ask whom the first has asked.",
			Edits: []Edit{{verifiedFile, `
		if q.Why != Candidate {
`, `
		if q.Why != Candidate && false {
`}},
			Sim: "hostile owners",
		},
		{
			Name: "same-process",
			Does: "The second search of a verified lookup may ask a process that the first has asked, at another identifier.",
			Edits: []Edit{{searchFile, `
	return slices.ContainsFunc(o.Apart, func(y ring.Member) bool { return x.Name == y.Name || x.Instance() == y.Instance() })
`, `
	return slices.ContainsFunc(o.Apart, func(y ring.Member) bool { return x.Instance() == y.Instance() })
`}},
			Sim: "hostile processes",
		},
		{
			Name: "marks-lost",
			Does: "Of too many marks of an origin the smallest are kept, whoever told of them.",
			Edits: []Edit{{marksFile, `
	both := NewOrigin(min(o.ID, p.ID), slices.Concat(o.Marks, added[:min(len(added), room)]))
`, `
	both := NewOrigin(min(o.ID, p.ID), slices.Concat(o.Marks, added[:max(0, len(added)+0*room)]))
`}},
			Sim: "hostile",
		},
		{
			Name: "list-unordered",
			Does: "A list is taken over in whatever order it is.",
			Edits: []Edit{{pointersFile, `
		if len(out) == MaxList || !ring.Between(last.ID, x.ID, of.ID) || processes(of, out) >= most {
`, `
		if processes(of, out) >= most || x.ID == of.ID || x.ID == last.ID {
`}},
			Sim: "hostile",
		},
	}},
	{Says: "believing the epochs of one that lies, or never those of the others", Unchecked: "it has no hostile members", Mutants: []Mutant{
		{
			Name: "left-behind",
			Does: "A clock does not go on because of one that is too far ahead.",
			Edits: []Edit{{epochFile, `
		m.clock += m.leaps.Toward(m.clock, at)
`, `
		if leap := m.leaps.Toward(m.clock, at); m.clock+leap >= at {
			m.clock += leap
		}
`}},
			Sim: "hostile to maps",
		},
		{
			Name: "driven-on",
			Does: "A clock goes on by whatever others say.",
			Edits: []Edit{{epochFile, `
		m.clock += m.leaps.Toward(m.clock, at)
`, `
		m.clock = max(m.clock, at)
`}},
			Sim: "hostile to maps",
		},
		{
			Name: "joins-beyond-all",
			Does: "A joiner begins at the greatest clock that it is told.",
			Edits: []Edit{{epochFile, `
		m.clock = min(max(at, m.clock), m.least+ring.MaxLeap)
`, `
		m.clock = max(at, m.clock)
`}},
			Sim: "hostile to maps",
		},
		{
			Name: "claims-never-believed",
			Does: "A map never believes a claim by an epoch that was too far ahead once.",
			Edits: []Edit{{pushFile, `
	m.hearEpoch(heard)
	return false
`, `
	return false
`}},
			Sim: "hostile to maps",
		},
		{
			Name: "head-believed",
			Does: "A map believes any epoch of the nearest successor.",
			Edits: []Edit{{mapFile, `
	if m.claiming(by) == nil || m.own(c.ID) != nil || !m.believes(c.Epoch) {
`, `
	if m.claiming(by) == nil || m.own(c.ID) != nil {
`}},
			Sim: "hostile to maps",
		},
	}},
	{Says: "taking identifiers of one process for several processes", Unsimulated: "each of its members has one identifier", Mutants: []Mutant{
		{
			Name: "identifiers-counted",
			Does: "A list ends after as many identifiers as it should name processes.",
			Edits: []Edit{{pointersFile, `
		if len(out) == MaxList || !ring.Between(last.ID, x.ID, of.ID) || processes(of, out) >= most {
`, `
		if len(out) == MaxList || !ring.Between(last.ID, x.ID, of.ID) || len(out) >= most {
`}},
			Check: "pairs",
		},
		{
			Name: "own-identifiers-counted",
			Does: "The member's own process counts as one of those that a list should name.",
			Edits: []Edit{{pointersFile, `
		if x.Name != of.Name && !slices.ContainsFunc(list[:i], func(y ring.Member) bool { return y.Name == x.Name }) {
`, `
		if !slices.ContainsFunc(list[:i], func(y ring.Member) bool { return y.Name == x.Name }) {
`}},
			Check: "pairs",
		},
	}},
	{Says: "draining a ring of its last member, or being in it after that", Mutants: []Mutant{
		{
			Name: "drain-unacknowledged",
			Does: "A member that drains goes though nobody has acknowledged that it does without it.",
			Edits: []Edit{{departFile, `
	case d.drains && len(d.by) > 0:
`, `
	case d.drains:
`}},
			Check: "all drain", Sim: "drains",
		},
		{
			Name: "drain-by-the-gone",
			Does: "A member that drains goes by what was said before it acknowledged another.",
			Edits: []Edit{{departFile, `
		m.acknowledge()
`, `
`}},
			Check: "all drain",
		},
		{
			Name: "drain-by-the-late",
			Does: "A member that drains goes by an answer that was under way when it acknowledged another.",
			Edits: []Edit{{drainFile, `
	case n.void:
		m.notice(n.to)
`, `
`}},
			Check: "all drain apart",
		},
		{
			Name: "drain-by-its-list",
			Does: "A member that has acknowledged another asks only those again whose answers were under way.",
			Edits: []Edit{{drainFile, `
	before := d.by
	d.by = nil
	for _, x := range before {
		m.notice(x)
	}
`, `
`}},
			Check: "all drain",
		},
		{
			Name: "drain-refused",
			Does: "That another refuses to do without a member that drains counts as an acknowledgement.",
			Edits: []Edit{{drainFile, `
	return a.Failure == nil && a.Reply.Refusal.Reason == Consent && st.Phase.InRing() && st.Self.Name != self.Name
`, `
	return a.Failure == nil && st.Phase.InRing() && st.Self.Name != self.Name
`}},
			Check: "all drain", Sim: "drains",
		},
		{
			Name: "drain-leaving",
			Does: "A member that has drained goes on as one that leaves.",
			Edits: []Edit{{drainFile, `
	m.vacate(CauseGivenUp)
	m.outside()
`, `
	m.vacate(CauseGivenUp)
`}},
			Check: "all drain", Sim: "drains",
		},
	}},
	{Says: "asking too seldom who stands at several identifiers", Unchecked: "its members stand at one, and ask in every round", Mutants: []Mutant{
		{
			Name: "rests-too-long",
			Does: "A member leaves its head alone for nearly twice as many rounds.",
			Edits: []Edit{{restFile, `
	return max(m.round, r.round+uint64(every)-1) - m.round
`, `
	return max(m.round, r.round+uint64(every)-1) - m.round + uint64(every) - 1
`}},
			Sim: "processes",
		},
		{
			Name: "looks-alone",
			Does: "A member is not told that a process does not answer another member of its own.",
			Edits: []Edit{{restFile, `
	m.rest.calm = false
	if m.rest.looked <= m.round {
`, `
	if m.rest.looked < m.round/2 {
`}},
			Sim: "processes",
		},
	}},
	{Says: "leaving it to others to look for another ring, who may not", Unchecked: "its members keep no maps", Mutants: []Mutant{
		{
			Name: "others-look",
			Does: "A process of a large ring never looks for a second winding of it, since others do.",
			Edits: []Edit{{placeFile, `
	return turn%every == m.self.ID%every
`, `
	return every == 1
`}},
			Test: "protocol.TestProcessesOnOneMapTakeTurnsInLooking",
		},
		{
			Name: "others-look-uncertain",
			Does: "It leaves turns to others also if its map is not certain of its neighbours.",
			Edits: []Edit{{placeFile, `
	if m.cfg.Processes == nil || !m.chartsNeighbours() {
`, `
	if m.cfg.Processes == nil {
`}},
			Test: "protocol.TestProcessesOnOneMapTakeTurnsInLooking",
		},
		{
			Name: "others-ask",
			Does: "It never asks at an address of a member on its map, since others do.",
			Edits: []Edit{{seedFile, `
	if m.chartedAt(m.seeds[i].addr) && (m.single() || settled && !m.looks(m.round/m.probe.wait)) {
`, `
	if m.chartedAt(m.seeds[i].addr) && (m.single() || settled) {
`}},
			Test: "protocol.TestProcessesOnOneMapTakeTurnsInAskingAtAddresses",
		},
	}},
	{Says: "asking a process that has ended at each of its identifiers, from each of the own", Unchecked: "its members stand at one", Mutants: []Mutant{
		{
			Name: "silent-alone",
			Does: "A member does not hear that another member of its process had no answer from a process.",
			Edits: []Edit{{reachFile, `
	m.acq.reach(ev, m.vicinity(m.aloneOrIsolated()), &f)
	m.act(&f)
`, `
	if ev.Failures == 0 {
		m.acq.reach(ev, m.vicinity(m.aloneOrIsolated()), &f)
		m.act(&f)
	}
`}},
			Sim: "processes",
		},
	}},
	{Says: "taking identifiers of one process for a way around it", Unchecked: "it has no clients", Mutants: []Mutant{
		{
			Name: "contacts-of-one-process",
			Does: "A client keeps several identifiers of one process, as if they did not fail together.",
			Edits: []Edit{{contactsFile, `
	return func(y ring.Member) bool { return y.Process() == x.Process() }
`, `
	return func(y ring.Member) bool { return y.ID == x.ID }
`}},
			Test: "routing.TestContactsAreOfDifferentProcesses",
		},
	}},
	{Says: "a map that is not the ring, or older than it says", Unchecked: "it reads no clock, and its members keep no maps", Mutants: []Mutant{
		{
			Name: "covered-kept",
			Does: "A claim does not remove the claims inside its arc.",
			Edits: []Edit{{mapFile, `
		m.remove(id)
		m.trust(func(d doubt) bool { return d.id == id && d.until == 0 && !d.arc })
`, `
		m.trust(func(d doubt) bool { return d.id == id && d.until == 0 && !d.arc })
`}},
			Sim: "maps",
		},
		{
			Name: "old-claim-taken",
			Does: "A claim that a later one covers is taken.",
			Edits: []Edit{{mapFile, `
		if over.Epoch >= c.Epoch {
`, `
		if false {
`}},
			Sim: "maps",
		},
		{
			Name: "certificate-of-now",
			Does: "A certificate is as of when it was asked for, however old the certainty of the other is.",
			Edits: []Edit{{certifyFile, `
	m.certify(min(c.level, m.depth()+moreLevels)+1, through, min(c.as, as))
`, `
	m.certify(min(c.level, m.depth()+moreLevels)+1, through, c.sent)
`}},
			Sim: "maps",
		},
		{
			Name: "contradiction-forgotten",
			Does: "A member for whose arc another was named is named again as soon as it answers.",
			Edits: []Edit{{mapFile, `
	m.doubt(doubt{id: c.ID, since: now, arc: true, claim: *c})
`, `
	m.doubt(doubt{id: c.ID, since: now})
`}},
			Sim: "maps",
		},
		{
			Name: "compared-up-to-last",
			Does: "The claims after the last process that is known are not compared.",
			Edits: []Edit{{certifyFile, `
	} else if m.t.Len() >= m.cfg.Limit {
`, `
	} else {
`}},
			Sim: "maps of two rings",
		},
	}},
	{Says: "a joiner whose claim goes to some only, or that has to tell each itself", Unchecked: "its members keep no maps", Mutants: []Mutant{
		{
			Name: "joins-for-a-part",
			Does: "A joiner has its successor pass its claim on up to its own home only, though others have theirs before the successor's.",
			Edits: []Edit{{pushFile, `
			m.post(home, m.all(home), announce(c, true))
`, `
			m.post(home, m.home, announce(c, true))
`}},
			Test: "ringmap.TestJoinerHasItsSuccessorTellAll",
		},
		{
			Name: "joiner-refused",
			Does: "A joiner whose successor does not pass its claim on has the next in the ring tell those after it.",
			Edits: []Edit{{pushFile, `
			if p.To == m.all(c.to) {
`, `
			if p.To == m.all(c.to) && m.home == c.to {
`}},
			Test: "ringmap.TestJoinerHasItsSuccessorTellAll",
		},
		{
			Name: "tells-each",
			Does: "A joiner tells its claim to each whom it finds on the map that it loads.",
			Edits: []Edit{{certifyFile, `
		take = m.learn // whom it is loaded from passes on what was spread
`, `
		take = m.take
`}},
			Test: "ringmap.TestJoinerHasItsSuccessorTellAll",
		},
	}},
	{Says: "a certificate that is looked for along the identifiers, where processes have several", Unchecked: "its members keep no maps", Mutants: []Mutant{
		{
			Name: "certain-by-identifier",
			Does: "How old a claim is, is looked for at its identifier, not at the home of its process.",
			Edits: []Edit{{snapshotFile, `
	as, ok = s.asOf(home)
`, `
	as, ok = s.asOf(c.ID)
`}},
			Sim: "maps of processes",
		},
		{
			Name: "reached-without-the-next",
			Does: "Where processes stand at several identifiers, what the successor says certifies the next process.",
			Edits: []Edit{{mapFile, `
	if known := m.t.get(c.ID); known != nil && same(known, &c) && c.After == by && !m.several() {
		m.certify(0, c.ID, at)
	}
`, `
	if known := m.t.get(c.ID); known != nil && same(known, &c) && c.After == by {
		m.certify(0, c.home(), at)
	}
`}},
			Sim: "maps of processes",
		},
	}},
	{Says: "a client that has what its member has not, or names by it whom it should ask", Unchecked: "it has no clients", Mutants: []Mutant{
		{
			Name:  "lost-change-unnoticed",
			Does:  "A client does not compare the sum of what it has with that of its member.",
			Edits: []Edit{{copyFile, `u.Summed && u.Sum != sum {`, `u.Summed && u.Sum != sum && false {`}},
			Sim:   "copies",
		},
		{
			Name: "unconfirmed-named",
			Does: "A client names owners that have not confirmed to it what they own.",
			Edits: []Edit{{snapshotFile, `
		t = s.sure
`, `
		t = &s.t
`}},
			Sim: "copies",
		},
		{
			Name: "unconfirmed-in-circle",
			Does: "A client names all members of the ring though not all have confirmed to it what they own.",
			Edits: []Edit{{snapshotFile, `
	return s.circle(s.answering(), from)
`, `
	return s.circle(&s.t, from)
`}},
			Sim: "copies",
		},
		{
			Name: "gain-taken-for-confirmed",
			Does: "What a confirmed arc gains is taken for confirmed, too.",
			Edits: []Edit{{copyFile, `
		c.surely().put(narrowed(*x.New, s.After), nil)
`, `
		c.surely().put(*x.New, nil)
`}},
			Sim: "copies",
		},
		{
			Name:  "age-at-arrival",
			Does:  "What a member says of the age of its map is taken to be of when it arrives.",
			Edits: []Edit{{copyFile, `min(now, c.asked+u.Clock-u.Clock/drift) - u.Age}`, `now - u.Age}`}},
			Sim:   "copies",
		},
		{
			Name: "feed-of-now",
			Does: "A member tells its clients that its map is as of now.",
			Edits: []Edit{{feedFile, `
		u.Aged, u.Age = true, max(0, now-as+AgePrecision-1).Truncate(AgePrecision)
`, `
		u.Aged = true
`}},
			Sim: "copies",
		},
	}},
	{Says: "a client that goes back in time when it moves to another member", Unchecked: "it has no clients", Mutants: []Mutant{
		{
			Name: "moves-back",
			Does: "A client takes over the map of the next member though that has not heard yet of what the client has.",
			Edits: []Edit{{copyFile, `
	if !c.current && now < c.until && c.behind() {
`, `
	if false {
`}},
			Sim: "copies",
		},
		{
			Name: "doubts-left-behind",
			Does: "A client forgets what the member doubted that it leaves.",
			Edits: []Edit{{copyFile, `
			c.doubt(c.heard, id) // the next member may not know of it yet
`, `
			_ = id
`}},
			Sim: "copies",
		},
	}},
	{Says: "claiming an arc again and again where rings meet, or not at all", Unchecked: "its members keep no maps", Mutants: []Mutant{
		{
			Name: "outbids",
			Does: "A member claims its arc again as often as it hears that others claim it.",
			Edits: []Edit{{ownFile, `
	if o.defences++; o.defences <= maxDefences {
`, `
	if o.defences++; o.defences > 0 {
`}},
			Test: "ringmap.TestArcIsDefendedTwiceInARound",
		},
		{
			Name: "outbid-for-good",
			Does: "A member that was outbid more often than it claims its arc again in a round forgets that.",
			Edits: []Edit{{ownFile, `
	if !waits || epoch < o.claim.Epoch {
`, `
	if !waits || epoch > 0 {
`}},
			Test: "ringmap.TestArcIsDefendedTwiceInARound",
		},
	}},
	{Says: "sweeps that are too rare, too many or never done", Unchecked: "its members keep no maps", Mutants: []Mutant{
		{
			Name: "sweeps-too-rare",
			Does: "A member begins a sweep after twice the time.",
			Edits: []Edit{{sweepFile, `
	return m.sweep.began + sweepEvery*m.cfg.Interval
`, `
	return m.sweep.began + 2*sweepEvery*m.cfg.Interval
`}},
			Sim: "sweeps",
		},
		{
			Name: "sweeps-at-any-beat",
			Does: "A member begins a sweep as soon as another has, however short its own last one is ago.",
			Edits: []Edit{{sweepFile, `
		return m.barred
`, `
		return m.sweep.began + 0*m.barred
`}},
			Sim: "hasty sweeps",
		},
		{
			Name: "sweeps-on",
			Does: "A sweep goes on though the whole circle is certain.",
			Edits: []Edit{
				{anchorFile, `
	case m.swept():
	case s.stuck`, `
	case s.stuck`},
				{sweepFile, `
	case m.swept() && s.level > base, s.stuck && s.to == m.home:
`, `
	case s.stuck && s.to == m.home:
`},
			},
			Sim: "sweeps",
		},
		{
			Name: "all-are-anchors",
			Does: "Every process takes itself for an anchor, and asks none.",
			Edits: []Edit{{anchorFile, `
	case m.anchor(own):
`, `
	case m.anchor(own) || m.home != 0:
`}},
			Sim: "sweeps",
		},
		{
			Name: "anchors-compare-nothing",
			Does: "An anchor asks others for their own claims, and does not compare the rest of its map with theirs.",
			Edits: []Edit{{anchorFile, `
	if k.to == whom.ID && now > m.newsAt+m.cfg.Interval {
`, `
	if k.to == whom.ID && now < m.newsAt {
`}},
			Test: "ringmap.TestSweepsFindAProcessThatMapsLack",
		},
		{
			Name: "rounds-are-of-the-sweep",
			Does: "What the next process said in its last round counts as asked in the sweep.",
			Edits: []Edit{{anchorFile, `
func (m *Map) askedFor() uint64 { return m.spanOf(m.levels[min(base, len(m.levels)):]) }
`, `
func (m *Map) askedFor() uint64 { return m.spanOf(m.levels[min(0*base, len(m.levels)):]) }
`}},
			Sim: "sweeps",
		},
		{
			Name: "sweeps-alone",
			Does: "A member does not begin a sweep when others do.",
			Edits: []Edit{{sweepFile, `
	m.heard = beat
	if`, `
	m.heard = m.beat
	if`}},
			Sim: "sweeps",
		},
		{
			Name: "any-certainty-of-the-sweep",
			Does: "A certainty of the sweep before counts as one of this sweep.",
			Edits: []Edit{{sweepFile, `
	return as >= m.sweep.began-late*m.cfg.Interval-`, `
	return as >= m.sweep.began-(late+sweepEvery)*m.cfg.Interval-`}},
			Sim: "sweeps",
		},
	}},
	{Says: "choosing identifiers without those who come, by old news, or never", Unchecked: "its members keep no maps", Mutants: []Mutant{
		{
			Name: "grows-beside-others",
			Does: "A process that is to choose identifiers does not wait for others that are about to take more.",
			Edits: []Edit{{growthFile, `
	case claims != nil && (late || still || !s.Growing(g.want)):
`, `
	case claims != nil && (late || still || s != nil):
`}},
			Test: "ringmap.TestProcessWaitsForWhatToChooseBy",
		},
		{
			Name: "grows-by-old-news",
			Does: "It chooses by its map however long ago that was certain of all.",
			Edits: []Edit{{growthFile, `
	claims = s.Circle(g.self, now, g.promised)
`, `
	claims = s.Circle(g.self, now, 1<<62)
`}},
			Test: "ringmap.TestProcessWaitsForWhatToChooseBy",
		},
		{
			Name: "grows-never",
			Does: "It waits for as long as its map is not certain.",
			Edits: []Edit{{growthFile, `
	late, still := now >= g.until, `, `
	late, still := false, `}},
			Sim: "growth",
		},
	}},
	{Says: "remembering for ever an identifier that its process has given up", Unchecked: "its members have an address each", Mutants: []Mutant{
		{
			Name: "given-up-remembered",
			Does: "What a process has given up is kept as a member that is silent, and asked again, though the process has answered with another identifier.",
			Edits: []Edit{{acquaintanceFile, `
	case by.GaveUp(x):
		q.forget(x)
`, `
	case by.GaveUp(x):
		q.failed(x, v, f)
`}},
			Test: "protocol.TestIdentifierThatIsGivenUpIsForgotten",
		},
	}},
	{Says: "not asking an identifier of the own process that comes between", Unchecked: "its members have an address each", Mutants: []Mutant{
		{
			Name: "own-between-forgotten",
			Does: "A member that is told of another identifier of its process, nearer than its head, forgets it, as all that has its own address.",
			Edits: []Edit{{acquaintanceFile, `
	best := q.nearestOwn(round, fits)
`, `
	var best ring.Member
`}},
			Test: "protocol.TestOwnIdentifiersComeBetween",
		},
	}},
	{Says: "giving up a lookup though the ring has mended", Unchecked: "its lookups wait for nothing", Mutants: []Mutant{
		{
			Name: "asked-once-for-ever",
			Does: "A search that begins again, since the ring has changed, asks nobody that it asked before, even if nobody else is left.",
			Edits: []Edit{{searchFile, `
		s.known.from = len(s.known.asks)
`, `
`}},
			Test: "routing.TestSearchThatBeginsAgainAsksAgain",
		},
	}},
}
