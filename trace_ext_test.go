package concord_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/transport/memory"
)

func TestTraceSaysWhatWasDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		const way = 5 * time.Millisecond
		network.Delay(way, way)
		members := newMemoryRing(t, network, 12)
		time.Sleep(10 * time.Second)
		c := members[0]
		trace := func(key string, opts ...concord.LookupOption) concord.Trace {
			t.Helper()
			tr, err := c.Trace(t.Context(), []byte(key), opts...)
			if err != nil || string(tr.Key) != key || tr.Id != idOf(key) || tr.Owner != ownerOf(members, tr.Id) {
				t.Fatalf("%q: %+v, %v", key, tr, err)
			}
			if tr.Range == nil || !tr.Range.Contains(tr.Id) || tr.Range.End != tr.Owner.Id {
				t.Errorf("%q: range %v", key, tr.Range)
			}
			if tr.Took != time.Duration(len(tr.Hops))*2*way {
				t.Errorf("%q: took %v in %d hops", key, tr.Took, len(tr.Hops))
			}
			return tr
		}
		if tr := trace(c.Name()); tr.Source != concord.SourceOwnRange || len(tr.Hops) != 0 || tr.Age != 0 || *tr.Range != c.Range() {
			t.Errorf("own: %+v", tr)
		}
		// The member that is farthest away.
		far := members[1]
		for _, m := range members {
			if m.Id()-c.Id() > far.Id()-c.Id() && m.Name() != c.Name() {
				far = m
			}
		}
		for range 2 {
			tr := trace(far.Name(), concord.Cold())
			if tr.Source != concord.SourceAsked || len(tr.Hops) == 0 {
				t.Fatalf("cold: %+v", tr)
			}
			for _, h := range tr.Hops {
				if h.Err != nil || h.Why == "" || h.Said == "" || h.Took != 2*way || h.Said == "closer" && len(h.Named) == 0 {
					t.Errorf("cold: %+v", h)
				}
			}
			if why := tr.Hops[0].Why; why != "nearest before the key" {
				t.Errorf("cold: asked because it was %q", why)
			}
		}
		tr := trace(far.Name(), concord.Fresh())
		if last := tr.Hops[len(tr.Hops)-1]; tr.Source != concord.SourceAsked || last.Server != serverOf(far) || last.Said != "mine" || tr.Age != 2*way {
			t.Errorf("fresh: %+v", tr)
		}
		time.Sleep(100 * time.Millisecond)
		if tr := trace(far.Name(), concord.MaxAge(time.Second/2)); tr.Source != concord.SourceConfirmedArc || tr.Age != 100*time.Millisecond+2*way {
			t.Errorf("confirmed: %+v", tr)
		}
		if tr := trace(far.Name()); tr.Source != concord.SourceRingMap || tr.Age <= 0 || tr.Age > 10*time.Second {
			t.Errorf("from the map: %+v", tr)
		}
		for _, m := range members {
			m.Stop()
		}
	})
}

func TestTraceOfFailedLookupHasItsHops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		lazy := func(c *concord.Config) { c.StabilizeInterval = time.Hour }
		members := memoryRing(t, network, 2, lazy)
		network.Pause(members[1].Address())
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		tr, err := members[0].Trace(ctx, []byte(members[1].Name()), concord.Fresh())
		var le *concord.LookupError
		if !errors.As(err, &le) || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		if tr.Owner != (concord.Server{}) || tr.Source != "" || tr.Range != nil || tr.Took != time.Second/2 {
			t.Errorf("%+v", tr)
		}
		if len(tr.Hops) == 0 || len(tr.Hops) != len(le.Hops) || tr.Hops[0].Server != serverOf(members[1]) || !errors.Is(tr.Hops[0].Err, concord.ErrUnavailable) {
			t.Errorf("%+v", tr.Hops)
		}
		b, err := json.Marshal(tr)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{`"key":`, `"hops":[{"server":{"name":"member2"`, `"why":"`, `"took_ns":`, `"error":"concord: member unavailable`} {
			if !strings.Contains(string(b), want) {
				t.Errorf("%s not in %s", want, b)
			}
		}
		if strings.Contains(string(b), "Err") || strings.Contains(string(b), `"said"`) {
			t.Errorf("%s", b)
		}
		network.Resume(members[1].Address())
		for _, c := range members {
			c.Stop()
		}
	})
}
