package main

import (
	"cmp"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/admin"
	"github.com/ollelogdahl/concord/internal/web"
)

// listenHTTP listens where a flag says. Whoever means all interfaces says so:
// 0.0.0.0 or [::].
func listenHTTP(flag, addr string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("%s %q: use host:port", flag, addr)
	}
	if host == "" {
		addr = net.JoinHostPort("127.0.0.1", port)
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	return l, nil
}

// pageURL is where a browser on this machine finds what listens there.
func pageURL(l net.Listener) string { return urlOf(l, "localhost") }

// urlOf is the address of what listens there; everywhere gives host its name.
func urlOf(l net.Listener, everywhere string) string {
	at := l.Addr().(*net.TCPAddr)
	host := at.IP.String()
	if at.IP.IsUnspecified() {
		host = everywhere
	}
	return "http://" + net.JoinHostPort(host, strconv.Itoa(at.Port)) + "/"
}

// pageMeta is what the member says of itself when it has a page: the page's
// address, so that the others' pages lead to it. Nothing, if they are on other
// machines and the page is for this one only.
func (f *runFlags) pageMeta(l net.Listener) []byte {
	host := hostOf(cmp.Or(f.advertise, f.bind))
	ip, err := netip.ParseAddr(host)
	here := host == "localhost" || err == nil && ip.IsLoopback()
	if l.Addr().(*net.TCPAddr).IP.IsLoopback() && !here {
		return nil
	}
	return []byte(urlOf(l, cmp.Or(host, "localhost")))
}

// hostOf is the host of host:port.
func hostOf(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return ""
	}
	return host
}

// hosts are the names by which HTTP listeners may be asked.
func (f *runFlags) hosts() []string {
	hosts := []string{hostOf(f.http), hostOf(f.metrics), hostOf(f.advertise)}
	if !strings.HasPrefix(f.admin, "unix:") {
		hosts = append(hosts, hostOf(f.admin))
	}
	return slices.DeleteFunc(append(hosts, f.httpHosts...), func(name string) bool { return name == "" })
}

// servePage serves the page of a member, and beside it whether the member is well,
// until end is called.
func (f *runFlags) servePage(l net.Listener, node *concord.Concord, probes admin.Probes, log *slog.Logger) (end func()) {
	if at := l.Addr().(*net.TCPAddr); !at.IP.IsLoopback() {
		log.Warn("the page is open to other machines: whoever can connect can see the ring and look keys up",
			slog.String("address", at.String()))
	}
	page := web.New(web.Config{Member: node, Interval: max(f.interval, web.DefaultInterval), Hosts: f.hosts()})
	mux := http.NewServeMux()
	mux.Handle("/healthz", probes.Handler())
	mux.Handle("/readyz", probes.Handler())
	mux.Handle("/", page)
	closeHTTP := serveHTTP("http", l, mux, log)
	return func() {
		page.Close() // which ends the streams
		closeHTTP()
	}
}
