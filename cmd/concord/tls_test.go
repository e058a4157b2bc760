//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord"
)

// pki is a directory with a CA of its own and certificates of members. The flags are those
// of the first.
func pki(t *testing.T, names ...string) (dir string, f tlsFlags) {
	t.Helper()
	dir = t.TempDir()
	certs := certsFlags{dir: dir, host: []string{"127.0.0.1"}, days: 1}
	if err := certs.run(names, io.Discard, time.Now()); err != nil {
		t.Fatal(err)
	}
	return dir, tlsFlags{cert: filepath.Join(dir, names[0]+".pem"), key: filepath.Join(dir, names[0]+"-key.pem"), ca: filepath.Join(dir, caFile)}
}

// replace copies files of one directory over those of another.
func replace(t *testing.T, from, to string, names ...string) {
	t.Helper()
	for _, name := range names {
		pem, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, name), pem, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// lockedLog keeps what is logged until it is taken.
type lockedLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lockedLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lockedLog) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	said := l.text.String()
	l.text.Reset()
	return said
}

func TestTLSFilesAreReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, flags := pki(t, "m")
		other, _ := pki(t, "m")
		logs := &lockedLog{}
		r, err := flags.renewing(slog.New(slog.NewTextHandler(logs, nil)))
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		ended := make(chan struct{})
		go func() { defer close(ended); r.follow(done) }()
		// after is what is logged when files have changed, and whether others than
		// before are used then.
		after := func(what, logged string, news bool) {
			t.Helper()
			before := r.now.Load()
			time.Sleep(10 * tlsAgain)
			synctest.Wait()
			said := logs.take()
			if lines := strings.Count(said, "\n"); logged == "" && lines != 0 || logged != "" && lines != 1 || !strings.Contains(said, logged) {
				t.Errorf("%s: the log is %q; want one line with %q", what, said, logged)
			}
			if (r.now.Load() != before) != news {
				t.Errorf("%s: new files used: %v", what, !news)
			}
		}
		after("nothing has changed", "", false)
		replace(t, other, dir, "m.pem")
		after("a certificate without its key", "private key does not match", false)
		replace(t, other, dir, "m-key.pem")
		after("its key", "TLS files read again", true)
		replace(t, other, dir, caFile)
		after("the CA", "TLS files read again", true)
		if err := os.Remove(flags.ca); err != nil {
			t.Fatal(err)
		}
		after("a file that is gone", "--tls-ca: open", false)
		if err := os.WriteFile(flags.ca, []byte("half a file"), 0o600); err != nil {
			t.Fatal(err)
		}
		after("nonsense", "holds no PEM certificate", false)
		replace(t, other, dir, caFile)
		after("the file is back", "TLS files read again", true)
		close(done)
		<-ended
	})
}

// A member takes part in a ring of another CA without a restart.
func TestMemberUsesChangedTLSFiles(t *testing.T) {
	dir, flags := pki(t, "b")
	other, others := pki(t, "a", "b")
	member := func(name string, f tlsFlags) (*concord.Concord, *renewal) {
		r, err := f.renewing(slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		c := concord.New(concord.Config{Name: name, BindAddr: "127.0.0.1:0", TLS: r.config()})
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Stop() })
		return c, r
	}
	a, _ := member("a", others)
	if err := a.Create(); err != nil {
		t.Fatal(err)
	}
	b, r := member("b", flags)
	soon, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := b.Join(soon, a.Address()); !errors.Is(err, concord.ErrUnavailable) {
		t.Fatalf("joined with another CA's certificate: %v", err)
	}
	replace(t, other, dir, "b.pem", "b-key.pem", caFile)
	r.again()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	// The others reach it, too, or it would not be let in.
	if err := b.Join(ctx, a.Address()); err != nil {
		t.Error(err)
	}
}

func TestNoTLSFilesNothingToFollow(t *testing.T) {
	r, err := (&tlsFlags{}).renewing(nil)
	if r != nil || err != nil || r.config() != nil {
		t.Errorf("%v, %v", r, err)
	}
	r.follow(nil) // returns
}
