package deadline_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord/internal/transport/deadline"
)

type key struct{}

// Whether or not anybody waits for it, a context ends at the earliest of its time, its
// parent's end and End, and then for good.
func TestContextEnds(t *testing.T) {
	const limit = 3 * time.Second
	cases := []struct {
		name string
		end  func(c *deadline.Context, cancel func())
		want error
	}{
		{"at its time", func(*deadline.Context, func()) { time.Sleep(limit) }, context.DeadlineExceeded},
		{"with its parent", func(_ *deadline.Context, cancel func()) { cancel() }, context.Canceled},
		{"by End", func(c *deadline.Context, _ func()) { c.End(context.Canceled) }, context.Canceled},
	}
	for _, x := range cases {
		for _, waited := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				parent, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, 7))
				defer cancel()
				c := deadline.New(parent, time.Now().Add(limit))
				if at, ok := c.Deadline(); !ok || time.Until(at) != limit {
					t.Errorf("%s: the deadline is %v", x.name, at)
				}
				if waited {
					c.Done()
				}
				time.Sleep(limit - 1)
				synctest.Wait()
				if c.Err() != nil || c.Value(key{}) != 7 {
					t.Fatalf("%s, Done called %v: before, the error is %v and the value %v", x.name, waited, c.Err(), c.Value(key{}))
				}
				x.end(c, cancel)
				synctest.Wait()
				if err := c.Err(); !errors.Is(err, x.want) {
					t.Errorf("%s, Done called %v: the error is %v; want %v", x.name, waited, err, x.want)
				}
				select {
				case <-c.Done():
				default:
					t.Errorf("%s, Done called %v: Done is not closed", x.name, waited)
				}
				c.End(errors.New("later"))
				if err := c.Err(); !errors.Is(err, x.want) {
					t.Errorf("%s, Done called %v: afterwards the error is %v", x.name, waited, err)
				}
			})
		}
	}
}

// The deadline of the parent counts if it is earlier, or the only one.
func TestDeadlineOfTheParent(t *testing.T) {
	early, late := time.Now().Add(time.Hour), time.Now().Add(2*time.Hour)
	parent, cancel := context.WithDeadline(t.Context(), early)
	defer cancel()
	for _, at := range []time.Time{{}, late} {
		if got, ok := deadline.New(parent, at).Deadline(); !ok || !got.Equal(early) {
			t.Errorf("of %v and %v: %v", at, early, got)
		}
	}
	if _, ok := deadline.New(t.Context(), time.Time{}).Deadline(); ok {
		t.Error("there is a deadline without one")
	}
}
