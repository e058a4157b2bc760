//go:build unix

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// stuck is a stream whose reader reads a record each time that it is told to.
type stuck struct {
	read chan struct{}
	lockedLog
}

func (s *stuck) Write(b []byte) (int, error) {
	<-s.read
	return s.lockedLog.Write(b)
}

func TestJournalNeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stuck{read: make(chan struct{})}
		j := newJournal(s, format(slog.LevelInfo, true))
		record := fmt.Appendf(nil, "%s\n", strings.Repeat("x", 1023))
		const most = maxJournal / 1024
		for range most + 1 + 5 { // one is being written
			if n, err := j.Write(record); n != len(record) || err != nil {
				t.Fatalf("%d, %v", n, err)
			}
			synctest.Wait()
		}
		if lost := j.lost.Load(); lost != 5 {
			t.Errorf("%d lost, want 5", lost)
		}
		began := time.Now()
		j.flush()
		if took := time.Since(began); took != journalGrace {
			t.Errorf("waited %v for a reader", took)
		}
		close(s.read) // the reader is back
		j.flush()
		said := s.take()
		if n := strings.Count(said, string(record)); n != most+1 {
			t.Errorf("%d records written, want %d", n, most+1)
		}
		if want := `"records":5}`; strings.Count(said, want) != 1 || !strings.HasSuffix(said, want+"\n") {
			t.Errorf("it does not end with %s: %.200s", want, said[strings.LastIndex(strings.TrimSpace(said), "\n"):])
		}
	})
}

// broken fails while it has an error, after some bytes if it is told so.
type broken struct {
	lockedLog
	err   error
	after int
}

func (b *broken) Write(p []byte) (int, error) {
	if b.err == nil {
		return b.lockedLog.Write(p)
	}
	n, _ := b.lockedLog.Write(p[:min(b.after, len(p))])
	return n, b.err
}

func TestJournalOutlivesABrokenStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &broken{err: syscall.EPIPE}
		j := newJournal(b, format(slog.LevelInfo, false))
		write := func(text string) {
			if _, err := j.Write([]byte(text + "\n")); err != nil {
				t.Fatal(err)
			}
			j.flush()
		}
		for range 3 {
			write("lost")
		}
		b.err, b.after = syscall.ENOSPC, 2 // a part of the line finds room
		write("cut")
		if lost := j.lost.Load(); lost != 4 {
			t.Errorf("%d lost, want 4", lost)
		}
		b.take()
		b.err = nil
		write("kept")
		if said := b.take(); !regexp.MustCompile(`^\n.* records=4\nkept\n$`).MatchString(said) {
			t.Errorf("then it says %q", said)
		}
		write("kept")
		if said := b.take(); said != "kept\n" {
			t.Errorf("and then %q", said)
		}
	})
}

func TestTLSFilesAreReadThoughNobodyReadsTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, flags := pki(t, "m")
		s := &stuck{read: make(chan struct{})}
		j := newJournal(s, format(slog.LevelInfo, false))
		r, err := flags.renewing(slog.New(j.handler(j)))
		if err != nil {
			t.Fatal(err)
		}
		done, ended := make(chan struct{}), make(chan struct{})
		go func() { defer close(ended); r.follow(done) }()
		for range 3 {
			other, _ := pki(t, "m")
			before := r.now.Load()
			replace(t, other, dir, "m.pem", "m-key.pem", caFile)
			time.Sleep(2 * tlsAgain)
			synctest.Wait()
			if r.now.Load() == before {
				t.Error("new files are not used")
			}
		}
		close(done)
		<-ended
		close(s.read)
		j.flush()
	})
}

// logsTo runs a member that logs to w, and prints there, too, if both is set. It waits
// until the member is in a ring of two and returns the other one, and unless both is
// set how many records are lost, as the metric says.
func logsTo(t *testing.T, w *os.File, both bool) (m, other *member, lost func() string) {
	t.Helper()
	other, ready := runMember(t, "--name", "other")
	_, addr, _ := strings.Cut(ready, "address=")
	systemd := newNotified(t, filepath.Join(t.TempDir(), "notify"))
	m = &member{Cmd: command(t, "run", "--name", "m", "--bind", "127.0.0.1:0", "--log-level", "debug", "--join", addr, "--metrics", ":0")}
	m.Env = append(os.Environ(), "NOTIFY_SOCKET="+systemd.path)
	m.Stdout, m.Stderr = w, w
	if !both {
		m.Stdout = nil
		out, err := m.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		m.out = bufio.NewScanner(out)
	}
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		m.Process.Kill()
		m.Wait()
	})
	w.Close()
	systemd.await(t, "READY=1")
	if both {
		return m, other, nil
	}
	_, metrics, _ := strings.Cut(m.line(t), " metrics=")
	return m, other, func() string {
		answer, err := http.Get(metrics)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		found := regexp.MustCompile(`(?m)^concord_log_lost_records_total (\d+)$`).FindSubmatch(text)
		if found == nil {
			t.Fatalf("no such metric:\n%s", text)
		}
		return string(found[1])
	}
}

// leavesWell checks that a member ends well and that the other was told.
func leavesWell(t *testing.T, m, other *member) {
	t.Helper()
	if got := other.ask(t, "status"); len(got.Status.Successors) != 1 {
		t.Errorf("before it leaves: %+v", got.Status)
	}
	m.Process.Signal(syscall.SIGTERM)
	if err := m.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
	if got := other.ask(t, "status"); len(got.Status.Successors) != 0 || got.Status.Phase != "joined" {
		t.Errorf("the other was not told: %+v", got.Status)
	}
	other.in.Close()
	if err := other.Wait(); err != nil || !strings.Contains(other.logs.String(), `cause="predecessor left"`) && !strings.Contains(other.logs.String(), "cause=alone") {
		t.Errorf("%v: %s", err, other.logs.String())
	}
}

// As of `2>&1 | tee log` when Ctrl-C ends tee first, and of a journal that starts anew.
func TestMemberOutlivesTheReaderOfItsLog(t *testing.T) {
	t.Parallel()
	for what, both := range map[string]bool{"of its log": false, "of all": true} {
		t.Run(what, func(t *testing.T) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			r.Close()
			m, other, lost := logsTo(t, w, both)
			if !both && lost() == "0" {
				t.Error("no record is counted as lost")
			}
			leavesWell(t, m, other)
		})
	}
}

func TestMemberDoesNotWaitForTheReaderOfItsLog(t *testing.T) {
	t.Parallel()
	for what, both := range map[string]bool{"of its log": false, "of all": true} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			fill(t, w)
			m, other, lost := logsTo(t, w, both)
			if !both {
				lost() // it answers
			}
			leavesWell(t, m, other)
		})
	}
}

// fill writes to a pipe until there is no room.
func fill(t *testing.T, w *os.File) {
	t.Helper()
	fd := int(w.Fd())
	if err := syscall.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	var err error
	for _, size := range []int{4096, 1} {
		for err = nil; err == nil; {
			_, err = syscall.Write(fd, make([]byte, size))
		}
	}
	if !errors.Is(err, syscall.EAGAIN) {
		t.Fatal(err)
	}
	if err := syscall.SetNonblock(fd, false); err != nil {
		t.Fatal(err)
	}
}

// unread is an output that nobody reads.
type unread struct{ wanted, never chan struct{} }

func (u unread) Write([]byte) (int, error) {
	u.wanted <- struct{}{}
	<-u.never
	return 0, io.ErrClosedPipe
}

func TestWatchEndsThoughNobodyReadsIt(t *testing.T) {
	_, ready := runMember(t, "--name", "a", "--admin", ":0")
	_, addr, _ := strings.Cut(ready, "admin=")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := unread{make(chan struct{}, 1), make(chan struct{})}
	defer close(out.never)
	watch := newWatch()
	watch.SetArgs([]string{"--admin", addr})
	watch.SetOut(out)
	ended := make(chan error, 1)
	go func() { ended <- watch.ExecuteContext(ctx) }()
	select {
	case <-out.wanted:
	case <-time.After(patience):
		t.Fatal("the first event never came")
	}
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("it goes on")
	}
}

// A unit that is stopped has not failed.
func TestStoppedWhileJoiningIsNoFailure(t *testing.T) {
	t.Parallel()
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := dead.Addr().String()
	dead.Close()
	for how, flags := range map[string][]string{
		"join":  {"--join", addr},
		"found": {"--found", "--join", addr, "--found-after", "1h"},
		"state": {"--state-dir", t.TempDir(), "--join", addr},
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			systemd := newNotified(t, filepath.Join(t.TempDir(), "notify"))
			m := runWith(t, []string{"NOTIFY_SOCKET=" + systemd.path}, append(flags, "--name", "a", "--json")...)
			systemd.await(t, "STATUS=joining")
			m.Process.Signal(syscall.SIGTERM)
			if told := systemd.await(t, "STOPPING=1"); strings.Contains(told, "READY=1") {
				t.Errorf("told %q", told)
			}
			if err := m.Wait(); err != nil || !strings.Contains(m.logs.String(), "ended before it was in a ring") {
				t.Errorf("%v: %s", err, m.logs.String())
			}
		})
	}
}

// Who reads the log as JSON reads all of it so.
func TestRunFailsInJSON(t *testing.T) {
	t.Parallel()
	taken, ready := runMember(t, "--name", "taken")
	_, addr, _ := strings.Cut(ready, "address=")
	for what, c := range map[string]struct {
		env  string
		args []string
		want string
	}{
		"no such flag":          {"", []string{"--nme", "x", "--json"}, "unknown flag: --nme"},
		"no value of a flag":    {"", []string{"--json=true", "--successors", "many"}, "--successors"},
		"an argument":           {"", []string{"--json", "node1"}, "takes flags only"},
		"an argument, by env":   {"CONCORD_JSON=1", []string{"node1"}, "takes flags only"},
		"a variable":            {"CONCORD_SUCCESSORS=many", []string{"--name", "x", "--json"}, "CONCORD_SUCCESSORS"},
		"no name":               {"", []string{"--json"}, "--name node1"},
		"no name, by env":       {"CONCORD_JSON=true", nil, "--name node1"},
		"log level":             {"", []string{"--name", "x", "--json", "--log-level", "loud"}, "--log-level"},
		"two mistakes":          {"", []string{"--name", "x", "--json", "--bind", "7946", "--successors", "99"}, "--bind: "},
		"port in use":           {"", []string{"--name", "x", "--json", "--bind", addr}, "in use"},
		"no certificate":        {"", []string{"--name", "x", "--json", "--tls-cert", "/none", "--tls-key", "/none", "--tls-ca", "/none"}, "--tls-cert"},
		"a name that is taken":  {"", []string{"--name", "taken", "--json", "--bind", "127.0.0.1:0", "--join", addr}, "choose another --name"},
		"port in use, warnings": {"", []string{"--name", "x", "--json", "--bind", addr, "--log-level", "error"}, "in use"},
	} {
		t.Run(what, func(t *testing.T) {
			cmd := command(t, append([]string{"run"}, c.args...)...)
			cmd.Env = append(os.Environ(), c.env)
			var out, logs lockedLog
			cmd.Stdout, cmd.Stderr = &out, &logs
			if err := cmd.Run(); err == nil || cmd.ProcessState.ExitCode() != 1 {
				t.Errorf("ends with %v", err)
			}
			if said := out.take(); said != "" {
				t.Errorf("prints %q", said)
			}
			var last struct{ Time, Level, Msg, Err string }
			text := logs.take()
			for line := range strings.Lines(text) {
				if err := json.Unmarshal([]byte(line), &last); err != nil || last.Time == "" || last.Msg == "" {
					t.Errorf("%v: %s", err, line)
				}
			}
			if last.Level != "ERROR" || last.Msg != "ended with an error" || !strings.Contains(last.Err, c.want) || strings.HasPrefix(last.Err, "concord:") {
				t.Errorf("ends with %+v, wants %q:\n%s", last, c.want, text)
			}
		})
	}
	taken.in.Close()
}
