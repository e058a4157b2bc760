package grpctransport

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/ollelogdahl/concord/internal/pb"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
	"github.com/ollelogdahl/concord/internal/transport"
)

// decoders read one kind of message each from bytes; what they accept, they
// write again.
var decoders = []struct {
	name   string
	decode func(b []byte) (again proto.Message, value any, err error)
}{
	{"ring of a member of ours", func(b []byte) (proto.Message, any, error) {
		m := new(pb.Ring)
		if err := proto.Unmarshal(b, m); err != nil {
			return nil, nil, err
		}
		r, err := ringReply(m)
		return refusingRing(r), r, err
	}},
	{"ring of a legacy member", func(b []byte) (proto.Message, any, error) {
		m := new(pb.Ring)
		if err := proto.Unmarshal(b, m); err != nil {
			return nil, nil, err
		}
		_, err := legacyState(ring.Member{Addr: "h:1"}, m)
		return nil, nil, err
	}},
	{"notified", func(b []byte) (proto.Message, any, error) {
		m := new(pb.NotifyResp)
		if err := proto.Unmarshal(b, m); err != nil {
			return nil, nil, err
		}
		r, err := notifyReply(m)
		return notifyResp(r), r, err
	}},
	{"placed", func(b []byte) (proto.Message, any, error) {
		m := new(pb.PlaceResp)
		if err := proto.Unmarshal(b, m); err != nil {
			return nil, nil, err
		}
		r, err := placeReply(m)
		return placeResp(r), r, err
	}},
	{"routed", func(b []byte) (proto.Message, any, error) {
		m := new(pb.RouteResp)
		if err := proto.Unmarshal(b, m); err != nil {
			return nil, nil, err
		}
		a, err := routeAnswer(asked, m)
		if a.Owner == asked {
			return routeResp(transport.Envelope{To: asked}, a), a, err
		}
		// Whoever is asked names itself in full to those that know it by another name.
		return routeResp(transport.Envelope{}, a), a, err
	}},
	{"envelope", func(b []byte) (proto.Message, any, error) {
		m := new(pb.Request)
		if err := proto.Unmarshal(b, m); err != nil {
			return nil, nil, err
		}
		env, err := envelope(m)
		return pbRequest(env), env, err
	}},
	{"query", func(b []byte) (proto.Message, any, error) {
		m := new(pb.RouteReq)
		if err := proto.Unmarshal(b, m); err != nil {
			return nil, nil, err
		}
		q, err := query(m)
		return &pb.RouteReq{Id: q.ID, Avoid: targets(q.Avoid)}, q, err
	}},
}

// asked is whom the answers to Route are of.
var asked = ring.Member{ID: 1, Name: "anna", Addr: "h:1", Incarnation: 9}

// The owner of its own arc is named only to those who have not named it.
func TestOwnerIsNotRepeatedToWhoNamedIt(t *testing.T) {
	later := asked
	later.Incarnation++
	anyone := ring.Member{Addr: asked.Addr}
	for _, c := range []struct {
		name   string
		to     ring.Member
		answer routing.Answer
		named  bool
	}{
		{"mine, named in full", asked, routing.Answer{Verdict: routing.Mine, Owner: asked}, false},
		{"mine, asked by address", anyone, routing.Answer{Verdict: routing.Mine, Owner: asked}, true},
		{"mine, any incarnation", ring.Member{ID: 1, Name: "anna", Addr: "h:1"}, routing.Answer{Verdict: routing.Mine, Owner: asked}, true},
		{"mine, another incarnation", later, routing.Answer{Verdict: routing.Mine, Owner: asked}, true},
		{"another's", asked, routing.Answer{Verdict: routing.Owned, Owner: later}, true},
	} {
		r := routeResp(transport.Envelope{To: c.to}, c.answer)
		if named := r.GetOwner() != nil; named != c.named {
			t.Errorf("%s: owner named: %v", c.name, named)
		}
		if got, err := routeAnswer(c.to, r); err != nil || got.Owner != c.answer.Owner {
			t.Errorf("%s: read as %+v, %v", c.name, got, err)
		}
	}
}

func TestZonesThatNoMemberHasAreRefused(t *testing.T) {
	named := func(zone string) *pb.Server {
		return &pb.Server{Id: 1, Name: "anna", Address: "h:1", Incarnation: 9, Zone: zone}
	}
	for _, c := range []struct{ zone, want string }{
		{strings.Repeat("z", 65), "the zone has 65 bytes, at most 64 are allowed"},
		{"a\nb", `the zone has characters that do not print: a\nb`},
		{"\u202e", `the zone has characters that do not print: \u202e`},
	} {
		_, first := state(&pb.Ring{Answer: &pb.Answer{Answerer: named(c.zone)}})
		_, second := state(&pb.Ring{Successors: []*pb.Server{named("fine"), named(c.zone)}})
		_, third := routeAnswer(asked, &pb.RouteResp{Verdict: pb.RouteResp_VERDICT_OWNER, Owner: named(""), Zone: c.zone})
		_, fourth := announcements("claims", []*pb.Claim{{Id: 1, Name: "anna", Address: "h:1", Zone: &c.zone}}, 9)
		for field, err := range map[string]error{"ring.answer.answerer": first, "ring.successors[1]": second, "owner": third, "claims[0]": fourth} {
			if err == nil || err.Error() != field+": "+c.want {
				t.Errorf("%q: %v, want %s: %s", c.zone, err, field, c.want)
			}
		}
	}
}

// Whatever arrives, decoding does not panic, and what is accepted means the
// same once it is written and read again.
func FuzzDecode(f *testing.F) {
	anna := ring.Member{ID: 1, Name: "anna", Addr: "h:1", Incarnation: 9}
	state := protocol.State{Self: anna, Phase: protocol.Joined, Pred: anna, Succ: []ring.Member{anna}, Version: 3}
	for _, m := range []proto.Message{
		refusingRing(protocol.Reply{State: state, Refusal: protocol.Refusal{Reason: protocol.Busy, Detail: "later"}}),
		notifyResp(protocol.Reply{State: state, Refusal: protocol.Refusal{Reason: protocol.Nearer, Other: anna}}),
		placeResp(protocol.Reply{State: state, Verdict: protocol.Next, Closer: []ring.Member{anna}}),
		routeResp(transport.Envelope{To: asked}, routing.Answer{Verdict: routing.Mine, Owner: asked, HasArc: true, Arc: ring.Arc{After: 4, To: 1}}),
		routeResp(transport.Envelope{}, routing.Answer{Verdict: routing.Owned, Owner: anna, HasArc: true, Arc: ring.Arc{After: 4, To: 1}, Age: time.Second}),
		&pb.Request{Target: &pb.Target{Id: 4}, Sender: server(anna), Settings: &pb.Settings{HashBits: 64}},
		&pb.RouteReq{Id: 7, Avoid: []*pb.Target{{Id: 1, Incarnation: 3}, {Id: 2}}},
	} {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		for i := range decoders {
			f.Add(uint8(i), b)
		}
	}
	f.Fuzz(func(t *testing.T, kind uint8, b []byte) {
		d := decoders[int(kind)%len(decoders)]
		again, value, err := d.decode(b)
		if err != nil || again == nil {
			return
		}
		b2, err := proto.Marshal(again)
		if err != nil {
			t.Fatalf("%s: %+v was accepted and cannot be written: %v", d.name, value, err)
		}
		if _, value2, err := d.decode(b2); err != nil || !reflect.DeepEqual(value, value2) {
			t.Errorf("%s: %+v was written and read as %+v, %v", d.name, value, value2, err)
		}
	})
}

func TestMalformedAnswersAreRefused(t *testing.T) {
	ok := &pb.Server{Id: 1, Name: "a", Address: "h:1"}
	many := func(n int) (list []*pb.Server) {
		for range n {
			list = append(list, ok)
		}
		return list
	}
	joined := func(r *pb.Ring) *pb.Ring {
		r.Answer = &pb.Answer{Answerer: ok}
		return r
	}
	ringErr := func(r *pb.Ring) error { _, err := ringReply(r); return err }
	routeErr := func(r *pb.RouteResp) error { _, err := routeAnswer(ring.Member{Addr: "h:1"}, r); return err }
	for _, c := range []struct {
		name, words string
		err         error
	}{
		{"member without a name", "predecessor has no name", ringErr(joined(&pb.Ring{Predecessor: &pb.Server{Address: "h:1"}}))},
		{"name too long", "name of 256 bytes", ringErr(joined(&pb.Ring{Predecessor: &pb.Server{Name: strings.Repeat("n", 256), Address: "h:1"}}))},
		{"no address", "successors[1]", ringErr(joined(&pb.Ring{Successors: []*pb.Server{ok, {Name: "b"}}}))},
		{"list too long", "65 entries", ringErr(joined(&pb.Ring{Successors: many(65)}))},
		{"phase", "phase 9", ringErr(joined(&pb.Ring{Phase: 9}))},
		{"answerer", "answer.answerer", ringErr(&pb.Ring{Answer: &pb.Answer{Answerer: &pb.Server{}}})},
		{"reason", "reason 77", ringErr(joined(&pb.Ring{Refusal: &pb.Refusal{Reason: 77}}))},
		{"detail too long", "detail has 1025", ringErr(joined(&pb.Ring{Refusal: &pb.Refusal{Reason: 1, Detail: strings.Repeat("x", 1025)}}))},
		{"no ring", "ring is missing", ringErr(nil)},
		{"verdict", "verdict 0", routeErr(&pb.RouteResp{})},
		{"no owner", "owner is missing", routeErr(&pb.RouteResp{Verdict: 1})},
		{"too many closer", "closer has 4 entries", routeErr(&pb.RouteResp{Verdict: 3, Closer: many(4)})},
		{"meta too long", "meta has 257 bytes", func() error { _, err := metaOf(&pb.MetaResp{Meta: make([]byte, 257)}); return err }()},
		{"epoch of a claim", "claims[1].epoch", func() error {
			_, err := announcements("claims", []*pb.Claim{{Id: 1}, {Id: 2, Epoch: 1<<62 + 1}}, 9)
			return err
		}()},
		{"age", "out of range", routeErr(&pb.RouteResp{Verdict: 2, Owner: ok, AgeNs: 1 << 63})},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.words) {
			t.Errorf("%s: error %v; want one that says %q", c.name, c.err, c.words)
		}
	}
}

func TestDetailIsCutAtARune(t *testing.T) {
	long := detail(strings.Repeat("ü", maxDetail))
	if len(long) != maxDetail || strings.ContainsRune(long, '\uFFFD') {
		t.Errorf("cut to %d bytes: …%q", len(long), long[len(long)-4:])
	}
	if odd := detail("x" + strings.Repeat("ü", maxDetail)); len(odd) != maxDetail-1 {
		t.Errorf("cut to %d bytes; want %d", len(odd), maxDetail-1)
	}
	if got := detail("a\xffb"); got != `a\xffb` {
		t.Errorf("detail = %q", got)
	}
}

// routeResp is what an answer travels as.
func routeResp(env transport.Envelope, a routing.Answer) *pb.RouteResp {
	out := &pb.RouteResp{Zone: "of the answer before", Arc: &pb.Arc{After: 7, To: 9}}
	answerRoute(out, env, &a)
	return out
}
