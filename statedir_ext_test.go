package concord_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/transport/memory"
)

// keeps makes a member remember in dir.
func keeps(dir string) func(*concord.Config) {
	return func(c *concord.Config) { c.StateDir = dir }
}

// journal takes a member's log.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.String()
}

func (j *journal) handler() slog.Handler { return slog.NewTextHandler(j, nil) }

func (j *journal) takes(c *concord.Config) { c.LogHandler = j.handler() }

// kept is what the file in dir says.
type kept struct {
	Version     int
	Name        string
	Incarnation uint64
	Members     []concord.Server
}

func readKept(dir string) (k kept, err error) {
	data, err := os.ReadFile(filepath.Join(dir, "ring.json"))
	if err != nil {
		return k, err
	}
	return k, json.Unmarshal(data, &k)
}

// remembers waits until the file in dir names n members.
func remembers(t *testing.T, dir string, n int) kept {
	t.Helper()
	var k kept
	eventually(t, func() (err error) {
		if k, err = readKept(dir); err == nil && len(k.Members) != n {
			err = fmt.Errorf("%+v: want %d members", k, n)
		}
		return err
	})
	return k
}

// Every address that was ever configured is gone. The members, which all restart at
// once, find each other and found the ring again.
func TestWholeRingRestartsThoughItsSeedsAreGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		network.Delay(time.Millisecond, 20*time.Millisecond)
		dir := t.TempDir()
		member := func(i int) *concord.Concord {
			name := fmt.Sprintf("member%d", i)
			return memoryMember(t, network, name, keeps(filepath.Join(dir, name)))
		}
		seed := memoryMember(t, network, "seed")
		if err := seed.Create(); err != nil {
			t.Fatal(err)
		}
		all := []*concord.Concord{seed}
		for i := range 8 {
			c := member(i)
			if err := c.JoinOrCreate(t.Context(), "seed:1"); err != nil {
				t.Fatal(err)
			}
			all = append(all, c)
		}
		untilIdeal(t, 15*time.Second, all)
		time.Sleep(10 * time.Second)
		stopAll(all)

		began := time.Now()
		var members []*concord.Concord
		failed := make(chan error, 8)
		for i := range 8 {
			c := member(i)
			members = append(members, c)
			go func() { failed <- c.JoinOrCreate(context.Background(), "seed:1") }()
		}
		for range members {
			if err := receive(t, failed, time.Minute, "JoinOrCreate"); err != nil {
				t.Fatal(err)
			}
		}
		untilIdeal(t, 15*time.Second, members)
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("one ring again after %v", took)
		} else {
			t.Logf("one ring again after %v", took)
		}
		stopAll(members)
	})
}

// The founder has no address but its own, and comes back to the ring that it
// founded.
func TestFounderThatRestartsFindsItsRing(t *testing.T) {
	dir := t.TempDir()
	c := create(t, "founder", keeps(dir))
	var ring []*concord.Concord
	for i := range 2 {
		m := start(t, fmt.Sprintf("member%d", i))
		join(t, m, c.Address())
		ring = append(ring, m)
	}
	awaitIdeal(t, append(ring, c))
	for _, by := range []struct {
		what string
		back func(*concord.Concord) error
	}{
		{"Join without an address", func(c *concord.Concord) error { return c.Join(t.Context()) }},
		{"Join by one that is dead", func(c *concord.Concord) error { return c.Join(t.Context(), nobody(t)) }},
		{"JoinOrCreate by its own", func(c *concord.Concord) error { return c.JoinOrCreate(t.Context(), c.Address()) }},
		{"Create, after which the rings become one", func(c *concord.Concord) error { return c.Create() }},
	} {
		c.Stop()
		if k := remembers(t, dir, 3); k.Name != "founder" || k.Version != 1 || k.Incarnation != c.Status().Incarnation {
			t.Errorf("before %s: %+v", by.what, k)
		}
		awaitIdeal(t, ring)
		c = start(t, "founder", keeps(dir))
		if err := by.back(c); err != nil {
			t.Fatalf("%s: %v", by.what, err)
		}
		awaitIdeal(t, append(ring, c))
	}
}

func TestNothingIsRememberedAndNoAddressGiven(t *testing.T) {
	c := start(t, "c", keeps(t.TempDir()))
	wantErr(t, "Join", c.Join(t.Context()), concord.ErrAddress)
	wantErr(t, "JoinOrCreate", c.JoinOrCreate(t.Context()), concord.ErrAddress)
}

// The clock of the machine went back between two incarnations.
func TestIncarnationRisesThoughTheClockWentBack(t *testing.T) {
	dir := t.TempDir()
	then := time.Now().Add(1000 * time.Hour)
	future := uint64(then.UnixMilli())
	data := fmt.Sprintf(`{"version":1,"name":"c","cluster":"","incarnation":%d,"saved":%q,"members":[]}`, future, then.Format(time.RFC3339))
	if err := os.WriteFile(filepath.Join(dir, "ring.json"), []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range uint64(3) {
		c := start(t, "c", keeps(dir))
		if got := c.Status().Incarnation; got != future+1+i {
			t.Errorf("incarnation number %d: incarnation %d, want %d", i, got, future+1+i)
		}
		c.Stop()
		if k, err := readKept(dir); err != nil || k.Incarnation != future+1+i {
			t.Errorf("incarnation number %d: %+v, %v", i, k, err)
		}
	}
}

// An incarnation that no clock has shown is not taken over: others would refuse the
// member for it. The members remembered are of use all the same.
func TestIncarnationOfTheStateFileThatCannotBeIsNotUsed(t *testing.T) {
	other := create(t, "other")
	for _, n := range []uint64{math.MaxUint64, math.MaxUint64 - 1, 1 << 44, uint64(time.Now().Add(25 * time.Hour).UnixMilli())} {
		dir := t.TempDir()
		data := fmt.Sprintf(`{"version":1,"name":"c","cluster":"","incarnation":%d,"saved":%q,"members":[{"name":"other","address":%q}]}`,
			n, time.Now().Format(time.RFC3339), other.Address())
		if err := os.WriteFile(filepath.Join(dir, "ring.json"), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		var log journal
		c := start(t, "c", keeps(dir), log.takes)
		if got := c.Status().Incarnation; got == 0 || got > uint64(time.Now().UnixMilli()) {
			t.Errorf("%d: incarnation %d", n, got)
		}
		join(t, c)
		c.Stop()
		if text := log.String(); !strings.Contains(text, "state not used") || !strings.Contains(text, fmt.Sprint(n)) {
			t.Errorf("%d: the log says %q", n, text)
		}
		if k, err := readKept(dir); err != nil || k.Incarnation > uint64(time.Now().UnixMilli()) || len(k.Members) == 0 {
			t.Errorf("%d: %+v, %v", n, k, err)
		}
	}
}

func TestDamagedStateIsSetAsideAndLogged(t *testing.T) {
	for what, tc := range map[string]struct{ content, says string }{
		"garbage":            {"\x00\x01", "is damaged: invalid character"},
		"of another member":  {`{"version":1,"name":"other","cluster":""}`, "other"},
		"of another cluster": {`{"version":1,"name":"c","cluster":"prod"}`, "prod"},
		"of a later program": {`{"version":7,"name":"c","cluster":""}`, "version 7"},
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "ring.json"), []byte(tc.content), 0o600); err != nil {
				t.Fatal(err)
			}
			var log journal
			c := create(t, "c", keeps(dir), log.takes)
			c.Stop()
			if !strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), tc.says) || !strings.Contains(log.String(), "set aside as") {
				t.Errorf("the log does not tell:\n%s", log.String())
			}
			aside, err := filepath.Glob(filepath.Join(dir, "ring.json.damaged-*"))
			if err != nil || len(aside) != 1 {
				t.Fatalf("%v, %v", aside, err)
			}
			if got, err := os.ReadFile(aside[0]); err != nil || string(got) != tc.content {
				t.Errorf("%q, %v", got, err)
			}
			remembers(t, dir, 1)
		})
	}
}

// Nothing can be written. What is there is used all the same.
func TestReadOnlyStateDir(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("directories are not read-only there")
	}
	dir := t.TempDir()
	ring := newRing(t, 2)
	data := fmt.Sprintf(`{"version":1,"name":"c","cluster":"","incarnation":5,"members":[{"name":"member1","address":%q}]}`, ring[0].Address())
	if err := os.WriteFile(filepath.Join(dir, "ring.json"), []byte(data), 0o400); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		// Permissions do not bind root: directories are in the way of the files.
		for _, name := range []string{"ring.lock", "ring.json.new"} {
			if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
				t.Fatal(err)
			}
		}
	} else {
		if err := os.Chmod(dir, 0o500); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Chmod(dir, 0o700) })
	}
	var log journal
	c := start(t, "c", keeps(dir), log.takes)
	join(t, c)
	awaitIdeal(t, append(ring, c))
	c.Stop()
	if n := strings.Count(log.String(), "state not used"); n != 1 {
		t.Errorf("it is said %d times that the directory cannot be used:\n%s", n, log.String())
	}
	if n := strings.Count(log.String(), "state not saved"); n != 1 {
		t.Errorf("it is said %d times that nothing is saved:\n%s", n, log.String())
	}
	if k, err := readKept(dir); err != nil || k.Incarnation != 5 {
		t.Errorf("%+v, %v", k, err)
	}
}

func TestTwoMembersWithOneStateDir(t *testing.T) {
	if runtime.GOOS == "windows" || runtime.GOOS == "plan9" {
		t.Skip("files are not locked there")
	}
	dir := t.TempDir()
	a := start(t, "a", keeps(dir))
	b := concord.New(configure("b", keeps(dir)))
	err := b.Start()
	var ce *concord.ConfigError
	if !errors.As(err, &ce) || ce.Field != "StateDir" {
		t.Fatalf("%v", err)
	}
	mentions(t, err, "another member")
	a.Stop()
	if err := b.Start(); err != nil {
		t.Errorf("after the first has stopped: %v", err)
	}
	b.Stop()
	if err := a.Start(); err != nil {
		t.Errorf("started again: %v", err)
	}
	bad := concord.New(configure("c", keeps(t.TempDir()), func(c *concord.Config) { c.BindAddr = a.Address() }))
	for range 2 { // a Start that fails gives the directory back
		var ce *concord.ConfigError
		if err := bad.Start(); !errors.As(err, &ce) || ce.Field != "BindAddr" {
			t.Errorf("%v", err)
		}
	}
}

// The file is not written again and again.
func TestStateIsWrittenSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		dir := t.TempDir()
		path := filepath.Join(dir, "ring.json")
		a := memoryMember(t, network, "a", keeps(dir))
		if err := a.Create(); err != nil {
			t.Fatal(err)
		}
		var written []time.Duration
		began := time.Now()
		last := ""
		look := func() {
			if data, err := os.ReadFile(path); err == nil && string(data) != last {
				last = string(data)
				written = append(written, time.Since(began))
			}
		}
		all := []*concord.Concord{a}
		for i := range 12 {
			time.Sleep(200 * time.Millisecond)
			c := memoryMember(t, network, fmt.Sprintf("m%d", i))
			if err := c.Join(t.Context(), "a:1"); err != nil {
				t.Fatal(err)
			}
			all = append(all, c)
			look()
		}
		for range 300 {
			time.Sleep(time.Second)
			look()
		}
		t.Logf("written at %v", written)
		for i, at := range written {
			if i > 1 && at-written[i-1] < 2*time.Second {
				t.Errorf("written at %v and at %v", written[i-1], at)
			}
		}
		if n := len(written); n < 2 || n > 9 {
			t.Errorf("written %d times in five minutes", n)
		}
		if k, err := readKept(dir); err != nil || len(k.Members) < 10 {
			t.Errorf("%+v, %v", k, err)
		}
		stopAll(all)
	})
}
