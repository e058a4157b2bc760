package transporttest

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
	"github.com/ollelogdahl/concord/internal/transport"
	"github.com/ollelogdahl/concord/internal/voting"
)

var (
	anna  = Member("anna", "10.0.0.1:7000", 1_760_000_000_123)
	bert  = Member("bert", "[fd00::2]:7000", 1)
	clara = Member("clara", "clara.example.org:65535", 1<<63)
	// legacy has no incarnation.
	legacy = Member("legacy", "10.0.0.9:1", 0)
	// long is as long as a member may be.
	long = Member(strings.Repeat("n", ring.MaxNameLength),
		strings.Repeat("a", ring.MaxAddressLength-len(":65535"))+":65535", 42)
)

// many is n members.
func many(n int) []ring.Member {
	out := make([]ring.Member, n)
	for i := range out {
		out[i] = Member(fmt.Sprintf("member-%d", i), fmt.Sprintf("10.1.0.%d:7000", i+1), uint64(i+1))
	}
	return out
}

// same compares what was sent with what arrived. An empty list and nil are one.
func same[T any](t *testing.T, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(plain(got), plain(want)) {
		t.Errorf("arrived as\n%+v\nwant\n%+v", got, want)
	}
}

// plain is v with nil for every empty list.
func plain(v any) any {
	switch v := v.(type) {
	case protocol.Request:
		v.Succ = orNil(v.Succ)
		return v
	case protocol.Reply:
		v.State.Succ, v.Closer = orNil(v.State.Succ), orNil(v.Closer)
		return v
	case routing.Query:
		v.Avoid = orNil(v.Avoid)
		return v
	case routing.Answer:
		v.Closer = orNil(v.Closer)
		return v
	case protocol.Failure:
		v.Differing = orNil(v.Differing)
		return v
	}
	return v
}

func orNil[T any](s []T) []T {
	if len(s) == 0 {
		return nil
	}
	return s
}

func testAddresses(t *testing.T, r *rig) {
	a, b := r.bind("a", ""), r.bind("b", "")
	if a.Addr() == b.Addr() {
		t.Errorf("two transports at %s", a.Addr())
	}
	for _, p := range []*peer{a, b} {
		if err := ring.CheckAddress(p.Addr()); err != nil {
			t.Errorf("Addr: %v", err)
		}
	}
	addr := a.Addr()
	if err := a.Close(); err != nil {
		t.Errorf("Close without Serve: %v", err)
	}
	if again := r.bind("a", addr); again.Addr() != addr {
		t.Errorf("listening at %s gave %s", addr, again.Addr())
	}
}

func testAddressInUse(t *testing.T, r *rig) {
	a := r.bind("a", "")
	if tr, err := r.listen(a.Addr()); err == nil {
		tr.Close()
		t.Errorf("listening at %s succeeded twice", a.Addr())
	}
}

func testRequests(t *testing.T, r *rig) {
	requests := []struct {
		name string
		req  protocol.Request
	}{
		{"ring", protocol.Request{Kind: protocol.AskRing}},
		{"ring and a lease", protocol.Request{Kind: protocol.AskRing, Lease: protocol.Asks{Length: time.Hour, Arc: ring.Arc{After: 1, To: 0}, Has: true}}},
		{"ring and a lease of nothing", protocol.Request{Kind: protocol.AskRing, Lease: protocol.Asks{Length: 1}}},
		{"ring and votes", protocol.Request{Kind: protocol.AskRing, Lease: protocol.Asks{
			Length: time.Hour,
			Claims: []voting.Stake{{Who: ring.Instance{ID: 1, Incarnation: 2}, Arc: ring.Arc{After: 9, To: 1}, Has: true, Number: 3}, {Who: ring.Instance{ID: 4, Incarnation: 5}, Number: 6}},
			Words:  []voting.Stake{{Who: ring.Instance{ID: 1<<64 - 1}, Arc: ring.Arc{To: 1<<64 - 1}, Has: true, Number: 1<<64 - 1}},
		}}},
		{"notify by a member", protocol.Request{Kind: protocol.Notify}},
		{"notify with a clock", protocol.Request{Kind: protocol.Notify, Clock: protocol.MaxEpoch}},
		{"leave with a clock", protocol.Request{Kind: protocol.Leave, Clock: 1}},
		{"notify by one that joins", protocol.Request{Kind: protocol.Notify, Joining: true}},
		{"notify by one that prepares to join", protocol.Request{Kind: protocol.Notify, Joining: true, Preparing: true}},
		{"seek", protocol.Request{Kind: protocol.Seek, Subject: anna}},
		{"seek a legacy member", protocol.Request{Kind: protocol.Seek, Subject: legacy}},
		{"place", protocol.Request{Kind: protocol.Place, Subject: bert}},
		{"introduce", protocol.Request{Kind: protocol.Introduce, Subject: clara}},
		{"look", protocol.Request{Kind: protocol.Look, Subject: clara}},
		{"look and know of nobody", protocol.Request{Kind: protocol.Look}},
		{"introduce the longest member", protocol.Request{Kind: protocol.Introduce, Subject: long}},
		{"changed", protocol.Request{Kind: protocol.Changed}},
		{"leave", protocol.Request{Kind: protocol.Leave, Pred: anna, Succ: []ring.Member{bert, legacy, clara}}},
		{"leave without neighbours", protocol.Request{Kind: protocol.Leave}},
		{"leave with an empty list", protocol.Request{Kind: protocol.Leave, Pred: anna, Succ: []ring.Member{}}},
		{"leave with many", protocol.Request{Kind: protocol.Leave, Pred: long, Succ: many(16)}},
	}
	got := make(chan protocol.Request, 1)
	b := r.start("b", &Handler{OnMaintain: func(_ context.Context, _ transport.Envelope, req protocol.Request) (protocol.Reply, error) {
		got <- req
		return protocol.Reply{State: protocol.State{Self: anna, Phase: protocol.Joined}}, nil
	}})
	a := r.start("a", nil)
	for _, c := range requests {
		t.Run(c.name, func(t *testing.T) {
			if _, err := a.Maintain(r.context(), a.envelope(b), c.req); err != nil {
				t.Fatal(err)
			}
			same(t, Await(t, got, "the request arrives"), c.req)
		})
	}
}

func testEnvelopes(t *testing.T, r *rig) {
	got := make(chan transport.Envelope, 1)
	b := r.start("b", &Handler{
		OnMaintain: func(_ context.Context, env transport.Envelope, _ protocol.Request) (protocol.Reply, error) {
			env.Source = netip.Addr{} // the network's, and not sent
			got <- env
			return protocol.Reply{State: protocol.State{Self: anna, Phase: protocol.Joined}}, nil
		},
		OnRoute: func(_ context.Context, env transport.Envelope, _ routing.Query) (routing.Answer, error) {
			got <- env
			return routing.Answer{Verdict: routing.Mine, Owner: anna, HasArc: true}, nil
		},
		OnMeta: func(_ context.Context, env transport.Envelope) ([]byte, error) {
			got <- env
			return nil, nil
		},
	})
	a := r.start("a", nil)

	at := b.Addr()
	unborn := Member("b", at, 0)
	cases := []struct {
		name      string
		sent, got transport.Envelope
	}{
		{"from a member to a member",
			transport.Envelope{From: a.self, To: b.self, Settings: Settings},
			transport.Envelope{From: a.self, To: ring.Member{ID: b.self.ID, Incarnation: b.self.Incarnation}, Settings: Settings}},
		{"from a client",
			transport.Envelope{To: b.self, Settings: Settings},
			transport.Envelope{To: ring.Member{ID: b.self.ID, Incarnation: b.self.Incarnation}, Settings: Settings}},
		{"to anyone",
			transport.Envelope{From: a.self, To: ring.Member{Addr: at}, Settings: Settings},
			transport.Envelope{From: a.self, Settings: Settings}},
		{"from a client to anyone",
			transport.Envelope{To: ring.Member{Addr: at}, Settings: Settings},
			transport.Envelope{Settings: Settings}},
		{"to a member of unknown incarnation",
			transport.Envelope{From: a.self, To: unborn, Settings: Settings},
			transport.Envelope{From: a.self, To: ring.Member{ID: unborn.ID}, Settings: Settings}},
		{"to a member that is not there",
			transport.Envelope{From: a.self, To: Member("somebody else", at, 3), Settings: Settings},
			transport.Envelope{From: a.self, To: ring.Member{ID: Space.ID([]byte("somebody else")), Incarnation: 3}, Settings: Settings}},
		{"from the longest member",
			transport.Envelope{From: long, To: ring.Member{Addr: at}, Settings: Settings},
			transport.Envelope{From: long, Settings: Settings}},
		{"with other settings",
			transport.Envelope{From: a.self, To: ring.Member{Addr: at}, Settings: ring.Settings{Cluster: 1<<64 - 1, Bits: 64, Check: 1 << 63}},
			transport.Envelope{From: a.self, Settings: ring.Settings{Cluster: 1<<64 - 1, Bits: 64, Check: 1 << 63}}},
		{"with the least settings",
			transport.Envelope{From: a.self, To: ring.Member{Addr: at}, Settings: ring.Settings{Bits: 1}},
			transport.Envelope{From: a.self, Settings: ring.Settings{Bits: 1}}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if _, err := a.Maintain(r.context(), c.sent, protocol.Request{Kind: protocol.AskRing}); err != nil {
				t.Fatalf("Maintain: %v", err)
			}
			same(t, Await(t, got, "Maintain arrives"), c.got)
			if _, err := a.Route(r.context(), c.sent, routing.Query{ID: 1}); err != nil {
				t.Fatalf("Route: %v", err)
			}
			same(t, Await(t, got, "Route arrives"), c.got)
			if _, err := a.Meta(r.context(), c.sent); err != nil {
				t.Fatalf("Meta: %v", err)
			}
			same(t, Await(t, got, "Meta arrives"), c.got)
		})
	}
}

func testReplies(t *testing.T, r *rig) {
	next := make(chan protocol.Reply, 1)
	b := r.start("b", &Handler{OnMaintain: func(context.Context, transport.Envelope, protocol.Request) (protocol.Reply, error) {
		return <-next, nil
	}})
	a := r.start("a", nil)

	type exchange struct {
		name  string
		req   protocol.Request
		reply protocol.Reply
	}
	alone := protocol.State{Self: b.self, Phase: protocol.Joined, Version: 1}
	among := protocol.State{Self: b.self, Phase: protocol.Joined, Pred: anna, Succ: []ring.Member{bert, legacy, clara}, Version: 1<<64 - 1}
	ask := protocol.Request{Kind: protocol.AskRing}
	seek := protocol.Request{Kind: protocol.Seek, Subject: anna}
	place := protocol.Request{Kind: protocol.Place, Subject: anna}
	notify := protocol.Request{Kind: protocol.Notify}

	cases := []exchange{
		{"neighbours", ask, protocol.Reply{State: among}},
		{"a ring of one", ask, protocol.Reply{State: alone}},
		{"one replaced", ask, protocol.Reply{State: protocol.State{
			Self: b.self, Phase: protocol.Joined, Pred: anna, Succ: []ring.Member{bert}, Version: 8,
			Replaced: protocol.Replaced{Who: anna.Instance(), By: clara, After: 1<<64 - 2, Number: 1<<64 - 1}}}},
		{"an epoch", ask, protocol.Reply{State: protocol.State{
			Self: b.self, Phase: protocol.Joined, Pred: anna, Succ: []ring.Member{bert}, Version: 9, Epoch: 7, Clock: protocol.MaxEpoch}}},
		{"zones", ask, protocol.Reply{State: protocol.State{
			Self: b.self, Phase: protocol.Joined, Succ: []ring.Member{bert, anna, clara}, Version: 10,
			Zone: "eu-north 1", Zones: []string{"", strings.Repeat("z", ring.MaxZoneLength), "zürich"}}}},
		{"zones, of an unchanged ring", ask, protocol.Reply{State: protocol.State{
			Self: b.self, Phase: protocol.Joined, Succ: []ring.Member{bert, anna, clara}, Version: 10,
			Zone: "eu-north 1", Zones: []string{"", strings.Repeat("z", ring.MaxZoneLength), "zürich"}}}},
		{"one that is to return", ask, protocol.Reply{State: protocol.State{
			Self: b.self, Phase: protocol.Leaving, Pred: anna, Succ: []ring.Member{bert}, Version: 12, Returning: protocol.MaxReturning}}},
		{"a grant", ask, protocol.Reply{State: protocol.State{
			Self: b.self, Phase: protocol.Joined, Pred: anna, Succ: []ring.Member{bert, clara}, Version: 11,
			Lease: protocol.Lease{Length: time.Minute, Granted: true, Linked: true, Chain: []time.Duration{0, 1, time.Hour}}}}},
		{"the same ring and another grant", ask, protocol.Reply{State: protocol.State{
			Self: b.self, Phase: protocol.Joined, Pred: anna, Succ: []ring.Member{bert, clara}, Version: 11,
			Lease: protocol.Lease{Length: time.Minute, Linked: true, Given: true, Waits: true, From: 1<<64 - 1, Wait: time.Hour,
				Others: []protocol.Granted{{To: ring.Instance{ID: 7, Incarnation: 1<<64 - 1}, Arc: ring.Arc{After: 1<<64 - 1, To: 7}, Age: time.Minute}}}}}},
		{"votes", ask, protocol.Reply{State: protocol.State{
			Self: b.self, Phase: protocol.Joined, Pred: anna, Succ: []ring.Member{bert, clara}, Version: 11,
			Lease: protocol.Lease{
				Length: time.Minute, Stake: voting.Stake{Who: b.self.Instance(), Number: 1<<64 - 1, Has: true, Arc: ring.Arc{After: 1<<64 - 1, To: b.self.ID}},
				Votes: []voting.Vote{{Given: true, After: 1}, {}, {Given: true}},
			}}}},
		{"an empty list", ask, protocol.Reply{State: protocol.State{Self: b.self, Phase: protocol.Joined, Pred: anna, Succ: []ring.Member{}}}},
		{"no predecessor", ask, protocol.Reply{State: protocol.State{Self: b.self, Phase: protocol.Joined, Succ: []ring.Member{anna}, Version: 2}}},
		{"many successors", ask, protocol.Reply{State: protocol.State{Self: b.self, Phase: protocol.Joined, Pred: long, Succ: many(16), Version: 3}}},
		{"found", seek, protocol.Reply{State: among, Verdict: protocol.Found}},
		{"taken", place, protocol.Reply{State: among, Verdict: protocol.Taken}},
		{"next, to one", seek, protocol.Reply{State: among, Verdict: protocol.Next, Closer: []ring.Member{legacy}}},
		{"next, to three", place, protocol.Reply{State: among, Verdict: protocol.Next, Closer: []ring.Member{clara, anna, bert}}},
		{"next, to nobody", seek, protocol.Reply{State: among, Verdict: protocol.Next, Closer: []ring.Member{}}},
		{"looking, and would found", protocol.Request{Kind: protocol.Look, Subject: anna},
			protocol.Reply{State: protocol.State{Self: b.self, Phase: protocol.Bootstrapping, Founder: b.self, Version: 5}}},
		{"looking, and knows of nobody", protocol.Request{Kind: protocol.Look},
			protocol.Reply{State: protocol.State{Self: b.self, Phase: protocol.Bootstrapping, Version: 6}}},
		{"looked at by one that looks", protocol.Request{Kind: protocol.Look, Subject: anna}, protocol.Reply{State: among}},
		{"consent to notify", notify, protocol.Reply{State: among}},
		{"consent to notify, in the place of another", notify, protocol.Reply{State: among, Former: clara}},
		{"consent to introduce", protocol.Request{Kind: protocol.Introduce, Subject: anna}, protocol.Reply{State: among}},
		{"consent to leave", protocol.Request{Kind: protocol.Leave}, protocol.Reply{State: among}},
		{"changed", protocol.Request{Kind: protocol.Changed}, protocol.Reply{State: among}},
	}
	for phase := protocol.Outside; phase <= protocol.Bootstrapping; phase++ {
		cases = append(cases, exchange{"phase " + phase.String(), ask,
			protocol.Reply{State: protocol.State{Self: b.self, Phase: phase, Version: 4}}})
	}
	for reason := protocol.Nearer; reason <= protocol.NotInRing; reason++ {
		cases = append(cases,
			exchange{"refused: " + reason.String(), notify,
				protocol.Reply{State: among, Refusal: protocol.Refusal{Reason: reason}}},
			exchange{"refused in words: " + reason.String(), notify,
				protocol.Reply{State: among, Refusal: protocol.Refusal{Reason: reason, Other: clara, Detail: "für später · %s"}}})
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			next <- c.reply
			got, err := a.Maintain(r.context(), a.envelope(b), c.req)
			if err != nil {
				t.Fatal(err)
			}
			same(t, got, c.reply)
		})
	}
}

func testQueries(t *testing.T, r *rig) {
	got := make(chan routing.Query, 1)
	b := r.start("b", &Handler{OnRoute: func(_ context.Context, _ transport.Envelope, q routing.Query) (routing.Answer, error) {
		got <- q
		return routing.Answer{Verdict: routing.Mine, Owner: anna, HasArc: true}, nil
	}})
	a := r.start("a", nil)
	full := make([]ring.Instance, routing.MaxAvoid)
	for i := range full {
		full[i] = ring.Instance{ID: ^uint64(i), Incarnation: uint64(i)}
	}
	for _, c := range []struct {
		name  string
		query routing.Query
	}{
		{"zero", routing.Query{}},
		{"the last identifier", routing.Query{ID: 1<<64 - 1}},
		{"nobody to avoid", routing.Query{ID: 5, Avoid: []ring.Instance{}}},
		{"avoiding some, zero too", routing.Query{ID: 5, Avoid: []ring.Instance{{ID: 7, Incarnation: 3}, {}, {ID: 1 << 63}}}},
		{"avoiding as many as may be", routing.Query{ID: 5, Avoid: full}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := a.Route(r.context(), a.envelope(b), c.query); err != nil {
				t.Fatal(err)
			}
			same(t, Await(t, got, "the query arrives"), c.query)
		})
	}
}

func testAnswers(t *testing.T, r *rig) {
	next := make(chan routing.Answer, 1)
	b := r.start("b", &Handler{OnRoute: func(context.Context, transport.Envelope, routing.Query) (routing.Answer, error) {
		return <-next, nil
	}})
	a := r.start("a", nil)
	for _, c := range []struct {
		name   string
		answer routing.Answer
	}{
		{"by another than the owner", routing.Answer{Verdict: routing.Owned, By: b.self, Owner: Member("owner", "owner.example:1", 7)}},
		{"mine", routing.Answer{Verdict: routing.Mine, Owner: b.self, Arc: ring.Arc{After: 1 << 63, To: b.self.ID}, HasArc: true, Epoch: protocol.MaxEpoch, Lease: 1500 * time.Millisecond}},
		{"mine, the whole circle", routing.Answer{Verdict: routing.Mine, Owner: b.self, Arc: ring.Arc{After: b.self.ID, To: b.self.ID}, HasArc: true}},
		{"the arc from zero to zero", routing.Answer{Verdict: routing.Owned, Owner: anna, HasArc: true}},
		{"owned", routing.Answer{Verdict: routing.Owned, Owner: clara, Arc: ring.Arc{After: 9, To: clara.ID}, HasArc: true, Epoch: 1, Age: 2 * time.Second, Lease: time.Hour}},
		{"owned, in a zone", routing.Answer{Verdict: routing.Owned, Owner: clara, Arc: ring.Arc{After: 9, To: clara.ID}, HasArc: true, Zone: "c 3"}},
		{"mine, in a zone", routing.Answer{Verdict: routing.Mine, Owner: b.self, Arc: ring.Arc{After: 9, To: b.self.ID}, HasArc: true, Zone: "c 3"}},
		{"owned without an arc", routing.Answer{Verdict: routing.Owned, Owner: legacy}},
		{"closer, one", routing.Answer{Verdict: routing.Closer, Closer: []ring.Member{legacy}}},
		{"closer, as many as may be", routing.Answer{Verdict: routing.Closer, Closer: many(routing.MaxCloser)}},
		{"closer, nobody", routing.Answer{Verdict: routing.Closer, Closer: []ring.Member{}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			next <- c.answer
			got, err := a.Route(r.context(), a.envelope(b), routing.Query{ID: 1})
			if err != nil {
				t.Fatal(err)
			}
			same(t, got, c.answer)
		})
	}
}

func testMeta(t *testing.T, r *rig) {
	next := make(chan []byte, 1)
	b := r.start("b", &Handler{OnMeta: func(context.Context, transport.Envelope) ([]byte, error) { return <-next, nil }})
	a := r.start("a", nil)
	for _, want := range [][]byte{nil, {}, {0}, []byte("10.0.0.1:8080"), bytes.Repeat([]byte{0xff}, transport.MaxMeta)} {
		next <- want
		got, err := a.Meta(r.context(), a.envelope(b))
		if err != nil {
			t.Fatalf("%d bytes: %v", len(want), err)
		}
		if !bytes.Equal(got, want) || (got == nil) != (len(want) == 0) {
			t.Errorf("%q arrives as %q", want, got)
		}
	}
	kept := []byte("kept")
	next <- kept
	got, err := a.Meta(r.context(), a.envelope(b))
	if err != nil {
		t.Fatal(err)
	}
	clear(got)
	if string(kept) != "kept" {
		t.Errorf("the asker changed the answerer's to %q", kept)
	}
}

func testNoSharedMemory(t *testing.T, r *rig) {
	ctx := r.context()
	kept := []ring.Member{anna, bert}
	b := r.start("b", &Handler{
		OnMaintain: func(_ context.Context, _ transport.Envelope, req protocol.Request) (protocol.Reply, error) {
			clear(req.Succ)
			return protocol.Reply{State: protocol.State{Self: anna, Phase: protocol.Joined, Succ: kept}, Verdict: protocol.Next, Closer: kept}, nil
		},
		OnRoute: func(_ context.Context, _ transport.Envelope, q routing.Query) (routing.Answer, error) {
			clear(q.Avoid)
			return routing.Answer{Verdict: routing.Closer, Closer: kept}, nil
		},
	})
	a := r.start("a", nil)

	sent := []ring.Member{clara, legacy}
	if _, err := a.Maintain(ctx, a.envelope(b), protocol.Request{Kind: protocol.Leave, Pred: anna, Succ: sent}); err != nil {
		t.Fatal(err)
	}
	if sent[0] != clara || sent[1] != legacy {
		t.Errorf("the answerer changed the asker's list to %v", sent)
	}
	reply, err := a.Maintain(ctx, a.envelope(b), protocol.Request{Kind: protocol.Seek, Subject: clara})
	if err != nil {
		t.Fatal(err)
	}
	clear(reply.State.Succ)
	if len(reply.Closer) != 2 || reply.Closer[0] != anna {
		t.Errorf("two lists of one reply share memory: %v", reply.Closer)
	}
	clear(reply.Closer)

	avoid := []ring.Instance{{ID: 1}, {ID: 2}}
	answer, err := a.Route(ctx, a.envelope(b), routing.Query{ID: 1, Avoid: avoid})
	if err != nil {
		t.Fatal(err)
	}
	if avoid[0].ID != 1 || avoid[1].ID != 2 {
		t.Errorf("the answerer changed the asker's list to %v", avoid)
	}
	clear(answer.Closer)
	if kept[0] != anna || kept[1] != bert {
		t.Errorf("the asker changed the answerer's list to %v", kept)
	}
}

func testAskWithoutServing(t *testing.T, r *rig) {
	b, client := r.start("b", nil), r.bind("client", "")
	for _, c := range calls {
		if err := c.call(client, r.context(), b); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func testAskItself(t *testing.T, r *rig) {
	a := r.start("a", nil)
	for _, c := range calls {
		if err := c.call(a, r.context(), a); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
