package admin

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

// member answers probes as it is told.
type member struct {
	mu           sync.Mutex
	alive, ready error
}

func (m *member) set(alive, ready error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.alive, m.ready = alive, ready
}

func (m *member) probes() Probes {
	probe := func(of *error) func() error {
		return func() error {
			m.mu.Lock()
			defer m.mu.Unlock()
			return *of
		}
	}
	return Probes{Alive: probe(&m.alive), Ready: probe(&m.ready)}
}

func serve(t *testing.T, m *member, addr string) (s *Server, logs *bytes.Buffer) {
	t.Helper()
	return serveConfig(t, Config{Addr: addr, Probes: m.probes()})
}

func serveConfig(t *testing.T, cfg Config) (s *Server, logs *bytes.Buffer) {
	t.Helper()
	logs = new(bytes.Buffer)
	cfg.Log = slog.New(slog.NewTextHandler(logs, nil))
	s, err := Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, logs
}

func get(t *testing.T, url string) (code int, body string) {
	t.Helper()
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func dial(t *testing.T, s *Server) *grpc.ClientConn {
	t.Helper()
	cc, err := grpc.NewClient("passthrough:///"+s.Addr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cc.Close() })
	return cc
}

func TestProbesOverHTTP(t *testing.T) {
	m := &member{}
	s, _ := serve(t, m, ":0")
	url := "http://" + s.Addr()
	for _, step := range []struct {
		alive, ready    error
		healthz, readyz int
		says            string
	}{
		{nil, nil, 200, 200, "ok\n"},
		{nil, errors.New("still joining"), 200, 503, "still joining\n"},
		{errors.New("hangs"), nil, 503, 200, "ok\n"},
	} {
		m.set(step.alive, step.ready)
		if code, body := get(t, url+"/healthz"); code != step.healthz {
			t.Errorf("healthz: %d %q, want %d", code, body, step.healthz)
		}
		if code, body := get(t, url+"/readyz"); code != step.readyz || body != step.says {
			t.Errorf("readyz: %d %q, want %d %q", code, body, step.readyz, step.says)
		}
	}
	if code, _ := get(t, url+"/nothing"); code != 404 {
		t.Errorf("a path that is not there: %d", code)
	}
	resp, err := http.Post(url+"/readyz", "text/plain", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", resp.StatusCode)
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestHealthService(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	m := &member{}
	s, _ := serve(t, m, "127.0.0.1:0")
	client := healthpb.NewHealthClient(dial(t, s))
	watch, err := client.Watch(ctx, &healthpb.HealthCheckRequest{Service: HealthService})
	if err != nil {
		t.Fatal(err)
	}
	for _, ready := range []error{nil, errors.New("isolated"), nil} {
		m.set(nil, ready)
		want := healthpb.HealthCheckResponse_SERVING
		if ready != nil {
			want = healthpb.HealthCheckResponse_NOT_SERVING
		}
		for _, service := range []string{"", HealthService} {
			if r, err := client.Check(ctx, &healthpb.HealthCheckRequest{Service: service}); err != nil || r.GetStatus() != want {
				t.Errorf("%q: %v, %v; want %v", service, r.GetStatus(), err, want)
			}
		}
		if r, err := client.List(ctx, &healthpb.HealthListRequest{}); err != nil || len(r.GetStatuses()) != 2 || r.GetStatuses()[HealthService].GetStatus() != want {
			t.Errorf("list: %v, %v", r, err)
		}
		if r, err := watch.Recv(); err != nil || r.GetStatus() != want {
			t.Errorf("watch: %v, %v; want %v", r.GetStatus(), err, want)
		}
	}
	if _, err := client.Check(ctx, &healthpb.HealthCheckRequest{Service: "other"}); status.Code(err) != codes.NotFound {
		t.Errorf("an unknown service: %v", err)
	}
	other, err := client.Watch(ctx, &healthpb.HealthCheckRequest{Service: "other"})
	if err != nil {
		t.Fatal(err)
	}
	if r, err := other.Recv(); err != nil || r.GetStatus() != healthpb.HealthCheckResponse_SERVICE_UNKNOWN {
		t.Errorf("watching an unknown service: %v, %v", r.GetStatus(), err)
	}
	s.Close() // does not wait for those who watch
	if _, err := watch.Recv(); err == nil {
		t.Error("a watch goes on after the end")
	}
}

func TestReflectionListsWhatIsRegistered(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s, _ := serve(t, &member{}, ":0")
	stream, err := grpc_reflection_v1.NewServerReflectionClient(dial(t, s)).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	err = stream.Send(&grpc_reflection_v1.ServerReflectionRequest{
		MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{},
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if list := r.GetListServicesResponse().String(); !strings.Contains(list, "grpc.health.v1.Health") {
		t.Errorf("lists %s", list)
	}
}

func TestListensOnLoopbackUnlessToldOtherwise(t *testing.T) {
	for addr, open := range map[string]bool{":0": false, "localhost:0": false, "127.0.0.1:0": false, "0.0.0.0:0": true} {
		s, logs := serve(t, &member{}, addr)
		s.Close()
		if warned := strings.Contains(logs.String(), "open to other machines"); warned != open {
			t.Errorf("%s, bound to %s: log %q", addr, s.Addr(), logs)
		}
	}
	if _, err := Listen(Config{Addr: "7950", Log: slog.Default()}); err == nil || !strings.Contains(err.Error(), "neither host:port nor unix:PATH") {
		t.Errorf("no address: %v", err)
	}
}

func TestProfilesAreServedIfAskedFor(t *testing.T) {
	for _, asked := range []bool{false, true} {
		s, _ := serveConfig(t, Config{Addr: ":0", Probes: (&member{}).probes(), Profiles: asked})
		want := map[bool]int{true: 200, false: 404}[asked]
		for _, path := range []string{"", "goroutine?debug=1", "cmdline"} {
			if code, _ := get(t, "http://"+s.Addr()+"/debug/pprof/"+path); code != want {
				t.Errorf("asked for: %t: %s: %d, want %d", asked, path, code, want)
			}
		}
	}
}

// A web site that an operator visits can have the browser send HTTP to loopback.
func TestWebSitesDoNotReachTheListener(t *testing.T) {
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "secret") })
	s, _ := serveConfig(t, Config{Addr: ":0", Hosts: []string{"node1.example.com"}, Probes: (&member{}).probes(), Metrics: metrics, Profiles: true})
	for _, c := range []struct {
		name, host, site string
		want             int
	}{
		{"by its address", "", "", 200},
		{"by its name", "node1.example.com:7950", "", 200},
		{"by another name", "evil.example.com", "", 403},
		{"from another site", "", "cross-site", 403},
		{"from another port", "", "same-site", 403},
	} {
		for _, path := range []string{"/metrics", "/debug/pprof/cmdline", "/debug/pprof/heap"} {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Addr()+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Host = c.host
			r.Header.Set("Sec-Fetch-Site", c.site)
			client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
			resp, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode != c.want || c.want != 200 && strings.Contains(string(body), "secret") {
				t.Errorf("%s: %s: %d %.40q", c.name, path, resp.StatusCode, body)
			}
		}
	}
}
