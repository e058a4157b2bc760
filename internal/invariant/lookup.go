package invariant

import (
	"fmt"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
)

// Rules of what members answer to lookups, by the tables that ship.
var (
	AnswersForItsArc = Rule{"answers-for-its-arc", "Who says that an identifier is its own answers for an arc with it, or bears it.", "the definition of an owner", func(r Ring) string {
		for _, s := range r.Members {
			t := r.table(s)
			for _, id := range r.points(s) {
				if t.Answer(routing.Query{ID: id}, 0).Verdict == routing.Mine && !r.may(s.Self, id) {
					return fmt.Sprintf("%s says that %d is its own, which is not on its arc", s.Self.Name, id)
				}
			}
		}
		return ""
	}}
	IdealLookups = Rule{"ideal-lookups", "In an ideal ring every lookup ends at the owner.", "the definition of an owner", func(r Ring) string {
		// The last member holds no arc until it knows that it is the last.
		if len(r.Members) == 0 || len(r.Members) == 1 && len(r.Claims) == 0 || Ideal.Broken(r) != "" {
			return ""
		}
		tables := make([]*routing.Table, len(r.Members))
		for i, s := range r.Members {
			tables[i] = r.table(s)
		}
		for i, s := range r.Members {
			last := r.Members[(i+len(r.Members)-1)%len(r.Members)].Self.ID
			for _, id := range []uint64{last + 1, last + (s.Self.ID-last)/2, s.Self.ID} {
				for from := range r.Members {
					if owner := r.lookUp(tables, from, id); owner != s.Self {
						return fmt.Sprintf("a lookup of %d at %s ends at %q, not at %s", id, r.Members[from].Self.Name, owner.Name, s.Self.Name)
					}
				}
			}
		}
		return ""
	}}
)

// lookUp follows answers, beginning at a member, to the owner of id that is
// named, the zero Member if that leads nowhere.
func (r Ring) lookUp(tables []*routing.Table, at int, id uint64) ring.Member {
	for range r.Members {
		a := tables[at].Answer(routing.Query{ID: id}, 0)
		if a.Verdict != routing.Closer {
			return a.Owner
		}
		if len(a.Closer) == 0 {
			break
		}
		if at = r.index(a.Closer[0]); at < 0 {
			break
		}
	}
	return ring.Member{}
}

// table is what a member answers lookups from.
func (r Ring) table(s protocol.State) *routing.Table {
	k := routing.Known{Self: s.Self, Pred: s.Pred, Succ: s.Succ, Bits: 64, Full: r.Successors, Certain: -1}
	for _, c := range r.Claims {
		if c.By == s.Self {
			k.Arc, k.HasArc, k.Alone = c.Arc, true, c.Alone
		}
	}
	return routing.NewTable(k)
}

// may reports whether a member may say that id is its own. It does not rely on
// what it judges: an arc is taken apart here.
func (r Ring) may(self ring.Member, id uint64) bool {
	if id == self.ID {
		return true
	}
	for _, c := range r.Claims {
		if c.By == self && ring.Between(c.Arc.After, id, c.Arc.To) {
			return true
		}
	}
	return false
}

// points are the identifiers that a member's pointers name, and one between
// each two of them.
func (r Ring) points(s protocol.State) []uint64 {
	named := []uint64{s.Self.ID}
	for _, x := range s.Succ {
		named = append(named, x.ID)
	}
	if !s.Pred.IsZero() {
		named = append(named, s.Pred.ID)
	}
	out := named
	for i, id := range named {
		out = append(out, id+(named[(i+1)%len(named)]-id)/2)
	}
	return out
}
