package admin

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

func TestSocketIsTheUsersAlone(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the mode of a socket means nothing here")
	}
	path := filepath.Join(t.TempDir(), "admin")
	s, logs := serve(t, &member{}, "unix:"+path)
	if s.Addr() != "unix:"+path || logs.Len() > 0 {
		t.Errorf("at %s, logged %q", s.Addr(), logs)
	}
	is, err := os.Lstat(path)
	if err != nil || is.Mode() != fs.ModeSocket|0o600 {
		t.Fatalf("%v, %v", is.Mode(), err)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
	client := http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}}
	resp, err := client.Get("http://localhost/readyz")
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(resp.Body); string(b) != "ok\n" {
		t.Errorf("readyz: %q", b)
	}
	resp.Body.Close()
	cc, err := grpc.NewClient(s.Addr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	if _, err := healthpb.NewHealthClient(cc).Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
		t.Error(err)
	}
	s.Close()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after the end: %v", err)
	}
}

func TestSocketThatIsThere(t *testing.T) {
	cfg := func(path string) Config {
		return Config{Addr: "unix:" + path, Probes: (&member{}).probes(), Log: slog.New(slog.DiscardHandler)}
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "admin")

	// One that a process has left behind is replaced.
	old, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	old.SetUnlinkOnClose(false)
	old.Close()
	s, err := Listen(cfg(path))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()

	// One at which a process listens is not.
	if _, err := Listen(cfg(path)); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a second listener: %v", err)
	}

	// A file is not touched.
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(cfg(file)); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("a file: %v", err)
	}
	if b, err := os.ReadFile(file); string(b) != "text" {
		t.Errorf("the file: %q, %v", b, err)
	}

	// The end of a listener leaves what has taken its place.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if b, err := os.ReadFile(path); string(b) != "text" {
		t.Errorf("what has taken the place of the socket: %q, %v", b, err)
	}

	for _, path := range []string{"", "@abstract", dir + "/", filepath.Join(dir, "none", "admin")} {
		if s, err := Listen(cfg(path)); err == nil {
			s.Close()
			t.Errorf("%q is accepted", path)
		}
	}
}
