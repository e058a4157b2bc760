//go:build unix

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// notified is a fake systemd: a datagram socket that a process is told by.
type notified struct {
	conn *net.UnixConn
	path string
}

func newNotified(t *testing.T, name string) *notified {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &notified{conn: conn, path: name}
}

// await returns what was told up to the datagram that has this in it.
func (n *notified) await(t *testing.T, what string) (told string) {
	t.Helper()
	buf := make([]byte, 4096)
	for {
		if err := n.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		k, err := n.conn.Read(buf)
		if err != nil {
			t.Fatalf("not told %q: %v; told was %q", what, err, told)
		}
		told += string(buf[:k]) + "\n"
		if strings.Contains(string(buf[:k]), what) {
			return told
		}
	}
}

// runWith is runMember with more in the environment, without waiting for its line.
func runWith(t *testing.T, env []string, args ...string) *member {
	t.Helper()
	m := &member{Cmd: command(t, append([]string{"run", "--bind", "127.0.0.1:0"}, args...)...)}
	m.Env = append(os.Environ(), env...)
	m.Stderr = &m.logs
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		m.Process.Kill()
		m.Wait()
	})
	return m
}

func TestSystemdIsTold(t *testing.T) {
	systemd := newNotified(t, filepath.Join(t.TempDir(), "notify"))
	// Nobody is there yet: it is not ready before it has joined.
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := lis.Addr().String()
	lis.Close()
	m := runWith(t, []string{"NOTIFY_SOCKET=" + systemd.path, "WATCHDOG_USEC=40000"}, "--name", "a", "--join", addr)
	if told := systemd.await(t, "WATCHDOG=1"); strings.Contains(told, "READY=1") {
		t.Errorf("ready before it has joined: %q", told)
	}
	founder := runWith(t, nil, "--name", "founder", "--bind", addr)
	told := systemd.await(t, "READY=1")
	if !strings.Contains(told, "STATUS=in the ring") {
		t.Errorf("told %q", told)
	}
	for range 3 {
		systemd.await(t, "WATCHDOG=1")
	}
	m.Process.Signal(syscall.SIGTERM)
	systemd.await(t, "STOPPING=1")
	if err := m.Wait(); err != nil {
		t.Errorf("%v: %s", err, m.logs.String())
	}
	founder.Process.Signal(syscall.SIGTERM)
	if err := founder.Wait(); err != nil {
		t.Errorf("%v: %s", err, founder.logs.String())
	}
}

func TestWhoIsToBeTold(t *testing.T) {
	of := func(env map[string]string) supervisor { return newSupervisor(func(k string) string { return env[k] }) }
	me := fmt.Sprint(os.Getpid())
	for what, tc := range map[string]struct {
		env  map[string]string
		want supervisor
	}{
		"nobody":                  {nil, supervisor{}},
		"systemd":                 {map[string]string{"NOTIFY_SOCKET": "/n"}, supervisor{socket: "/n"}},
		"its watchdog":            {map[string]string{"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": me}, supervisor{"/n", 2 * time.Second}},
		"the watchdog of another": {map[string]string{"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1"}, supervisor{socket: "/n"}},
		"nonsense":                {map[string]string{"WATCHDOG_USEC": "-4"}, supervisor{}},
	} {
		if got := of(tc.env); got != tc.want {
			t.Errorf("%s: %+v, want %+v", what, got, tc.want)
		}
	}
	if err := (supervisor{}).tell("READY=1"); err != nil {
		t.Errorf("nobody: %v", err)
	}
	for _, socket := range []string{"relative", filepath.Join(t.TempDir(), "gone")} {
		if err := (supervisor{socket: socket}).tell("READY=1"); err == nil {
			t.Errorf("%s was told", socket)
		}
	}
}

// A member that does not live gives no sign of life.
func TestWatchdogIsNotToldOfTheDead(t *testing.T) {
	systemd := newNotified(t, filepath.Join(t.TempDir(), "notify"))
	s := supervisor{socket: systemd.path, watchdog: 2 * time.Millisecond}
	var asked int
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		s.watch(done, func() error {
			if asked++; asked == 5 {
				close(done)
			}
			return io.EOF
		})
	}()
	<-ended
	if err := s.tell("LAST"); err != nil {
		t.Fatal(err)
	}
	if told := systemd.await(t, "LAST"); told != "LAST\n" {
		t.Errorf("told %q", told)
	}
}

// logged waits for a line of the log, and returns what the group matches.
func (m *member) logged(t *testing.T, path, pattern string) string {
	t.Helper()
	deadline := time.Now().Add(patience)
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for time.Now().Before(deadline) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if found := regexp.MustCompile(pattern).FindStringSubmatch(string(data)); found != nil {
			return found[1]
		}
		<-again.C
	}
	t.Fatalf("nothing like %q in the log", pattern)
	return ""
}

func httpGet(t *testing.T, url string) (code int, body string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

// It is alive from the start, and ready when it has joined.
func TestProbesOfAProcess(t *testing.T) {
	logPath := filepath.Join(t.TempDir(), "log")
	log, err := os.Create(logPath)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := lis.Addr().String()
	lis.Close()
	m := &member{Cmd: command(t, "run", "--bind", "127.0.0.1:0", "--name", "a", "--join", addr, "--http", "127.0.0.1:0", "--admin", ":0", "--metrics", "127.0.0.1:0")}
	m.Stderr = log
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		m.Process.Kill()
		m.Wait()
	})
	urls := []string{
		"http://" + m.logged(t, logPath, `http listener" address=(\S+)`),
		"http://" + m.logged(t, logPath, `admin listener" address=(127\S+|\[::1\]\S+)`),
	}
	for _, url := range urls {
		if code, body := httpGet(t, url+"/healthz"); code != 200 {
			t.Errorf("%s: %d %s", url, code, body)
		}
		if code, body := httpGet(t, url+"/readyz"); code != 503 || !strings.Contains(body, "not joined") {
			t.Errorf("%s while it joins: %d %s", url, code, body)
		}
	}
	runWith(t, nil, "--name", "founder", "--bind", addr)
	deadline := time.Now().Add(patience)
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for _, url := range urls {
		for {
			code, body := httpGet(t, url+"/readyz")
			if code == 200 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: %d %s", url, code, body)
			}
			<-again.C
		}
	}
	if code, body := httpGet(t, urls[1]+"/metrics"); code != 200 || !strings.Contains(body, "\nconcord_joined 1\n") || !strings.Contains(body, `concord_requests_total{kind="notify",outcome="ok"} 1`) {
		t.Errorf("metrics: %d %q", code, body)
	}
	scraped := "http://" + m.logged(t, logPath, `metrics listener" address=(\S+)`)
	if code, body := httpGet(t, scraped+"/metrics"); code != 200 || !strings.Contains(body, "\nconcord_joined 1\n") {
		t.Errorf("metrics at their own listener: %d %q", code, body)
	}
	for _, path := range []string{"/", "/healthz", "/debug/pprof/", "/debug/pprof/cmdline"} {
		if code, _ := httpGet(t, scraped+path); code != 404 {
			t.Errorf("%s beside the metrics: %d", path, code)
		}
	}
	if code, _ := httpGet(t, urls[0]+"/metrics"); code != 404 {
		t.Errorf("metrics where anybody may look: %d", code)
	}
	if code, body := httpGet(t, urls[1]+"/debug/pprof/cmdline"); code != 404 {
		t.Errorf("pprof, which was not asked for: %d %q", code, body)
	}
	if code, _ := httpGet(t, urls[0]+"/debug/pprof/"); code != 404 {
		t.Errorf("pprof where anybody may look: %d", code)
	}
}

func TestProfilesOfAProcess(t *testing.T) {
	_, ready := runMember(t, "--name", "a", "--admin", ":0", "--pprof")
	_, addr, _ := strings.Cut(ready, "admin=")
	if code, body := httpGet(t, "http://"+addr+"/debug/pprof/cmdline"); code != 200 || !strings.Contains(body, "--pprof") {
		t.Errorf("%s: %d %q", addr, code, body)
	}
}

// Without --join it founds a ring the first time, and comes back to it afterwards.
func TestRunWithStateDirComesBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	a, ready := runMember(t, "--name", "a", "--state-dir", dir)
	_, addr, _ := strings.Cut(ready, "address=")
	b, _ := runMember(t, "--name", "b", "--join", addr)
	a.Process.Signal(syscall.SIGTERM)
	if err := a.Wait(); err != nil {
		t.Fatalf("%v: %s", err, a.logs.String())
	}
	again, _ := runMember(t, "--name", "a", "--state-dir", dir)
	if got := again.ask(t, "status"); got.Status == nil || len(got.Status.Successors) != 1 || got.Status.Successors[0].Name != "b" {
		t.Errorf("it is not back: %+v", got.Status)
	}
	out, err := command(t, "run", "--name", "c", "--bind", "127.0.0.1:0", "--state-dir", dir).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "--state-dir") || !strings.Contains(string(out), "another member") {
		t.Errorf("a second one with its directory: %v: %s", err, out)
	}
	// It cannot be read: that is said, and no reason to stay away.
	again.Process.Kill()
	again.Wait()
	if err := os.WriteFile(filepath.Join(dir, "ring.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	damaged, _ := runMember(t, "--name", "a", "--state-dir", dir)
	damaged.in.Close()
	if err := damaged.Wait(); err != nil || !strings.Contains(damaged.logs.String(), "ring.json.damaged-") {
		t.Errorf("%v: %s", err, damaged.logs.String())
	}
	b.in.Close()
}

// A name takes a while to follow a member that has moved. An address does not.
func TestRunWaitsForItsNameToBeKnown(t *testing.T) {
	founder, ready := runMember(t, "--name", "founder")
	defer founder.in.Close()
	_, addr, _ := strings.Cut(ready, "address=")
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(dead.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	out, err := command(t, "run", "--name", "a", "--bind", "127.0.0.1:0", "--join", addr, "--advertise", "127.0.0.1:"+port).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "--advertise must be") || strings.Contains(string(out), "yet") {
		t.Errorf("an address that leads nowhere: %v: %s", err, out)
	}

	logPath := filepath.Join(t.TempDir(), "log")
	log, err := os.Create(logPath)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	m := &member{Cmd: command(t, "run", "--name", "b", "--bind", "127.0.0.1:0", "--join", addr, "--advertise", "localhost:"+port)}
	m.Stderr = log
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		m.Process.Kill()
		m.Wait()
	})
	m.logged(t, logPath, `(not reachable by the advertised name yet)`)
	m.Process.Signal(syscall.SIGTERM)
	if err := m.Wait(); err != nil {
		t.Errorf("told to end before it was in the ring: %v", err)
	}
}
