package explore

import (
	"math/bits"
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// This file holds what many worlds share: the local states of machines, what is
// said between them, and the steps that lead from one local state to another.
// Each is kept once and known by a number. A machine is deterministic and there
// are few local states, so that a step is nearly always looked up.
//
// A local state is written as the machine's own member sees the circle: the
// members are numbered clockwise from it, itself 0. So the same local state at
// two places of the circle is one, and a world turned by one place is the same
// numbers in another order. What one member says is written as that member sees
// it. Only the tie between two neighbours that leave at once is decided by
// identifiers; with leaves, members are numbered from a fixed one.

// local is a local state: of a machine with or without a memory.
type local struct {
	machine     *protocol.Machine // stands for all with the same canonical form
	memory      bool
	phase       protocol.Phase
	incarnation uint8
	pointers    uint32 // which pointers, 0 if it is in no ring
	open        []byte // roles of the questions that it has open
	stabilizing bool
	preparing   bool  // a joiner that has not asked to be handed anything
	mentions    uint8 // members named anywhere in it
	turned      uint32
	origin      *ring.Origin // nil: of none, or not known
}

// pointers are what a local state shows to the rules.
type pointers struct {
	state        protocol.State
	arc          ring.Arc
	hasArc       bool
	alone        bool
	pred         int // -1: unknown
	succ         []int
	incarnations [maxMembers]uint8 // which incarnation of each member is meant
}

// said is a request, a reply or a failure, as its sender numbers the members.
type said struct {
	request  protocol.Request
	reply    protocol.Reply
	failure  *protocol.Failure
	mentions uint8
	succ     uint8 // members of the list in a reply
}

// event is what a machine is given, less what is in what was said.
type event struct {
	kind        eventKind
	role        byte
	from        int // who asks, answers, or is joined through, as the machine numbers it
	incarnation uint8
	token       byte
	said        uint32
}

type eventKind uint8

const (
	evTick eventKind = iota
	evCreate
	evJoin
	evDepart
	evAsked
	evAnswer
	evPrepared
)

// branch is one outcome of a step: there are as many as the machine has choices.
type branch struct {
	next     uint32
	sends    []send
	replies  []reply
	renamed  []renaming
	needs    []byte // members, as incarnations, that the machine was said to know
	departed bool   // its leave is complete
	told     bool   // its program is told of its range
}

type send struct {
	to          int
	incarnation uint8
	role        byte
	tell        bool
	said        uint32
}

type reply struct {
	token byte
	said  uint32
}

// renaming says that the question open in one role is now open in another; 0:
// its answer is not waited for any more.
type renaming struct{ old, new byte }

const (
	maxMembers      = 8
	maxIncarnations = 4
	anyone          = 0x80
	unknown         = ^uint64(0) // the number of no call
)

// locals are the tables of what is shared.
type locals struct {
	members    int
	successors int
	turn       bool // whether a turned world is the same
	check      int
	memory     int  // acquaintances of machines with a memory; 0: the default
	replaces   bool // members may be replaced without knowing it
	takeover   bool // joiners take over before they own
	drain      bool // those that leave drain

	all      []local
	byForm   map[string]uint32
	pointers []pointers
	byPoint  map[string]uint32
	saids    []said
	bySaid   map[string]uint32
	origins  []*ring.Origin // all that differ
	steps    table
	branches [][]branch
	computed int

	names [maxIncarnations + 1][maxMembers]ring.Member
	half  int // two places so far apart are of one process; as many as there are: none
	buf   []byte
	seen  uint8 // members written since it was reset

	// The choices of the step under way: script is followed, the rest are 0.
	script       []int
	made         []choice
	needs        []byte
	incarnations int
	round        int // of quiet rounds, modulo quietPeriod
	quiet        bool

	same func(id uint32, m *protocol.Machine) // for tests: m has the form of the local state id
}

type choice struct{ took, of int }

func newLocals(cfg *Config) *locals {
	l := &locals{
		members: cfg.Members, successors: cfg.Successors, turn: cfg.Leaves == 0 && !cfg.fixed, check: 1, memory: max(0, cfg.Memory), replaces: cfg.Suspicions > 0, takeover: cfg.Takeover, drain: cfg.Drain,
		byForm: map[string]uint32{}, byPoint: map[string]uint32{}, bySaid: map[string]uint32{},
		incarnations: 1 + cfg.Restarts, half: cfg.Members,
	}
	if cfg.Pairs {
		l.half = cfg.Members / 2
	}
	for incarnation := range maxIncarnations + 1 {
		for i := range maxMembers {
			// The address tells the identifier: two of one process differ in it here.
			name, host := string(rune('A'+i%l.half)), string(rune('A'+i))
			l.names[incarnation][i] = ring.Member{ID: uint64(i+1) << 56, Name: name, Addr: host + ":1", Incarnation: uint64(incarnation)}
		}
	}
	l.all = make([]local, 2)            // 0 and 1 are no machines: a place that is empty, a member that is dead
	l.pointers = []pointers{{pred: -1}} // 0: in no ring
	l.saids = make([]said, 1)           // 0: nothing
	l.branches = make([][]branch, 0, 1024)
	return l
}

// own is how a machine at place i numbers itself, and number how it numbers the
// member at place x.
func (l *locals) own(i int) int {
	if l.turn {
		return 0
	}
	return i
}

func (l *locals) number(i, x int) int {
	if l.turn {
		return (x - i + l.members) % l.members
	}
	return x
}

// place is the inverse of number.
func (l *locals) place(i, x int) int {
	if l.turn {
		return (x + i) % l.members
	}
	return x
}

// together reports whether the places i and k are of one process.
func (l *locals) together(i, k int) bool { return i%l.half == k%l.half }

// processes counts those that places are of.
func (l *locals) processes(places []int) int {
	var of uint8
	for _, i := range places {
		of |= 1 << (i % l.half)
	}
	return bits.OnesCount8(of)
}

// config is that of a machine: with a memory, or with what it may remember left
// to the checker.
func (l *locals) config(memory bool) protocol.Config {
	cfg := protocol.Config{
		Bits: 64, Successors: l.successors, Acquaintances: l.memory,
		CheckEvery: l.check, Interval: time.Second, Choose: l.choose,
	}
	if !memory {
		cfg.Recall = l.recall
	}
	return cfg
}

// choose enumerates what a machine may choose at random. In quiet rounds all that
// it can choose has its turn; a machine that chooses in every second round only,
// as it does whom to look into, gets to all of it, too.
func (l *locals) choose(n int) int {
	took := 0
	switch i := len(l.made); {
	case l.quiet:
		return l.round / 2 % n
	case i < len(l.script):
		took = l.script[i]
	}
	l.made = append(l.made, choice{took, n})
	return took
}

func (l *locals) recall(fits func(ring.Member) bool) ring.Member {
	var of []ring.Member
	for incarnation := 1; incarnation <= l.incarnations; incarnation++ {
		for i := range l.members {
			if x := l.names[incarnation][i]; fits(x) {
				of = append(of, x)
			}
		}
	}
	took := l.choose(len(of) + 1)
	if took == 0 {
		return ring.Member{}
	}
	x := of[took-1]
	l.needs = append(l.needs, l.code(x))
	return x
}

// code writes a member as a byte.
func (l *locals) code(x ring.Member) byte {
	if x.IsZero() {
		return 0
	}
	i := x.Addr[0] - 'A'
	l.seen |= 1 << i
	if x.Name == "" {
		return anyone | i
	}
	return 1 + i + maxMembers*byte(x.Incarnation)
}

// originCode writes an origin as a byte.
func (l *locals) originCode(o *ring.Origin) byte {
	if o == nil {
		return 0
	}
	i := slices.IndexFunc(l.origins, func(x *ring.Origin) bool { return x.ID == o.ID && slices.Equal(x.Marks, o.Marks) })
	if i < 0 {
		i = len(l.origins)
		l.origins = append(l.origins, o)
	}
	return byte(1 + i)
}

// decode is the inverse of code for members.
func decode(b byte) (i int, incarnation uint8) { return int(b-1) % maxMembers, (b - 1) / maxMembers }

func index(x ring.Member) int { return int(x.Addr[0] - 'A') }

// keep returns the number of the local state that m is in.
func (l *locals) keep(m *protocol.Machine, memory bool) uint32 {
	l.seen = 0
	b := l.buf[:0]
	if memory {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	b = m.Encode(b, &protocol.Encoder{Member: l.code, Token: func(t uint64) byte { return byte(t) }})
	l.buf = b
	if id, ok := l.byForm[string(b)]; ok {
		if l.same != nil {
			l.same(id, m)
		}
		return id
	}
	seen := l.seen
	id := uint32(len(l.all))
	l.byForm[string(b)] = id
	st := m.State()
	x := local{machine: m, memory: memory, phase: st.Phase, incarnation: uint8(st.Self.Incarnation), mentions: seen &^ (1 << index(st.Self))}
	for _, role := range roles {
		if m.Call(role) != 0 {
			x.open = append(x.open, role)
		}
	}
	x.stabilizing, x.preparing = m.Call(roleStabilize) != 0, m.Preparing()
	if st.Phase.InRing() {
		x.pointers = l.keepPointers(m, st)
	}
	x.origin = st.Origin
	l.all = append(l.all, x)
	return id
}

const (
	roleStabilize = protocol.RoleStabilize
	rolePlacing   = 2
	roleJoin      = 3
	roleRectify   = 16
	roleDepart    = 64
	roleFarewell  = 96
	roleContest   = 112
)

// roles are those that a question can be asked in.
var roles = func() []byte {
	out := []byte{roleStabilize, rolePlacing, roleJoin, roleContest}
	for i := range byte(16) {
		out = append(out, roleRectify+i)
	}
	for i := range byte(4) {
		out = append(out, roleDepart+i, roleFarewell+i)
	}
	return out
}()

func (l *locals) keepPointers(m *protocol.Machine, st protocol.State) uint32 {
	arc, has := m.Owns()
	p := pointers{state: st, arc: arc, hasArc: has, alone: m.Alone(), pred: -1}
	p.state.Version, p.state.Epoch, p.state.Clock = 0, 0, 0
	b := []byte{byte(st.Phase), l.code(st.Self), l.code(st.Pred)}
	if has && arc.Whole() {
		b[0] |= 0x80
	}
	if p.alone {
		b[0] |= 0x40
	}
	if !st.Pred.IsZero() {
		p.pred = index(st.Pred)
		p.incarnations[p.pred] = uint8(st.Pred.Incarnation)
	}
	for _, x := range st.Succ {
		b = append(b, l.code(x))
		p.succ = append(p.succ, index(x))
	}
	b = append(b, l.originCode(st.Origin))
	if id, ok := l.byPoint[string(b)]; ok {
		return id
	}
	id := uint32(len(l.pointers))
	l.byPoint[string(b)] = id
	l.pointers = append(l.pointers, p)
	return id
}

// keepSaid returns the number of what was said.
func (l *locals) keepSaid(s said) uint32 {
	l.seen = 0
	b := l.buf[:0]
	list := func(ms []ring.Member) {
		b = append(b, byte(len(ms)))
		for _, x := range ms {
			b = append(b, l.code(x))
		}
	}
	switch f := s.failure; {
	case f != nil:
		b = append(b, 1, byte(f.Kind), l.code(f.By), l.originCode(f.Origin))
	case s.request.Kind != 0:
		q := &s.request
		b = append(b, 2, byte(q.Kind), l.code(q.Subject), l.code(q.Pred), l.originCode(q.Origin))
		switch {
		case q.Preparing:
			b = append(b, 2)
		case q.Joining:
			b = append(b, 1)
		}
		list(q.Succ)
	default:
		r := &s.reply
		b = append(b, 3, byte(r.State.Phase), l.code(r.State.Self), l.code(r.State.Pred), byte(r.Verdict), byte(r.Refusal.Reason), l.code(r.Refusal.Other), l.originCode(r.State.Origin))
		list(r.State.Succ)
		list(r.Closer)
		b = append(b, l.code(r.Former))
		for _, x := range r.State.Succ {
			s.succ |= 1 << index(x)
		}
	}
	l.buf = b
	if id, ok := l.bySaid[string(b)]; ok {
		return id
	}
	s.mentions = l.seen
	id := uint32(len(l.saids))
	l.bySaid[string(b)] = id
	l.saids = append(l.saids, s)
	return id
}

// step looks up what a machine does on an event, or lets it do that.
func (l *locals) step(machine uint32, ev event) []branch {
	k := key{
		uint64(machine)<<32 | uint64(ev.said),
		1<<63 | uint64(ev.kind) | uint64(ev.role)<<8 | uint64(ev.from)<<16 | uint64(ev.incarnation)<<24 | uint64(ev.token)<<32,
	}
	if l.quiet {
		k[1] |= 1<<62 | uint64(l.round)<<40
	}
	if n, ok := l.steps.get(k); ok {
		return l.branches[n]
	}
	out := l.compute(machine, ev)
	l.computed++
	l.steps.put(k, uint32(len(l.branches)))
	l.branches = append(l.branches, out)
	return out
}

// compute takes a step once for every sequence of choices in it.
func (l *locals) compute(machine uint32, ev event) []branch {
	from := l.all[machine]
	e := l.event(&from, ev)
	var out []branch
	l.script = l.script[:0]
	for {
		l.made, l.needs = l.made[:0], l.needs[:0]
		m := from.machine.Clone()
		effects := m.Step(0, e)
		b := branch{needs: slices.Clone(l.needs)}
		made := slices.Clone(l.made)
		b.take(l, m, from.memory, effects)
		for _, role := range from.open {
			if role == ev.role && ev.kind == evAnswer {
				continue // the question that is answered
			}
			if now := m.Role(from.machine.Call(role)); now != role {
				b.renamed = append(b.renamed, renaming{role, now})
			}
		}
		b.next = l.keep(m, from.memory)
		out = append(out, b)
		// The next sequence: the last choice that can be another.
		i := len(made) - 1
		for i >= 0 && made[i].took+1 >= made[i].of {
			i--
		}
		if i < 0 {
			return out
		}
		l.script = l.script[:0]
		for _, c := range made[:i] {
			l.script = append(l.script, c.took)
		}
		l.script = append(l.script, made[i].took+1)
	}
}

// take notes what the machine wants.
func (b *branch) take(l *locals, m *protocol.Machine, memory bool, effects []protocol.Effect) {
	for _, e := range effects {
		switch e := e.(type) {
		case protocol.Ask:
			e.Request.Clock = 0 // nothing is decided by it
			b.sends = append(b.sends, send{
				to: index(e.To), incarnation: uint8(e.To.Incarnation), role: m.Role(e.Call),
				said: l.keepSaid(said{request: e.Request}),
			})
		case protocol.Tell:
			// It tells of members, or to look again: without a memory neither
			// leads to anything that may not happen at any time.
			if memory {
				b.sends = append(b.sends, send{
					to: index(e.To), incarnation: uint8(e.To.Incarnation), tell: true,
					said: l.keepSaid(said{request: e.Request}),
				})
			}
		case protocol.Respond:
			if e.Token != 0 {
				r := e.Reply
				r.State.Version, r.Refusal.Detail = 0, ""
				r.State.Epoch, r.State.Clock = 0, 0    // nothing is decided by them
				r.State.Replaced = protocol.Replaced{} // moves no pointer
				if !l.takeover {
					r.Former = ring.Member{} // only those use it that prepare
				}
				s := said{reply: r}
				if e.Failure != nil {
					s = said{failure: &protocol.Failure{Kind: e.Failure.Kind, By: e.Failure.By, Origin: e.Failure.Origin}}
				}
				b.replies = append(b.replies, reply{byte(e.Token), l.keepSaid(s)})
			}
		case protocol.RangeChanged:
			b.told = true
		case protocol.DepartDone:
			b.departed = !e.Stays
		}
	}
}

// event makes the event as the machine numbers the members.
func (l *locals) event(to *local, ev event) protocol.Event {
	switch ev.kind {
	case evTick:
		return protocol.Tick{}
	case evCreate:
		return protocol.Create{}
	case evJoin:
		e := protocol.Join{Via: []string{l.names[1][ev.from].Addr}}
		if l.takeover {
			e.Takeover = time.Second // which never passes
		}
		return e
	case evPrepared:
		arc, _ := to.machine.Taking()
		return protocol.Prepared{Arc: arc}
	case evDepart:
		return protocol.Depart{Drain: l.drain}
	case evAsked:
		s := l.saids[ev.said]
		q := s.request
		q.Subject, q.Pred, q.Succ = l.seenFrom(ev.from, q.Subject), l.seenFrom(ev.from, q.Pred), l.allSeenFrom(ev.from, q.Succ)
		return protocol.Asked{Token: uint64(ev.token), From: l.names[ev.incarnation][ev.from], Request: q}
	}
	a := protocol.Answer{Call: unknown}
	if ev.role != 0 {
		a.Call = to.machine.Call(ev.role)
	}
	s := l.saids[ev.said]
	if f := s.failure; f != nil {
		a.Failure = &protocol.Failure{Kind: f.Kind, By: l.seenFrom(ev.from, f.By), Origin: f.Origin}
		return a
	}
	r := s.reply
	r.State.Self, r.State.Pred = l.seenFrom(ev.from, r.State.Self), l.seenFrom(ev.from, r.State.Pred)
	r.State.Succ, r.Closer = l.allSeenFrom(ev.from, r.State.Succ), l.allSeenFrom(ev.from, r.Closer)
	r.Refusal.Other, r.Former = l.seenFrom(ev.from, r.Refusal.Other), l.seenFrom(ev.from, r.Former)
	a.Reply = r
	return a
}

// seenFrom turns a member that the one numbered by named as it numbers members
// into one as the hearer does.
func (l *locals) seenFrom(by int, x ring.Member) ring.Member {
	if !l.turn || x.IsZero() || by == 0 {
		return x
	}
	i := (index(x) + by) % l.members
	if x.Name == "" {
		return ring.Member{Addr: l.names[1][i].Addr}
	}
	return l.names[x.Incarnation][i]
}

func (l *locals) allSeenFrom(by int, list []ring.Member) []ring.Member {
	if !l.turn || by == 0 || len(list) == 0 {
		return list
	}
	out := make([]ring.Member, len(list))
	for i, x := range list {
		out[i] = l.seenFrom(by, x)
	}
	return out
}

// restored is a machine at place i that stands as told.
func (l *locals) restored(i int, incarnation uint8, at protocol.Snapshot, memory bool) uint32 {
	return l.keep(protocol.Restore(l.names[incarnation][l.own(i)], l.config(memory), 1, at), memory)
}

// fresh is a machine in no ring.
func (l *locals) fresh(i int, incarnation uint8, memory bool) uint32 {
	return l.keep(protocol.New(l.names[incarnation][l.own(i)], l.config(memory), 1), memory)
}

// remembering is the machine with a memory that goes on as the one without.
func (l *locals) remembering(id uint32) uint32 {
	x := &l.all[id]
	if x.memory || x.machine == nil {
		return id
	}
	if x.turned == 0 {
		n := l.keep(x.machine.CloneForgetful(l.config(true)), true)
		l.all[id].turned = n
		return n
	}
	return x.turned
}

// useful is what the asker can use of a reply to a question in that role, as a
// machine without a memory: of members that are only named nothing is kept, so
// that answers which differ in no more are one. The asker is given as the one
// that answers numbers it.
func (l *locals) useful(id uint32, role byte, asker int) uint32 {
	s := &l.saids[id]
	if s.failure != nil || role == roleJoin {
		return id
	}
	k := key{1<<63 | uint64(id), 1<<61 | uint64(role)<<8 | uint64(asker)}
	if n, ok := l.steps.get(k); ok {
		return n
	}
	r := s.reply
	st := &r.State
	pred, succ := st.Pred, st.Succ
	st.Pred, st.Succ, r.Closer = ring.Member{}, nil, nil
	if role == roleStabilize {
		// It adopts the list as far as its own would go, and goes on with the
		// predecessor if that is between it and the one that answers. Any other
		// predecessor, and none, only says whether the one that answers holds the
		// asker's own identifier, which matters if it can.
		self := l.names[1][asker]
		if !pred.IsZero() && (pred.ID == self.ID || ring.Between(self.ID, pred.ID, st.Self.ID)) {
			st.Pred = pred
		} else if l.replaces && !pred.IsZero() {
			st.Pred = st.Self
		}
		last := st.Self
		for _, x := range succ {
			if len(st.Succ) == l.successors-1 || !ring.Between(last.ID, x.ID, self.ID) {
				break
			}
			st.Succ = append(st.Succ, x)
			last = x
		}
		if l.replaces && len(succ) > 0 && len(st.Succ) == 0 {
			st.Succ = []ring.Member{self} // cut off, but it has a list
		}
	}
	n := l.keepSaid(said{reply: r})
	l.steps.put(k, n)
	return n
}
