package web_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/ollelogdahl/concord/internal/web"
	"github.com/ollelogdahl/concord/internal/web/webtest"
)

// Whatever is asked of the page, it answers with a status of its own and with its headers,
// and nothing for a host or a method that are not its own.
func FuzzPage(f *testing.F) {
	f.Add("GET", "/", "127.0.0.1:8080", "text/html", "none", "navigate")
	f.Add("GET", "/lookup?key=k", "localhost", "application/json", "same-origin", "cors")
	f.Add("GET", "/meta?name=node2", "ring.example.com", "", "", "")
	f.Add("GET", "/events", "evil.example.com", "text/event-stream", "cross-site", "cors")
	f.Add("POST", "/static/../../go.mod", "[::1]:80", "", "cross-site", "navigate")
	r := webtest.New(5)
	h := web.New(web.Config{Member: r, Hosts: []string{"ring.example.com"}})
	f.Cleanup(h.Close)
	f.Fuzz(func(t *testing.T, method, target, host, accept, site, mode string) {
		if !strings.HasPrefix(target, "/") || !utf8.ValidString(target) {
			return
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // a stream ends, and nothing is waited for
		req, err := http.NewRequestWithContext(ctx, method, "http://127.0.0.1"+target, nil)
		if err != nil {
			return
		}
		req.Host = host
		req.Header.Set("Accept", accept)
		req.Header.Set("Sec-Fetch-Site", site)
		req.Header.Set("Sec-Fetch-Mode", mode)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		if w.Code < 200 || w.Code > 599 {
			t.Errorf("status %d", w.Code)
		}
		if !strings.Contains(w.Header().Get("Content-Security-Policy"), "default-src 'none'") || w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("headers %v", w.Header())
		}
		if w.Code == http.StatusOK && method != "" && method != http.MethodGet && method != http.MethodHead {
			t.Errorf("%s is answered", method)
		}
		if strings.Contains(w.Body.String(), "module github.com/ollelogdahl") {
			t.Error("a file of the program is served")
		}
	})
}
