package browser

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/cluster"
	"github.com/ollelogdahl/concord/internal/web"
	"github.com/ollelogdahl/concord/internal/web/webtest"
)

// shown is a JavaScript expression: the drawing of a member, in a state.
func shown(name string, state web.State) string {
	return fmt.Sprintf(`[...document.querySelectorAll('.member[data-state=%q]')].some((m) => m.getAttribute('aria-label').split(', ')[0] === %q)`, state, name)
}

// told is likewise: the time line says so.
func told(text string) string {
	return fmt.Sprintf(`document.querySelector('#events').textContent.includes(%q)`, text)
}

// Members of a live ring over real sockets: who joins, is stopped and leaves is seen
// to, and a lookup goes to who is there.
func TestJoinsAndKillsAppear(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := cluster.New(func(i int) concord.Config {
		return concord.Config{Name: fmt.Sprint("node", i+1), StabilizeInterval: 100 * time.Millisecond}
	})
	defer c.Close()
	members, err := c.AddMany(ctx, 8)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.WaitIdeal(ctx); err != nil {
		t.Fatal(err)
	}
	p := open(t, desktop, serve(t, members[0]), "/")
	for _, m := range members {
		p.wait(m.Name(), shown(m.Name(), web.Here))
	}
	if _, err := c.Add(ctx); err != nil {
		t.Fatal(err)
	}
	p.wait("the ninth", shown("node9", web.Here)+" && "+told("node9 has joined"))
	c.Kill(members[3])
	p.wait("the end of the fourth", shown("node4", web.Gone)+" && "+told("node4 is gone"))
	if err := c.Leave(ctx, members[5]); err != nil {
		t.Fatal(err)
	}
	p.wait("the leave of the sixth", told("node6 is gone"))
	if _, err := c.WaitIdeal(ctx); err != nil {
		t.Fatal(err)
	}
	p.wait("a ring without faults", `document.querySelector('#state').textContent === '7 members, nothing is wrong'`)
	owner, err := members[0].LookupContext(ctx, []byte("apple"), concord.Fresh())
	if err != nil {
		t.Fatal(err)
	}
	p.do(chromedp.SendKeys(chromedp.CSS("#key"), "apple"+kb.Enter))
	p.wait("the owner", fmt.Sprintf(`document.querySelector('.answer')?.textContent === 'belongs to %s'`, owner.Name))
}

func TestLookupIsDrawn(t *testing.T) {
	r := webtest.New(16)
	p := open(t, desktop, serve(t, r), "/")
	p.do(chromedp.SendKeys(chromedp.CSS("#key"), "pear"+kb.Enter))
	p.wait("the path", `document.querySelector('.leg')`)
	trace, err := r.Trace(t.Context(), []byte("pear"))
	if err != nil {
		t.Fatal(err)
	}
	if got := eval[int](p, `document.querySelectorAll('.leg').length`); got != len(trace.Hops) || got < 2 {
		t.Errorf("%d lines for %d hops", got, len(trace.Hops))
	}
	if got := eval[string](p, `document.querySelector('.badge.asked text').textContent`); got != "1 · 430 µs" {
		t.Errorf("the first is %q", got)
	}
	if got := eval[string](p, `document.querySelector('.badge.name text').textContent`); got != "pear" {
		t.Errorf("the key is %q", got)
	}
	if got := eval[string](p, `[...document.querySelectorAll('.hops .link')].at(-1).textContent`); got != trace.Owner.Name {
		t.Errorf("the last hop is %s, should be %s", got, trace.Owner.Name)
	}
	p.wait("words for those who do not see it", fmt.Sprintf(`document.querySelector('#say').textContent.startsWith('pear belongs to %s')`, trace.Owner.Name))
	if got := eval[string](p, `location.search`); got != "?key=pear" {
		t.Errorf("the address says %q", got)
	}
	// It is drawn once, and not again at each change of the ring.
	eval[chromedp.Void](p, `window.leg = document.querySelector('.leg')`)
	r.Join("newcomer")
	p.wait("the newcomer", shown("newcomer", web.Here))
	if !eval[bool](p, `window.leg.isConnected`) {
		t.Error("the path was drawn anew")
	}
	p.do(chromedp.Click(chromedp.CSS(".path .close")))
	p.wait("an end of the path", `!document.querySelector('.leg') && location.search === ''`)

	again := open(t, phone, p.url, "/?key=pear")
	again.wait("the path of an address", `document.querySelector('.leg')`)
	if got := eval[string](again, `document.querySelector('.badge.asked text').textContent`); got != "1" {
		t.Errorf("on a phone the first is %q", got)
	}
}

func TestKeyboardSuffices(t *testing.T) {
	p := open(t, desktop, serve(t, webtest.New(5)), "/")
	name := func() string {
		return eval[string](p, `document.activeElement.getAttribute('aria-label')?.split(', ')[0] ?? document.activeElement.id`)
	}
	order := eval[[]string](p, `[...document.querySelectorAll('.member')].map((m) => m.getAttribute('aria-label').split(', ')[0])`)
	// The skip link, the key, the button, with memory, and then the ring.
	for range 5 {
		p.press(kb.Tab)
	}
	if got := name(); got != "node1" {
		t.Fatalf("Tab leads to %q, should lead to the own member", got)
	}
	own := 0
	for order[own] != "node1" {
		own++
	}
	p.press(kb.ArrowRight)
	if got := name(); got != order[(own+1)%5] {
		t.Errorf("→ leads to %s in %v", got, order)
	}
	for range 6 {
		p.press(kb.ArrowLeft)
	}
	if got := name(); got != order[own] {
		t.Errorf("round the circle to %s", got)
	}
	p.press(kb.End)
	if got := name(); got != order[4] {
		t.Errorf("End leads to %s", got)
	}
	p.press(kb.Home)
	p.press(kb.ArrowRight)
	p.press(kb.Enter)
	next := order[(own+1)%5]
	p.wait("the member", fmt.Sprintf(`document.querySelector('#panel .one h2')?.textContent === %q`, next))
	if !eval[bool](p, `document.activeElement.getAttribute('aria-selected') === 'true'`) {
		t.Error("the member is not marked as selected")
	}
	p.press(kb.Home)
	p.press(" ")
	p.wait("the own member", `document.querySelector('#panel .counters') && document.querySelector('.finger')`)
	p.press(kb.Escape)
	p.wait("the ring", `document.querySelector('#panel .whole')`)
	p.press("/")
	if got := name(); got != "key" {
		t.Errorf("/ leads to %q", got)
	}
	p.press("apple" + kb.Enter)
	p.wait("the answer", `document.querySelector('.answer')`)
	// A link in the panel leads to the member in the ring.
	p.do(chromedp.Focus(chromedp.CSS(".answer .link")))
	p.press(kb.Enter)
	p.wait("the owner", `document.querySelector('#panel .one') && document.activeElement.classList.contains('member')`)
}

// What screen readers are told: each control has a name, and the drawing is a list.
func TestEverythingHasAName(t *testing.T) {
	p := open(t, desktop, serve(t, webtest.New(7)), "/?key=apple")
	p.wait("the path", `document.querySelector('.leg')`)
	nameless := eval[[]string](p, `[...document.querySelectorAll('button, input, a, [tabindex="0"], [role]')].filter((e) =>
		!(e.getAttribute('aria-label') || e.getAttribute('aria-labelledby') || e.textContent.trim() || e.labels?.length || e.id === 'say' || e.id === 'search')).map((e) => e.outerHTML)`)
	if len(nameless) > 0 {
		t.Errorf("without a name: %s", strings.Join(nameless, "\n"))
	}
	if got := eval[int](p, `document.querySelectorAll('[role=listbox] > [role=option]').length`); got != 7 {
		t.Errorf("%d options for 7 members", got)
	}
	if got := eval[int](p, `document.querySelectorAll('[role=option][tabindex="0"]').length`); got != 1 {
		t.Errorf("Tab stops %d times in the ring", got)
	}
	if got := eval[string](p, `document.documentElement.lang`); got != "en" {
		t.Errorf("lang is %q", got)
	}
}

func TestLabelsDoNotOverlap(t *testing.T) {
	for _, s := range []screen{desktop, phone} {
		for _, n := range []int{1, 3, 16, 40, 64, 200} {
			t.Run(fmt.Sprintf("%d members on %d pixels", n, s.width), func(t *testing.T) {
				p := open(t, s, serve(t, webtest.New(n)), "/")
				over := eval[[]string](p, `(() => {
					const boxes = [...document.querySelectorAll('.label')].map((l) => ({ l, b: l.getBoundingClientRect() }));
					const drawing = document.querySelector('#drawing').getBoundingClientRect();
					const bad = boxes.filter(({ b }) => b.left < drawing.left - 1 || b.right > drawing.right + 1 || b.top < drawing.top - 1 || b.bottom > drawing.bottom + 1)
						.map(({ l }) => l.textContent + ' is outside');
					boxes.forEach(({ l, b }, i) => boxes.slice(i + 1).forEach(({ l: m, b: c }) => {
						if (b.left < c.right && c.left < b.right && b.top + 3 < c.bottom && c.top + 3 < b.bottom) bad.push(l.textContent + ' / ' + m.textContent);
					}));
					return bad;
				})()`)
				if len(over) > 0 {
					t.Errorf("%v", over)
				}
				labels := eval[int](p, `document.querySelectorAll('.label').length`)
				if all := n <= 16 || n <= 40 && s == desktop; all && labels != n || labels == 0 {
					t.Errorf("%d labels", labels)
				}
				if !eval[bool](p, `document.documentElement.scrollWidth <= innerWidth`) {
					t.Error("the page is wider than the screen")
				}
			})
		}
	}
}

func TestColoursAndMotionArePreferred(t *testing.T) {
	url := serve(t, webtest.New(3))
	light, dark := open(t, desktop, url, "/"), open(t, screen{width: 800, height: 600, dark: true, still: true}, url, "/?key=apple")
	const ground = `getComputedStyle(document.body).backgroundColor`
	if a, b := eval[string](light, ground), eval[string](dark, ground); a == b {
		t.Errorf("light and dark are %s", a)
	}
	dark.wait("the path", `document.querySelector('.leg')`)
	if got := eval[int](dark, `document.getAnimations().length`); got != 0 {
		t.Errorf("%d things move for somebody who wants none to", got)
	}
}

func TestNamesAreText(t *testing.T) {
	r := webtest.New(3)
	const name = `<img src=x onerror="console.error('ran')"><b>`
	r.Join(name)
	p := open(t, desktop, serve(t, r), "/")
	eval[chromedp.Void](p, `(() => {
		const dot = document.querySelector('[data-key*="onerror"]');
		const { x, y } = dot.getBoundingClientRect();
		dot.dispatchEvent(new MouseEvent('click', { bubbles: true, clientX: x + 4, clientY: y + 4 }));
	})()`)
	p.wait("its details", `document.querySelector('#panel .one')`)
	p.do(chromedp.Click(chromedp.CSS("#list summary")))
	p.wait("its row", fmt.Sprintf(`[...document.querySelectorAll('#rows th')].some((th) => th.textContent === %q)`, name))
	r.Kill(name)
	p.wait("its end", told("is gone"))
	if got := eval[int](p, `document.querySelectorAll('#panel b, #events b, #rows img, #panel img, #events img').length`); got != 0 {
		t.Errorf("%d elements made of a name", got)
	}
}

// A page that loses its server says so, and goes on when there is one again.
func TestLostConnectionIsSaid(t *testing.T) {
	var now atomic.Pointer[web.Handler]
	start := func(n int) *web.Handler {
		h := web.New(web.Config{Member: webtest.New(n), Interval: interval})
		t.Cleanup(h.Close)
		now.Store(h)
		return h
	}
	first := start(3)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { now.Load().ServeHTTP(w, r) }))
	t.Cleanup(s.Close)
	p := open(t, desktop, s.URL, "/")
	p.wait("the stream", told("3 members found"))
	start(4)
	first.Close()
	p.wait("the loss", `document.body.classList.contains('lost')`)
	p.wait("the other ring", `!document.body.classList.contains('lost') && document.querySelectorAll('.member').length === 4`)
}
