// Package guard keeps web sites away from the HTTP listeners of a member. A browser on
// the operator's machine reaches what listens on loopback, and runs the scripts of any
// site. A guard refuses what such a site can have the browser send.
package guard

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Guard tells requests of people and tools from those that web sites cause. The zero
// Guard accepts requests for localhost and for addresses. It is safe for concurrent use
// if its fields are not changed.
type Guard struct {
	// Hosts are the names by which the listener may be asked, besides localhost and
	// addresses.
	Hosts []string
	// Linked are the paths to which a page of another site may have a link.
	Linked []string
}

// errForeign is of a request that a page of another site has caused.
var errForeign = errors.New("a page of another site has caused this request, which is not answered")

// Check returns why a request is refused, nil if it is not.
func (g Guard) Check(r *http.Request) error {
	switch {
	case r.Host == "":
		return errors.New("the request names no host")
	case !g.ours(r.Host):
		// A name that leads here without being ours is how a web site would look
		// at what only this machine should see.
		return fmt.Errorf("this listener is not known as %q: ask for it by its address, or name the host when it is started", r.Host)
	case foreign(r) && !g.link(r):
		return errForeign
	}
	return nil
}

// Handler serves next to those requests that Check accepts, and 403 to the others.
func (g Guard) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := g.Check(r); err != nil {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			w.Header().Set("X-Content-Type-Options", "nosniff")
			w.WriteHeader(http.StatusForbidden)
			_, _ = fmt.Fprintln(w, err) // whoever asked may have gone
			return
		}
		next.ServeHTTP(w, r)
	})
}

// ours reports whether host, with or without a port, is one of the listener's names.
// An address is: no name of somebody else leads to it.
func (g Guard) ours(host string) bool {
	name := host
	if n, _, err := net.SplitHostPort(host); err == nil {
		name = n
	}
	name = strings.TrimSuffix(strings.ToLower(strings.Trim(name, "[]")), ".")
	if _, err := netip.ParseAddr(name); err == nil || name == "localhost" {
		return true
	}
	return name != "" && slices.ContainsFunc(g.Hosts, func(s string) bool { return strings.EqualFold(s, name) })
}

// foreign reports whether a page of another origin sends the request, as far as the
// browser tells. It tells by Sec-Fetch-Site only where the listener counts as secure, on
// loopback; elsewhere by Origin, or by Referer.
func foreign(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "cross-site", "same-site":
		return true
	case "same-origin", "none":
		return false
	}
	for _, name := range []string{"Origin", "Referer"} {
		if from := r.Header.Get(name); from != "" {
			u, err := url.Parse(from)
			return err != nil || !strings.EqualFold(u.Host, r.Host)
		}
	}
	return false
}

// link reports whether somebody has followed a link to a page that may have links to it.
// A frame and an image are no links.
func (g Guard) link(r *http.Request) bool {
	if r.Method != http.MethodGet || !slices.Contains(g.Linked, r.URL.Path) {
		return false
	}
	mode, dest := r.Header.Get("Sec-Fetch-Mode"), r.Header.Get("Sec-Fetch-Dest")
	told := mode != "" || dest != ""
	return told && mode == "navigate" && dest == "document" || !told && r.Header.Get("Origin") == ""
}
