package guard

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

var page = Guard{Hosts: []string{"", "ring.example.com"}, Linked: []string{"/"}}

func request(path string, header ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Host = "127.0.0.1:8080"
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

func TestOnlyOwnHostsAreAccepted(t *testing.T) {
	for host, want := range map[string]bool{
		"127.0.0.1:8080": true, "[::1]:8080": true, "::1": true, "localhost": true, "LOCALHOST:80": true, "localhost.": true,
		"10.1.2.3": true, "ring.example.com:8080": true, "Ring.Example.Com": true,
		"": false, ":8080": false, ".": false, "[]": false, "evil.example.com": false, "evil.example.com:8080": false,
		"localhost.evil.example.com": false, "127.0.0.1.evil.example.com": false, "2130706433": false, "0x7f.1": false,
	} {
		r := request("/lookup")
		r.Host = host
		if err := page.Check(r); (err == nil) != want {
			t.Errorf("Host %q: %v, want accepted: %t", host, err, want)
		}
	}
}

func TestRequestsOfOtherSitesAreRefused(t *testing.T) {
	site := func(site, mode, dest string) []string {
		return []string{"Sec-Fetch-Site", site, "Sec-Fetch-Mode", mode, "Sec-Fetch-Dest", dest}
	}
	for _, c := range []struct {
		name   string
		path   string
		header []string
		want   bool
	}{
		{"a tool", "/lookup", nil, true},
		{"typed", "/lookup", site("none", "navigate", "document"), true},
		{"the page itself", "/lookup", site("same-origin", "cors", "empty"), true},
		{"a link", "/", site("cross-site", "navigate", "document"), true},
		{"a link to a lookup", "/lookup", site("cross-site", "navigate", "document"), false},
		{"a frame", "/", site("cross-site", "navigate", "iframe"), false},
		{"an object", "/", site("cross-site", "navigate", "object"), false},
		{"an image", "/", site("cross-site", "no-cors", "image"), false},
		{"a script", "/lookup", site("cross-site", "cors", "empty"), false},
		{"another port of this machine", "/lookup", site("same-site", "cors", "empty"), false},
		{"a link, where the browser tells less", "/", []string{"Referer", "http://evil.example.com/"}, true},
		{"a link to a lookup, where it tells less", "/lookup", []string{"Referer", "http://evil.example.com/"}, false},
		{"the page, where it tells less", "/lookup", []string{"Referer", "http://127.0.0.1:8080/"}, true},
		{"a script, where it tells less", "/lookup", []string{"Origin", "http://evil.example.com"}, false},
		{"a script on the page's path", "/", []string{"Origin", "http://evil.example.com"}, false},
		{"a script of no origin", "/lookup", []string{"Origin", "null"}, false},
		{"another port, where it tells less", "/lookup", []string{"Origin", "http://127.0.0.1:9"}, false},
	} {
		if err := page.Check(request(c.path, c.header...)); (err == nil) != c.want {
			t.Errorf("%s: %v, want accepted: %t", c.name, err, c.want)
		}
	}
	if err := (Guard{}).Check(request("/", site("cross-site", "navigate", "document")...)); err == nil {
		t.Error("a link to where no links lead is accepted")
	}
}

func TestRefusalsSayWhy(t *testing.T) {
	served := 0
	h := page.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served++ }))
	r := request("/")
	r.Host = "evil.example.com"
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), `not known as "evil.example.com"`) || w.Header().Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%d %q %v", w.Code, w.Body, w.Header())
	}
	h.ServeHTTP(httptest.NewRecorder(), request("/"))
	if served != 1 {
		t.Errorf("%d requests were served, want the one", served)
	}
}
