package remote

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/admin"
	"github.com/ollelogdahl/concord/internal/cluster"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait for something that must happen.
const patience = 10 * time.Second

// fill sets every field that v has, each to something else.
func fill(v reflect.Value, n *int) {
	*n++
	if at, ok := reflect.TypeAssert[*time.Time](v.Addr()); ok {
		*at = time.Unix(int64(*n), int64(*n)).UTC()
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for _, field := range v.Fields() {
			fill(field, n)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fill(v.Index(i), n)
		}
	case reflect.String:
		v.SetString(fmt.Sprint("s", *n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Uint64:
		v.SetUint(1<<63 + uint64(*n)) // more digits than a float has
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Float64:
		v.SetFloat(float64(*n) + 1.0/3)
	default:
		panic("a field of kind " + v.Kind().String() + ": say here and in convert.go what becomes of it")
	}
}

// A field that is added to Status or Event and forgotten here is found.
func TestNothingIsLostOnTheWay(t *testing.T) {
	var s concord.Status
	var e concord.Event
	n := 0
	fill(reflect.ValueOf(&s).Elem(), &n)
	fill(reflect.ValueOf(&e).Elem(), &n)
	for _, s := range []concord.Status{s, {Successors: []concord.Server{}, Fingers: []concord.Finger{}, Ranges: []concord.Range{}, Acquaintances: []concord.Server{}, Failures: []concord.PeerFailure{}}} {
		r, err := pbStatus(s)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := readStatus(r); err != nil || !reflect.DeepEqual(got, s) {
			t.Errorf("%+v, %v\nwant\n%+v", got, err, s)
		}
	}
	for _, e := range []concord.Event{e, {}} {
		if got := readEvent(pbEvent(e)); !reflect.DeepEqual(got, e) {
			t.Errorf("%+v\nwant\n%+v", got, e)
		}
	}
}

// member is a ring of one, served.
func member(t *testing.T, name string, leave func(*concord.Concord) error) (node *concord.Concord, s *admin.Server, c *Client) {
	t.Helper()
	node = concord.New(concord.Config{Name: name, BindAddr: cluster.Address(), StabilizeInterval: 50 * time.Millisecond})
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	if err := node.Create(); err != nil {
		t.Fatal(err)
	}
	s, err := admin.Listen(admin.Config{
		Addr: ":0", Probes: admin.Probes{Alive: node.Alive, Ready: node.Ready}, Log: slog.New(slog.DiscardHandler),
		Services: Services(node, func() error { return leave(node) }),
	})
	if err != nil {
		t.Fatal(err)
	}
	if c, err = Dial(s.Addr()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		s.Close()
		node.Stop()
	})
	return node, s, c
}

func TestStatusWatchAndLeave(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	a, _, c := member(t, "a", func(n *concord.Concord) error { return n.Leave(ctx) })
	st, err := c.Status(ctx)
	if want := a.Status(); err != nil || st.Self != want.Self || st.Phase != "joined" || *st.Range != *want.Range || st.Incarnation != want.Incarnation {
		t.Errorf("%+v, %v", st, err)
	}
	b := concord.New(concord.Config{Name: "b", BindAddr: cluster.Address()})
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	defer b.Stop()
	var causes []concord.Cause
	var ranges []concord.Range
	for e, err := range c.Watch(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		causes = append(causes, e.Cause)
		ranges = append(ranges, e.New)
		switch len(causes) {
		case 1:
			if e.Had || !e.Has {
				t.Errorf("first %+v", e)
			}
			if err := b.Join(ctx, a.Address()); err != nil {
				t.Fatal(err)
			}
		case 2:
			if len(e.Lost) != 1 || e.To.Name != "b" {
				t.Errorf("%+v", e)
			}
			if err := c.Leave(ctx); err != nil { // which ends the loop
				t.Errorf("leave: %v", err)
			}
		}
	}
	if len(causes) < 2 || causes[0] != concord.CauseCreated || causes[1] != concord.CausePredecessorJoined || ranges[1] != (concord.Range{Start: b.Id(), End: a.Id()}) {
		t.Errorf("%v %v", causes, ranges)
	}
	if st, err := c.Status(ctx); err != nil || st.Phase != "stopped" {
		t.Errorf("after it has left: %+v, %v", st, err)
	}
}

func TestLeaveThatNobodyAcknowledges(t *testing.T) {
	_, _, c := member(t, "a", func(*concord.Concord) error { return context.DeadlineExceeded })
	if err := c.Leave(t.Context()); !errors.Is(err, ErrUnacknowledged) || !strings.Contains(err.Error(), "deadline") {
		t.Errorf("%v", err)
	}
}

func TestBreakingOffAWatch(t *testing.T) {
	_, s, c := member(t, "a", nil)
	count := 0
	for range c.Watch(t.Context()) {
		count++
		break
	}
	over, cancel := context.WithCancel(t.Context())
	var last error
	for _, err := range c.Watch(over) {
		cancel()
		last = err
	}
	cancel()
	if count != 1 || !errors.Is(last, context.Canceled) {
		t.Errorf("%d, %v", count, last)
	}
	last = nil
	closed := make(chan struct{})
	for _, err := range c.Watch(t.Context()) {
		if last = err; err == nil {
			go func() { // Close waits for the watch, and so for this loop
				defer close(closed)
				s.Close()
			}()
		}
	}
	<-closed
	if !errors.Is(last, ErrUnavailable) {
		t.Errorf("the listener is closed: %v", last)
	}
}

func TestErrorsSayWhatIsAtTheAddress(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	node, _, _ := member(t, "a", nil)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for addr, want := range map[string]error{closed.Addr().String(): ErrUnavailable, node.Address(): ErrNotAdmin} {
		c, err := Dial(addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		var watched error
		for _, err := range c.Watch(ctx) {
			watched = err
		}
		_, asked := c.Status(ctx)
		for what, err := range map[string]error{"status": asked, "watch": watched, "leave": c.Leave(ctx)} {
			if !errors.Is(err, want) {
				t.Errorf("%s: %v; want %v", what, err, want)
			}
		}
	}
}
