package browser

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/ollelogdahl/concord/internal/web"
)

// patience is how long a test waits for what should come at once, on a machine
// that is busy.
const patience = 20 * time.Second

// interval is that of the pages under test.
const interval = 100 * time.Millisecond

// browser is the Chromium that all tests share, each with tabs of its own; nil if
// there is none.
var browser context.Context

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	exe, err := find()
	if err != nil {
		// Never silently: whoever reads the summary of all tests is told, too.
		note := fmt.Sprintf("SKIPPED: every test of the page in a browser: %v (make setup installs it on Debian)\n", err)
		fmt.Fprint(os.Stderr, note)
		if file := os.Getenv("SECTION_NOTES"); file != "" {
			if f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0); err == nil {
				fmt.Fprint(f, note)
				f.Close()
			}
		}
		return 0
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(exe), chromedp.NoSandbox, chromedp.Flag("hide-scrollbars", true))
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	defer cancel()
	tab, closeTab := chromedp.NewContext(ctx)
	defer closeTab()
	browser = tab //nolint:fatcontext // one browser for all tests
	if err := chromedp.Do(browser); err != nil {
		fmt.Fprintln(os.Stderr, "the browser does not start:", err)
		return 1
	}
	return m.Run()
}

// find looks for a Chromium.
func find() (string, error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("there is no Chromium on this machine")
}

// screen is what a page is looked at with.
type screen struct {
	width, height int64
	dark, still   bool // prefers dark colours; prefers reduced motion
}

var (
	desktop = screen{width: 1280, height: 860}
	phone   = screen{width: 360, height: 740}
)

// tab is one page in the browser. At the end of the test it must not have
// complained, and must have asked nobody but its server.
type tab struct {
	t   *testing.T
	ctx context.Context
	url string

	mu       sync.Mutex
	bytes    float64 // received
	requests []string
	console  []string
}

// serve serves the page of a member.
func serve(t *testing.T, member web.Ringed) (url string) {
	h := web.New(web.Config{Member: member, Interval: interval})
	s := httptest.NewServer(h)
	t.Cleanup(func() {
		h.Close()
		s.Close()
	})
	return s.URL
}

// open opens a page, at url + path.
func open(t *testing.T, s screen, url, path string) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	p := &tab{t: t, ctx: ctx, url: url}
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Listen(ctx, p.listen); err != nil {
		t.Fatal(err)
	}
	messages := chromedp.Console(ctx)
	go func() { // ends with the tab
		for m, err := range messages {
			if err != nil {
				return
			}
			p.mu.Lock()
			p.console = append(p.console, m.String())
			p.mu.Unlock()
		}
	}()
	features := []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "light"}, {Name: "prefers-reduced-motion", Value: "no-preference"}}
	if s.dark {
		features[0].Value = "dark"
	}
	if s.still {
		features[1].Value = "reduce"
	}
	if _, err := chromedp.Call(ctx, network.Enable, network.EnableParams{}); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: features}); err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(s.width, s.height), chromedp.Navigate(url+path)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, r := range p.requests {
			if !strings.HasPrefix(r, url+"/") {
				t.Errorf("the page asked %s", r)
			}
		}
		for _, m := range p.console {
			t.Errorf("on the console: %s", m)
		}
	})
	p.wait("the drawing", `document.querySelector('.member.own')`)
	return p
}

func (p *tab) listen(ev any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := ev.(type) {
	case *network.EventRequestWillBeSent:
		p.requests = append(p.requests, e.Request.URL)
	case *network.EventLoadingFinished:
		p.bytes += e.EncodedDataLength
	}
}

// wait waits until a JavaScript expression is true.
func (p *tab) wait(what, expression string) {
	p.t.Helper()
	if _, err := chromedp.Run(p.ctx, chromedp.Poll[chromedp.Void]("!!("+expression+")", chromedp.WithPollingTimeout(patience))); err != nil {
		text := eval[string](p, "document.body.innerText")
		p.t.Fatalf("%s: %v; the page says:\n%s", what, err, text)
	}
}

// press types keys into what has the focus.
func (p *tab) press(keys string, options ...chromedp.KeyOption) {
	p.t.Helper()
	p.do(chromedp.KeyEvent(keys, options...))
}

func (p *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		p.t.Fatal(err)
	}
}

// shot is a picture of what is to be seen, or of all of the page.
func (p *tab) shot(whole bool) []byte {
	p.t.Helper()
	take := chromedp.CaptureScreenshot()
	if whole {
		take = chromedp.FullScreenshot(100)
	}
	b, err := chromedp.Run(p.ctx, take)
	if err != nil {
		p.t.Fatal(err)
	}
	return b
}

// eval evaluates a JavaScript expression.
func eval[T any](p *tab, expression string) T {
	p.t.Helper()
	v, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		p.t.Fatalf("%s: %v", expression, err)
	}
	return v
}
