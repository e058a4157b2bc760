package attack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/cluster"
	"github.com/ollelogdahl/concord/internal/pb"
	"github.com/ollelogdahl/concord/internal/transport/attacktest"
	"github.com/ollelogdahl/concord/internal/transport/transporttest"
)

// newcomer is a member that is in no ring yet.
func newcomer(t *testing.T, name string, log *journal) *concord.Concord {
	t.Helper()
	cfg := concord.Config{Name: name, BindAddr: cluster.Address(), StabilizeInterval: interval, FoundAfter: 300 * time.Millisecond}
	if log != nil {
		cfg.LogHandler = slog.NewTextHandler(log, nil)
	}
	c := concord.New(cfg)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Stop() })
	return c
}

// seeds are answers of a hostile seed, by what is wrong with them.
var seeds = map[string]func(p *attacktest.Peer, joiner *concord.Concord){
	"it bears the joiner's name": func(p *attacktest.Peer, joiner *concord.Concord) {
		p.Self = world.Server(joiner.Name(), p.Addr(), joiner.Status().Incarnation+1)
	},
	"it bears the joiner's name, with an incarnation that cannot be": func(p *attacktest.Peer, joiner *concord.Concord) {
		p.Self = world.Server(joiner.Name(), p.Addr(), 1<<64-1)
	},
	"it has an incarnation that cannot be": func(p *attacktest.Peer, _ *concord.Concord) {
		p.Self = world.Server("seed", p.Addr(), 1<<64-1)
	},
	"it names members that are nowhere": func(p *attacktest.Peer, _ *concord.Concord) {
		ghosts := []*pb.Server{world.Server("g1", "127.0.0.1:1", 1), world.Server("g2", "127.0.0.1:2", 2), world.Server("g3", "127.0.0.1:3", 3)}
		p.OnPlace = func(*pb.PlaceReq) (*pb.PlaceResp, error) {
			return &pb.PlaceResp{Verdict: pb.PlaceResp_VERDICT_NEXT, Closer: ghosts, Ring: p.Ring(), Answer: &pb.Answer{}}, nil
		}
		p.OnRing = func(*pb.RingReq) (*pb.Ring, error) {
			r := p.Ring()
			r.Predecessor, r.Successors = ghosts[0], ghosts
			return r, nil
		}
		p.OnNotify = func(*pb.NotifyReq) (*pb.NotifyResp, error) { return nil, errors.New("no") }
	},
	"it says that the name is taken, by nobody": func(p *attacktest.Peer, joiner *concord.Concord) {
		p.OnNotify = func(*pb.NotifyReq) (*pb.NotifyResp, error) {
			r := p.Ring()
			r.Refusal = &pb.Refusal{Reason: pb.Refusal_REASON_OUTDATED, Other: world.Server(joiner.Name(), "127.0.0.1:1", 1<<64-1)}
			return &pb.NotifyResp{Ring: r}, nil
		}
	},
	"it leads from one nearer name to another, for ever": func(p *attacktest.Peer, _ *concord.Concord) {
		var n atomic.Int64
		p.OnPlace = func(*pb.PlaceReq) (*pb.PlaceResp, error) {
			next := world.Server(fmt.Sprint("next-", n.Add(1)), p.Addr(), 1)
			return &pb.PlaceResp{Verdict: pb.PlaceResp_VERDICT_NEXT, Closer: []*pb.Server{next}, Ring: p.Ring(), Answer: &pb.Answer{}}, nil
		}
	},
	"it answers nonsense": func(p *attacktest.Peer, _ *concord.Concord) {
		p.OnRing = func(*pb.RingReq) (*pb.Ring, error) {
			return &pb.Ring{Phase: 77, Answer: &pb.Answer{Answerer: &pb.Server{Id: 3, Address: ":"}}}, nil
		}
		p.OnPlace = func(*pb.PlaceReq) (*pb.PlaceResp, error) { return &pb.PlaceResp{Verdict: 99}, nil }
	},
}

// hostileSeed is a peer that answers the joiner as said.
func hostileSeed(t *testing.T, joiner *concord.Concord, wrong func(*attacktest.Peer, *concord.Concord)) *attacktest.Peer {
	t.Helper()
	return peer(t, "seed", attacktest.Now(), func(p *attacktest.Peer) { wrong(p, joiner) })
}

// A joiner is given a hostile seed and an honest one. It joins the honest ring.
func TestHostileSeedBesideAnHonestOne(t *testing.T) {
	r := attacked(t, 3)
	for what, wrong := range seeds {
		joiners, err := r.Start(1)
		if err != nil {
			t.Fatal(err)
		}
		joiner := joiners[0]
		seed := hostileSeed(t, joiner, wrong)
		err = joiner.Join(bounded(t, patience), seed.Addr(), r.member(0).Address())
		if err != nil {
			t.Errorf("%s: %v", what, err)
			joiner.Stop()
			continue
		}
		if joiner.Status().Phase != concord.PhaseJoined {
			t.Errorf("%s: the joiner is %s", what, joiner.Status().Phase)
		}
		seed.Stop()
		// It may have joined the attacker's ring, which it was led to, and finds its own
		// from there.
		r.Enter(joiner)
		r.stands()
	}
}

// With a hostile seed alone a joiner gets an error that says what is there, and can join
// elsewhere after that: it is not superseded by a word.
func TestHostileSeedAlone(t *testing.T) {
	r := attacked(t, 2)
	for _, what := range []string{
		"it bears the joiner's name, with an incarnation that cannot be", "it has an incarnation that cannot be", "it answers nonsense",
		"it names members that are nowhere", "it leads from one nearer name to another, for ever",
	} {
		joiners, err := r.Start(1)
		if err != nil {
			t.Fatal(err)
		}
		joiner := joiners[0]
		seed := hostileSeed(t, joiner, seeds[what])
		err = joiner.Join(bounded(t, 400*time.Millisecond), seed.Addr())
		var failed *concord.JoinError
		if !errors.As(err, &failed) || len(failed.Attempts) == 0 {
			t.Errorf("%s: %v", what, err)
		}
		if err := r.Join(bounded(t, patience), joiners); err != nil {
			t.Errorf("%s: afterwards: %v", what, err)
		}
	}
	r.stands()
}

// Nobody answers at the seed, though it takes connections.
func TestSilentSeed(t *testing.T) {
	t.Parallel()
	mute, err := net.Listen("tcp", cluster.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mute.Close() })
	var log journal
	c := newcomer(t, "m0", &log)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := c.Join(ctx, mute.Addr().String()); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), mute.Addr().String()) {
		t.Errorf("Join: %v", err)
	}
	if err := c.JoinOrCreate(bounded(t, patience), c.Address(), mute.Addr().String()); err != nil {
		t.Errorf("JoinOrCreate: %v", err)
	}
	if got, err := c.Lookup([]byte("k")); err != nil || got.Name != "m0" {
		t.Errorf("lookup: %v, %v", got, err)
	}
}

// What answers at the seed speaks something else.
func TestSeedThatIsNoMember(t *testing.T) {
	t.Parallel()
	seed := transporttest.Stranger(t, cluster.Address(), "HTTP/1.1 400 Bad Request\r\nX: \x1b[2J\r\n\r\n"+strings.Repeat("\n", 1<<10))
	c := newcomer(t, "m0", nil)
	err := c.Join(bounded(t, time.Second), seed)
	if err == nil || !strings.Contains(err.Error(), seed) || strings.ContainsAny(err.Error(), "\x1b\n\r") {
		t.Errorf("Join: %q", fmt.Sprint(err))
	}
}

// A client is given hostile contacts before an honest one.
func TestHostileContactsOfAClient(t *testing.T) {
	r := attacked(t, 4)
	nonsense := hostileSeed(t, r.member(0), seeds["it answers nonsense"])
	impossible := hostileSeed(t, r.member(0), seeds["it has an incarnation that cannot be"])
	c, err := concord.Dial(bounded(t, patience), concord.ClientConfig{}, nonsense.Addr(), impossible.Addr(), r.member(0).Address())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, key := range keys {
		if got, err := c.LookupContext(bounded(t, patience), key, concord.Fresh()); err != nil || got != r.Truth(key) {
			t.Errorf("%q: %v, %v; should be %v", key, got, err, r.Truth(key))
		}
	}
	r.stands()
}

// One that looks for a ring, has the smallest identifier and never founds holds up those
// that call JoinOrCreate.
func TestFounderThatNeverFounds(t *testing.T) {
	t.Parallel()
	a, b := newcomer(t, "m0", nil), newcomer(t, "m1", nil)
	smallest := ""
	for i := 0; smallest == ""; i++ {
		if s := world.Server(fmt.Sprint("ghost-", i), "", 0); s.GetId() < min(a.Id(), b.Id()) {
			smallest = s.GetName()
		}
	}
	ghost := peer(t, smallest, attacktest.Now(), func(p *attacktest.Peer) {
		p.OnRing = func(*pb.RingReq) (*pb.Ring, error) {
			return &pb.Ring{Answer: &pb.Answer{Answerer: p.Self}, Phase: pb.Phase_PHASE_LOOKING, Founder: p.Self, Version: 1}, nil
		}
	})
	errs := make(chan error, 2)
	ctx := bounded(t, patience)
	for _, m := range []*concord.Concord{a, b} {
		go func() { errs <- m.JoinOrCreate(ctx, a.Address(), b.Address()) }()
		c, err := attacktest.Dial(m.Address(), nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		if _, err := c.GetRing(ctx, &pb.RingReq{Looking: true, Founder: ghost.Self, Request: world.Request(ghost.Self, nil)}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := <-errs; err != nil {
			t.Errorf("JoinOrCreate: %v", err)
		}
	}
	if got, err := a.LookupContext(ctx, []byte("k"), concord.Fresh()); err != nil || got.Name != "m0" && got.Name != "m1" {
		t.Errorf("lookup: %v, %v", got, err)
	}
}
