package attack

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/pb"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/ringmap"
	"github.com/ollelogdahl/concord/internal/transport/attacktest"
)

// overSubscribed counts subscriptions that are refused.
func overSubscribed(c concord.Counters) uint64 { return c.OverloadedSubscriptions }

// One host subscribes again and again. It gets its share, and a client of the ring finds a member
// that tells it.
func TestSubscriptionsWithoutEnd(t *testing.T) {
	const share, each, conns = 64, 32, 6
	r := attacked(t, 3, func(_ int, cfg *concord.Config) { cfg.Limits.ConnectionsPerHost = 32 })
	m := r.member(0)
	ctx, cancel := context.WithCancel(bounded(t, patience))
	defer cancel()
	r.unmoved(2, func() {
		r.counted(m, overSubscribed, each*conns-share, func() {
			for i := range conns {
				c := client(t, m)
				for k := range each {
					s, err := c.Subscribe(ctx, &pb.SubscribeReq{Request: world.Request(nil, nil)})
					if err == nil {
						_, err = s.Recv()
					}
					if i*each+k >= share {
						refused(t, err, codes.ResourceExhausted, "too many subscriptions at work from one host")
					} else if err != nil {
						t.Fatal(err)
					}
				}
			}
		})
		if n := m.Status().Subscribers; n != share {
			t.Errorf("%d clients are told of the map", n)
		}
		c, err := concord.Dial(bounded(t, patience), concord.ClientConfig{}, m.Address())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for members, err := range c.WatchRing(bounded(t, patience)) {
			if err != nil || len(members) != 3 {
				t.Errorf("another client is told of %d members, %v", len(members), err)
			}
			break
		}
	})
	r.logged(m, "too many subscriptions at work from one host")
	cancel()
	r.await("the end of subscriptions", func() bool { return m.Status().Subscribers == 0 })
}

// Subscribers let nothing be sent to them. What waits for each is bounded by its stream, and others
// are told as before.
func TestSubscribersThatDoNotRead(t *testing.T) {
	const each = 16
	r := attacked(t, 3)
	m := r.member(0)
	body, err := proto.Marshal(&pb.SubscribeReq{Request: world.Request(nil, nil)})
	if err != nil {
		t.Fatal(err)
	}
	message := append([]byte{0, 0, 0, 0, byte(len(body))}, body...)
	f, err := attacktest.DialFrames(m.Address(), patience)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r.unmoved(4, func() {
		if err := f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}); err != nil {
			t.Fatal(err)
		}
		for i := range uint32(each) {
			if err := f.Open(2*i+1, "Subscribe"); err != nil {
				t.Fatal(err)
			}
			if err := f.WriteData(2*i+1, true, message); err != nil {
				t.Fatal(err)
			}
		}
		r.await("subscribers", func() bool { return m.Status().Subscribers == each })
		s, err := client(t, m).Subscribe(bounded(t, patience), &pb.SubscribeReq{Request: world.Request(nil, nil)})
		for range 3 {
			if err == nil {
				_, err = s.Recv()
			}
		}
		if err != nil {
			t.Errorf("another subscriber: %v", err)
		}
	})
	f.Close()
	r.await("the end of subscriptions", func() bool { return m.Status().Subscribers == 1 })
}

// A member of the ring tells those that have subscribed at it what is not so, or what nobody would
// send. They say so, count it, begin anew at another, and name no owner but the right one.
func TestMemberThatLiesToItsSubscribers(t *testing.T) {
	ghost := world.Server("ghost", "127.0.0.1:1", attacktest.Now())
	of := &ring.Member{ID: ghost.GetId(), Name: ghost.GetName(), Addr: ghost.GetAddress(), Incarnation: ghost.GetIncarnation()}
	all := ringmap.Announcement{ID: of.ID, After: of.ID, Epoch: 1 << 20, Incarnation: of.Incarnation, Of: of}
	type lie func(n int, u *ringmap.Update)
	for _, x := range []struct {
		name, says string // in the log of the client; empty: it cannot tell
		tell       lie
	}{
		{"one that does not exist owns all", "", func(n int, u *ringmap.Update) {
			u.Summed = false
			if n == 0 {
				u.Claims = []ringmap.Announcement{all}
			} else {
				u.Claims, u.Gone = nil, nil
			}
		}},
		{"a change is left out", "a change was lost", func(n int, u *ringmap.Update) {
			if n == 0 {
				u.Claims = u.Claims[1:]
			}
		}},
		{"it begins twice", "begins anew", func(_ int, u *ringmap.Update) { u.Interval = interval }},
		{"what is gone never was", "not on the map", func(n int, u *ringmap.Update) {
			if n > 0 {
				u.Gone = append(u.Gone, 12345)
			}
		}},
		{"more claims than there may be", "claims has 500 entries", func(_ int, u *ringmap.Update) {
			u.Claims = make([]ringmap.Announcement, 500)
		}},
		{"more than a message may hold", "larger than max", func(_ int, u *ringmap.Update) { u.Doubts = make([]uint64, 1<<17) }},
		{"a name that is not that of its identifier", "ghost", func(_ int, u *ringmap.Update) {
			y := *of
			y.ID++
			u.Claims = append(u.Claims, ringmap.Announcement{ID: y.ID, After: 1, Epoch: 1, Incarnation: y.Incarnation, Of: &y})
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			var told atomic.Int64
			r, liar := lied(t, 3, &attacktest.Liar{Subscribe: func(n int, u *ringmap.Update) {
				told.Add(1)
				x.tell(n, u)
			}})
			var log journal
			c, err := concord.Dial(bounded(t, patience), concord.ClientConfig{LogHandler: slog.NewTextHandler(&log, nil)}, liar.Address())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			watching, stop := context.WithCancel(bounded(t, patience))
			defer stop()
			watched := make(chan struct{})
			go func() {
				defer close(watched)
				for range c.WatchRing(watching) {
				}
			}()
			found := func() bool {
				for _, key := range keys {
					if got, err := c.LookupContext(bounded(t, patience), key); err != nil || got != r.Truth(key) {
						t.Fatalf("%q: %v, %v; should be %v\n%s", key, got, err, r.Truth(key), log.text())
					}
				}
				return true
			}
			r.await("a lie", func() bool {
				return found() && told.Load() > 0 && (x.says == "" || strings.Contains(log.text(), x.says))
			})
			found()
			if n := c.Status().Counters.PeerFailures; x.says != "" && n == 0 {
				t.Error("it is not counted")
			}
			if n := strings.Count(log.text(), x.says); x.says != "" && n != 1 {
				t.Errorf("it is logged %d times:\n%s", n, log.text())
			}
			stop()
			<-watched
			r.gone(liar)
		})
	}
}
