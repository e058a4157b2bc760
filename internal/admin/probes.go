package admin

import (
	"fmt"
	"net/http"
)

// Probes are what is asked about a member. Both must be set, safe for concurrent
// use, and return at once.
type Probes struct {
	// Alive is nil while the process need not be ended, Ready while the member
	// does its part; otherwise they say why not.
	Alive, Ready func() error
}

// Handler serves /healthz by Alive and /readyz by Ready: 200 and "ok", or 503 and
// a line that says why not.
func (p Probes) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /healthz", answer(p.Alive))
	mux.Handle("GET /readyz", answer(p.Ready))
	return mux
}

func answer(probe func() error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		if err := probe(); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprintln(w, err)
			return
		}
		fmt.Fprintln(w, "ok")
	})
}
