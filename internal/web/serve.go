package web

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/plain"
)

//go:embed page.html static
var files embed.FS

var document = template.Must(template.New("page.html").Funcs(template.FuncMap{
	"percent": percent, "plural": plural, "plain": plain.Text, "clock": func(t time.Time) string { return t.Format("15:04:05") },
	"wrong": func(p Page) int { return count(p.Ring) },
	"newest": func(events []Event) []Event {
		out := slices.Clone(events)
		slices.Reverse(out)
		return out
	},
}).ParseFS(files, "page.html"))

// static serves what the page consists of. Browsers ask each time whether it is
// still the same, which on an upgrade it is not.
var static = func() http.Handler {
	tags := map[string]string{}
	err := fs.WalkDir(files, "static", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := files.ReadFile(path)
		sum := sha256.Sum256(b)
		tags["/"+path] = `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
		return err
	})
	serve := http.FileServerFS(files)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tag, ok := tags[r.URL.Path]
		if err != nil || !ok {
			refuse(w, r, http.StatusNotFound, "there is no such file")
			return
		}
		w.Header().Set("ETag", tag)
		w.Header().Set("Cache-Control", "no-cache")
		serve.ServeHTTP(w, r)
	})
}()

// servePage serves the page, as HTML or as JSON.
func (h *Handler) servePage(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Vary", "Accept")
	w.Header().Set("Cache-Control", "no-store")
	format := r.URL.Query().Get("format")
	if format != "" && format != "json" && format != "html" {
		refuse(w, r, http.StatusBadRequest, fmt.Sprintf("format=%q: use json or html", format))
		return
	}
	h.fresh(r.Context())
	page, _, _ := h.snapshot()
	if format == "json" || format == "" && prefersJSON(r.Header.Values("Accept")) {
		writeJSON(w, http.StatusOK, page)
		return
	}
	var b bytes.Buffer
	if err := document.Execute(&b, page); err != nil {
		refuse(w, r, http.StatusInternalServerError, err.Error())
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(b.Bytes()) // whoever asked may have gone
}

// prefersJSON reports whether Accept asks for JSON rather than for HTML.
func prefersJSON(accept []string) bool {
	quality := map[string]float64{}
	for part := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		kind, params, _ := strings.Cut(part, ";")
		q := 1.0
		if _, v, ok := strings.Cut(params, "q="); ok {
			v, _, _ = strings.Cut(v, ";")
			if parsed, err := strconv.ParseFloat(strings.TrimSpace(v), 64); err == nil {
				q = parsed
			}
		}
		quality[strings.ToLower(strings.TrimSpace(kind))] = q
	}
	return quality["application/json"] > quality["text/html"]
}

// serveLookup looks a key up and serves its path.
func (h *Handler) serveLookup(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	q := r.URL.Query()
	found, err := h.lookUp(r, q.Get("key"), q.Get("memory") == "1")
	switch {
	case errors.Is(err, errBusy):
		w.Header().Set("Retry-After", "1")
		refuseJSON(w, http.StatusTooManyRequests, err.Error())
	case err != nil:
		refuseJSON(w, http.StatusBadRequest, err.Error())
	case found.Error != "":
		writeJSON(w, http.StatusServiceUnavailable, found)
	default:
		writeJSON(w, http.StatusOK, found)
	}
}

// Meta is what the application of a member says of it.
type Meta struct {
	// Text is what it says, if that is text.
	Text string `json:"text,omitempty"`
	// URL is that, if it is the address of a page.
	URL string `json:"url,omitempty"`
}

// serveMeta asks a member on the page what its application says of it.
func (h *Handler) serveMeta(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	var id ID
	if err := id.UnmarshalText([]byte(r.URL.Query().Get("id"))); err != nil {
		refuseJSON(w, http.StatusBadRequest, "id is the identifier of a member, in decimal digits")
		return
	}
	page, _, _ := h.snapshot()
	i := slices.IndexFunc(page.Ring.Members, func(m Member) bool { return m.ID == id && m.State != Gone })
	if i < 0 {
		refuseJSON(w, http.StatusNotFound, "no member on the page has this identifier")
		return
	}
	m := page.Ring.Members[i]
	ctx, cancel := context.WithTimeout(r.Context(), freshTimeout)
	defer cancel()
	said, err := h.cfg.Member.Meta(ctx, concord.Server{Name: m.Name, Id: uint64(m.ID), Address: m.Address})
	if err != nil {
		refuseJSON(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	writeJSON(w, http.StatusOK, meta(said))
}

func meta(said []byte) (m Meta) {
	if !utf8.Valid(said) {
		return m
	}
	m.Text = string(said)
	if u, err := url.Parse(m.Text); err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil {
		m.URL = u.String()
	}
	return m
}

// serveEvents streams the page: all of it as "page", then its fields as they
// change, each under its JSON name, and each event as "event".
func (h *Handler) serveEvents(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	give, ok := h.streams.take(r)
	if !ok {
		w.Header().Set("Retry-After", "5")
		refuse(w, r, http.StatusServiceUnavailable, fmt.Sprintf("too many streams are open: at most %d, of one client %d", maxStreams, eachStreams))
		return
	}
	defer give()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // or nginx keeps events back until it has 4 KiB
	if r.Method == http.MethodHead {
		return
	}
	h.watch(+1)
	defer h.watch(-1)
	h.want()
	send := sender{w: w, control: http.NewResponseController(w)}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	page, sent, changed := h.snapshot()
	send.event("page", page)
	for send.flush() {
		select {
		case <-changed:
		case <-beat.C:
			send.comment()
			continue
		case <-r.Context().Done():
			return
		case <-h.ctx.Done():
			return
		}
		var now version
		page, now, changed = h.snapshot()
		if now.ring != sent.ring {
			send.event("ring", page.Ring)
		}
		if now.walk != sent.walk {
			send.event("walk", page.Walk)
		}
		if now.self != sent.self {
			send.event("self", page.Self)
		}
		for _, e := range page.Events {
			if e.Seq > sent.events {
				send.event("event", e)
			}
		}
		sent = now
	}
}

func (h *Handler) watch(more int) {
	h.mu.Lock()
	h.watchers += more
	h.mu.Unlock()
}

// sender writes a stream of events. It keeps the first error.
type sender struct {
	w       http.ResponseWriter
	control *http.ResponseController
	err     error
}

func (s *sender) event(name string, data any) {
	b, err := json.Marshal(data)
	b = plain.JSON(b)
	if s.err == nil {
		s.err = err
	}
	s.write(fmt.Sprintf("event: %s\ndata: %s\n\n", name, b))
}

func (s *sender) comment() { s.write(":\n\n") }

func (s *sender) write(text string) {
	if s.err != nil {
		return
	}
	// One that does not read is given up. Not every ResponseWriter has deadlines.
	_ = s.control.SetWriteDeadline(time.Now().Add(writeTimeout))
	_, s.err = s.w.Write([]byte(text))
}

// flush sends what was written and reports whether the stream can go on.
func (s *sender) flush() bool {
	if s.err == nil {
		s.err = s.control.Flush()
	}
	return s.err == nil
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"error": "the answer has no JSON"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(plain.JSON(b), '\n')) // whoever asked may have gone
}

func refuseJSON(w http.ResponseWriter, status int, why string) {
	writeJSON(w, status, struct {
		Error string `json:"error"`
	}{why})
}

// refuse answers with an error as text, or as JSON where that is asked for.
func refuse(w http.ResponseWriter, r *http.Request, status int, why string) {
	if prefersJSON(r.Header.Values("Accept")) {
		refuseJSON(w, status, why)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(why + "\n")) //nolint:gosec // it is plain text, and may not be sniffed for markup
}
