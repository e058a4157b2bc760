package concord_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ollelogdahl/concord"
)

// hostOf is the member at which a client has subscribed, nil if there is none.
func hostOf(members []*concord.Concord) *concord.Concord {
	for _, c := range members {
		if c.Status().Subscribers > 0 {
			return c
		}
	}
	return nil
}

// lookAround looks keys up until the client has subscribed and its map answers all of them,
// and checks who is named.
func lookAround(t *testing.T, client *concord.Client, members []*concord.Concord) {
	t.Helper()
	eventually(t, func() error {
		before := client.Status().Counters.Mapped
		for i := range 20 {
			key := fmt.Appendf(nil, "key %d", i)
			s, err := client.Lookup(key)
			if err != nil {
				return err
			}
			if want := ownerOf(members, client.KeyID(key)); s != want {
				return fmt.Errorf("%s belongs to %v, and the client says %v", key, want, s)
			}
		}
		if n := client.Status().Counters.Mapped - before; n != 20 {
			return fmt.Errorf("%d of 20 lookups were answered by the map", n)
		}
		return nil
	})
}

func TestClientSubscribes(t *testing.T) {
	members := newRing(t, 5)
	client := dial(t, concord.ClientConfig{}, members[0].Address())
	lookAround(t, client, members)
	host := hostOf(members)
	if host == nil {
		t.Fatal("no member has a subscriber")
	}
	if n := client.Status().Counters.Subscriptions; n != 1 {
		t.Errorf("%d subscriptions", n)
	}
	tr, err := client.Trace(t.Context(), []byte("key 1"))
	if err != nil || tr.Source != concord.SourceRingMap || tr.Age > 10*concord.DefaultStabilizeInterval {
		t.Errorf("the answer is %+v, %v", tr, err)
	}
	host.Stop()
	var left []*concord.Concord
	for _, c := range members {
		if c != host {
			left = append(left, c)
		}
	}
	awaitIdeal(t, left)
	lookAround(t, client, left)
	client.Close()
	eventually(t, func() error {
		if c := hostOf(left); c != nil {
			return fmt.Errorf("%s has a subscriber that is closed", c.Name())
		}
		return nil
	})
}

func TestClientThatMayNotSubscribe(t *testing.T) {
	members := newRing(t, 3)
	client := dial(t, concord.ClientConfig{NoSubscribe: true}, members[0].Address())
	end := time.Now().Add(2 * time.Second)
	eventually(t, func() error {
		if _, err := client.Lookup([]byte("key")); err != nil || time.Now().After(end) {
			return err
		}
		return errors.New("go on")
	})
	if hostOf(members) != nil || client.Status().Counters.Mapped != 0 {
		t.Errorf("it has subscribed: %+v", client.Status().Counters)
	}
}

func TestClientWatchesTheRing(t *testing.T) {
	members := newRing(t, 4)
	client := dial(t, concord.ClientConfig{}, members[0].Address())
	known := map[concord.Server]concord.Range{}
	late := start(t, "late")
	for list, err := range client.WatchRing(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		first := len(known) == 0
		for _, x := range list {
			if old, had := known[x.Server]; had != x.Had || old != x.Old {
				t.Errorf("%+v after %v (%v)", x, old, had)
			}
			if known[x.Server] = x.New; !x.Has {
				delete(known, x.Server)
			}
		}
		if first {
			if len(known) != 4 {
				t.Errorf("the first element has %d members", len(known))
			}
			join(t, late, members[0].Address())
		}
		if r, ok := known[serverOf(late)]; ok && r == late.Range() {
			break
		}
	}
	client.Close()
	for _, err := range client.WatchRing(t.Context()) {
		wantErr(t, "WatchRing of a closed client", err, concord.ErrStopped)
	}
}
