// Package voting has how processes vote on who owns what. It has no I/O: the machines of a process
// share its votes, and ask and answer for it.
//
// With MinMembers a member owns by its lease only what so many processes, its own included, have
// voted for within the last Lease. A process votes for one member at a time, at each point. So if
// MinMembers is more than half of all processes, the two majorities that two owners of a point
// would need have a process in common, and that would have voted for both. This is the voting of
// Gifford (1979), with votes that expire.
//
//   - A vote is good for a Lease, by the clock of who has cast it, from when it was cast. Whoever
//     it was cast for counts nine tenths of a Lease, from when that asked. So the rates of two
//     clocks may differ by a tenth.
//   - A process that has started has forgotten its votes, and casts none for a Lease. The votes
//     of one whose clock may have leapt are good for that much longer.
//   - What a member does not claim any more is free at once. Its own word counts, which may come
//     from others: who takes over in words passes it on. Stakes are numbered, so that an old word
//     does not count against a newer vote.
//   - Whoever claims less forgets the votes for what is beyond that, and shows that to its program,
//     before it says so.
package voting

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// Stake is what a member says that it claims of its arc: it owns nothing else, and of that only
// what enough processes have voted for. All Stakes of a process have different numbers, which
// rise.
type Stake struct {
	Who    ring.Instance
	Arc    ring.Arc // of which To is the identifier of Who
	Has    bool     // it claims something
	Number uint64   // 0: nothing is said
}

// Vote is the answer to a Stake: the process votes for what comes after the point After, or,
// without Given, for nothing of it.
type Vote struct {
	Given bool
	After uint64
}

// Bounds on what a process remembers of others.
const (
	// MaxStakes bounds the claims and the words in one request.
	MaxStakes = ring.MaxIdentifiers
	// maxVotes bounds the votes that may not have run out. With more, none is cast for anybody
	// else.
	maxVotes = 1 << 14
	// maxWords bounds the words of others that are passed on in one request. The latest are.
	maxWords = 64
	// maxHeard bounds those that are remembered, so that they are not taken for new ones again: of
	// two neighbours at each identifier.
	maxHeard = 2 * ring.MaxIdentifiers
)

// voted is what a vote was cast for of what a member claims, or without has nothing, since that
// has said that it claims nothing.
type voted struct {
	who    ring.Instance
	arc    ring.Arc
	has    bool
	number uint64
	at     time.Duration
}

// stake is a claim of this process, and who has voted for what of it.
type stake struct {
	Stake
	told   Stake         // what others are told: not less than what is shown
	shrunk uint64        // the number with which it became smaller last
	at     time.Duration // when it became what it is
	by     []voter
}

// voter is the last vote of a process. It is for what comes after a point.
type voter struct {
	process string
	after   uint64
	asked   time.Duration
}

// word is what another member has said that it claims. It is passed on for a Lease: votes for what
// it claimed before have run out then.
type word struct {
	Stake
	at time.Duration // when it was heard for the first time
}

// Votes are those that a process has cast, and those that were cast for it. Its members share it.
// Its methods may be called concurrently. Times are by the clock of the process.
type Votes struct {
	Config
	mu      sync.Mutex
	since   time.Duration // it votes from a Lease after that
	touched time.Duration
	given   []voted // by identifiers; no two of those that have votes have any for the same
	stakes  []stake
	number  uint64
	words   []word // the latest last
	asked   []canvassed
}

// canvassed is when a process was asked last.
type canvassed struct {
	process string
	at      time.Duration
}

// Config says how a process votes.
type Config struct {
	Process  string        // its name
	Lease    time.Duration // how long a vote is good
	Interval time.Duration // the length of a round
	Hang     time.Duration // a process that has not run for longer may have a clock that has leapt
	Needed   int           // so many processes have to vote for what a member owns, its own included
}

// New returns the votes of a process that has run since a time, as of now.
func New(cfg Config, since, now time.Duration) *Votes {
	return &Votes{Config: cfg, since: since, touched: now}
}

// Touch notes that the process runs at that time. If it has not for long, its clock may have
// leapt: its votes are good for that much longer.
func (p *Votes) Touch(now time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	by := now - p.touched
	if p.touched = max(p.touched, now); by <= p.Hang {
		return
	}
	p.since += by
	for i := range p.given {
		p.given[i].at += by
	}
}

// Claim has a member of the process claim an arc, or nothing, and reports whether it claims
// what it had not. An earlier incarnation of it claims nothing any more.
func (p *Votes) Claim(who ring.Instance, arc ring.Arc, has bool, now time.Duration) (grew bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.outlived(who, now)
	s := p.find(who)
	switch {
	case s == nil && !has:
		return false
	case s == nil:
		p.stakes = append(p.stakes, stake{Stake: Stake{Who: who}})
		s = &p.stakes[len(p.stakes)-1]
	case s.Has == has && (!has || s.Arc == arc):
		return false
	}
	p.number++
	grew = has && (!s.Has || !Covers(s.Arc.After, arc.After, who.ID))
	if s.Has && (!has || !Covers(arc.After, s.Arc.After, who.ID)) {
		s.shrunk = p.number
		if !has {
			s.by = nil
		}
		for i := range s.by {
			if !Covers(arc.After, s.by[i].after, who.ID) {
				s.by[i].after = arc.After
			}
		}
	}
	s.Arc, s.Has, s.Number, s.at = arc, has, p.number, now
	if has && (!s.told.Has || Covers(arc.After, s.told.Arc.After, who.ID)) {
		s.told = s.Stake
	}
	return grew
}

// outlived has earlier incarnations of a member claim nothing. Who has voted for one of them
// would not vote for the later one as long as that claims.
func (p *Votes) outlived(who ring.Instance, now time.Duration) {
	for i := range p.stakes {
		if s := &p.stakes[i]; s.Has && s.Who.ID == who.ID && s.Who != who {
			p.number++
			s.Has, s.by, s.Number, s.shrunk, s.at = false, nil, p.number, p.number, now
		}
	}
}

// Shown notes that all is shown to the program by now that a member of the process claims, and
// its earlier incarnations. Until then others are not told that it claims less: they could own what
// the program still takes for its own.
func (p *Votes) Shown(who ring.Instance) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.stakes {
		if s := &p.stakes[i]; s.Who.ID == who.ID {
			s.told = s.Stake
		}
	}
}

// find is the stake of a member of the process, nil if it has none.
func (p *Votes) find(who ring.Instance) *stake {
	if i := slices.IndexFunc(p.stakes, func(s stake) bool { return s.Who == who }); i >= 0 {
		return &p.stakes[i]
	}
	return nil
}

// Covers reports whether what comes after one point up to to has all that comes after the other.
func Covers(after, other, to uint64) bool { return reach(after, to) >= reach(other, to) }

// reach is how far before to an arc reaches that begins after a point. Only which of two is
// greater says something.
func reach(after, to uint64) uint64 { return to - after - 1 }

// Stake is what a member of the process claims.
func (p *Votes) Stake(who ring.Instance) Stake {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.find(who); s != nil {
		return s.Stake
	}
	return Stake{}
}

// Hear notes what another member has said that it claims, to be passed on.
func (p *Votes) Hear(s Stake, now time.Duration) {
	if s.Number == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.IndexFunc(p.words, func(w word) bool { return w.Who == s.Who }); i >= 0 {
		if p.words[i].Number >= s.Number {
			return // that, or a later one, is known
		}
		p.words = slices.Delete(p.words, i, i+1)
	}
	if len(p.words) == maxHeard {
		p.words = slices.Delete(p.words, 0, 1)
	}
	p.words = append(p.words, word{s, now})
}

// every is how often another process is asked at least.
func (p *Votes) every() time.Duration { return max(p.Interval/4*3, p.Lease/12) }

// Due reports whether another process is to be asked again. There has to be something that
// members of this one claim, or have claimed of late.
func (p *Votes) Due(process string, now time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	lately := func(q canvassed) bool { return q.process == process && now-q.at < p.every() }
	return process != p.Process && len(p.stakes) > 0 && !slices.ContainsFunc(p.asked, lately)
}

// Soon has all processes be asked again.
func (p *Votes) Soon() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = p.asked[:0]
}

// Ask is what another process is asked now.
func (p *Votes) Ask(process string, now time.Duration) (claims, words []Stake) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stakes = slices.DeleteFunc(p.stakes, func(s stake) bool { return !s.Has && now-s.at >= p.Lease })
	for _, s := range p.stakes {
		if s.told.Number > 0 {
			claims = append(claims, s.told)
		}
	}
	slices.SortFunc(claims, func(a, b Stake) int {
		switch {
		case a.Has && !b.Has:
			return -1
		case b.Has && !a.Has:
			return 1
		}
		return cmp.Compare(b.Number, a.Number)
	})
	claims = claims[:min(len(claims), MaxStakes)]
	for _, w := range p.words[max(0, len(p.words)-maxWords):] {
		if now-w.at < p.Lease {
			words = append(words, w.Stake)
		}
	}
	p.asked = slices.DeleteFunc(p.asked, func(q canvassed) bool { return q.process == process || now-q.at >= p.Lease })
	p.asked = append(p.asked, canvassed{process, now})
	return claims, words
}

// AskItself has the process vote on what its own members claim.
func (p *Votes) AskItself(now time.Duration) {
	claims, words := p.Ask(p.Process, now)
	p.Take(p.Process, now, claims, p.Vote(claims, words, now))
}

// Take notes how a process has voted that was asked at that time about those claims.
func (p *Votes) Take(process string, asked time.Duration, claims []Stake, given []Vote) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, c := range claims {
		s := p.find(c.Who)
		if i >= len(given) || !given[i].Given || s == nil || !s.Has || c.Number < s.shrunk || !Covers(c.Arc.After, given[i].After, c.Who.ID) {
			continue
		}
		x := voter{process: process, after: given[i].After, asked: asked}
		k := slices.IndexFunc(s.by, func(y voter) bool { return y.process == process })
		switch {
		case k < 0:
			s.by = append(s.by, x)
		case s.by[k].asked < asked:
			s.by[k] = x
		}
	}
}

// Held is what enough processes have voted for of what a member of the process claims: what comes
// after a point, until a time.
func (p *Votes) Held(who ring.Instance, now time.Duration) (after uint64, until time.Duration, has bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.find(who)
	if s == nil || !s.Has {
		return 0, 0, false
	}
	good := func(x voter) time.Duration { return x.asked + p.Lease/10*9 }
	s.by = slices.DeleteFunc(s.by, func(x voter) bool { return now >= good(x) })
	needed := p.Needed
	if len(s.by) < needed {
		return 0, 0, false
	}
	slices.SortFunc(s.by, func(x, y voter) int { return cmp.Compare(reach(y.after, who.ID), reach(x.after, who.ID)) })
	after = s.by[needed-1].after
	var ends []time.Duration
	for _, x := range s.by {
		if Covers(x.after, after, who.ID) {
			ends = append(ends, good(x))
		}
	}
	slices.Sort(ends)
	return after, ends[len(ends)-needed], true
}

// Vote answers a process that asks for votes on its claims, and passes on words of others.
func (p *Votes) Vote(claims, words []Stake, now time.Duration) []Vote {
	p.mu.Lock()
	defer p.mu.Unlock()
	now = max(now, p.touched) // the clock may have leapt since it was read for this member
	p.given = slices.DeleteFunc(p.given, func(g voted) bool { return now-g.at >= p.Lease })
	for _, w := range words {
		p.frees(w)
	}
	for _, c := range claims {
		p.frees(c)
	}
	out := make([]Vote, len(claims))
	if now-p.since < p.Lease {
		return out
	}
	for i, c := range claims {
		out[i] = p.cast(c, now)
	}
	return out
}

// at is where the votes of a member are, or belong.
func (p *Votes) at(who ring.Instance) (i int, known bool) {
	return slices.BinarySearchFunc(p.given, who, func(g voted, who ring.Instance) int {
		return cmp.Or(cmp.Compare(g.who.ID, who.ID), cmp.Compare(g.who.Incarnation, who.Incarnation))
	})
}

// beside are the members that have votes next before and after that place, itself left out:
// nil if none has.
func (p *Votes) beside(i int, who ring.Instance) (before, next *voted) {
	n := len(p.given)
	for k := range n {
		if g := &p.given[(i+k)%n]; next == nil && g.has && g.who != who {
			next = g
		}
		if g := &p.given[(i+2*n-1-k)%n]; before == nil && g.has && g.who != who {
			before = g
		}
		if next != nil && before != nil {
			break
		}
	}
	return before, next
}

// Cast are the votes of the process that have not run out.
func (p *Votes) Cast(now time.Duration) (out []Stake) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, g := range p.given {
		if g.has && now-g.at < p.Lease {
			out = append(out, Stake{Who: g.who, Arc: g.arc, Has: true, Number: g.number})
		}
	}
	return out
}

// frees takes it that a member claims nothing else now.
func (p *Votes) frees(s Stake) {
	i, known := p.at(s.Who)
	if !known || s.Number <= p.given[i].number {
		return
	}
	g := &p.given[i]
	g.number = s.Number
	switch {
	case !s.Has:
		g.has = false
	case g.has && !Covers(s.Arc.After, g.arc.After, s.Who.ID):
		g.arc.After = s.Arc.After
	}
}

// cast votes for what a member claims, up to what others have votes for.
func (p *Votes) cast(c Stake, now time.Duration) Vote {
	i, known := p.at(c.Who)
	if !c.Has || known && c.Number < p.given[i].number || !known && len(p.given) >= maxVotes {
		return Vote{}
	}
	arc := c.Arc
	if before, next := p.beside(i, c.Who); next != nil {
		switch {
		case next.arc.Contains(arc.To), before.arc.Contains(arc.To):
			return Vote{}
		case arc.Contains(before.who.ID):
			arc.After = before.who.ID
		}
	}
	g := voted{who: c.Who, arc: arc, has: true, number: c.Number, at: now}
	if known {
		p.given[i] = g
	} else {
		p.given = slices.Insert(p.given, i, g)
	}
	return Vote{Given: true, After: arc.After}
}
