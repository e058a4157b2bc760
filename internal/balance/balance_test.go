package balance

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/ollelogdahl/concord/internal/ring"
)

var wide = ring.Space{Bits: 64, Hash: ring.SHA256}

// grown is a circle of n members with w identifiers each.
func grown(t testing.TB, space ring.Space, n, w int) *Circle {
	t.Helper()
	c, err := NewCircle(space, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		join(t, c, fmt.Sprintf("node-%d", i), w)
	}
	return c
}

func join(t testing.TB, c *Circle, name string, w int) float64 {
	t.Helper()
	s, err := c.Choose(name, w)
	if err != nil {
		t.Fatal(err)
	}
	if err := Check(c.space, name, s); err != nil {
		t.Fatalf("a choice that does not hold: %v", err)
	}
	moved, err := c.Add(Holding{Name: name, Stand: s})
	if err != nil {
		t.Fatal(err)
	}
	return moved
}

// owners are the owners of keys, looked up one by one.
func owners(c *Circle, keys []uint64) []string {
	out := make([]string, len(keys))
	for i, k := range keys {
		best := 0
		for j, p := range c.points {
			if c.space.Distance(k, p.id) < c.space.Distance(k, c.points[best].id) {
				best = j
			}
		}
		out[i] = c.owners[c.points[best].owner].Name
	}
	return out
}

// checkShares compares the shares that are kept with those that the points give.
func checkShares(t *testing.T, c *Circle) {
	t.Helper()
	want := map[string]float64{}
	for i, p := range c.points {
		if len(c.points) == 1 {
			want[c.owners[p.owner].Name] = 1
			continue
		}
		from := c.points[(i+len(c.points)-1)%len(c.points)].id
		want[c.owners[p.owner].Name] += c.space.Share(ring.Arc{After: from, To: p.id})
	}
	sum := 0.0
	for _, o := range c.owners {
		if o.weight == 0 {
			continue
		}
		owns, fair := c.Share(o.Name)
		if math.Abs(owns-want[o.Name]) > 1e-9 || o.weight != len(o.IDs) {
			t.Errorf("%s owns %g, kept as %g; weight %d, %d identifiers", o.Name, want[o.Name], owns, o.weight, len(o.IDs))
		}
		if want := float64(o.weight) / float64(len(c.points)); math.Abs(fair-want) > 1e-12 {
			t.Errorf("%s: fair %g, not %g", o.Name, want, fair)
		}
		sum += owns
	}
	if math.Abs(sum-1) > 1e-9 {
		t.Errorf("the shares sum to %g", sum)
	}
}

func TestIdentifiersAreHashesOfNumberedNames(t *testing.T) {
	for text, got := range map[string]uint64{
		"db_0":    Identifier(wide, "db", 0, 0),
		"db_15":   Identifier(wide, "db", 15, 0),
		"db_3.1":  Identifier(wide, "db", 3, 1),
		"db_10.7": Identifier(wide, "db", 10, 7),
	} {
		if want := wide.ID([]byte(text)); got != want {
			t.Errorf("%s: %d, not %d", text, got, want)
		}
	}
}

func TestCheckRefusesWhatTheNameDoesNotGive(t *testing.T) {
	c := grown(t, wide, 1, 4)
	good := c.Stand("node-0")
	with := func(change func(s *Stand)) Stand {
		s := good.Clone()
		change(&s)
		return s
	}
	for want, s := range map[string]Stand{
		"has no identifier":                  {},
		"has 1025 identifiers (at most 1024": {IDs: make([]uint64, 1025), Choices: make([]uint8, 1025)},
		"4 identifiers and 3 choices":        with(func(s *Stand) { s.Choices = s.Choices[:3] }),
		"identifier 2 is variant 8":          with(func(s *Stand) { s.Choices[2] = 8 }),
		"identifier 1 is":                    with(func(s *Stand) { s.IDs[1]++ }),
		"identifier 3 is":                    with(func(s *Stand) { s.Choices[3] ^= 1 }),
	} {
		if err := Check(wide, "node-0", s); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), `"node-0"`) {
			t.Errorf("%v is not refused with %q", err, want)
		}
	}
	if err := Check(wide, "node-1", good); err == nil {
		t.Error("the stand of another name is not refused")
	}
	if err := Check(wide, "node-0", good); err != nil {
		t.Error(err)
	}
	narrow := ring.Space{Bits: 1, Hash: ring.SHA256}
	twice := Stand{}
	for i := range 3 { // of three identifiers on two points two are one
		twice.IDs = append(twice.IDs, Identifier(narrow, "x", i, 0))
		twice.Choices = append(twice.Choices, 0)
	}
	if err := Check(narrow, "x", twice); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("an identifier twice: %v", err)
	}
}

func TestSharesAreThoseOfThePoints(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for _, bits := range []uint{12, 64} {
		space := ring.Space{Bits: bits, Hash: ring.SHA256}
		c := grown(t, space, 1, 5)
		names := []string{"node-0"}
		for i := range 200 {
			name := names[rng.IntN(len(names))]
			switch rng.IntN(5) {
			case 0, 1:
				join(t, c, fmt.Sprintf("more-%d", i), 1+rng.IntN(9))
				names = append(names, fmt.Sprintf("more-%d", i))
			case 2:
				if len(names) > 1 {
					if _, err := c.Remove(name); err != nil {
						t.Fatal(err)
					}
					names = slices.DeleteFunc(names, func(n string) bool { return n == name })
				}
			case 3:
				if _, err := c.Grow(name); err != nil {
					t.Fatal(err)
				}
			case 4:
				if change, ok := c.Next(); ok {
					if _, err := c.Make(change); err != nil {
						t.Fatal(err)
					}
				} else if len(c.Stand(name).IDs) > 1 {
					if _, err := c.Shrink(name); err != nil {
						t.Fatal(err)
					}
				}
			}
			checkShares(t, c)
			if c.Members() != len(names) {
				t.Fatalf("%d members, not %d", c.Members(), len(names))
			}
			for _, n := range names {
				if err := Check(space, n, c.Stand(n)); err != nil {
					t.Fatal(err)
				}
			}
		}
		// A circle made of these members says the same.
		var all []Holding
		for _, n := range names {
			all = append(all, Holding{Name: n, Stand: c.Stand(n)})
		}
		again, err := NewCircle(space, all)
		if err != nil {
			t.Fatal(err)
		}
		checkShares(t, again)
		for _, n := range names {
			a, _ := c.Share(n)
			if b, _ := again.Share(n); math.Abs(a-b) > 1e-9 {
				t.Errorf("%s: %g and %g", n, a, b)
			}
		}
	}
}

func TestSharesOfMembersThatJoinOneAfterAnother(t *testing.T) {
	for set := range 8 {
		c, _ := NewCircle(wide, nil)
		for i := range 100 {
			name := fmt.Sprintf("set-%d-%d", set, i)
			if moved := join(t, c, name, 16); i > 1 && moved*float64(i+1) > 1.1 {
				t.Errorf("%s took %.3f times what is fair", name, moved*float64(i+1))
			}
			for range 4 {
				if change, ok := c.Next(); ok {
					if _, err := c.Make(change); err != nil {
						t.Fatal(err)
					}
				}
			}
			if _, most := c.Spread(); i > 1 && most > 1.15 {
				t.Errorf("%d members: one owns %.3f times what is fair", i+1, most)
			}
		}
	}
}

func TestWeightsGiveShares(t *testing.T) {
	c, _ := NewCircle(wide, nil)
	for i := range 30 {
		join(t, c, fmt.Sprintf("node-%d", i), 8<<(i%3))
	}
	for class := range 3 {
		var owns, fair float64
		for i := class; i < 30; i += 3 {
			o, f := c.Share(fmt.Sprintf("node-%d", i))
			owns, fair = owns+o, fair+f
		}
		if r := owns / fair; r < 0.9 || r > 1.1 {
			t.Errorf("members of weight %d own %.3f times what is fair", 8<<class, r)
		}
	}
}

func TestJoinsAndLeavesMoveNothingBetweenOthers(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	keys := make([]uint64, 2000)
	for i := range keys {
		keys[i] = rng.Uint64()
	}
	c := grown(t, wide, 12, 16)
	before := owners(c, keys)
	join(t, c, "joiner", 16)
	during := owners(c, keys)
	if _, err := c.Remove("joiner"); err != nil {
		t.Fatal(err)
	}
	moved := 0
	for i, after := range owners(c, keys) {
		if during[i] != before[i] {
			moved++
		}
		if during[i] != before[i] && during[i] != "joiner" || after != before[i] {
			t.Errorf("a key went from %s to %s to %s", before[i], during[i], after)
		}
	}
	if moved == 0 || moved > 2000/10 {
		t.Errorf("a join into 12 members moved %d of 2000 keys", moved)
	}
}

func TestMembersWithTooMuchChooseAnew(t *testing.T) {
	c := grown(t, wide, 24, 16)
	for i := range 12 { // nobody comes instead
		if _, err := c.Remove(fmt.Sprintf("node-%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	_, was := c.Spread()
	if was <= Far {
		t.Fatalf("the most loaded owns only %.3f times what is fair", was)
	}
	changes := 0
	for {
		change, ok := c.Next()
		if !ok {
			break
		}
		if again, _ := c.Clone().Next(); again != change {
			t.Fatalf("%v and %v of the same circle", change, again)
		}
		if _, err := c.Make(change); err != nil {
			t.Fatal(err)
		}
		if changes++; changes > 12*16 {
			t.Fatal("there is no end of changes")
		}
	}
	if _, most := c.Spread(); most > Far {
		t.Errorf("after %d changes one still owns %.3f times what is fair (%.3f before)", changes, most, was)
	}
	checkShares(t, c)
}

func TestWeightsChangeOneIdentifierAtATime(t *testing.T) {
	c := grown(t, wide, 10, 16)
	for range 16 {
		if _, err := c.Grow("node-4"); err != nil {
			t.Fatal(err)
		}
		checkShares(t, c)
	}
	if owns, fair := c.Share("node-4"); owns/fair < 0.9 || owns/fair > 1.1 || len(c.Stand("node-4").IDs) != 32 {
		t.Errorf("with 32 identifiers it owns %.3f, fair is %.3f", owns, fair)
	}
	for range 31 {
		if _, err := c.Shrink("node-4"); err != nil {
			t.Fatal(err)
		}
	}
	checkShares(t, c)
	if _, err := c.Shrink("node-4"); err == nil || len(c.Stand("node-4").IDs) != 1 {
		t.Errorf("the last identifier is given away: %v", err)
	}
}

func TestWhatIsTakenIsNotChosen(t *testing.T) {
	// On a circle of 256 points most variants of a sixteenth member are somebody's.
	c := grown(t, ring.Space{Bits: 8, Hash: ring.SHA256}, 12, 12)
	var taken []uint64
	for _, p := range c.points {
		taken = append(taken, p.id)
	}
	if slices.Sort(taken); len(slices.Compact(taken)) != 144 {
		t.Error("two members have one identifier")
	}
	var e *CoincidenceError
	refused := false
	for i := 12; i < 256 && !refused; i++ {
		s, err := c.Choose(fmt.Sprintf("node-%d", i), 12)
		if err != nil {
			refused = true
			if !errors.As(err, &e) || e.One != fmt.Sprintf("node-%d", i) || e.Other == "" || !strings.Contains(err.Error(), e.Other) {
				t.Errorf("the error does not name both: %v", err)
			}
			continue
		}
		if _, err := c.Add(Holding{Name: fmt.Sprintf("node-%d", i), Stand: s}); err != nil {
			t.Fatal(err)
		}
	}
	if !refused {
		t.Error("256 points were enough for all")
	}
	checkShares(t, c)
}

func TestWhatIsRefusedChangesNothing(t *testing.T) {
	c := grown(t, wide, 3, 4)
	was := fmt.Sprintf("%+v", *c)
	mine := c.Stand("node-0")
	for want, err := range map[string]error{
		"weight 0":            second(c.Choose("new", 0)),
		"weight 1025":         second(c.Choose("new", 1025)),
		"named \"node-1\"":    second(c.Choose("node-1", 4)),
		"is named \"node-2\"": second(c.Add(Holding{Name: "node-2", Stand: mine})),
		"has no identifier":   second(c.Add(Holding{Name: "new"})),
		"members \"new\" and \"node-0\" would both": second(c.Add(Holding{Name: "new", Stand: mine})),
		"would have identifier 7 twice":             second(c.Add(Holding{Name: "new", Stand: Stand{IDs: []uint64{7, 7}, Choices: []uint8{0, 0}}})),
		"is named \"new\"":                          second(c.Remove("new")),
		"no member is named \"grow\"":               second(c.Grow("grow")),
		"no member is named \"shrink\"":             second(c.Shrink("shrink")),
		"no identifier 4, variant 0":                second(c.Make(Change{Name: "node-0", Slot: 4})),
		"no identifier 0, variant 8":                second(c.Make(Change{Name: "node-0", Variant: 8})),
		"both have identifier":                      second(c.Make(Change{Name: "node-0", Variant: mine.Choices[0]})),
	} {
		if want == "both have identifier" {
			want = "would have identifier"
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v is not refused with %q", err, want)
		}
	}
	if now := fmt.Sprintf("%+v", *c); now != was {
		t.Errorf("changed from\n%s\nto\n%s", was, now)
	}
	for want, members := range map[string][]Holding{
		"two members are named \"a\"": {{Name: "a", Stand: Stand{IDs: []uint64{1}}}, {Name: "a", Stand: Stand{IDs: []uint64{2}}}},
		"both have identifier 1":      {{Name: "a", Stand: Stand{IDs: []uint64{1}}}, {Name: "b", Stand: Stand{IDs: []uint64{1}}}},
	} {
		if _, err := NewCircle(wide, members); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v is not refused with %q", err, want)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// A member chooses alike wherever it learned the circle, in whatever order.
func TestChoiceDependsOnTheCircleAlone(t *testing.T) {
	c := grown(t, wide, 20, 16)
	var all []Holding
	for _, o := range c.owners {
		all = append(all, o.Holding)
	}
	slices.Reverse(all)
	d, err := NewCircle(wide, all)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := c.Choose("joiner", 16)
	b, _ := d.Choose("joiner", 16)
	if !slices.Equal(a.IDs, b.IDs) {
		t.Errorf("%v and %v", a.Choices, b.Choices)
	}
}

func BenchmarkChoose(b *testing.B) {
	for _, n := range []int{16, 256} {
		c := grown(b, wide, n, 16)
		var all []Holding
		for _, o := range c.owners {
			all = append(all, o.Holding)
		}
		b.Run(fmt.Sprintf("members=%d", n), func(b *testing.B) {
			for b.Loop() {
				c, err := NewCircle(wide, all)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := c.Choose("joiner", 16); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// A member whose first identifiers are chosen keeps them, and the rest evens out its share.
func TestCompleteKeepsWhatIsChosen(t *testing.T) {
	c := grown(t, wide, 12, 16)
	first := Stand{IDs: []uint64{Identifier(wide, "new", 0, 0), Identifier(wide, "new", 1, 5)}, Choices: []uint8{0, 5}}
	s, err := c.Complete("new", first, 16)
	if err != nil {
		t.Fatal(err)
	}
	if err := Check(wide, "new", s); err != nil || len(s.IDs) != 16 || s.Choices[0] != 0 || s.Choices[1] != 5 {
		t.Errorf("%v, %v", s.Choices, err)
	}
	if _, err := c.Add(Holding{Name: "new", Stand: s}); err != nil {
		t.Fatal(err)
	}
	if _, most := c.Spread(); most > 1.15 {
		t.Errorf("one owns %.3f times what is fair", most)
	}
}

// Identifiers that are fixed are not chosen anew.
func TestWhatIsFixedIsNotChosenAnew(t *testing.T) {
	c := grown(t, wide, 24, 16)
	for i := range 12 {
		if _, err := c.Remove(fmt.Sprintf("node-%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range c.owners {
		c.owners[i].Fixed = 1
	}
	changes := 0
	for change, ok := c.Next(); ok; change, ok = c.Next() {
		if change.Slot == 0 {
			t.Fatalf("%v is fixed", change)
		}
		if _, err := c.Make(change); err != nil {
			t.Fatal(err)
		}
		changes++
	}
	if _, most := c.Spread(); changes == 0 || most > Far {
		t.Errorf("after %d changes one owns %.3f times what is fair", changes, most)
	}
}
