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
	logs = new(bytes.Buffer)
	s, err := Listen(Config{Addr: addr, Probes: m.probes(), Log: slog.New(slog.NewTextHandler(logs, nil))})
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
	if code, body := get(t, url+"/debug/pprof/goroutine?debug=1"); code != 200 || !strings.Contains(body, "TestProbesOverHTTP") {
		t.Errorf("pprof: %d, %d bytes", code, len(body))
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
	if _, err := Listen(Config{Addr: "7950", Log: slog.Default()}); err == nil || !strings.Contains(err.Error(), "host:port") {
		t.Errorf("no address: %v", err)
	}
}
