package web

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ollelogdahl/concord"
)

// Bounds of a page.
const (
	maxStreams   = 32   // browsers that are told of changes
	maxLookups   = 4    // lookups under way
	maxKey       = 1024 // bytes of a key looked up
	maxMembers   = 1000 // members shown
	maxEvents    = 250  // events kept
	walkTimeout  = 15 * time.Second
	freshTimeout = 2 * time.Second // a request waits for the walk that it wants
	writeTimeout = 10 * time.Second
	keepGone     = 12 * time.Second // a member that is gone is shown
	heartbeat    = 15 * time.Second // the longest silence on a stream
)

// DefaultInterval is the least time between two walks unless Config says another.
const DefaultInterval = time.Second

// Ringed is what the page needs of its member. A [concord.Concord] has it.
type Ringed interface {
	Status() concord.Status
	Watch(ctx context.Context) iter.Seq[concord.Event]
	Members(ctx context.Context) iter.Seq2[concord.Member, error]
	Meta(ctx context.Context, s concord.Server) ([]byte, error)
	Trace(ctx context.Context, key []byte, opts ...concord.LookupOption) (concord.Trace, error)
}

// Config says whose page it is.
type Config struct {
	// Member is the page's own member. Required.
	Member Ringed
	// Bits is the HashBits of the ring. Zero: 64.
	Bits uint
	// Interval is the least time between two walks, and how often the own member
	// is looked at. Zero: 1 s.
	Interval time.Duration
	// Hosts are the names by which browsers may ask for the page, besides
	// localhost and addresses: those of the listener, and of a proxy before it.
	Hosts []string
}

// Handler serves the page. Make it with New; it is safe for concurrent use.
type Handler struct {
	cfg     Config
	mux     *http.ServeMux
	ctx     context.Context // ended by Close
	cancel  context.CancelFunc
	running sync.WaitGroup
	streams chan struct{} // has room while another stream may begin
	lookups chan struct{} // likewise a lookup
	wanted  chan struct{} // somebody waits for a walk

	mu       sync.Mutex
	page     Page // its slices are replaced and never changed
	version  version
	changed  chan struct{} // closed at the next change
	watchers int           // streams
	walking  bool
}

// version counts the changes of what the stream sends apart.
type version struct{ self, ring, walk, events uint64 }

// New makes the page of a member and begins to watch it. Close ends that.
func New(cfg Config) *Handler {
	if cfg.Bits == 0 || cfg.Bits > 64 {
		cfg.Bits = concord.DefaultHashBits
	}
	if cfg.Interval <= 0 {
		cfg.Interval = DefaultInterval
	}
	cfg.Hosts = slices.Clone(cfg.Hosts)
	h := &Handler{
		cfg:     cfg,
		mux:     http.NewServeMux(),
		streams: make(chan struct{}, maxStreams),
		lookups: make(chan struct{}, maxLookups),
		wanted:  make(chan struct{}, 1),
		page: Page{
			Bits: cfg.Bits, Self: self(cfg.Member.Status()),
			Ring: Ring{Members: []Member{}, Wrong: []Finding{}}, Events: []Event{},
		},
		changed: make(chan struct{}),
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	h.mux.HandleFunc("/{$}", h.servePage)
	h.mux.HandleFunc("/events", h.serveEvents)
	h.mux.HandleFunc("/lookup", h.serveLookup)
	h.mux.HandleFunc("/meta", h.serveMeta)
	h.mux.Handle("/static/", static)
	h.running.Go(h.observe)
	return h
}

// Close ends all streams and waits until nothing of the page runs, except requests
// that are being answered: those are the HTTP server's.
func (h *Handler) Close() {
	h.cancel()
	h.running.Wait()
}

// headers allow the page what it needs and no more: its own scripts, styles and
// stream. Nobody may frame it, and nothing is told to whom a link leads.
var headers = [][2]string{
	{"Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
		"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"},
	{"Cross-Origin-Opener-Policy", "same-origin"},
	{"Cross-Origin-Resource-Policy", "same-origin"},
	{"Referrer-Policy", "no-referrer"},
	{"X-Content-Type-Options", "nosniff"},
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for _, header := range headers {
		w.Header().Set(header[0], header[1])
	}
	switch {
	case !h.ours(r.Host):
		// A name that leads here without being ours is how a web site would look
		// at what only this machine should see.
		refuse(w, r, http.StatusForbidden, fmt.Sprintf("this page is not known as %q: ask for it by its address, or name the host when it is started", r.Host))
	case foreign(r):
		refuse(w, r, http.StatusForbidden, "this page answers no other page's requests")
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		refuse(w, r, http.StatusMethodNotAllowed, "only GET and HEAD are allowed: nothing can be changed here")
	default:
		h.mux.ServeHTTP(w, r)
	}
}

// ours reports whether host, with or without a port, is one of the page's names.
// An address is: no name of somebody else leads to it.
func (h *Handler) ours(host string) bool {
	name := host
	if n, _, err := net.SplitHostPort(host); err == nil {
		name = n
	}
	name = strings.TrimSuffix(strings.ToLower(strings.Trim(name, "[]")), ".")
	if _, err := netip.ParseAddr(name); err == nil || name == "localhost" {
		return true
	}
	return slices.ContainsFunc(h.cfg.Hosts, func(s string) bool { return strings.EqualFold(s, name) })
}

// foreign reports whether a page of another origin sends the request. Following a
// link to this page is no such request.
func foreign(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	return (site == "cross-site" || site == "same-site") && r.Header.Get("Sec-Fetch-Mode") != "navigate"
}

// snapshot is the newest page, its versions, and what is closed when they change.
func (h *Handler) snapshot() (Page, version, <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.page, h.version, h.changed
}

// change applies a change to the page and tells the streams.
func (h *Handler) change(f func(p *Page, v *version)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f(&h.page, &h.version)
	close(h.changed)
	h.changed = make(chan struct{})
}

// fresh waits until the last walk is at most one interval old, or for as long as
// a request may wait.
func (h *Handler) fresh(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, freshTimeout)
	defer cancel()
	since := time.Now().Add(-h.cfg.Interval)
	for {
		h.mu.Lock()
		done, walking, changed := !h.page.Walk.At.Before(since), h.walking, h.changed
		h.mu.Unlock()
		if done {
			return
		}
		if !walking {
			h.want()
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		case <-h.ctx.Done():
			return
		}
	}
}

// want asks for a walk.
func (h *Handler) want() {
	select {
	case h.wanted <- struct{}{}:
	default:
	}
}

// lookUp looks a key up, within the bounds of a page.
func (h *Handler) lookUp(ctx context.Context, key string, memory bool) (Lookup, error) {
	if key == "" || len(key) > maxKey {
		return Lookup{}, fmt.Errorf("a key has 1 to %d bytes, this has %d", maxKey, len(key))
	}
	select {
	case h.lookups <- struct{}{}:
		defer func() { <-h.lookups }()
	default:
		return Lookup{}, errBusy
	}
	var opts []concord.LookupOption
	if !memory {
		opts = append(opts, concord.Cold())
	}
	return lookup(h.cfg.Member.Trace(ctx, []byte(key), opts...)), nil
}

var errBusy = errors.New("too many lookups at once: try again")
