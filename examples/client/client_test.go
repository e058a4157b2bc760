package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ollelogdahl/concord"
)

// ring is a ring of n members.
func ring(t *testing.T, n int) []*concord.Concord {
	t.Helper()
	var members []*concord.Concord
	for i := range n {
		c := concord.New(concord.Config{Name: fmt.Sprintf("node%d", i), BindAddr: "127.0.0.1:0", StabilizeInterval: 50 * time.Millisecond})
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Stop() })
		if i == 0 {
			if err := c.Create(); err != nil {
				t.Fatal(err)
			}
		} else if err := c.Join(t.Context(), members[0].Address()); err != nil {
			t.Fatal(err)
		}
		members = append(members, c)
	}
	// Settled: each knows all others, and who is before it.
	knowsAll := func(c *concord.Concord) bool {
		_, ok := c.Predecessor()
		return ok && len(c.Successors()) == n-1
	}
	for began := time.Now(); slices.ContainsFunc(members, func(c *concord.Concord) bool { return !knowsAll(c) }); {
		if time.Since(began) > 10*time.Second {
			t.Fatal("the ring does not settle")
		}
		<-time.After(5 * time.Millisecond)
	}
	return members
}

func TestClientPrintsTheServersOfKeys(t *testing.T) {
	members := ring(t, 3)
	via := []string{"127.0.0.1:1", members[1].Address()}
	for name, tc := range map[string]struct {
		keys   []string
		in     string
		copies int
		lines  int
	}{
		"arguments": {[]string{"apple", "pear"}, "not read", 1, 2},
		"input":     {nil, "apple\npear\n\nplum\n", 1, 4},
		"copies":    {[]string{"apple", "pear"}, "", 2, 4},
		"nothing":   {nil, "", 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			if err := run(t.Context(), &out, strings.NewReader(tc.in), via, tc.copies, tc.keys); err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(out.String(), "\n"); n != tc.lines {
				t.Errorf("%d lines, want %d:\n%s", n, tc.lines, out.String())
			}
			if tc.lines == 0 {
				return
			}
			key, named, _ := strings.Cut(strings.SplitN(out.String(), "\n", 2)[0], " -> ")
			s, err := members[0].LookupContext(t.Context(), []byte(key), concord.Fresh())
			if err != nil || !slices.ContainsFunc(members, func(c *concord.Concord) bool { return c.Id() == s.Id }) {
				t.Fatal(s, err)
			}
			if want := fmt.Sprintf("%s (%d) %s", s.Name, s.Id, s.Address); named != want {
				t.Errorf("%s is at %s, printed %s", key, want, named)
			}
		})
	}
}

func TestClientSaysWhatIsWrong(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	var out strings.Builder
	err := run(ctx, &out, strings.NewReader(""), []string{"127.0.0.1:1"}, 1, []string{"apple"})
	if !errors.Is(err, concord.ErrUnavailable) || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("%v", err)
	}
	if err := run(ctx, &out, nil, nil, 0, []string{"apple"}); err == nil || !strings.Contains(err.Error(), "-copies") {
		t.Errorf("%v", err)
	}
}
