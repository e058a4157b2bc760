package bootstrap

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

var (
	me  = Identity{Name: "node1", Cluster: "prod"}
	now = time.Date(2026, 11, 22, 14, 6, 19, 5e6, time.UTC)
)

func open(t *testing.T, dir string, who Identity) *State {
	t.Helper()
	s, err := Open(dir, who)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func someMemory() Memory {
	return Memory{Incarnation: 1<<63 + 7, Members: []Recalled{{"node1", "node1:7946"}, {"n\x01\"ü", "[::1]:1"}}, Variants: []uint8{0, 7, 3}, Saved: now}
}

func TestMemoryIsKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "if need be")
	s := open(t, dir, me)
	if m, err := s.Load(now); err != nil || !reflect.DeepEqual(m, Memory{}) {
		t.Errorf("before anything was saved: %+v, %v", m, err)
	}
	want := someMemory()
	for range 2 {
		if err := s.Save(want, now); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	if m, err := open(t, dir, me).Load(now); err != nil || !reflect.DeepEqual(m, want) {
		t.Errorf("%+v, %v; want %+v", m, err, want)
	}
	if names := list(t, dir); !reflect.DeepEqual(names, []string{"ring.json", "ring.lock"}) {
		t.Errorf("the directory holds %v", names)
	}
}

func TestClusterThatIsNotUTF8(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Identity{Name: "node1", Cluster: "a\xff\xfeb"})
	if err := s.Save(someMemory(), now); err != nil {
		t.Fatal(err)
	}
	if m, err := s.Load(now); err != nil || len(m.Members) != 2 {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestLongestFileThatIsWrittenIsRead(t *testing.T) {
	s := open(t, t.TempDir(), me)
	m := Memory{Saved: now}
	for i := range MaxRecalled {
		m.Members = append(m.Members, Recalled{
			Name:    fmt.Sprintf("%03d", i) + strings.Repeat("\x01", 252),
			Address: strings.Repeat("<", 255) + fmt.Sprintf(":%d", 10000+i),
		})
	}
	if err := s.Save(m, now); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(s.dir, stateFile))
	if err != nil || info.Size() > maxState/2 {
		t.Errorf("%v, %d bytes", err, info.Size())
	}
	if got, err := s.Load(now); err != nil || !reflect.DeepEqual(got, m) {
		t.Errorf("%v", err)
	}
}

// What cannot be used is reported and set aside, and the next Save begins anew.
func TestDamagedFileIsSetAside(t *testing.T) {
	many := strings.TrimSuffix(strings.Repeat(`{"name":"a","address":"a:1"},`, MaxRecalled+1), ",")
	for name, tc := range map[string]struct{ content, says string }{
		"empty":             {"", "is damaged: "},
		"cut off":           {`{"version":1,"name":"node1","cl`, "is damaged: "},
		"zeros":             {strings.Repeat("\x00", 4096), "is damaged: "},
		"something else":    {"[1, 2]", "is damaged: "},
		"another type":      {`{"version":1,"name":"node1","cluster":"prod","incarnation":-4}`, "is damaged: "},
		"no version":        {`{"name":"node1","cluster":"prod"}`, "version 0"},
		"a later version":   {`{"version":2,"name":"node1","cluster":"prod"}`, "version 2, this program knows 1"},
		"another member's":  {`{"version":1,"name":"node2","cluster":"prod"}`, `belongs to member "node2", not to "node1"`},
		"another cluster's": {`{"version":1,"name":"node1","cluster":"test"}`, `belongs to cluster "test", not to "prod"`},
		"no address":        {`{"version":1,"name":"node1","cluster":"prod","members":[{"name":"x","address":"x"}]}`, `member "x"`},
		"no such variant":   {`{"version":1,"name":"node1","cluster":"prod","variants":[0,8]}`, "identifier 1 has variant 8, there are 0 to 7"},
		"variants below 0":  {`{"version":1,"name":"node1","cluster":"prod","variants":[-1]}`, "identifier 0 has variant -1"},
		"too many variants": {`{"version":1,"name":"node1","cluster":"prod","variants":[` + strings.Repeat("0,", ring.MaxIdentifiers) + `0]}`, "1025 identifiers"},
		"too many":          {`{"version":1,"name":"node1","cluster":"prod","members":[` + many + `]}`, "33 members"},
		"too long":          {strings.Repeat(" ", maxState+1), "bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, stateFile)
			if err := os.WriteFile(path, []byte(tc.content), 0o600); err != nil {
				t.Fatal(err)
			}
			s := open(t, dir, me)
			m, err := s.Load(now)
			var d *Damage
			if !errors.As(err, &d) || !strings.Contains(err.Error(), tc.says) || !reflect.DeepEqual(m, Memory{}) {
				t.Fatalf("%+v, %v; want it to say %q", m, err, tc.says)
			}
			aside := path + ".damaged-20261122T140619.005Z"
			if d.Aside != aside || !strings.Contains(err.Error(), aside) {
				t.Errorf("set aside as %q: %v", d.Aside, err)
			}
			if kept, err := os.ReadFile(aside); err != nil || string(kept) != tc.content {
				t.Errorf("what was set aside: %v", err)
			}
			if m, err := s.Load(now); err != nil || !reflect.DeepEqual(m, Memory{}) {
				t.Errorf("again: %+v, %v", m, err)
			}
			if err := s.Save(someMemory(), now); err != nil {
				t.Error(err)
			}
		})
	}
}

// What a crash in the middle of a Save leaves is of no consequence.
func TestSaveThatWasCutOff(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, me)
	if err := s.Save(someMemory(), now); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, stateFile+".new"), []byte(`{"version":1,"na`), 0o600); err != nil {
		t.Fatal(err)
	}
	if m, err := s.Load(now); err != nil || !reflect.DeepEqual(m, someMemory()) {
		t.Errorf("%+v, %v", m, err)
	}
	next := Memory{Incarnation: 9}
	if err := s.Save(next, now); err != nil {
		t.Fatal(err)
	}
	if m, err := s.Load(now); err != nil || m.Incarnation != 9 || len(m.Members) != 0 {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestOneMemberADirectory(t *testing.T) {
	if runtime.GOOS == "windows" || runtime.GOOS == "plan9" {
		t.Skip("nobody is kept out here")
	}
	dir := t.TempDir()
	s := open(t, dir, me)
	for _, who := range []Identity{me, {Name: "node2"}} {
		if _, err := Open(dir, who); !errors.Is(err, ErrInUse) {
			t.Errorf("%s: %v", who.Name, err)
		}
	}
	s.Close()
	open(t, dir, me)
}

func TestDirectoryThatCannotBeUsed(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(plain, me); err == nil || errors.Is(err, ErrInUse) {
		t.Errorf("a file for a directory: %v", err)
	}
	dir := t.TempDir()
	s := open(t, dir, me)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := s.Save(someMemory(), now); err == nil {
		t.Error("saved in a directory that is gone")
	}
}

func TestMerge(t *testing.T) {
	of := func(names ...string) (out []Recalled) {
		for _, n := range names {
			out = append(out, Recalled{Name: n, Address: n + ":1"})
		}
		return out
	}
	moved := []Recalled{{Name: "b", Address: "new:1"}}
	if got, want := Merge(moved, of("a", "b", "c")), slices.Concat(moved, of("a", "c")); !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	var many []string
	for i := range 2 * MaxRecalled {
		many = append(many, fmt.Sprint(i))
	}
	if got := Merge(of("x"), of(many...)); len(got) != MaxRecalled || got[0].Name != "x" || got[1].Name != "0" {
		t.Errorf("%d: %v", len(got), got)
	}
}

func list(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
