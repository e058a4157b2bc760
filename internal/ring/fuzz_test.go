package ring

import (
	"net"
	"strconv"
	"testing"
)

// On a circle of 4 bits, Between and Arc are compared with a walk.
func FuzzSmallCircle(f *testing.F) {
	f.Add(uint64(14), uint64(0), uint64(2))
	f.Add(uint64(3), uint64(3), uint64(3))
	f.Fuzz(func(t *testing.T, a, x, b uint64) {
		a, x, b = a&15, x&15, b&15
		if got, want := Between(a, x, b), walk(4, a, x, b); got != want {
			t.Errorf("Between(%d, %d, %d) = %t", a, x, b, got)
		}
		if got, want := (Arc{After: a, To: b}).Contains(x), walkArc(4, a, b, x); got != want {
			t.Errorf("(%d, %d] contains %d = %t", a, b, x, got)
		}
	})
}

// A circle of any width is a small one turned and stretched: neither changes the
// order of points.
func FuzzTurnAndStretch(f *testing.F) {
	f.Add(uint64(14), uint64(0), uint64(2), top, uint(64))
	f.Add(uint64(1), uint64(2), uint64(3), uint64(1)<<63, uint(4))
	f.Fuzz(func(t *testing.T, a, x, b, turn uint64, m uint) {
		m = 4 + m%61
		s := Space{Bits: m}
		a, x, b = a&15, x&15, b&15
		place := func(p uint64) uint64 { return s.Add(p<<(m-4), turn) }
		if got, want := Between(place(a), place(x), place(b)), walk(4, a, x, b); got != want {
			t.Errorf("%d bits, turned by %d: Between(%d, %d, %d) = %t", m, turn, place(a), place(x), place(b), got)
		}
	})
}

func FuzzLaws(f *testing.F) {
	f.Add(uint64(0), uint64(1), top)
	f.Add(top, uint64(0), uint64(1))
	f.Fuzz(checkLaws)
}

func FuzzArithmetic(f *testing.F) {
	f.Add(uint(64), top, uint64(0), uint64(1))
	f.Add(uint(1), uint64(1), uint64(0), uint64(1))
	f.Fuzz(func(t *testing.T, m uint, a, b, d uint64) {
		checkArithmetic(t, 1+m%64, a, b, d)
	})
}

// What is accepted can be taken apart and has all that dialling needs.
func FuzzCheckAddress(f *testing.F) {
	for _, s := range []string{"h:1", "[::1]:65535", ":1", "h:0", "a:b:1", "h:+1", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, addr string) {
		if CheckAddress(addr) != nil {
			return
		}
		host, port, err := net.SplitHostPort(addr)
		if err != nil || host == "" || len(addr) > MaxAddressLength {
			t.Errorf("%q was accepted: host %q, %v", addr, host, err)
		}
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			t.Errorf("%q was accepted with the port %q", addr, port)
		}
	})
}
