package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/ollelogdahl/concord/internal/ring"
)

type records struct {
	hosts map[string][]string
	srv   []*net.SRV
}

func (r records) LookupNetIP(_ context.Context, network, host string) (out []netip.Addr, err error) {
	if network != "ip" || r.hosts[host] == nil {
		return nil, errors.New("no such host")
	}
	for _, a := range r.hosts[host] {
		out = append(out, netip.MustParseAddr(a))
	}
	return out, nil
}

func (r records) LookupSRV(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
	if service != "" || proto != "" || name != "_concord._tcp.example" {
		return "", nil, errors.New("no such host")
	}
	return name, r.srv, nil
}

func TestWhatNamesStandFor(t *testing.T) {
	var many []string
	for i := range 2 * MaxPlaces {
		many = append(many, fmt.Sprintf("10.0.%d.1", 200-i))
	}
	dns := records{hosts: map[string][]string{
		"one":   {"10.0.0.1"},
		"twice": {"10.0.0.1", "::ffff:10.0.0.1"},
		"dual":  {"10.0.0.1", "fd00::1"},
		"four":  {"10.0.0.2", "10.0.0.1"},
		"six":   {"fd00::1", "fd00::2", "10.0.0.1"},
		"many":  many,
	}}
	for given, want := range map[string]struct {
		addrs string // sorted
		host  string
		open  bool
	}{
		"10.0.0.1:7":    {"10.0.0.1:7", "", false},
		"[fd00::1]:7":   {"[fd00::1]:7", "", false},
		"one:7":         {"one:7", "", false},
		"twice:7":       {"twice:7", "", false},
		"dual:7":        {"dual:7", "", false},
		"four:7":        {"10.0.0.1:7 10.0.0.2:7", "four", true},
		"six:7":         {"10.0.0.1:7 [fd00::1]:7 [fd00::2]:7", "six", true},
		"[fe80::1%0]:7": {"[fe80::1%0]:7", "", false},
	} {
		got, err := (&Resolver{DNS: dns}).Resolve(t.Context(), given)
		var addrs []string
		for _, p := range got.Places {
			addrs = append(addrs, p.Addr)
			if p.Host != want.host {
				t.Errorf("%s: host %q, want %q", given, p.Host, want.host)
			}
		}
		slices.Sort(addrs)
		if err != nil || strings.Join(addrs, " ") != want.addrs || got.Open != want.open {
			t.Errorf("%s: %+v, %v; want %+v", given, got, err, want)
		}
	}
	if _, err := (&Resolver{DNS: dns}).Resolve(t.Context(), "none:7"); err == nil {
		t.Error("a name that is not there is resolved")
	}
	if got, err := new(Resolver).Resolve(t.Context(), "none:7"); err != nil || got.Places[0].Addr != "none:7" {
		t.Errorf("without a DNS: %+v, %v", got, err)
	}
	// All cut alike, whatever the order of the answer.
	kept := func() []string {
		a, err := (&Resolver{DNS: dns}).Resolve(t.Context(), "many:7")
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, p := range a.Places {
			out = append(out, p.Addr)
		}
		slices.Sort(out)
		return out
	}
	first := kept()
	slices.Reverse(many)
	if second := kept(); len(first) != MaxPlaces || !slices.Equal(first, second) {
		t.Errorf("%d, %d places", len(first), len(second))
	}
}

func TestSRVRecords(t *testing.T) {
	dns := records{srv: []*net.SRV{{Target: "b.example.", Port: 7}, {Target: ".", Port: 7}, {Target: "a.example.", Port: 8},
		{Target: "b.example.", Port: 7}, {Target: "c.example.", Port: 0}}}
	r := &Resolver{DNS: &dns}
	got, err := r.Resolve(t.Context(), "_concord._tcp.example")
	if want := []Place{{Addr: "b.example:7"}, {Addr: "a.example:8"}}; err != nil || !got.Open || !slices.Equal(got.Places, want) {
		t.Errorf("%+v, %v; want %v in the order of the answer", got, err, want)
	}
	dns.srv = []*net.SRV{{Target: ".", Port: 7}}
	if got, err := r.Resolve(t.Context(), "_concord._tcp.example"); err == nil {
		t.Errorf("nowhere: %+v", got)
	}
	dns.srv = nil
	for i := range 2 * MaxPlaces {
		dns.srv = append(dns.srv, &net.SRV{Target: fmt.Sprintf("h%03d.example.", 500-i), Port: 7})
	}
	if got, err := r.Resolve(t.Context(), "_concord._tcp.example"); err != nil || len(got.Places) != MaxPlaces || got.Places[0].Addr != "h436.example:7" {
		t.Errorf("%d places, first %+v, %v", len(got.Places), got.Places[0], err)
	}
	if _, err := new(Resolver).Resolve(t.Context(), "_concord._tcp.example"); err == nil {
		t.Error("resolved without a DNS")
	}
}

func TestWhatMayBeGiven(t *testing.T) {
	for given, ok := range map[string]bool{
		"host:1": true, "10.0.0.1:1": true, "[::1]:1": true, "_concord._tcp.example": true, "_concord._tcp.example.com.": true, "_host:1": true,
		"": false, "host": false, ":1": false, "host:0": false, "host:99999": false, "::1": false, "_concord": false, "_concord._tcp": false,
		"_concord.tcp.example": false, "__.example": false, "_._tcp.example": false, "_concord._tcp.": false,
		"_concord._tcp." + strings.Repeat("x", 250): false, strings.Repeat("x", ring.MaxAddressLength) + ":1": false,
	} {
		if err := Check(given); (err == nil) != ok {
			t.Errorf("%q: %v", given, err)
		}
	}
	for given, name := range map[string]bool{"host:1": true, "10.0.0.1:1": false, "[::1]:1": false, "_concord._tcp.example": true} {
		if IsName(given) != name {
			t.Errorf("IsName(%q) is %v", given, !name)
		}
	}
}
