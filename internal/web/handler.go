package web

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/guard"
)

// Bounds of a page.
const (
	maxStreams   = 64   // browsers that are told of changes
	eachStreams  = 16   // of those, of one client
	maxLookups   = 4    // lookups under way
	eachLookups  = 2    // of those, of one client
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
	Members(ctx context.Context, opts ...concord.LookupOption) iter.Seq2[concord.Member, error]
	Meta(ctx context.Context, s concord.Server) ([]byte, error)
	Trace(ctx context.Context, key []byte, opts ...concord.LookupOption) (concord.Trace, error)
}

// mapped is a Ringed that keeps a map of the ring, and tells of its changes.
type mapped interface {
	WatchRing(ctx context.Context) iter.Seq[[]concord.RingChange]
}

// restWalks is how many intervals there are between two walks, if the map of the ring has not
// changed. What a walk finds besides, such as a member that hangs, is seen then.
const restWalks = 5

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
	guard   guard.Guard
	streams *slots
	lookups *slots
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
		guard:   guard.Guard{Hosts: cfg.Hosts, Linked: []string{"/"}},
		streams: newSlots(maxStreams, eachStreams),
		lookups: newSlots(maxLookups, eachLookups),
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
	{"X-Frame-Options", "DENY"},
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for _, header := range headers {
		w.Header().Set(header[0], header[1])
	}
	err := h.guard.Check(r)
	switch {
	case err != nil:
		refuse(w, r, http.StatusForbidden, err.Error())
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		refuse(w, r, http.StatusMethodNotAllowed, "only GET and HEAD are allowed: nothing can be changed here")
	default:
		h.mux.ServeHTTP(w, r)
	}
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
func (h *Handler) lookUp(r *http.Request, key string, memory bool) (Lookup, error) {
	if key == "" || len(key) > maxKey {
		return Lookup{}, fmt.Errorf("a key has 1 to %d bytes, this has %d", maxKey, len(key))
	}
	give, ok := h.lookups.take(r)
	if !ok {
		return Lookup{}, errBusy
	}
	defer give()
	var opts []concord.LookupOption
	if !memory {
		opts = append(opts, concord.Cold())
	}
	return lookup(h.cfg.Member.Trace(r.Context(), []byte(key), opts...)), nil
}

var errBusy = errors.New("too many lookups at once: try again")
