package cluster_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/cluster"
)

func bounded(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func ideal(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	if _, err := c.WaitIdeal(bounded(t, 10*time.Second)); err != nil {
		t.Fatal(err)
	}
}

func TestClusterLivesThroughEveryKindOfChange(t *testing.T) {
	c := cluster.New(func(int) concord.Config { return concord.Config{StabilizeInterval: 100 * time.Millisecond} })
	defer c.Close()
	ctx := bounded(t, time.Minute)

	first, err := c.Add(ctx)
	if err != nil {
		t.Fatal(err)
	}
	ideal(t, c)
	if got := c.Truth([]byte("any")); got.Name != first.Name() {
		t.Errorf("the truth in a ring of one is %v", got)
	}
	if _, err := c.AddMany(ctx, 5, first); err != nil {
		t.Fatal(err)
	}
	ideal(t, c)
	if _, err := c.WaitLookups(bounded(t, 10*time.Second), []byte("a"), []byte("b"), []byte(first.Name())); err != nil {
		t.Fatal(err)
	}
	if got := c.Truth([]byte(first.Name())); got.Id != first.Id() {
		t.Errorf("a key at a member's identifier belongs to %v", got)
	}

	dead := c.Members()[2:4]
	c.Kill(dead...)
	if got := len(c.Members()); got != 4 {
		t.Fatalf("%d alive after two of six were killed", got)
	}
	ideal(t, c)
	again, err := c.Again(dead, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Join(ctx, again); err != nil {
		t.Fatal(err)
	}
	if again[0].Address() != dead[0].Address() {
		t.Errorf("back at %s, was at %s", again[0].Address(), dead[0].Address())
	}
	ideal(t, c)
	if err := c.Leave(bounded(t, 5*time.Second), c.Members()[0]); err != nil {
		t.Fatal(err)
	}
	ideal(t, c)
}

func TestWrongNamesWhatIsWrong(t *testing.T) {
	c := cluster.New(func(int) concord.Config { return concord.Config{StabilizeInterval: 100 * time.Millisecond} })
	defer c.Close()
	if _, err := c.AddMany(bounded(t, 10*time.Second), 3); err != nil {
		t.Fatal(err)
	}
	ideal(t, c)
	gone := c.Members()[1]
	if err := gone.Stop(); err != nil { // behind the cluster's back
		t.Fatal(err)
	}
	if got, want := c.Wrong(), gone.Name()+": is stopped"; !strings.Contains(got, want) {
		t.Errorf("Wrong says %q, want %q in it", got, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.WaitIdeal(ctx); err == nil || !strings.Contains(err.Error(), gone.Name()) {
		t.Errorf("WaitIdeal says %v, want the name of %s in it", err, gone.Name())
	}
	if wrong, n := c.WrongLookups(bounded(t, 5*time.Second), []byte("k")); n != 3 || !strings.Contains(wrong, gone.Name()) {
		t.Errorf("%d lookups, wrong %q", n, wrong)
	}
}

func ExampleCluster() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c := cluster.New(func(i int) concord.Config {
		return concord.Config{Name: fmt.Sprintf("node%d", i+1), StabilizeInterval: 100 * time.Millisecond}
	})
	defer c.Close()
	if _, err := c.AddMany(ctx, 3); err != nil {
		fmt.Println(err)
		return
	}
	if _, err := c.WaitIdeal(ctx); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.Truth([]byte("my-key")).Name)
	// Output: node1
}
