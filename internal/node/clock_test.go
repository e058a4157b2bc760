package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/ringmap"
	"github.com/ollelogdahl/concord/internal/routing"
	"github.com/ollelogdahl/concord/internal/transport"
)

const day = 24 * time.Hour

func unixMilli(after time.Duration) uint64 { return uint64(time.Now().Add(after).UnixMilli()) }

func TestHorizonFollowsTheClockAndTheOwnIncarnation(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC).UnixMilli()
	const lead = 24 * 60 * 60 * 1000
	for what, x := range map[string]struct {
		clock     int64
		own, want uint64
	}{
		"a member":                               {now, uint64(now) - 1000, uint64(now) + lead},
		"a clock that went back since the start": {now, uint64(now) + 5*lead, uint64(now) + 6*lead},
		"a clock without a battery":              {3600_000, 3600_000, ring.MaxIncarnation},
		"a clock before 1970":                    {-1, 1, ring.MaxIncarnation},
		"a clock in the year 9999":               {253_402_300_799_000, 1, ring.MaxIncarnation},
	} {
		if got := latestPlausible(x.clock, x.own); got != x.want {
			t.Errorf("%s: %d, want %d", what, got, x.want)
		}
	}
}

// Somebody without a place in the ring tells its members of one of them, and of
// itself, as begun in the future.
func TestImplausibleIncarnationsAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		var log journal
		g.log = slog.NewTextHandler(&log, nil)
		g.grow(5)
		tr, err := g.net.Listen("liar:1")
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		refused := tellImplausible(t, g, tr)
		time.Sleep(time.Minute)
		if wrong := g.wrong(); wrong != "" {
			t.Error(wrong)
		}
		counted := uint64(0)
		for _, n := range g.nodes {
			counted += n.Counters().IncarnationsRefused
			for _, x := range n.Snapshot().View.Known {
				if x.Incarnation > unixMilli(0) {
					t.Errorf("%s knows %v of incarnation %d", n.cfg.Self.Name, x, x.Incarnation)
				}
			}
		}
		if counted != refused {
			t.Errorf("%d refusals are counted, %d were made", counted, refused)
		}
		if n := log.count("incarnation refused"); n != len(g.nodes) {
			t.Errorf("%d records of refusals at %d members within a minute", n, len(g.nodes))
		}
	})
}

// tellImplausible has a member that is in no ring send every member requests in which one field
// has an incarnation in the future. It checks that each is refused and returns their number.
func tellImplausible(t *testing.T, g *rig, tr transport.Transport) (refused uint64) {
	t.Helper()
	victim := g.nodes[2].Snapshot().View.Self
	liar := ring.Member{ID: g.space.ID([]byte("liar")), Name: "liar", Addr: "liar:1", Incarnation: unixMilli(0)}
	for _, n := range []uint64{math.MaxUint64, math.MaxUint64 - 1, ring.MaxIncarnation, unixMilli(day + time.Minute)} {
		for field, x := range map[string]struct {
			from    ring.Member
			subject func(*protocol.Request, ring.Member)
		}{
			"sender":        {victim, func(*protocol.Request, ring.Member) {}},
			"subject":       {liar, func(r *protocol.Request, m ring.Member) { r.Subject = m }},
			"predecessor":   {liar, func(r *protocol.Request, m ring.Member) { r.Pred = m }},
			"successors[1]": {liar, func(r *protocol.Request, m ring.Member) { r.Succ = []ring.Member{liar, m} }},
		} {
			for _, to := range g.nodes {
				lie := victim
				lie.Incarnation = n
				env := transport.Envelope{From: x.from, To: to.Snapshot().View.Self, Settings: g.space.Settings("")}
				req := protocol.Request{Kind: protocol.Introduce, Subject: liar}
				if field == "sender" {
					env.From.Incarnation = n
				}
				x.subject(&req, lie)
				if _, err := tr.Maintain(t.Context(), env, req); !refusesField(err, field, n) {
					t.Errorf("%s of incarnation %d: %v", field, n, err)
				}
				if field == "sender" {
					if _, err := tr.Route(t.Context(), env, routing.Query{}); !refusesField(err, field, n) {
						t.Errorf("a step of a lookup, by incarnation %d: %v", n, err)
					}
					refused++
				}
				refused++
			}
		}
	}
	return refused
}

// refusesField reports whether err refuses a request for the incarnation n of that field.
func refusesField(err error, field string, n uint64) bool {
	f, ok := errors.AsType[*protocol.Failure](err)
	return ok && f.Kind == protocol.Invalid && strings.Contains(f.Detail, field) && strings.Contains(f.Detail, fmt.Sprint(n))
}

func TestIncarnationOfNearlyADayAheadIsNoLie(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		g.grow(3)
		g.former = unixMilli(day - time.Minute)
		if err := g.add("ahead").Join(t.Context(), []string{g.nodes[0].Addr()}); err != nil {
			t.Fatal(err)
		}
		g.ideal(20 * g.interval)
		g.lookupsRight(routing.Options{Fresh: true})
		for _, n := range g.nodes {
			if k := n.Counters().IncarnationsRefused; k > 0 {
				t.Errorf("%s has refused %d", n.cfg.Self.Name, k)
			}
		}
	})
}

// The clock of a joiner, or of a client, is behind those of the ring.
func TestClockThatIsBehindDoesNotKeepOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		// Whoever is asked began long ago; the others could not have, by that clock.
		for i := range 5 {
			n := g.add(fmt.Sprintf("n%d", i))
			if i == 0 {
				n.Create()
				n.behind.Store(true)
			} else if err := n.Join(t.Context(), []string{g.nodes[0].Addr()}); err != nil {
				t.Fatal(err)
			}
			g.former = unixMilli(10_000 * day)
		}
		g.ideal(20 * g.interval)
		var log journal
		g.former, g.log = 0, slog.NewTextHandler(&log, nil)
		late := g.add("late")
		if err := late.Join(t.Context(), []string{g.nodes[0].Addr()}); err != nil {
			t.Fatal(err)
		}
		g.ideal(20 * g.interval)
		time.Sleep(time.Minute)
		g.lookupsRight(routing.Options{Fresh: true})
		g.clientIsRight(g.dial())
		if n := log.count("clock behind"); n != 1 {
			t.Errorf("%d records of a clock that is behind", n)
		}
		for _, n := range g.nodes {
			if k := n.Counters().IncarnationsRefused; k > 0 {
				t.Errorf("%s has refused %d", n.cfg.Self.Name, k)
			}
		}
	})
}

// The clock of a joiner is ahead by more than a day: it is told so.
func TestClockThatIsAheadIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		g.grow(3)
		g.former = unixMilli(40 * day)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		err := g.add("ahead").Join(ctx, []string{g.nodes[0].Addr()})
		if err == nil || !strings.Contains(err.Error(), "sender") || !strings.Contains(err.Error(), "is a clock wrong?") {
			t.Error(err)
		}
		if wrong := g.wrong(); wrong != "" {
			t.Error(wrong)
		}
	})
}

// The member asked says that the joiner is in the ring already, as a later incarnation.
func TestSeedCannotRaiseAJoinersIncarnationToWhatOthersRefuse(t *testing.T) {
	for _, n := range []uint64{math.MaxUint64, unixMilli(40 * 365 * day)} {
		synctest.Test(t, func(t *testing.T) {
			g := newRig(t, 1)
			defer g.close()
			g.grow(3)
			joiner := g.add("joiner")
			self := joiner.Snapshot().View.Self
			lie := self
			lie.Incarnation = n
			tr, err := g.net.Listen("liar:1")
			if err != nil {
				t.Fatal(err)
			}
			tr.Serve(&liar{protocol.Reply{State: protocol.State{Self: lie, Phase: protocol.Joined}, Verdict: protocol.Found}})
			defer tr.Close()
			if err := joiner.Join(t.Context(), []string{"liar:1", g.nodes[0].Addr()}); err != nil {
				t.Fatal(err)
			}
			g.ideal(20 * g.interval)
			if now := joiner.Snapshot().View.Self; now != self {
				t.Errorf("incarnation %d has become %d", self.Incarnation, now.Incarnation)
			}
		})
	}
}

// liar answers everything alike.
type liar struct{ reply protocol.Reply }

func (l *liar) Maintain(context.Context, transport.Envelope, protocol.Request) (protocol.Reply, error) {
	return l.reply, nil
}

func (l *liar) Route(context.Context, transport.Envelope, routing.Query) (routing.Answer, error) {
	return routing.Answer{}, &protocol.Failure{Kind: protocol.Invalid, Detail: "no"}
}

func (l *liar) Subscribe(context.Context, transport.Envelope, *ringmap.Subscription, func(*ringmap.Update) error) error {
	return &protocol.Failure{Kind: protocol.NotJoined}
}

func (l *liar) FindSuccessor(context.Context, transport.Envelope, uint64) (ring.Member, error) {
	return ring.Member{}, &protocol.Failure{Kind: protocol.Invalid, Detail: "no"}
}

func (l *liar) Meta(context.Context, transport.Envelope) ([]byte, error) { return nil, nil }

func (l *liar) Map(context.Context, transport.Envelope, *ringmap.Request) (ringmap.Reply, error) {
	return ringmap.Reply{}, &protocol.Failure{Kind: protocol.Invalid, Detail: "no"}
}
