package transporttest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/ringmap"
	"github.com/ollelogdahl/concord/internal/transport"
)

// updates are messages to a client of every kind.
func updates() []ringmap.Update {
	list := make([]ringmap.Announcement, 300)
	for i := range list {
		of := Member(fmt.Sprintf("member %d", i), fmt.Sprintf("host:%d", i+1), uint64(i+1))
		list[i] = ringmap.Announcement{ID: of.ID, After: of.ID - 9, Epoch: 1<<61 + 5, Incarnation: of.Incarnation, Of: &of}
	}
	short := list[7]
	short.Of = nil
	zoned := list[8]
	zoned.Zone, zoned.Zoned = "zone", true
	return []ringmap.Update{
		{Interval: time.Second, Successors: 64, Claims: list, More: true, Cleared: []uint32{0, 1, 4095}},
		{Claims: []ringmap.Announcement{short, zoned}, Gone: []uint64{0, 1<<64 - 1}, Doubts: []uint64{5}, Clock: time.Millisecond},
		{Aged: true, Age: 4321 * time.Millisecond, Clock: 5 * time.Minute},
		{Aged: true},
		{Aged: true, Age: time.Millisecond, Partly: true, Through: 1<<64 - 1},
		{Aged: true, Partly: true},
		{},
	}
}

func testSubscribe(t *testing.T, r *rig) {
	type asked struct {
		env transport.Envelope
		sub ringmap.Subscription
	}
	got := make(chan asked, 1)
	b := r.start("b", &Handler{OnSubscribe: func(ctx context.Context, env transport.Envelope, sub *ringmap.Subscription, send func(*ringmap.Update) error) error {
		got <- asked{env, sub.Clone()}
		for _, u := range updates() {
			if err := send(&u); err != nil {
				return err
			}
		}
		<-ctx.Done()
		return ctx.Err()
	}})
	a := r.start("a", nil)
	env := transport.Envelope{To: b.self, Settings: Settings}
	enough := errors.New("enough")
	for _, sub := range []ringmap.Subscription{{}, {Sums: []uint32{1, 1<<32 - 1, 0, 5}}} {
		want := updates()
		err := a.Subscribe(r.context(), env, &sub, func(u *ringmap.Update) error {
			same(t, *u, want[0])
			if want = want[1:]; len(want) == 0 {
				return enough
			}
			return nil
		})
		if !errors.Is(err, enough) {
			t.Errorf("the subscription ended by %v", err)
		}
		x := Await(t, got, "the subscription arrives")
		same(t, x.sub, sub)
		env := transport.Envelope{To: ring.Member{ID: b.self.ID, Incarnation: b.self.Incarnation}, Settings: Settings}
		x.env.Source = env.Source
		same(t, x.env, env)
	}
}

// A subscription ends as any request: by a failure of the member, by either side's end, and
// by giving up, which the member learns of.
func testSubscriptionsEnd(t *testing.T, r *rig) {
	gone := make(chan struct{}, 16)
	var refuse *protocol.Failure
	b := r.start("b", &Handler{OnSubscribe: func(ctx context.Context, _ transport.Envelope, _ *ringmap.Subscription, send func(*ringmap.Update) error) error {
		if refuse != nil {
			return refuse
		}
		if err := send(&ringmap.Update{Interval: time.Second}); err != nil {
			return err
		}
		<-ctx.Done()
		gone <- struct{}{}
		return ctx.Err()
	}})
	a := r.start("a", nil)
	subscribe := func(ctx context.Context, f func()) error {
		return a.Subscribe(ctx, transport.Envelope{To: b.self, Settings: Settings}, &ringmap.Subscription{}, func(*ringmap.Update) error {
			f()
			return nil
		})
	}
	ctx, cancel := context.WithCancel(r.context())
	wantFailure(t, subscribe(ctx, cancel), protocol.Cancelled)
	Await(t, gone, "the member learns that the client has given up")

	refuse = &protocol.Failure{Kind: protocol.NotJoined, By: b.self}
	wantFailure(t, subscribe(r.context(), func() { t.Error("a message of one that is in no ring") }), protocol.NotJoined)
	refuse = nil
	wantFailure(t, subscribe(r.context(), func() { go b.Close() }), protocol.Unreachable)
	Await(t, gone, "the member ends what it tells")
	wantFailure(t, subscribe(r.context(), func() {}), protocol.Refused)

	b = r.start("b", nil)
	wantFailure(t, subscribe(r.context(), func() { go a.Close() }), protocol.Cancelled)
}

// A client that does not take what it is told holds up nothing else, and the member waits.
func testSlowSubscriber(t *testing.T, r *rig) {
	var sent atomic.Int64
	b := r.start("b", &Handler{OnSubscribe: func(_ context.Context, _ transport.Envelope, _ *ringmap.Subscription, send func(*ringmap.Update) error) error {
		u := updates()[0]
		u.Cleared = nil
		for ; ; u.Interval = 0 {
			if err := send(&u); err != nil {
				return err
			}
			sent.Add(1)
		}
	}})
	a := r.start("a", nil)
	ctx, cancel := context.WithCancel(r.context())
	held, ended := make(chan struct{}), make(chan struct{})
	var once sync.Once
	go func() {
		defer close(ended)
		_ = a.Subscribe(ctx, transport.Envelope{To: b.self, Settings: Settings}, &ringmap.Subscription{}, func(*ringmap.Update) error {
			once.Do(func() { close(held) })
			<-ctx.Done()
			return nil
		})
	}()
	Await(t, held, "the first message comes")
	for range 100 {
		r.exchange(a, b)
	}
	if n := sent.Load(); n > 64 {
		t.Errorf("%d messages wait for the client", n)
	}
	cancel()
	Await(t, ended, "the subscription ends")
}
