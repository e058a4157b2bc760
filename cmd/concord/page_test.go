//go:build unix

package main

import (
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/ollelogdahl/concord/internal/web"
)

// A member's page is where its ready line says, on loopback unless told otherwise,
// with its health beside it, and the other members' pages lead to it.
func TestRunServesThePage(t *testing.T) {
	_, ready := runMember(t, "--name", "a", "--http", ":0", "--http-host", "ring.example.com")
	_, rest, _ := strings.Cut(ready, "address=")
	addr, url, ok := strings.Cut(rest, " page=")
	if !ok || !strings.HasPrefix(url, "http://127.0.0.1:") {
		t.Fatalf("no page in %q", ready)
	}
	_, ready = runMember(t, "--name", "b", "--http", "127.0.0.1:0", "--join", addr)
	_, other, _ := strings.Cut(ready, " page=")

	var p web.Page
	code, body := httpGet(t, other+"?format=json")
	if err := json.Unmarshal([]byte(body), &p); err != nil || code != 200 || len(p.Ring.Members) != 2 {
		t.Fatalf("%d, %v: %s", code, err, body)
	}
	var m web.Meta
	for _, x := range p.Ring.Members {
		if x.Name == "a" {
			id, _ := x.ID.MarshalText()
			code, body = httpGet(t, other+"meta?id="+string(id))
		}
	}
	if err := json.Unmarshal([]byte(body), &m); err != nil || m.URL != url {
		t.Errorf("%d: %s leads to %q, should lead to %q", code, body, m.URL, url)
	}
	if code, body := httpGet(t, url+"readyz"); code != 200 || body != "ok\n" {
		t.Errorf("readyz: %d %q", code, body)
	}
	for host, want := range map[string]int{"ring.example.com": 200, "evil.example.com": 403} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("asked as %s: %d", host, answer.StatusCode)
		}
	}
}

func TestOthersAreToldOfAPageTheyCanReach(t *testing.T) {
	for _, c := range []struct{ listen, bind, advertise, want string }{
		{"127.0.0.1:0", "127.0.0.1:7946", "", "http://127.0.0.1:PORT/"},
		{"127.0.0.1:0", ":7946", "localhost:7946", "http://127.0.0.1:PORT/"},
		{"127.0.0.1:0", ":7946", "node1.example.com:7946", ""},
		{"127.0.0.1:0", "10.0.0.7:7946", "", ""},
		{"0.0.0.0:0", ":7946", "node1.example.com:7946", "http://node1.example.com:PORT/"},
		{"0.0.0.0:0", "10.0.0.7:7946", "", "http://10.0.0.7:PORT/"},
	} {
		l, err := listenHTTP("--http", c.listen)
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ := net.SplitHostPort(l.Addr().String())
		f := runFlags{bind: c.bind, advertise: c.advertise}
		if got := string(f.pageMeta(l)); got != strings.ReplaceAll(c.want, "PORT", port) {
			t.Errorf("%+v: %q", c, got)
		}
		l.Close()
	}
}
