package ring

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

const top = ^uint64(0)

// walk is Between by definition: go clockwise from a on a circle of 2^m points,
// one step at a time, and see whether x comes before b.
func walk(m uint, a, x, b uint64) bool {
	size := uint64(1) << m
	for p := (a + 1) % size; p != b; p = (p + 1) % size {
		if p == x {
			return true
		}
		if p == a {
			return false
		}
	}
	return false
}

// walkArc is Arc.Contains by definition.
func walkArc(m uint, after, to, id uint64) bool {
	size := uint64(1) << m
	for p := (after + 1) % size; ; p = (p + 1) % size {
		if p == id {
			return true
		}
		if p == to {
			return false
		}
	}
}

func TestBetween(t *testing.T) {
	for _, c := range []struct {
		name    string
		a, x, b uint64
		want    bool
	}{
		{"inside", 10, 15, 20, true},
		{"before", 10, 5, 20, false},
		{"beyond", 10, 25, 20, false},
		{"at the left end", 10, 10, 20, false},
		{"at the right end", 10, 20, 20, false},
		{"nothing between neighbours", 10, 10, 11, false},
		{"nothing between neighbours, seen from afar", 10, 12, 11, false},
		{"over zero, before it", 20, 25, 10, true},
		{"over zero, at it", 20, 0, 10, true},
		{"over zero, after it", 20, 5, 10, true},
		{"over zero, outside", 20, 15, 10, false},
		{"over zero, at the left end", 20, 20, 10, false},
		{"over zero, at the right end", 20, 10, 10, false},
		{"from the last point, zero", top, 0, 1, true},
		{"from the last point, itself", top, top, 1, false},
		{"to zero, the last point", 5, top, 0, true},
		{"to zero, zero", 5, 0, 0, false},
		{"all but zero", 0, 1, top, true},
		{"around the circle, another", 10, 11, 10, true},
		{"around the circle, the one before", 10, 9, 10, true},
		{"around the circle, itself", 10, 10, 10, false},
		{"around the circle from zero", 0, top, 0, true},
		{"halfway and over", 0, 1 << 63, top, true},
	} {
		if got := Between(c.a, c.x, c.b); got != c.want {
			t.Errorf("%s: Between(%d, %d, %d) = %t", c.name, c.a, c.x, c.b, got)
		}
	}
}

// Every triple of circles small enough to walk.
func TestBetweenIsAWalk(t *testing.T) {
	for m := uint(1); m <= 5; m++ {
		size := uint64(1) << m
		for a := range size {
			for x := range size {
				for b := range size {
					if got, want := Between(a, x, b), walk(m, a, x, b); got != want {
						t.Errorf("%d bits: Between(%d, %d, %d) = %t", m, a, x, b, got)
					}
					arc := Arc{After: a, To: b}
					if got, want := arc.Contains(x), walkArc(m, a, b, x); got != want {
						t.Errorf("%d bits: %v contains %d = %t", m, arc, x, got)
					}
				}
			}
		}
	}
}

// checkLaws tests what holds of Between and Arc for any points of any circle.
func checkLaws(t *testing.T, a, x, b uint64) {
	t.Helper()
	if Between(a, a, b) || Between(a, b, b) {
		t.Errorf("an end of (%d, %d) is inside it", a, b)
	}
	if Between(a, x, a) != (x != a) {
		t.Errorf("Between(%d, %d, %d) = %t", a, x, a, Between(a, x, a))
	}
	if a != x && x != b && a != b {
		if Between(a, x, b) == Between(a, b, x) {
			t.Errorf("from %d, neither or both of %d and %d come first", a, x, b)
		}
		if Between(a, x, b) != Between(x, b, a) || Between(a, x, b) != Between(b, a, x) {
			t.Errorf("the order of %d, %d, %d depends on where the walk starts", a, x, b)
		}
		if Between(a, x, b) == Between(b, x, a) {
			t.Errorf("%d is on both sides, or neither, of %d and %d", x, a, b)
		}
	}

	arc := Arc{After: a, To: b}
	if !arc.Contains(b) {
		t.Errorf("%v is not closed at the right", arc)
	}
	if arc.Contains(a) != arc.Whole() {
		t.Errorf("%v contains its left end: %t", arc, arc.Contains(a))
	}
	if arc.Whole() && !arc.Contains(x) {
		t.Errorf("%v is the whole circle, without %d", arc, x)
	}
	// Two members share the circle: each point is on exactly one arc.
	if a != b && arc.Contains(x) == (Arc{After: b, To: a}).Contains(x) {
		t.Errorf("%d is on both or neither of (%d, %d] and (%d, %d]", x, a, b, b, a)
	}
	// An arc is cut in two by a point inside it. (A part from a to a would be
	// the whole circle.)
	if Between(a, x, b) {
		for _, y := range []uint64{a, a + 1, x - 1, x, x + 1, b, b + 1} {
			left, right := Arc{After: a, To: x}.Contains(y), Arc{After: x, To: b}.Contains(y)
			if left && right || (left || right) != arc.Contains(y) {
				t.Errorf("%v cut at %d: %d is left %t, right %t, on the whole %t", arc, x, y, left, right, arc.Contains(y))
			}
		}
	}
}

// interesting points of the widest circle.
var interesting = []uint64{0, 1, 2, 3, 1<<32 - 1, 1 << 32, 1<<63 - 1, 1 << 63, 1<<63 + 1, top - 2, top - 1, top}

func TestBetweenLaws(t *testing.T) {
	for _, a := range interesting {
		for _, x := range interesting {
			for _, b := range interesting {
				checkLaws(t, a, x, b)
			}
		}
	}
	const seed = 1
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 20_000 {
		mask := Space{Bits: 1 + rng.UintN(64)}.Mask()
		checkLaws(t, rng.Uint64()&mask, rng.Uint64()&mask, rng.Uint64()&mask)
	}
}

// The members of a ring share its circle: each point has one owner, and it is
// the first member that a walk from the point meets.
func TestArcsOfARingShareTheCircle(t *testing.T) {
	const m, size = 4, 16
	for set := 1; set < 1<<size; set += 7 { // a stride that meets every size and shape
		var members []uint64
		for id := range uint64(size) {
			if set>>id&1 == 1 {
				members = append(members, id)
			}
		}
		for key := range uint64(size) {
			first := key
			for !slices.Contains(members, first) {
				first = (first + 1) % size
			}
			for i, self := range members {
				pred := members[(i+len(members)-1)%len(members)]
				if got := (Arc{After: pred, To: self}).Contains(key); got != (self == first) {
					t.Fatalf("members %v: (%d, %d] contains %d = %t, though its owner is %d", members, pred, self, key, got, first)
				}
			}
		}
	}
}

func TestArc(t *testing.T) {
	for _, c := range []struct {
		name  string
		arc   Arc
		in    []uint64
		out   []uint64
		whole bool
		text  string
	}{
		{"plain", Arc{10, 20}, []uint64{11, 15, 20}, []uint64{0, 9, 10, 21, top}, false, "(10, 20]"},
		{"over zero", Arc{top - 1, 1}, []uint64{top, 0, 1}, []uint64{2, 1 << 63, top - 1}, false, "(18446744073709551614, 1]"},
		{"up to zero", Arc{5, 0}, []uint64{6, top, 0}, []uint64{1, 5}, false, "(5, 0]"},
		{"from zero", Arc{0, 5}, []uint64{1, 5}, []uint64{0, 6, top}, false, "(0, 5]"},
		{"one point", Arc{6, 7}, []uint64{7}, []uint64{5, 6, 8}, false, "(6, 7]"},
		{"all but one point", Arc{7, 6}, []uint64{8, 0, top, 6}, []uint64{7}, false, "(7, 6]"},
		{"the whole circle", Arc{9, 9}, []uint64{0, 8, 9, 10, top}, nil, true, "(9, 9]"},
		{"the zero Arc is the whole circle", Arc{}, []uint64{0, 1, top}, nil, true, "(0, 0]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, id := range c.in {
				if !c.arc.Contains(id) {
					t.Errorf("%v does not contain %d", c.arc, id)
				}
			}
			for _, id := range c.out {
				if c.arc.Contains(id) {
					t.Errorf("%v contains %d", c.arc, id)
				}
			}
			if got := c.arc.Whole(); got != c.whole {
				t.Errorf("%v.Whole() = %t", c.arc, got)
			}
			if got := c.arc.String(); got != c.text {
				t.Errorf("String() = %q; want %q", got, c.text)
			}
		})
	}
}

func TestSpaceOfEveryWidth(t *testing.T) {
	for m := uint(1); m <= 64; m++ {
		s := Space{Bits: m, Hash: func([]byte) uint64 { return top }}
		mask := s.Mask()
		if got := bits.OnesCount64(mask); got != int(m) || bits.Len64(mask) != int(m) {
			t.Errorf("%d bits: mask %#x", m, mask)
		}
		if got := s.ID(nil); got != mask {
			t.Errorf("%d bits: an identifier keeps %#x of the hash; want %#x", m, got, mask)
		}
		if got := s.Add(mask, 1); got != 0 {
			t.Errorf("%d bits: one beyond the last point is %d", m, got)
		}
		if got := s.Distance(mask, 0); got != 1 {
			t.Errorf("%d bits: from the last point to zero it is %d", m, got)
		}
		if got := s.Distance(0, mask); got != mask {
			t.Errorf("%d bits: from zero to the last point it is %d", m, got)
		}
		if got := s.Class(0, mask); got != int(m) {
			t.Errorf("%d bits: class of the farthest point = %d", m, got)
		}
		if got := s.Class(mask, mask); got != 0 {
			t.Errorf("%d bits: class of itself = %d", m, got)
		}
		// From every start the point 2^k steps on is the first of class k+1,
		// and the point before it the last of class k.
		for k := range m {
			for _, a := range []uint64{0, 1, mask / 2, mask} {
				at := s.Add(a, 1<<k)
				if got := s.Class(a, at); got != int(k)+1 {
					t.Errorf("%d bits: class of %d from %d = %d; want %d", m, at, a, got, k+1)
				}
				if got := s.Class(a, s.Add(at, mask)); got != int(k) {
					t.Errorf("%d bits: class of the point before %d from %d = %d; want %d", m, at, a, got, k)
				}
			}
		}
	}
}

// checkArithmetic tests what holds of Add, Distance and Class.
func checkArithmetic(t *testing.T, m uint, a, b, d uint64) {
	t.Helper()
	s := Space{Bits: m}
	mask := s.Mask()
	a, b, d = a&mask, b&mask, d&mask
	if got := s.Add(a, s.Distance(a, b)); got != b {
		t.Errorf("%d bits: the distance from %d to %d leads to %d", m, a, b, got)
	}
	if got := s.Distance(a, s.Add(a, d)); got != d {
		t.Errorf("%d bits: %d steps from %d are a distance of %d", m, d, a, got)
	}
	there, back := s.Distance(a, b), s.Distance(b, a)
	if (there+back)&mask != 0 || (there == 0) != (a == b) {
		t.Errorf("%d bits: %d and %d are %d and %d apart", m, a, b, there, back)
	}
	if there > mask {
		t.Errorf("%d bits: distance %d", m, there)
	}
	if k := s.Class(a, b); k < 0 || k > int(m) || k == 0 && there != 0 || k > 0 && there>>(k-1) != 1 {
		t.Errorf("%d bits: class %d for a distance of %d", m, k, there)
	}
	// Order and distance agree.
	x := s.Add(a, d)
	if a != b && Between(a, x, b) != (d != 0 && d < there) {
		t.Errorf("%d bits: Between(%d, %d, %d) = %t, %d of %d steps on", m, a, x, b, Between(a, x, b), d, there)
	}
}

func TestArithmeticLaws(t *testing.T) {
	for m := uint(1); m <= 64; m++ {
		for _, a := range interesting {
			for _, b := range interesting {
				checkArithmetic(t, m, a, b, 1)
				checkArithmetic(t, m, a, b, a^b)
			}
		}
	}
}

func TestSHA256IsTheFirstEightBytes(t *testing.T) {
	// sha256("") = e3b0c44298fc1c14…, sha256("abc") = ba7816bf8f01cfea…
	for in, want := range map[string]uint64{"": 0xe3b0c44298fc1c14, "abc": 0xba7816bf8f01cfea} {
		if got := SHA256([]byte(in)); got != want {
			t.Errorf("SHA256(%q) = %#x; want %#x", in, got, want)
		}
	}
	if got := (Space{Bits: 12, Hash: SHA256}).ID([]byte("abc")); got != 0xfea {
		t.Errorf("12 bits of it: %#x; want the low ones, 0xfea", got)
	}
}

func TestMemberKinds(t *testing.T) {
	for _, c := range []struct {
		name                 string
		m                    Member
		none, anyone, legacy bool
		text                 string
	}{
		{"zero", Member{}, true, false, false, "none"},
		{"an address", Member{Addr: "h:1"}, false, true, false, " (0) h:1"},
		{"of this library", Member{ID: 5, Name: "n", Addr: "h:1", Incarnation: 9}, false, false, false, "n (5) h:1"},
		{"a legacy member", Member{ID: 5, Name: "n", Addr: "h:1"}, false, false, true, "n (5) h:1"},
		{"at identifier zero", Member{Name: "n", Addr: "h:1", Incarnation: 9}, false, false, false, "n (0) h:1"},
	} {
		if c.m.IsZero() != c.none || c.m.Anyone() != c.anyone || c.m.Legacy() != c.legacy {
			t.Errorf("%s: IsZero %t, Anyone %t, Legacy %t", c.name, c.m.IsZero(), c.m.Anyone(), c.m.Legacy())
		}
		if got := c.m.String(); got != c.text {
			t.Errorf("%s: String() = %q; want %q", c.name, got, c.text)
		}
	}
}

func TestSupersedes(t *testing.T) {
	incarnation := func(id, incarnation uint64) Member {
		return Member{ID: id, Name: fmt.Sprint("n", id), Addr: "h:1", Incarnation: incarnation}
	}
	for _, c := range []struct {
		name string
		m, o Member
		want bool
	}{
		{"a later incarnation", incarnation(1, 8), incarnation(1, 7), true},
		{"the same incarnation", incarnation(1, 7), incarnation(1, 7), false},
		{"an earlier incarnation", incarnation(1, 6), incarnation(1, 7), false},
		{"another's later incarnation", incarnation(2, 8), incarnation(1, 7), false},
		{"an incarnation after a legacy member", incarnation(1, 8), incarnation(1, 0), false},
		{"a legacy member", incarnation(1, 0), incarnation(1, 7), false},
		{"neither has an incarnation", incarnation(1, 0), incarnation(1, 0), false},
	} {
		if got := c.m.Supersedes(c.o); got != c.want {
			t.Errorf("%s: Supersedes = %t", c.name, got)
		}
	}
}

func TestCheck(t *testing.T) {
	s := Space{Bits: 16, Hash: SHA256}
	good := func(name, addr string) Member { return Member{ID: s.ID([]byte(name)), Name: name, Addr: addr} }
	for _, c := range []struct {
		name string
		m    Member
		says string // part of the error; empty for none
	}{
		{"good", good("n", "h:1"), ""},
		{"with an incarnation", Member{ID: s.ID([]byte("n")), Name: "n", Addr: "h:1", Incarnation: top}, ""},
		{"the longest name", good(strings.Repeat("n", MaxNameLength), "h:1"), ""},
		{"zero", Member{}, "has no name"},
		{"no name", good("", "h:1"), "has no name"},
		{"a name too long", good(strings.Repeat("n", MaxNameLength+1), "h:1"), "256 bytes"},
		{"no address", good("n", ""), "not host:port"},
		{"a bad address", good("n", "h:0"), "port"},
		{"another's identifier", Member{ID: s.ID([]byte("m")), Name: "n", Addr: "h:1"}, "not the hash"},
		{"an identifier with too many bits", Member{ID: SHA256([]byte("n")), Name: "n", Addr: "h:1"}, "not the hash"},
	} {
		err := s.Check(c.m)
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: error %v; want one that says %q", c.name, err, c.says)
		}
	}
}

func TestCheckAddress(t *testing.T) {
	host := strings.Repeat("a", 253)
	for _, good := range []string{
		"h:1", "h:65535", "127.0.0.1:7000", "[::1]:7000", "[fe80::1%eth0]:7000",
		"example.org:443", "host_with_underscore:1", host + ":65535", "[" + host + "]:65535",
	} {
		if err := CheckAddress(good); err != nil {
			t.Errorf("CheckAddress(%q): %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "h", ":1", "h:", ":", "h:0", "h:00", "h:65536", "h:-1", "h:+1", "h:1x", "h: 1", "h:http",
		"h:18446744073709551617", "::1:7000", "[::1]", "[::1:7000", "::1]:7000", "[]:1", "a:b:1", "h:1:",
		strings.Repeat("a", MaxAddressLength) + ":1",
	} {
		if err := CheckAddress(bad); err == nil {
			t.Errorf("CheckAddress(%q) finds nothing wrong", bad)
		}
	}
}

func TestSettings(t *testing.T) {
	s := Space{Bits: 8, Hash: SHA256}
	got := s.Settings("")
	if want := (Settings{Bits: 8, Check: SHA256([]byte("concord")) & 0xff}); got != want {
		t.Errorf("Settings = %+v; want %+v", got, want)
	}
	if named := s.Settings("blue"); named.Cluster != SHA256([]byte("blue")) || named.Bits != got.Bits || named.Check != got.Check {
		t.Errorf("Settings of a named cluster = %+v", named)
	}
	// The cluster is hashed alike whatever HashFunc is, or two clusters of a
	// poor HashFunc would look alike.
	poor := Space{Bits: 8, Hash: func([]byte) uint64 { return 0 }}
	if poor.Settings("blue").Cluster != s.Settings("blue").Cluster {
		t.Error("the cluster's hash depends on HashFunc")
	}
}

func TestDiffering(t *testing.T) {
	base := Settings{Cluster: 1, Bits: 2, Check: 3}
	for _, c := range []struct {
		name  string
		other Settings
		want  []string
	}{
		{"alike", base, nil},
		{"cluster", Settings{9, 2, 3}, []string{"Cluster"}},
		{"no cluster", Settings{0, 2, 3}, []string{"Cluster"}},
		{"hash", Settings{1, 2, 9}, []string{"HashFunc"}},
		{"width", Settings{1, 9, 3}, []string{"HashBits"}},
		{"width, and so the kept bits", Settings{1, 9, 9}, []string{"HashBits"}},
		{"cluster and hash", Settings{9, 2, 9}, []string{"Cluster", "HashFunc"}},
		{"everything", Settings{9, 9, 9}, []string{"Cluster", "HashBits"}},
	} {
		if got := base.Differing(c.other); !slices.Equal(got, c.want) {
			t.Errorf("%s: Differing = %q; want %q", c.name, got, c.want)
		}
		if got := c.other.Differing(base); !slices.Equal(got, c.want) {
			t.Errorf("%s, the other way round: Differing = %q; want %q", c.name, got, c.want)
		}
	}
}

func TestMinusIsWhatOneHasAndTheOtherHasNot(t *testing.T) {
	const n = 6 // identifiers of a small circle, on the edge of the large one
	at := func(i int) uint64 { return uint64(i) - n/2 }
	for a := range n {
		for b := range n {
			for c := range n {
				for d := range n {
					x, y := Arc{After: at(a), To: at(b)}, Arc{After: at(c), To: at(d)}
					got := x.Minus(y)
					if len(got) > 2 {
						t.Fatalf("%v without %v: %v", x, y, got)
					}
					for i := range n {
						in := 0
						for _, g := range got {
							if g.Whole() {
								t.Fatalf("%v without %v: %v", x, y, got)
							}
							if g.Contains(at(i)) {
								in++
							}
						}
						if want := x.Contains(at(i)) && !y.Contains(at(i)); (in == 1) != want || in > 1 {
							t.Fatalf("%v without %v: %v, %d", x, y, got, at(i))
						}
					}
				}
			}
		}
	}
}

func TestShare(t *testing.T) {
	narrow, wide := Space{Bits: 3}, Space{Bits: 64}
	for _, tc := range []struct {
		space Space
		arc   Arc
		want  float64
	}{
		{narrow, Arc{After: 2, To: 2}, 1},
		{narrow, Arc{After: 2, To: 4}, 0.25},
		{narrow, Arc{After: 7, To: 0}, 0.125},
		{narrow, Arc{After: 0, To: 7}, 0.875},
		{wide, Arc{After: 1 << 63, To: 0}, 0.5},
		{wide, Arc{After: 5, To: 5}, 1},
	} {
		if got := tc.space.Share(tc.arc); got != tc.want {
			t.Errorf("of %v in %d bits: %v, want %v", tc.arc, tc.space.Bits, got, tc.want)
		}
	}
}
