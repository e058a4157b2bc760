package admin

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"
)

// Whatever is asked of the listener, it answers with a status, and a browser that was led
// here from elsewhere is told nothing.
func FuzzAdmin(f *testing.F) {
	f.Add("GET", "/healthz", "127.0.0.1:1", "", "")
	f.Add("GET", "/metrics", "evil.example.com", "", "cross-site")
	f.Add("POST", "/concord.admin.Admin/Leave", "localhost", "application/grpc", "")
	f.Add("GET", "/debug/pprof/cmdline", "localhost", "", "same-origin")
	s, err := Listen(Config{
		Addr: "127.0.0.1:0", Probes: (&member{}).probes(), Log: slog.New(slog.DiscardHandler),
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("metric 1\n")) }),
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(s.Close)
	f.Fuzz(func(t *testing.T, method, target, host, content, site string) {
		if !strings.HasPrefix(target, "/") || !utf8.ValidString(target) || strings.Contains(target, "pprof") {
			return // a profile takes half a minute
		}
		req, err := http.NewRequestWithContext(t.Context(), method, "http://127.0.0.1"+target, nil)
		if err != nil {
			return
		}
		req.Host = host
		req.Header.Set("Content-Type", content)
		req.Header.Set("Sec-Fetch-Site", site)
		w := httptest.NewRecorder()
		s.http.Handler.ServeHTTP(w, req)
		if w.Code < 200 || w.Code > 599 {
			t.Errorf("status %d", w.Code)
		}
	})
}
