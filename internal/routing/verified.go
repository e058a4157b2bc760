package routing

import (
	"errors"
	"slices"

	"github.com/ollelogdahl/concord/internal/ring"
)

// ErrUnverified: no owner has confirmed itself that was found on two ways.
var ErrUnverified = errors.New("no two members that know the owner independently agree")

// maxWays bounds the ways of a verified lookup.
const maxWays = 4

// A verified lookup does not rely on any one member. It finds the owner on one way after
// the other, each with a search of its own that begins at what the process itself
// knows. No process that was asked on one way is asked on another, at whatever identifier, or
// has a say in whom another asks: where the ways of two members meet, one could have led both. The
// owner that two ways have named is asked itself, and counts if it says so too.
//
// So an owner that is not the owner has said so itself, and somebody on each of two
// ways has helped. A process that has asked its own head knows itself that nobody
// stands before that. That the owner bears the very identifier needs no second way
// either, if its certificate proves its name.

// verification is what a verified lookup knows besides.
type verification struct {
	ways  []way
	began int           // the first question of the open way
	apart []ring.Member // asked on the ways that have ended
	word  int           // the question, asked of a candidate, whether it is the owner; -1: none is open
	// denied are candidates that have not confirmed that they are the owner.
	denied []ring.Member
}

// way is one that has ended.
type way struct {
	asked   [2]int      // the first question, and the one after the last
	owner   ring.Member // that it has named
	certain bool        // the process itself knows that nobody stands before the owner
	word    int         // the question that the owner itself has answered; -1: it was not asked
}

// options are those of the search of one way.
func (v *verification) options(o Options) Options {
	o.Fresh, o.MaxAge, o.Lenient, o.Cold = false, 0, false, true
	o.Apart, o.Others = v.apart, len(v.ways) > 0
	return o
}

// endWay goes on after the search of a way has found an owner.
func (l *Lookup) endWay(k Knowledge) Want {
	v := l.verification
	a := l.search.Result()
	w := way{asked: [2]int{v.began, len(l.questions)}, owner: a.Owner, word: -1}
	switch {
	case l.used < 0 && a.Verdict == Mine:
		l.result = a
		return Want{Do: Found}
	case l.used < 0:
		w.certain = a.HasArc
	case a.Verdict == Mine:
		w.word = l.used
	}
	v.ways = append(v.ways, w)
	return l.weigh(k)
}

// weigh ends the lookup if an owner was named on ways enough and has confirmed it, asks
// one that has not, or begins another way.
func (l *Lookup) weigh(k Knowledge) Want {
	v := l.verification
	v.word = -1
	for _, w := range v.ways {
		x := w.owner
		if slices.Contains(v.denied, x) || !l.enough(x) {
			continue
		}
		i := slices.IndexFunc(v.ways, func(w way) bool { return w.owner == x && w.word >= 0 })
		if i >= 0 {
			return l.confirmed(v.ways[i].word)
		}
		want := l.ask(x, Query{ID: l.id}, Candidate, false, k.Now)
		v.word = want.Question
		return want
	}
	if len(v.ways) == maxWays {
		return Want{Do: GiveUp, Err: ErrUnverified}
	}
	return l.nextWay(k)
}

// enough reports whether x was named as the owner on ways enough.
func (l *Lookup) enough(x ring.Member) bool {
	named := 0
	for _, w := range l.verification.ways {
		if w.owner == x {
			if named++; w.certain {
				return true
			}
		}
	}
	return named >= 2 || named == 1 && l.opts.Proven && x.ID == l.id
}

// confirmed ends the lookup with the owner that has answered question i.
func (l *Lookup) confirmed(i int) Want {
	q := &l.questions[i]
	l.result, l.used, l.source = q.Answer, i, Asked
	l.result.Owner, l.result.By = q.Whom, q.Whom
	return Want{Do: Found}
}

// heardWord goes on after the candidate has answered, or has not.
func (l *Lookup) heardWord(k Knowledge) Want {
	i := l.verification.word
	q := &l.questions[i]
	if q.State == Answered && q.Answer.Verdict == Mine && (!q.Answer.HasArc || q.Answer.Arc.Contains(l.id)) {
		return l.confirmed(i)
	}
	l.verification.denied = append(l.verification.denied, q.Whom)
	return l.weigh(k)
}

// nextWay begins to search on another way.
func (l *Lookup) nextWay(k Knowledge) Want {
	v := l.verification
	for _, q := range l.questions[v.began:] {
		if q.Why != Candidate {
			v.apart = append(v.apart, q.Whom)
		}
	}
	v.began = len(l.questions)
	l.used = -1
	return l.begin(k)
}

// startOver forgets all ways: the process knows something else by now.
func (l *Lookup) startOver(k Knowledge) Want {
	*l.verification = verification{began: len(l.questions), word: -1}
	l.used = -1
	return l.begin(k)
}

// lost goes on after another than the first way has led nowhere.
func (l *Lookup) lost(k Knowledge) Want {
	switch {
	case k.Table != l.table:
		return l.startOver(k)
	case l.wait && len(l.questions) == 0:
		return Want{Do: AwaitTable} // there was nobody to ask: its own pointers are in doubt
	}
	return Want{Do: GiveUp, Err: ErrUnverified}
}

// Ways lists the questions of each way of a verified lookup that has ended at x.
func (l *Lookup) Ways(x ring.Member) (ways [][]Question) {
	if v := l.verification; v != nil {
		for _, w := range v.ways {
			if w.owner == x {
				ways = append(ways, l.questions[w.asked[0]:w.asked[1]])
			}
		}
	}
	return ways
}
