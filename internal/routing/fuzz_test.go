package routing

import (
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// said reads answers of hostile members from bytes. After their end it reads zeros.
type said struct{ left []byte }

func (s *said) byte() byte {
	if len(s.left) == 0 {
		return 0
	}
	b := s.left[0]
	s.left = s.left[1:]
	return b
}

func (s *said) member() ring.Member {
	x := at(uint64(s.byte()))
	switch b := s.byte(); {
	case b < 8:
		return ring.Member{}
	case b < 32:
		x.Addr = at(uint64(b)).Addr // where another is
	case b < 48:
		x.Incarnation = uint64(b % 3)
	}
	return x
}

func (s *said) answer() Answer {
	b := s.byte()
	a := Answer{Verdict: Verdict(1 + b%3), Owner: s.member(), HasArc: b&4 == 0, Age: time.Duration(s.byte()) * 10 * time.Millisecond}
	a.Arc = ring.Arc{After: uint64(s.byte()), To: uint64(s.byte())}
	a.Lease = time.Duration(s.byte()) * 100 * time.Millisecond
	if a.Verdict != Closer && a.Owner.IsZero() { // the transport lets no such answer pass
		a.Owner = at(1)
	}
	if b&8 == 0 {
		a.By = s.member()
	}
	for range b >> 6 {
		a.Closer = append(a.Closer, s.member())
	}
	return a
}

// Whatever the members that it asks say, a lookup ends, asks no more than it may, and does
// not panic.
func FuzzLookup(f *testing.F) {
	f.Add(byte(100), []byte{0, 1, 2, 3, 4})
	f.Add(byte(3), []byte{194, 70, 99, 0, 0, 0, 0, 60, 90, 71, 99, 72, 99, 0, 66, 80, 90, 0, 50, 72, 3})
	f.Fuzz(func(t *testing.T, id byte, b []byte) {
		s := &said{b}
		k := knows(0, 40, 90, 160, 200)
		how := s.byte()
		if how&1 != 0 {
			k.Arcs.Confirm(ring.Arc{After: uint64(s.byte()), To: 128}, at(128), confirmed(0))
		}
		l := newLookup(uint64(id), Options{Fresh: how&2 != 0, Cold: how&4 != 0}, time.Second, false)
		want := l.Begin(k)
		var open []int
		for step := 0; want.Do != Found && want.Do != GiveUp; step++ {
			if step > 4096 {
				t.Fatalf("goes on after %d steps: wants %+v", step, want)
			}
			k.Now += time.Duration(s.byte()) * time.Millisecond
			if want.Do == Ask || want.Do == Await {
				open = append(open, want.Question)
			}
			want = happen(s, l, want, &open, k)
		}
		if n, most := len(l.Questions()), 2*k.Table.HopLimit()+8; n > most {
			t.Errorf("%d questions, at most %d", n, most)
		}
		if a, _ := l.Result(); want.Do == Found && a.Owner.IsZero() {
			t.Errorf("found nobody: %+v", a)
		}
	})
}

// waits is that a lookup goes on waiting for what it has asked.
const waits = Do(100)

// happen tells a lookup of what has become of one of its questions. Without any it resumes.
func happen(s *said, l *Lookup, want Want, open *[]int, k Knowledge) Want {
	if want.Do == Pause || len(*open) == 0 {
		return l.Resume(k)
	}
	what := byte(79) // after the end of the script all fail
	if len(s.left) > 0 {
		what = s.byte()
	}
	i := int(s.byte()) % len(*open)
	question := (*open)[i]
	var got Want
	switch {
	case what < 40:
		got = l.Overtake(k)
	case what < 80:
		got = l.Fail(question, what&1 == 0, k)
		*open = append((*open)[:i:i], (*open)[i+1:]...)
	default:
		x := l.Questions()[question].Whom
		a := s.answer()
		if k.Arcs != nil {
			k.Arcs.Learn(at(0), x, l.ID(), a, k.Now, k.Table, k.Suspicions, k.Now, time.Second)
		}
		got = l.Answer(question, a, k.Now, k)
		*open = append((*open)[:i:i], (*open)[i+1:]...)
	}
	if got.Do == 0 {
		return Want{Do: waits}
	}
	return got
}

// Whatever is confirmed and doubted, no two arcs that are kept overlap, there are no more than
// may be kept, and what is found holds the identifier that was asked for.
func FuzzArcs(f *testing.F) {
	f.Add([]byte{0, 3, 9, 9, 0, 5, 7, 7, 1, 4, 6, 2, 9})
	f.Fuzz(func(t *testing.T, b []byte) {
		s := &said{b}
		arcs := NewArcs(0, 8, 8)
		for len(s.left) > 0 {
			arc := ring.Arc{After: uint64(s.byte()), To: uint64(s.byte())}
			switch s.byte() % 6 {
			case 0, 1, 2:
				owner := at(arc.To)
				if s.byte()%4 == 0 {
					owner = s.member()
				}
				arcs.Confirm(arc, owner, confirmed(time.Duration(s.byte())*time.Millisecond))
			case 3:
				arcs.Contradict(arc)
			case 4:
				arcs.NoteMember(s.member())
			case 5:
				arcs.DoubtMember(at(arc.To))
			}
			all := arcs.All()
			if len(all) > 8 {
				t.Fatalf("%d arcs", len(all))
			}
			for i, x := range all {
				for _, y := range all[:i] {
					if overlap(x.Arc, y.Arc) {
						t.Fatalf("%v and %v overlap", x.Arc, y.Arc)
					}
				}
			}
			if c := arcs.Find(arc.After); c != nil && !c.Arc.Contains(arc.After) {
				t.Fatalf("%v is found for %d", c.Arc, arc.After)
			}
		}
	})
}
