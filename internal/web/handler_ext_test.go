package web_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/web"
	"github.com/ollelogdahl/concord/internal/web/webtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bubble runs a test of the page of a ring of n, on virtual time.
func bubble(t *testing.T, n int, test func(t *testing.T, r *webtest.Ring, h *web.Handler)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := webtest.New(n)
		h := web.New(web.Config{Member: r, Hosts: []string{"ring.example.com"}})
		defer h.Close()
		test(t, r, h)
	})
}

// request asks for what is at a path; headers are name, value, …
func request(path string, headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Host = "127.0.0.1:8080"
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

func get(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// page is the page as JSON.
func page(t *testing.T, h http.Handler) (p web.Page) {
	t.Helper()
	w := get(h, request("/", "Accept", "application/json"))
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != http.StatusOK {
		t.Fatalf("%d, %v:\n%s", w.Code, err, w.Body)
	}
	return p
}

// texts are what the events of a page say, the oldest first.
func texts(p web.Page) (out []string) {
	for _, e := range p.Events {
		out = append(out, e.Text)
	}
	return out
}

// stream is a browser that follows the changes.
type stream struct {
	mu     sync.Mutex
	head   http.Header
	status int
	body   bytes.Buffer
	broken bool

	ended chan struct{}
	leave func()
}

func follow(t *testing.T, h http.Handler) *stream { return followFrom(t, h, "192.0.2.1:1234") }

// followFrom is follow of a browser at that address.
func followFrom(t *testing.T, h http.Handler, client string) *stream {
	r := request("/events")
	r.RemoteAddr = client
	ctx, leave := context.WithCancel(t.Context())
	s := &stream{head: http.Header{}, ended: make(chan struct{}), leave: leave}
	go func() {
		defer close(s.ended)
		h.ServeHTTP(s, r.WithContext(ctx))
	}()
	synctest.Wait()
	return s
}

func (s *stream) Header() http.Header { return s.head }
func (s *stream) WriteHeader(n int)   { s.status = n }
func (s *stream) Flush()              {}
func (s *stream) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken {
		return 0, io.ErrClosedPipe
	}
	return s.body.Write(b)
}

// take is the names of the events since it was called last, and the last of each.
func (s *stream) take(t *testing.T) (names []string, last map[string]string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	last = map[string]string{}
	for part := range strings.SplitSeq(strings.TrimSuffix(s.body.String(), "\n\n"), "\n\n") {
		name, data, ok := strings.Cut(part, "\ndata: ")
		if part == "" || part == ":" {
			continue
		}
		name, event := strings.CutPrefix(name, "event: ")
		if !ok || !event || strings.Contains(data, "\n") {
			t.Fatalf("no event: %q", part)
		}
		names = append(names, name)
		last[name] = data
	}
	s.body.Reset()
	return names, last
}

func TestPageIsServedAsJSONAndAsHTML(t *testing.T) {
	bubble(t, 16, func(t *testing.T, r *webtest.Ring, h *web.Handler) {
		p := page(t, h)
		if len(p.Ring.Members) != 16 || p.Self.Server.Name != "node1" || p.Bits != 64 || len(p.Ring.Wrong) != 0 {
			t.Errorf("%+v", p)
		}
		for i, m := range p.Ring.Members {
			s := r.Member(m.Name)
			if uint64(m.ID) != s.Id || m.Address != s.Address || i > 0 && m.ID <= p.Ring.Members[i-1].ID {
				t.Errorf("member %d is %+v, should be %+v", i, m, s)
			}
		}
		raw := get(h, request("/?format=json")).Body.String()
		id := r.Member("node1").Id
		if id>>53 == 0 || !strings.Contains(raw, fmt.Sprintf(`"id": "%d"`, id)) {
			t.Errorf("identifier %d is not there as a string", id)
		}
		w := get(h, request("/", "Accept", "text/html,application/xhtml+xml,*/*;q=0.8"))
		html := w.Body.String()
		if got := w.Header().Get("Content-Type"); got != "text/html; charset=utf-8" || w.Header().Get("Vary") != "Accept" {
			t.Error(w.Header())
		}
		data := regexp.MustCompile(`(?s)id="data">(.*?)</script>`).FindStringSubmatch(html)
		var inside web.Page
		if data == nil || json.Unmarshal([]byte(data[1]), &inside) != nil || len(inside.Ring.Members) != 16 {
			t.Errorf("no page in:\n%s", html)
		}
		for _, m := range p.Ring.Members { // for those who have no JavaScript
			if !strings.Contains(html, `<th scope="row">`+m.Name+`</th>`) {
				t.Errorf("no row of %s", m.Name)
			}
		}
	})
}

func TestAcceptDecides(t *testing.T) {
	bubble(t, 1, func(t *testing.T, _ *webtest.Ring, h *web.Handler) {
		for accept, want := range map[string]string{
			"": "text/html", "*/*": "text/html", "text/html": "text/html",
			"application/json": "application/json", "application/json, */*;q=0.5": "application/json",
			"text/html, application/json;q=0.9": "text/html", "text/html;q=0.5,application/json": "application/json",
		} {
			if got := get(h, request("/", "Accept", accept)).Header().Get("Content-Type"); !strings.HasPrefix(got, want) {
				t.Errorf("%q: %s", accept, got)
			}
		}
		if w := get(h, request("/?format=xml")); w.Code != http.StatusBadRequest {
			t.Errorf("format=xml: %d", w.Code)
		}
	})
}

func TestOnlyItsOwnNamesAreServed(t *testing.T) {
	bubble(t, 1, func(t *testing.T, _ *webtest.Ring, h *web.Handler) {
		for host, want := range map[string]int{
			"127.0.0.1:8080": 200, "[::1]:8080": 200, "localhost": 200, "LOCALHOST:80": 200, "10.1.2.3": 200, "ring.example.com:8080": 200, "localhost.": 200,
			"evil.example.com": 403, "evil.example.com:8080": 403, "localhost.evil.example.com": 403, "127.0.0.1.evil.example.com": 403, "": 403,
		} {
			r := request("/lookup?key=a")
			r.Host = host
			if got := get(h, r).Code; got != want {
				t.Errorf("Host %q: %d, want %d", host, got, want)
			}
		}
	})
}

func TestOtherOriginsAndMethodsAreRefused(t *testing.T) {
	bubble(t, 1, func(t *testing.T, _ *webtest.Ring, h *web.Handler) {
		for _, c := range []struct {
			site, mode string
			want       int
		}{
			{"same-origin", "cors", 200}, {"none", "navigate", 200}, {"", "", 200}, {"cross-site", "navigate", 403},
			{"cross-site", "no-cors", 403}, {"cross-site", "cors", 403}, {"same-site", "cors", 403},
		} {
			if got := get(h, request("/lookup?key=a", "Sec-Fetch-Site", c.site, "Sec-Fetch-Mode", c.mode)).Code; got != c.want {
				t.Errorf("%+v: %d", c, got)
			}
		}
		for dest, want := range map[string]int{"document": 200, "iframe": 403, "object": 403, "": 403} {
			r := request("/", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", dest)
			if got := get(h, r).Code; got != want {
				t.Errorf("the page as %q of another site: %d, want %d", dest, got, want)
			}
		}
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions} {
			r := request("/")
			r.Method = method
			w := get(h, r)
			if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
				t.Errorf("%s: %d", method, w.Code)
			}
			if w.Header().Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s: allows other origins", method)
			}
		}
	})
}

func TestEveryAnswerIsConfined(t *testing.T) {
	bubble(t, 1, func(t *testing.T, _ *webtest.Ring, h *web.Handler) {
		for _, path := range []string{"/", "/static/page.js", "/static/none", "/none", "/lookup", "/lookup?key=a", "/meta?id=1"} {
			w := get(h, request(path))
			policy := w.Header().Get("Content-Security-Policy")
			if !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "frame-ancestors 'none'") || strings.Contains(policy, "unsafe") {
				t.Errorf("%s: %q", path, policy)
			}
			if w.Header().Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s may be sniffed", path)
			}
			if w.Header().Get("X-Frame-Options") != "DENY" {
				t.Errorf("%s may be framed", path)
			}
		}
	})
}

// What the page consists of is there, and leads nowhere else.
func TestNothingIsAskedOfOthers(t *testing.T) {
	bubble(t, 1, func(t *testing.T, _ *webtest.Ring, h *web.Handler) {
		html := get(h, request("/")).Body.String()
		outside := regexp.MustCompile(`(https?:)?//[a-z0-9.]+\.[a-z]+`)
		for _, ref := range regexp.MustCompile(`(?:src|href)="(static/[^"]+)"`).FindAllStringSubmatch(html, -1) {
			w := get(h, request("/"+ref[1]))
			if w.Code != http.StatusOK || w.Header().Get("ETag") == "" {
				t.Errorf("%s: %d, %v", ref[1], w.Code, w.Header())
			}
			if again := get(h, request("/"+ref[1], "If-None-Match", w.Header().Get("ETag"))); again.Code != http.StatusNotModified {
				t.Errorf("%s again: %d", ref[1], again.Code)
			}
			text := strings.ReplaceAll(w.Body.String(), "http://www.w3.org/2000/svg", "")
			if found := outside.FindString(text); found != "" {
				t.Errorf("%s names %s", ref[1], found)
			}
		}
		if strings.Contains(html, " style=") || regexp.MustCompile(`<script>|\son[a-z]+="`).MatchString(html) {
			t.Error("the policy forbids styles and scripts in the HTML")
		}
	})
	files, err := os.ReadDir("static")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile("static/" + f.Name())
		if err != nil {
			t.Fatal(err)
		}
		if m := regexp.MustCompile(`\.(inner|outer)HTML\s*=[^=]|insertAdjacentHTML|document\.write|\beval\(|new Function`).Find(b); m != nil {
			t.Errorf("%s makes markup of text: %s", f.Name(), m)
		}
	}
}

func TestNamesAreText(t *testing.T) {
	const name = `</script><script>alert(1)</script><b>`
	bubble(t, 2, func(t *testing.T, r *webtest.Ring, h *web.Handler) {
		r.Join(name)
		html := get(h, request("/")).Body.String()
		if strings.Contains(html, "<script>alert") || strings.Contains(html, "<b>\"") {
			t.Errorf("markup of a name:\n%s", html)
		}
		if !slices.ContainsFunc(page(t, h).Ring.Members, func(m web.Member) bool { return m.Name == name }) {
			t.Error("the name is not there")
		}
	})
}

func TestChangesAreStreamed(t *testing.T) {
	bubble(t, 5, func(t *testing.T, r *webtest.Ring, h *web.Handler) {
		s := follow(t, h)
		names, last := s.take(t)
		var first web.Page
		if names[0] != "page" || json.Unmarshal([]byte(last["page"]), &first) != nil || first.Self.Server.Name != "node1" {
			t.Fatalf("begins with %v", names)
		}
		if got := s.head.Get("X-Accel-Buffering"); got != "no" {
			t.Errorf("a proxy may hold events back: X-Accel-Buffering is %q", got)
		}
		if got := s.head.Get("Content-Type"); got != "text/event-stream" {
			t.Errorf("is %s", got)
		}
		time.Sleep(2 * time.Second)
		s.take(t)
		r.Join("node6")
		time.Sleep(1100 * time.Millisecond)
		synctest.Wait()
		names, last = s.take(t)
		var ring web.Ring
		if err := json.Unmarshal([]byte(last["ring"]), &ring); err != nil || len(ring.Members) != 6 {
			t.Errorf("%v, %v, %+v", names, err, ring)
		}
		if !strings.Contains(last["event"], "node6 has joined") && !strings.Contains(strings.Join(texts(page(t, h)), "\n"), "node6 has joined") {
			t.Errorf("the join is no event: %v", last["event"])
		}
		s.leave()
		<-s.ended
	})
}

// What has not changed is not sent again.
func TestQuietRingIsCheap(t *testing.T) {
	bubble(t, 50, func(t *testing.T, _ *webtest.Ring, h *web.Handler) {
		s := follow(t, h)
		time.Sleep(5 * time.Second)
		s.take(t)
		time.Sleep(60 * time.Second)
		names, _ := s.take(t)
		if slices.ContainsFunc(names, func(n string) bool { return n != "walk" }) || len(names) < 55 || len(names) > 61 {
			t.Errorf("in a minute: %v", names)
		}
		s.leave()
		<-s.ended
	})
}

func TestStreamsEndWithThePageAndAreBounded(t *testing.T) {
	bubble(t, 3, func(t *testing.T, _ *webtest.Ring, h *web.Handler) {
		var open []*stream
		full := func(client string) {
			t.Helper()
			last := followFrom(t, h, client)
			open = append(open, last)
			<-last.ended
			if last.status != http.StatusServiceUnavailable || last.head.Get("Retry-After") == "" {
				t.Errorf("one too many of %s: %d", client, last.status)
			}
		}
		for host := range 4 {
			for tab := range 16 {
				open = append(open, followFrom(t, h, fmt.Sprintf("192.0.2.%d:%d", host+1, 1000+tab)))
			}
			if host < 3 {
				full(fmt.Sprintf("192.0.2.%d:99", host+1))
			}
		}
		for _, s := range open[:16] { // one client has not kept the others out
			if names, _ := s.take(t); len(names) == 0 {
				t.Error("a stream has no page")
			}
		}
		full("192.0.2.9:1")
		open[0].leave() // which makes room
		<-open[0].ended
		again := follow(t, h)
		if names, _ := again.take(t); len(names) == 0 {
			t.Error("there is no room though one has left")
		}
		h.Close()
		for _, s := range append(open, again) {
			<-s.ended
			s.leave()
		}
	})
}

func TestBrokenStreamEnds(t *testing.T) {
	bubble(t, 3, func(t *testing.T, _ *webtest.Ring, h *web.Handler) {
		s := follow(t, h)
		s.mu.Lock()
		s.broken = true
		s.mu.Unlock()
		<-s.ended // at the next walk, or the latest at the next heartbeat
		s.leave()
	})
}

func TestWalksAreShared(t *testing.T) {
	bubble(t, 5, func(t *testing.T, r *webtest.Ring, h *web.Handler) {
		time.Sleep(time.Minute)
		if got := r.Walks(); got != 0 {
			t.Errorf("%d walks while nobody looks", got)
		}
		var open []*stream
		for range 10 {
			open = append(open, follow(t, h))
		}
		for range 100 {
			page(t, h)
			time.Sleep(100 * time.Millisecond)
		}
		if got := r.Walks(); got < 9 || got > 11 {
			t.Errorf("%d walks in 10 s of looking", got)
		}
		for _, s := range open {
			s.leave()
			<-s.ended
		}
		time.Sleep(2 * time.Second)
		before := r.Walks()
		time.Sleep(time.Minute)
		if got := r.Walks(); got != before {
			t.Errorf("%d walks after all have gone", got-before)
		}
	})
}

func TestWhatHappensIsTold(t *testing.T) {
	bubble(t, 8, func(t *testing.T, r *webtest.Ring, h *web.Handler) {
		told := map[string]bool{}
		expect := func(wants ...string) {
			t.Helper()
			time.Sleep(1500 * time.Millisecond)
			p := page(t, h)
			var fresh []string
			for _, e := range p.Events {
				if key := fmt.Sprint(e.Seq); !told[key] {
					told[key] = true
					fresh = append(fresh, e.Text)
				}
			}
			for _, want := range wants {
				if !slices.ContainsFunc(fresh, func(s string) bool { return regexp.MustCompile(want).MatchString(s) }) {
					t.Errorf("nothing like %q in %q", want, fresh)
				}
			}
			if len(fresh) != len(wants) {
				t.Errorf("%q, want %q", fresh, wants)
			}
		}
		expect(`node1 is responsible for [\d.]+ % of the keys \(joined\)`, "8 members found in the ring")
		expect()
		r.Join("ninth")
		expect("ninth has joined")
		r.Hush("ninth")
		expect("ninth does not answer", "things are wrong, the first: ")
		r.Wake("ninth")
		expect("ninth answers again", "nothing is wrong with the ring any more")
		r.Kill("ninth")
		expect("ninth is gone: it left, or failed")
		pred := r.Status().Predecessor.Name
		r.Kill(pred)
		expect(pred+" is gone", `node1 gained [\d.]+ % of the keys \(predecessor failed\)`)
		r.Join(pred)
		expect(pred+" has joined", `node1 gave up [\d.]+ % of the keys \(predecessor joined\)`)
		r.Phase(concord.PhaseLeaving)
		expect("node1 is leaving")
		p := page(t, h)
		if i := slices.IndexFunc(p.Events, func(e web.Event) bool { return e.Text == "ninth has joined" }); i < 0 ||
			p.Events[i].After.IsZero() || !p.Events[i].At.After(p.Events[i].After) || p.Events[i].Member.Name != "ninth" {
			t.Errorf("%+v", p.Events)
		}
	})
}

func TestEventsAreBounded(t *testing.T) {
	bubble(t, 3, func(t *testing.T, r *webtest.Ring, h *web.Handler) {
		page(t, h)
		for i := range 400 {
			r.Join(fmt.Sprint("x", i))
		}
		time.Sleep(2 * time.Second)
		p := page(t, h)
		if n := len(p.Events); n != 250 || p.Events[n-1].Seq < 400 {
			t.Errorf("%d events, the last is number %d", n, p.Events[n-1].Seq)
		}
	})
}

func TestGoneMembersFadeAndAreForgotten(t *testing.T) {
	bubble(t, 4, func(t *testing.T, r *webtest.Ring, h *web.Handler) {
		s := follow(t, h)
		time.Sleep(3 * time.Second)
		r.Kill("node3")
		time.Sleep(2 * time.Second)
		state := func() web.State {
			for _, m := range page(t, h).Ring.Members {
				if m.Name == "node3" {
					return m.State
				}
			}
			return ""
		}
		if got := state(); got != web.Gone {
			t.Errorf("it is %q", got)
		}
		time.Sleep(15 * time.Second)
		if got := state(); got != "" {
			t.Errorf("after 15 s it is %q", got)
		}
		s.leave()
		<-s.ended
	})
}

// A walk that does not come round says nothing about those whom it has not met.
func TestHalfAWalkKillsNobody(t *testing.T) {
	bubble(t, 9, func(t *testing.T, r *webtest.Ring, h *web.Handler) {
		page(t, h)
		r.Fail(errors.New("concord: cut short"))
		time.Sleep(2 * time.Second)
		p := page(t, h)
		if p.Walk.Error != "cut short" || len(p.Ring.Members) != 9 {
			t.Errorf("%+v, %d members", p.Walk, len(p.Ring.Members))
		}
		for _, m := range p.Ring.Members {
			if m.State != web.Here || len(m.Wrong) > 0 {
				t.Errorf("%+v", m)
			}
		}
		r.Fail(nil)
		time.Sleep(2 * time.Second)
		if p := page(t, h); p.Walk.Error != "" {
			t.Errorf("%+v", p.Walk)
		}
	})
}

func TestLookupGivesThePath(t *testing.T) {
	bubble(t, 16, func(t *testing.T, _ *webtest.Ring, h *web.Handler) {
		w := get(h, request("/lookup?key=pear"))
		var l web.Lookup
		if err := json.Unmarshal(w.Body.Bytes(), &l); err != nil || w.Code != http.StatusOK {
			t.Fatalf("%d, %v: %s", w.Code, err, w.Body)
		}
		if l.Owner == nil || len(l.Hops) == 0 || l.Hops[len(l.Hops)-1].Server != *l.Owner || l.Key != "pear" {
			t.Errorf("%+v", l)
		}
		var raw web.Lookup
		if err := json.Unmarshal(get(h, request("/lookup?key=%FFx")).Body.Bytes(), &raw); err != nil || string(raw.KeyBase64) != "\xffx" || l.KeyBase64 != nil {
			t.Errorf("a key that is not UTF-8: %v, %+v; one that is: %q", err, raw, l.KeyBase64)
		}
		for path, want := range map[string]int{
			"/lookup": 400, "/lookup?key=": 400, "/lookup?key=" + strings.Repeat("a", 1025): 400, "/lookup?key=" + strings.Repeat("a", 1024): 200,
		} {
			if w := get(h, request(path)); w.Code != want || w.Header().Get("Content-Type") != "application/json" {
				t.Errorf("%.20s: %d", path, w.Code)
			}
		}
	})
}

func TestLookupsAreBounded(t *testing.T) {
	bubble(t, 4, func(t *testing.T, r *webtest.Ring, h *web.Handler) {
		release := r.Block()
		codes := make(chan int, 4)
		from := func(host string) *http.Request {
			r := request("/lookup?key=a")
			r.RemoteAddr = host
			return r
		}
		refused := func(host string) {
			t.Helper()
			if w := get(h, from(host)); w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" {
				t.Errorf("one too many of %s: %d", host, w.Code)
			}
		}
		for _, host := range []string{"[2001:db8::1]:1", "[2001:db8::2]:1", "192.0.2.1:1", "192.0.2.1:2"} {
			go func() { codes <- get(h, from(host)).Code }()
			synctest.Wait()
			if host == "[2001:db8::2]:1" {
				refused("[2001:db8::3]:1") // of the same network
			}
		}
		refused("192.0.2.2:1")
		release()
		for range 4 {
			if code := <-codes; code != http.StatusOK {
				t.Errorf("%d", code)
			}
		}
	})
}

// Whoever gives up gets the hops until then, if there is somebody to get them.
func TestLookupThatFailsSaysWhy(t *testing.T) {
	bubble(t, 4, func(t *testing.T, r *webtest.Ring, h *web.Handler) {
		defer r.Block()()
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		w := get(h, request("/lookup?key=a").WithContext(ctx))
		var l web.Lookup
		if err := json.Unmarshal(w.Body.Bytes(), &l); err != nil || w.Code != http.StatusServiceUnavailable || l.Error == "" || l.Owner != nil {
			t.Errorf("%d, %v: %s", w.Code, err, w.Body)
		}
	})
}

func TestMetaIsALinkOnlyIfItIsAPage(t *testing.T) {
	bubble(t, 4, func(t *testing.T, r *webtest.Ring, h *web.Handler) {
		page(t, h)
		var m web.Meta
		w := get(h, request(fmt.Sprintf("/meta?id=%d", r.Member("node2").Id)))
		if err := json.Unmarshal(w.Body.Bytes(), &m); err != nil || m.URL != "http://"+r.Member("node2").Address+"/" {
			t.Errorf("%v: %s", err, w.Body)
		}
		for path, want := range map[string]int{"/meta": 400, "/meta?id=x": 400, "/meta?id=-1": 400, "/meta?id=12345": 404} {
			if got := get(h, request(path)).Code; got != want {
				t.Errorf("%s: %d", path, got)
			}
		}
	})
	for said, want := range map[string]string{
		"http://a:1/": "http://a:1/", "https://a/b?c": "https://a/b?c",
		"javascript:alert(1)": "", "//a/": "", "data:text/html,x": "", "http:///x": "", "http://me:secret@a/": "", "hello": "", "": "", "\xff\xfe": "",
	} {
		if got := web.MetaURL([]byte(said)); got != want {
			t.Errorf("%q: %q", said, got)
		}
	}
}
