//go:build unix

package attack

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ollelogdahl/concord/internal/child"
	"github.com/ollelogdahl/concord/internal/pb"
	"github.com/ollelogdahl/concord/internal/transport/attacktest"
)

// command builds the command concord, once.
var command = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "attack")
	if err != nil {
		return "", err
	}
	tidy = func() { os.RemoveAll(dir) }
	return child.Build(context.Background(), dir)
})

// process is a member in a process of its own.
func process(t *testing.T, args ...string) *child.Child {
	t.Helper()
	t.Parallel()
	bin := built(t) // which is not of the time that the member has to start
	c, err := child.Start(bounded(t, patience), child.Options{Binary: bin, Name: "m0", Args: args})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Kill)
	return c
}

func built(t *testing.T) string {
	t.Helper()
	bin, err := command()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// visit asks for a page as a browser would that a web site has led there; headers are name,
// value, …, and a Host among them is that.
func visit(t *testing.T, c *http.Client, url string, headers ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(bounded(t, patience), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		}
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// sites are what a browser says of requests that a web site causes.
var sites = map[string][]string{
	"DNS rebinding":    {"Host", "evil.example.com"},
	"a cross-site get": {"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image"},
	"a frame":          {"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"},
}

func TestWebSiteThatLooksAtThePage(t *testing.T) {
	c := process(t, "--http", "127.0.0.1:0")
	before, err := c.Status(bounded(t, patience))
	if err != nil {
		t.Fatal(err)
	}
	for what, headers := range sites {
		for _, path := range []string{"", "lookup?key=k", "events", "meta?name=m0"} {
			if code, body := visit(t, http.DefaultClient, c.Page+path, headers...); code != http.StatusForbidden || strings.Contains(body, c.Self.Address) {
				t.Errorf("%s: /%s is answered with %d: %s", what, path, code, body)
			}
		}
	}
	after, err := c.Status(bounded(t, patience))
	if err != nil {
		t.Fatal(err)
	}
	if n := after.Counters.Lookups - before.Counters.Lookups; n > 0 {
		t.Errorf("%d lookups were caused", n)
	}
}

// A browser that holds as many streams of the page as it can does not lock others out.
func TestStreamsOfOneBrowser(t *testing.T) {
	c := process(t, "--http", "127.0.0.1:0")
	from := func(host string) *http.Client {
		d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(host)}}
		tr := &http.Transport{DialContext: d.DialContext}
		t.Cleanup(tr.CloseIdleConnections)
		return &http.Client{Transport: tr}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	open := func(client *http.Client) int {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.Page+"events", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return resp.StatusCode
	}
	greedy := from("127.0.0.1")
	turnedAway := 0
	for range 40 {
		if open(greedy) != http.StatusOK {
			turnedAway++
		}
	}
	if turnedAway == 0 {
		t.Error("one browser holds 40 streams")
	}
	if code := open(from("127.0.0.2")); code != http.StatusOK {
		t.Errorf("another browser gets %d", code)
	}
}

func TestWebSiteThatOperatesAMember(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	admin := lis.Addr().String()
	lis.Close()
	c := process(t, "--admin", admin)
	for what, headers := range sites {
		for _, path := range []string{"/metrics", "/debug/pprof/heap", "/debug/pprof/cmdline"} {
			if code, body := visit(t, http.DefaultClient, "http://"+admin+path, headers...); code != http.StatusForbidden && code != http.StatusNotFound {
				t.Errorf("%s: %s is answered with %d: %.60s", what, path, code, body)
			}
		}
	}
	if code, _ := visit(t, http.DefaultClient, "http://"+admin+"/debug/pprof/cmdline"); code != http.StatusNotFound {
		t.Errorf("profiles that nobody has asked for are there: %d", code)
	}
	if st, err := c.Status(bounded(t, patience)); err != nil || st.Phase != "joined" {
		t.Errorf("the member is %v, %v", st.Phase, err)
	}
}

func TestSocketForOperators(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin")
	process(t, "--admin", "unix:"+path)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o600 {
		t.Errorf("the socket has mode %o", mode)
	}
}

// What a hostile member says is printed by the command. None of it moves a cursor, clears a
// screen or begins a line.
func TestWordsThatWriteToATerminal(t *testing.T) {
	t.Parallel()
	bin := built(t)
	evil := "\x1b[2J\x1b]0;owned\a\r\nready name=evil"
	p := peer(t, "evil", attacktest.Now(), func(p *attacktest.Peer) {
		p.OnRoute = func(*pb.RouteReq) (*pb.RouteResp, error) { return nil, status.Error(codes.Unavailable, evil) }
		p.OnPlace = func(*pb.PlaceReq) (*pb.PlaceResp, error) { return nil, status.Error(codes.InvalidArgument, evil) }
		p.OnRing = func(*pb.RingReq) (*pb.Ring, error) {
			r := p.Ring()
			r.Successors = []*pb.Server{world.Server("x"+evil, "127.0.0.1:1", attacktest.Now())}
			return r, nil
		}
		p.OnMeta = func(*pb.MetaReq) (*pb.MetaResp, error) {
			return &pb.MetaResp{Meta: []byte(evil), Answer: &pb.Answer{}}, nil
		}
	})
	for _, args := range [][]string{
		{"lookup", "--addr", p.Addr(), "--timeout", "1s", "key"}, {"trace", "--addr", p.Addr(), "--timeout", "1s", "key"},
		{"ring", "--addr", p.Addr(), "--timeout", "2s"}, {"run", "--name", "m0", "--bind", "127.0.0.1:0", "--join", p.Addr()},
	} {
		var out bytes.Buffer
		cmd := exec.CommandContext(bounded(t, 3*time.Second), bin, args...)
		cmd.Stdout, cmd.Stderr = &out, &out
		_ = cmd.Run() // it fails, or not
		if strings.ContainsAny(out.String(), "\x1b\a\r") || strings.Contains(out.String(), "\nready name=evil") {
			t.Errorf("%v prints %q", args, out.String())
		}
		if out.Len() == 0 {
			t.Errorf("%v prints nothing", args)
		}
	}
}
