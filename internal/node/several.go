package node

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
)

// Bounds on the lookups of one LookupAll.
const (
	// maxWalks is how many are under way at once.
	maxWalks = 16
	// walkSample is after how many owners a walk knows how many are left, and
	// walkShare how many must be for a second walk to be worth the members that
	// it asks only to find its beginning.
	walkSample = 8
	walkShare  = 32
)

// LookupN finds the owner of an identifier and the n−1 members after it that
// routing.Replicas chooses; fewer if the ring has fewer. Unless options ask for more, a
// member's successor list suffices. With an error come those found so far.
func (fd *Finder) LookupN(ctx context.Context, id uint64, n int, opts routing.Options) ([]ring.Member, error) {
	fd = fd.acting()
	ctx, cancel := bounded(ctx)
	defer cancel()
	chosen := routing.NewReplicas(n)
	var out []ring.Member // clockwise, of which those before told are told to chosen
	told := 0
	for {
		for ; told < len(out); told++ {
			if chosen.Add(out[told], fd.zone(ctx, out[told])) {
				return chosen.Members(), nil
			}
		}
		if k := len(out); k > 0 {
			id = fd.space.Add(out[k-1].ID, 1)
			var round bool
			if out, round = fd.followers(ctx, out, opts); round {
				break
			} else if len(out) > k {
				continue
			}
		}
		r, err := fd.Lookup(ctx, id, opts)
		if err != nil {
			return chosen.Members(), err
		}
		var ok bool
		if out, ok = follow(out, r.Owner); !ok {
			break
		}
	}
	for ; told < len(out); told++ { // from the list that led round the circle
		if chosen.Add(out[told], fd.zone(ctx, out[told])) {
			break
		}
	}
	return chosen.Members(), nil
}

// follow appends x if it stands after the last and before the first, which it does
// unless one has come round the circle.
func follow(out []ring.Member, x ring.Member) ([]ring.Member, bool) {
	if k := len(out); k > 0 && !ring.Between(out[k-1].ID, x.ID, out[0].ID) {
		return out, false
	}
	return append(out, x), true
}

// followers appends those of the members after the last of out that are had for
// less than a lookup each: from memory, or all that the last itself names. It
// appends none if there are none, and says whether one has come round the circle.
func (fd *Finder) followers(ctx context.Context, out []ring.Member, opts routing.Options) (_ []ring.Member, round bool) {
	if opts.Fresh {
		return out, false
	}
	last := out[len(out)-1]
	if !opts.Cold {
		next := fd.space.Add(last.ID, 1)
		m := fd.recall(next, opts.MaxAge, false)
		if m.owner() == nil && fd.confirm(ctx, next, len(out), opts.MaxAge) {
			m = fd.recall(next, opts.MaxAge, false)
		}
		if x := m.owner(); x != nil {
			out, further := follow(out, *x)
			return out, !further
		}
	}
	if opts.MaxAge > 0 || fd.peers.suspicions().Avoided(last, fd.now()) {
		return out, false // a list has no age
	}
	for _, x := range fd.listOf(ctx, last) {
		if fd.peers.suspicions().Avoided(x, fd.now()) {
			break // a lookup goes round it, if it is gone
		}
		var ok bool
		if out, ok = follow(out, x); !ok {
			return out, true
		}
	}
	return out, false
}

// confirm has the owners from an identifier on who have not confirmed to a client yet what its map
// has of them do so, at most k at once: after it, the map answers. It is false if that is not what
// the map lacks.
func (fd *Finder) confirm(ctx context.Context, from uint64, k int, age time.Duration) bool {
	s := fd.chart.Load()
	if s == nil {
		return false
	}
	var ids []uint64
	now := fd.now()
	for _, c := range s.UnconfirmedFrom(from, min(k, maxWalks), now, fd.oldest(age)) {
		if fd.nameable(c, now) {
			ids = append(ids, c.ID)
		}
	}
	if len(ids) > 0 {
		fd.LookupAll(ctx, ids, routing.Options{Fresh: true})
	}
	return len(ids) > 0
}

// listOf is the successor list of x, asked for unless that is the member itself;
// nil if it does not answer from within the ring.
func (fd *Finder) listOf(ctx context.Context, x ring.Member) []ring.Member {
	snap := fd.snap.Load()
	if x == snap.Self {
		if snap.Table == nil {
			return nil
		}
		return snap.Table.Succ
	}
	reply, f := fd.askRing(ctx, x)
	fd.noteOutcome(x, f)
	if f != nil || !reply.State.Phase.InRing() {
		return nil
	}
	return reply.State.Succ
}

// LookupAll finds the owners of many identifiers, in their order. What memory does
// not answer costs one request for each owner, not for each identifier. If some
// are not found, their owners are zero, and errs has as many entries as ids, those
// not nil saying why.
func (fd *Finder) LookupAll(ctx context.Context, ids []uint64, opts routing.Options) (owners []ring.Member, errs []error) {
	fd = fd.acting()
	owners = make([]ring.Member, len(ids))
	table := fd.snap.Load().Table
	if table == nil {
		return owners, slices.Repeat([]error{fd.outside()}, len(ids))
	}
	var rest []int
	for i, id := range ids {
		var owner *ring.Member
		if !opts.Fresh && !opts.Cold {
			owner = fd.Local(id, opts.MaxAge)
		}
		if owner == nil {
			rest = append(rest, i)
			continue
		}
		owners[i] = *owner
	}
	if len(rest) == 0 {
		return owners, nil
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	s := &sweep{fd: fd, ids: ids, opts: opts, owners: owners, errs: make([]error, len(ids)), walks: make(chan struct{}, maxWalks)}
	for _, part := range s.parts(table, rest) {
		s.walks <- struct{}{}
		s.begin(ctx, part)
	}
	s.running.Wait()
	if slices.ContainsFunc(s.errs, func(err error) bool { return err != nil }) {
		return owners, s.errs
	}
	return owners, nil
}

// bounded is ctx with a deadline.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, routing.LookupTimeout)
}

// sweep is one LookupAll under way: walks along the circle, each over a part of
// the identifiers, from owner to owner.
type sweep struct {
	fd   *Finder
	ids  []uint64
	opts routing.Options

	// Each walk writes the entries of its own part.
	owners []ring.Member
	errs   []error

	walks   chan struct{} // holds one for each walk under way
	running sync.WaitGroup
}

// parts divides the identifiers of these indices: those on one arc, as far as is
// known, go together, and what lies between two known members is another part,
// since whoever knows the first of them need not search for it.
func (s *sweep) parts(t *routing.Table, rest []int) [][]int {
	var marks []uint64 // members, each the end of an arc
	for _, x := range t.Near() {
		marks = append(marks, x.ID)
	}
	if !s.opts.Cold {
		for _, c := range s.fd.arcs.All() {
			marks = append(marks, c.Arc.After, c.Arc.To)
		}
		if chart := s.fd.chart.Load(); chart != nil {
			for c := range chart.All() {
				marks = append(marks, c.ID)
			}
		}
	}
	// The walk round the circle begins behind a member, so that no arc is cut.
	origin := t.Self.ID
	if t.Self.IsZero() && len(marks) > 0 {
		origin = marks[0]
	}
	along := func(id uint64) uint64 { return id - origin - 1 }
	slices.SortFunc(marks, func(x, y uint64) int { return cmp.Compare(along(x), along(y)) })
	slices.SortStableFunc(rest, func(i, j int) int { return cmp.Compare(along(s.ids[i]), along(s.ids[j])) })
	var out [][]int
	first, m := 0, 0
	for k := 1; k < len(rest); k++ {
		for m < len(marks) && along(marks[m]) < along(s.ids[rest[k-1]]) {
			m++
		}
		if m < len(marks) && along(marks[m]) < along(s.ids[rest[k]]) {
			out = append(out, rest[first:k:k])
			first = k
		}
	}
	return append(out, rest[first:])
}

// begin begins a walk, for which the caller has put a token into walks.
func (s *sweep) begin(ctx context.Context, part []int) {
	s.running.Go(func() {
		defer func() { <-s.walks }()
		s.walk(ctx, part)
	})
}

// walk looks the first identifier of its part up, is done with all others on the
// arc that was answered, and goes on. It hands half of what is left to another
// walk when that is much and there is room for one.
func (s *sweep) walk(ctx context.Context, part []int) {
	found, all := 0, len(part)
	for len(part) > 0 {
		done := s.step(ctx, part)
		part = part[done:]
		found++
		if left := len(part) * found / (all - len(part)); found < walkSample || left < walkShare {
			continue
		}
		select {
		case s.walks <- struct{}{}:
			half := len(part) / 2
			s.begin(ctx, part[half:])
			part = part[:half:half]
			found, all = 0, len(part)
		default:
		}
	}
}

// verifiedToo reports whether id is verified with first, of which r is the result: nobody
// stands between first and the owner, whatever the owner says of its arc.
func verifiedToo(first, id uint64, r Result) bool {
	return r.Source == routing.OwnRange || ring.Arc{After: first, To: r.Owner.ID}.Contains(id)
}

// step looks up the first identifier of the part and says how many are done with.
func (s *sweep) step(ctx context.Context, part []int) (done int) {
	first := s.ids[part[0]]
	r, err := s.fd.Lookup(ctx, first, s.opts)
	for done < len(part) {
		i := part[done]
		id := s.ids[i]
		if id != first && (err != nil || !r.HasArc || !r.Arc.Contains(id) || s.opts.Verified && !verifiedToo(first, id, r)) {
			break
		}
		s.owners[i], s.errs[i] = r.Owner, err
		if done > 0 && err == nil {
			switch r.Source {
			case routing.OwnRange:
				s.fd.counters.owned.add(id)
			case routing.RingMap:
				s.fd.counters.mapped.add(id)
			default:
				s.fd.counters.confirmed.add(id)
			}
		}
		done++
	}
	return done
}
