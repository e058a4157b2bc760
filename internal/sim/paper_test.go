package sim

import (
	"math"
	"testing"
)

func TestTextbookPathsAreHalfTheLogarithm(t *testing.T) {
	for _, n := range []int{64, 1024, 4096} {
		p := Textbook(n, 1, 2000, 0, 1)
		want := math.Log2(float64(n)) / 2
		if math.Abs(p.Asked-want) > 0.7 || p.Failed > 0 || p.Silent > 0 {
			t.Errorf("%+v, want %.1f asked", p, want)
		}
		t.Logf("%d members: %.2f asked, 1 to 99 %%: %d to %d", n, p.Asked, p.P1, p.P99)
	}
}

func TestOurPathsAreShorter(t *testing.T) {
	for _, n := range []int{1, 2, 64, 1024} {
		s, err := Stand(n, 3, 1)
		if err != nil {
			t.Fatal(err)
		}
		p := s.Lookups(2000, 1)
		if p.Failed > 0 || p.Wrong > 0 || p.Lookups != 2000 {
			t.Errorf("%+v", p)
		}
		if old := Textbook(n, 3, 2000, 0, 1); n > 2 && p.Asked >= old.Asked {
			t.Errorf("%d members: %.2f asked, by the textbook %.2f", n, p.Asked, old.Asked)
		}
		t.Logf("%d members: %.2f asked, at most %d; %d bytes each", n, p.Asked, p.Most, s.Bytes/uint64(n))
	}
}

func TestRingGrownByJoinsIsLikeOneThatStood(t *testing.T) {
	const n = 256
	grown, err := Grow(n, 3, 1)
	if err != nil {
		t.Fatal(err)
	}
	stood, err := Stand(n, 3, 1)
	if err != nil {
		t.Fatal(err)
	}
	a, b := grown.Lookups(2000, 1), stood.Lookups(2000, 1)
	if a.Failed+a.Wrong+b.Failed+b.Wrong > 0 || math.Abs(a.Asked-b.Asked) > 0.5 {
		t.Errorf("grown %+v, stood %+v", a, b)
	}
}

func TestHalfFailAndNoLookupDoes(t *testing.T) {
	p, err := Halve(200, 20, 500, 0.5, 1)
	if err != nil || p.Failed > 0 || p.Lookups != 500 {
		t.Errorf("%+v, %v", p, err)
	}
	t.Logf("%+v", p)
	old := Textbook(200, 20, 500, 0.5, 1)
	if old.Failed > 0 || old.Silent == 0 {
		t.Errorf("%+v", old)
	}
	t.Logf("%+v", old)
}

func TestChurnOfThePaper(t *testing.T) {
	p, err := Churn(100, 20, 600, 0.1, 1)
	if err != nil || p.Failed > 0 {
		t.Errorf("%+v, %v", p, err)
	}
	t.Logf("%+v", p)
}
