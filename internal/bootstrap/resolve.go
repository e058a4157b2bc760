// Package bootstrap is how a member comes to know where to ask for its ring: by
// the names that it was given, resolved anew at each try, and by the members of
// an earlier incarnation, which it keeps in a file.
package bootstrap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

const (
	// MaxPlaces bounds the places that one name stands for. All members cut a
	// longer answer alike.
	MaxPlaces = 64
	// ResolveEvery is how often names are resolved anew by a process that searches for
	// a ring.
	ResolveEvery = time.Second
	// resolveTimeout bounds a question to the DNS.
	resolveTimeout = 2 * time.Second
)

// DNS is what a Resolver asks. *net.Resolver is one.
type DNS interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
}

// Resolver makes places of what a member was given: host:port, or the name of
// SRV records. The zero Resolver takes every host:port as it is.
type Resolver struct{ DNS DNS }

// Place is where one member may be.
type Place struct {
	// Addr is the host:port to be dialled.
	Addr string
	// Host is the name that Addr was resolved from, for which the certificate
	// of who is there must be good. Empty: the host of Addr.
	Host string
}

// Answer is what a name stands for.
type Answer struct {
	// Places are in the order in which they should be tried; never empty.
	Places []Place
	// Open: the name lists members, and there may be others that it does not
	// list yet. An address, or the name of one host, is not open.
	Open bool
}

// Check reports what keeps given from being host:port or the name of SRV records.
func Check(given string) error {
	if !isSRV(given) {
		return ring.CheckAddress(given)
	}
	if labels := strings.SplitN(strings.TrimSuffix(given, "."), ".", 3); len(given) > 254 || len(labels) < 3 ||
		len(labels[0]) < 2 || len(labels[1]) < 2 || labels[1][0] != '_' || labels[2] == "" {
		return fmt.Errorf("%q is not the name of SRV records, _service._proto.name", given)
	}
	return nil
}

// isSRV tells the name of SRV records from host:port.
func isSRV(given string) bool {
	return strings.HasPrefix(given, "_") && !strings.Contains(given, ":")
}

// IsName reports whether given is to be resolved: whether it is not the address
// of one host in numbers.
func IsName(given string) bool {
	host, _, err := net.SplitHostPort(given)
	if err != nil {
		return isSRV(given)
	}
	_, err = netip.ParseAddr(host)
	return err != nil
}

// Resolve says what given, which Check has accepted, stands for now.
//
// The name of SRV records stands for their targets. A host name that has several
// IPv4 or several IPv6 addresses stands for as many places. One that has at most
// one of each is one host, and is left as it is, for the dialler to choose.
func (r *Resolver) Resolve(ctx context.Context, given string) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	switch {
	case isSRV(given):
		if r.DNS == nil {
			return Answer{}, errors.New("no resolver for SRV records")
		}
		return r.services(ctx, given)
	case r.DNS == nil || !IsName(given):
		return Answer{Places: []Place{{Addr: given}}}, nil
	}
	return r.hosts(ctx, given)
}

func (r *Resolver) services(ctx context.Context, name string) (Answer, error) {
	_, records, err := r.DNS.LookupSRV(ctx, "", "", name)
	if err != nil {
		return Answer{}, err
	}
	// They come in the order in which RFC 2782 wants them tried.
	var places []Place
	for _, srv := range records {
		p := Place{Addr: net.JoinHostPort(strings.TrimSuffix(srv.Target, "."), strconv.Itoa(int(srv.Port)))}
		if ring.CheckAddress(p.Addr) == nil && !slices.Contains(places, p) { // a target of "." is nowhere
			places = append(places, p)
		}
	}
	if len(places) == 0 {
		return Answer{}, fmt.Errorf("lookup %s: no SRV record names a host and a port", name)
	}
	if len(places) > MaxPlaces {
		kept := slices.SortedFunc(slices.Values(places), byAddr)[:MaxPlaces]
		places = slices.DeleteFunc(places, func(p Place) bool { return !slices.Contains(kept, p) })
	}
	return Answer{Places: places, Open: true}, nil
}

func byAddr(a, b Place) int { return cmp.Compare(a.Addr, b.Addr) }

func (r *Resolver) hosts(ctx context.Context, given string) (Answer, error) {
	host, port, err := net.SplitHostPort(given)
	if err != nil {
		return Answer{}, err
	}
	addrs, err := r.DNS.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return Answer{}, err
	}
	addrs = slices.Clone(addrs)
	var four int
	for i, a := range addrs {
		addrs[i] = a.Unmap()
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	addrs = slices.Compact(addrs)
	for _, a := range addrs {
		if a.Is4() {
			four++
		}
	}
	if four <= 1 && len(addrs)-four <= 1 {
		return Answer{Places: []Place{{Addr: given}}}, nil
	}
	addrs = addrs[:min(len(addrs), MaxPlaces)]
	places := make([]Place, len(addrs))
	for i, k := range rand.Perm(len(addrs)) { // or all would turn to the same one first
		places[i] = Place{Addr: net.JoinHostPort(addrs[k].String(), port), Host: host}
	}
	return Answer{Places: places, Open: true}, nil
}
