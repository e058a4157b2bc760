package ring

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
)

func named(name, addr string) Member { return Member{ID: SHA256([]byte(name)), Name: name, Addr: addr} }

func TestKin(t *testing.T) {
	many := func(from, n int) (out []string) {
		for i := range n {
			out = append(out, fmt.Sprintf("10.0.0.%d:7946", from+i))
		}
		return out
	}
	a, b := named("a", "a:1"), named("b", "b:1")
	made := Founded(1, a, nil)
	for _, tc := range []struct {
		name string
		o, p *Origin
		want bool
	}{
		{"founded apart, given nothing", Founded(1, a, nil), Founded(2, b, nil), false},
		{"of the same number", Founded(1, a, nil), Founded(1, b, nil), true},
		{"one is not known", Founded(1, a, nil), nil, true},
		{"an address in common", Founded(1, a, []string{"x:1", "y:1"}), Founded(2, b, []string{"y:1", "z:1"}), true},
		{"an address in another form", Founded(1, a, []string{"X.example.:1"}), Founded(2, b, []string{"x.example:1"}), true},
		{"an IP address in another form", Founded(1, a, []string{"[::0001]:1"}), Founded(2, b, []string{"[::1]:1"}), true},
		{"another port", Founded(1, a, []string{"x:1"}), Founded(2, b, []string{"x:2"}), false},
		{"no address in common", Founded(1, a, []string{"x:1"}), Founded(2, b, []string{"z:1"}), false},
		{"each was given the other", Founded(1, a, []string{"b:1"}), Founded(2, b, []string{"a:1"}), true},
		{"one was given the other", Founded(1, a, []string{"b:1"}), Founded(2, b, []string{"z:1"}), false},
		{"the address of a founder was used again", Founded(1, a, []string{"z:1"}), Founded(2, named("b", "a:1"), []string{"y:1"}), false},
		{"the founder began anew", Founded(1, a, nil), Founded(2, a, nil), true},
		{"the founder moved", Founded(1, a, nil), Founded(2, named("a", "c:1"), nil), false},
		{"more addresses than are kept", Founded(1, a, many(0, 100)), Founded(2, b, many(0, 100)), true},
		{"only the number is known, and it was taken over", made.And(Founded(2, b, nil)), &Origin{ID: 2}, true},
		{"only the number is known", made, &Origin{ID: 2}, false},
	} {
		if got, back := tc.o.Kin(tc.p), tc.p.Kin(tc.o); got != tc.want || back != tc.want {
			t.Errorf("%s: %t and %t the other way, want %t", tc.name, got, back, tc.want)
		}
	}
}

// One that tells of many marks takes nobody's own away: all of one ring stay akin.
func TestFullOriginKeepsItsOwnMarks(t *testing.T) {
	o := Founded(1<<60, named("a", "a:1"), []string{"b:1"})
	var many []uint64
	for i := range uint64(MaxMarks - 1) {
		many = append(many, i)
	}
	liar := NewOrigin(7, append(many, o.Marks[len(o.Marks)-1]))
	told := o.And(liar)
	for _, mark := range o.Marks {
		if !told.marked(mark) {
			t.Errorf("mark %d is gone", mark)
		}
	}
	if len(told.Marks) != MaxMarks || !told.Kin(o) || told.And(liar) != told {
		t.Errorf("%d marks, akin %t", len(told.Marks), told.Kin(o))
	}
}

// Whoever has taken another origin over is akin to all that are akin to either, and the
// order in which members meet makes no difference.
func TestAnd(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	random := func() *Origin {
		var given []string
		for range rng.IntN(20) {
			given = append(given, fmt.Sprintf("h%d:1", rng.IntN(60)))
		}
		return Founded(rng.Uint64(), named("n", fmt.Sprintf("n%d:1", rng.IntN(100))), given)
	}
	full := 0
	for range 2000 {
		a, b, c := random(), random(), random()
		ab := a.And(b)
		if len(ab.Marks) == MaxMarks {
			full++
		}
		if len(ab.Marks) > MaxMarks || ab.ID != min(a.ID, b.ID) {
			t.Fatalf("%v and %v make %v", a, b, ab)
		}
		if ba := b.And(a); len(ab.Marks) < MaxMarks && !reflect.DeepEqual(ab, ba) {
			t.Fatalf("%v one way, %v the other", ab, ba)
		}
		if x, y := ab.And(c), a.And(b.And(c)); len(x.Marks) < MaxMarks && !reflect.DeepEqual(x, y) {
			t.Fatalf("%v in one order, %v in another", x, y)
		}
		if ab.And(a) != ab || ab.And(b) != ab || ab.And(nil) != ab {
			t.Fatalf("%v changes by what it has", ab)
		}
		if a.Kin(b) && (!ab.Kin(a) || !ab.Kin(b)) {
			t.Fatalf("%v is not akin to what it was made of", ab)
		}
	}
	if full == 0 {
		t.Error("no origin was full")
	}
	var none *Origin
	if a := random(); none.And(a) != a || none.Given(named("a", "a:1"), []string{"x:1"}) != nil || none.String() != "unknown" {
		t.Error("what is not known does not give way to what is")
	}
}
