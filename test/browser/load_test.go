package browser

import (
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/ollelogdahl/concord/internal/web"
	"github.com/ollelogdahl/concord/internal/web/webtest"
)

// load is what the loading of a page has cost.
type load struct {
	Drawn    float64 `json:"drawn"`    // ms until the ring was drawn
	Painted  float64 `json:"painted"`  // ms until something was to be seen
	Tasks    int     `json:"tasks"`    // that took over 50 ms, until now
	Longest  float64 `json:"longest"`  // of these, ms
	Elements int     `json:"elements"` // in the page
}

const measure = `(async () => {
	const entries = await new Promise((done) => {
		const seen = [];
		new PerformanceObserver((list) => seen.push(...list.getEntries())).observe({ type: 'longtask', buffered: true });
		setTimeout(() => done(seen), 300);
	});
	return {
		drawn: performance.getEntriesByName('drawn')[0].startTime,
		painted: performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0,
		tasks: entries.length,
		longest: Math.max(0, ...entries.map((e) => e.duration)),
		elements: document.querySelectorAll('*').length,
	};
})()`

// The bounds are wide: what was measured is in docs/PAGE.md, and
// "go test -v -run TwoHundred" measures it.
func TestTwoHundredMembersAreUsable(t *testing.T) {
	r := webtest.New(200)
	p := open(t, desktop, serve(t, r), "/")
	p.wait("the members", `document.querySelectorAll('.member').length === 200`)
	loaded, err := chromedp.Run(p.ctx, chromedp.Evaluate[load](measure, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	bytes, requests := p.bytes, len(p.requests)
	p.mu.Unlock()
	t.Logf("loaded: drawn after %.0f ms, painted after %.0f ms, %d requests, %.0f KiB, %d tasks over 50 ms, the longest %.0f ms, %d elements",
		loaded.Drawn, loaded.Painted, requests, bytes/1024, loaded.Tasks, loaded.Longest, loaded.Elements)
	if bytes > 400<<10 {
		t.Errorf("%.0f bytes to load", bytes)
	}
	if loaded.Drawn > 5000 {
		t.Errorf("drawn after %.0f ms", loaded.Drawn)
	}

	p.do(chromedp.SendKeys(chromedp.CSS("#key"), "peach"+kb.Enter))
	p.wait("the path", `document.querySelectorAll('.leg').length > 3`)
	eval[chromedp.Void](p, `document.querySelector('.member.own').focus()`)
	p.press(kb.ArrowRight)
	p.press(kb.Enter)
	p.wait("a member", `document.querySelector('#panel .one')`)
	r.Join("newcomer")
	p.wait("the newcomer", shown("newcomer", web.Here))
	r.Kill("node77")
	p.wait("the end of one", shown("node77", web.Gone))

	used, err := chromedp.Run(p.ctx, chromedp.Evaluate[load](measure, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("used: %d tasks over 50 ms in all, the longest %.0f ms, %d elements", used.Tasks, used.Longest, used.Elements)
	if grown := used.Elements - loaded.Elements; grown > 1000 {
		t.Errorf("%d more elements than at first", grown)
	}
}

// A member with VirtualNodes has its ranges lit together.
func TestThousandRangesAreUsable(t *testing.T) {
	r := webtest.New(64).Several(16)
	p := open(t, desktop, serve(t, r), "/")
	p.wait("the ranges", `document.querySelectorAll('.arc').length === 1024`)
	loaded, err := chromedp.Run(p.ctx, chromedp.Evaluate[load](measure, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("loaded: drawn after %.0f ms, %d tasks over 50 ms, the longest %.0f ms, %d elements",
		loaded.Drawn, loaded.Tasks, loaded.Longest, loaded.Elements)
	if loaded.Drawn > 5000 {
		t.Errorf("drawn after %.0f ms", loaded.Drawn)
	}
	eval[chromedp.Void](p, `document.querySelector('.member.own').focus()`)
	p.press(kb.ArrowRight)
	p.press(kb.Enter)
	p.wait("the ranges of one", `document.querySelectorAll('.arc.chosen').length === 16`)
	r.Join("newcomer")
	p.wait("the ranges of the newcomer", `document.querySelectorAll('.arc').length === 1040`)
	used, err := chromedp.Run(p.ctx, chromedp.Evaluate[load](measure, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("used: %d tasks over 50 ms in all, the longest %.0f ms, %d elements", used.Tasks, used.Longest, used.Elements)
}
