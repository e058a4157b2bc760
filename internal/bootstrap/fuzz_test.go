package bootstrap

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// Whatever the file holds, what is taken from it can be dialled, is bounded, and is the same
// when it has been saved and loaded again.
func FuzzState(f *testing.F) {
	f.Add([]byte(`{"version":1,"name":"a","cluster":"","incarnation":7,"saved":"2026-01-02T03:04:05Z","members":[{"name":"b","address":"h:1"}]}`))
	f.Add([]byte(`{"version":1,"name":"a","incarnation":18446744073709551615}`))
	f.Add([]byte(`{"version":2}`))
	f.Add([]byte(`{"version":1,"name":"a","variants":[0,1,7]}`))
	f.Add([]byte("\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := &State{dir: t.TempDir(), who: Identity{Name: "a"}}
		path := filepath.Join(s.dir, stateFile)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := s.Load(time.Now())
		if err != nil {
			if _, gone := os.Stat(path); gone == nil {
				t.Errorf("damaged (%v), and not set aside", err)
			}
			return
		}
		if len(m.Members) > MaxRecalled {
			t.Errorf("%d members", len(m.Members))
		}
		for _, x := range m.Members {
			if err := ring.CheckAddress(x.Address); err != nil {
				t.Errorf("%+v: %v", x, err)
			}
		}
		if err := s.Save(m, time.Now()); err != nil {
			t.Fatal(err)
		}
		again, err := s.Load(time.Now())
		if err != nil || again.Incarnation != m.Incarnation || !slices.Equal(again.Members, m.Members) {
			t.Errorf("%+v was saved and loaded as %+v, %v", m, again, err)
		}
	})
}

// zone answers every question to the DNS alike.
type zone struct {
	addrs []netip.Addr
	srv   []*net.SRV
}

func (z zone) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) { return z.addrs, nil }

func (z zone) LookupSRV(context.Context, string, string, string) (string, []*net.SRV, error) {
	return "", z.srv, nil
}

// Whatever is given, and whatever the DNS says of it, what comes out can be dialled and is
// bounded.
func FuzzResolve(f *testing.F) {
	f.Add("host:1", []byte{10, 0, 0, 1, 10, 0, 0, 2}, "target", uint16(7946), uint8(3))
	f.Add("_concord._tcp.example.com", []byte{}, "node.example.com.", uint16(1), uint8(200))
	f.Add("_concord._tcp.example.com", []byte{}, ".", uint16(0), uint8(1))
	f.Add("_a._b", []byte{1}, "x y:\n", uint16(9), uint8(1))
	f.Fuzz(func(t *testing.T, given string, addrs []byte, target string, port uint16, n uint8) {
		if Check(given) != nil {
			return
		}
		z := zone{}
		for ; len(addrs) >= 4; addrs = addrs[4:] {
			a, _ := netip.AddrFromSlice(addrs[:4])
			z.addrs = append(z.addrs, a)
		}
		for i := range uint16(n) {
			z.srv = append(z.srv, &net.SRV{Target: target, Port: port + i})
		}
		answer, err := (&Resolver{DNS: z}).Resolve(context.Background(), given)
		if err != nil {
			return
		}
		if len(answer.Places) == 0 || len(answer.Places) > MaxPlaces {
			t.Errorf("%q stands for %d places", given, len(answer.Places))
		}
		for _, p := range answer.Places {
			if err := ring.CheckAddress(p.Addr); err != nil {
				t.Errorf("%q stands for %+v: %v", given, p, err)
			}
		}
	})
}
