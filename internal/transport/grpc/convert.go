package grpctransport

import (
	"errors"
	"fmt"
	"math"
	"time"
	"unicode/utf8"

	"github.com/ollelogdahl/concord/internal/pb"
	"github.com/ollelogdahl/concord/internal/plain"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
	"github.com/ollelogdahl/concord/internal/transport"
)

// Bounds on what is received. A message beyond them is refused whole.
const (
	maxMembers = 64      // in a list
	maxDetail  = 1 << 10 // bytes of an explanation; one that is sent is cut to it
)

// In this file, functions named after a pb type make one; those that read one
// check it first, and their errors name the field.

func server(m ring.Member) *pb.Server {
	if m.IsZero() {
		return nil
	}
	return &pb.Server{Id: m.ID, Name: m.Name, Address: m.Addr, Incarnation: m.Incarnation, Choice: uint32(m.Choice), Home: m.Home}
}

func servers(ms []ring.Member) []*pb.Server {
	if len(ms) == 0 {
		return nil
	}
	out := make([]*pb.Server, len(ms))
	for i, m := range ms {
		out[i] = server(m)
	}
	return out
}

// member reads a server that must be there.
func member(field string, s *pb.Server) (ring.Member, error) {
	if s == nil {
		return ring.Member{}, fmt.Errorf("%s is missing", field)
	}
	m := ring.Member{ID: s.GetId(), Name: s.GetName(), Addr: s.GetAddress(), Incarnation: s.GetIncarnation(), Choice: ring.Choice(s.GetChoice()), Home: s.GetHome()}
	switch {
	case s.GetChoice() > ring.MaxIdentifiers*ring.Variants:
		return ring.Member{}, fmt.Errorf("%s has the choice %d (at most %d)", field, s.GetChoice(), ring.MaxIdentifiers*ring.Variants)
	case m.Name == "":
		return ring.Member{}, fmt.Errorf("%s has no name", field)
	case len(m.Name) > ring.MaxNameLength:
		return ring.Member{}, fmt.Errorf("%s has a name of %d bytes (at most %d)", field, len(m.Name), ring.MaxNameLength)
	}
	if err := ring.CheckAddress(m.Addr); err != nil {
		return ring.Member{}, fmt.Errorf("%s: %w", field, err)
	}
	return m, nil
}

// optional reads a server that may be absent.
func optional(field string, s *pb.Server) (ring.Member, error) {
	if s == nil {
		return ring.Member{}, nil
	}
	return member(field, s)
}

// members reads a list of at most most servers.
func members(field string, list []*pb.Server, most int) ([]ring.Member, error) {
	if len(list) > most {
		return nil, fmt.Errorf("%s has %d entries (at most %d)", field, len(list), most)
	}
	if len(list) == 0 {
		return nil, nil
	}
	out := make([]ring.Member, len(list))
	for i, s := range list {
		var err error
		if out[i], err = member(fmt.Sprintf("%s[%d]", field, i), s); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// detail makes an explanation, of this side or of another, harmless to read and cuts it
// to what others accept.
func detail(s string) string {
	s = plain.Text(s)
	if len(s) <= maxDetail {
		return s
	}
	cut := maxDetail
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut]
}

func phase(p pb.Phase) (protocol.Phase, error) {
	if p < pb.Phase_PHASE_UNSPECIFIED || p > pb.Phase_PHASE_LOOKING {
		return 0, fmt.Errorf("phase %d is unknown", p)
	}
	return protocol.Phase(p), nil
}

// fullRing is a state as members of ours tell each other. Their phases have the
// numbers of protocol.Phase.
func fullRing(s protocol.State) *pb.Ring {
	self, list := server(s.Self), servers(s.Succ)
	if self != nil {
		self.Zone = s.Zone
	}
	for i := range min(len(list), len(s.Zones)) {
		list[i].Zone = s.Zones[i]
	}
	return &pb.Ring{
		Predecessor: server(s.Pred),
		Successors:  list,
		Answer:      &pb.Answer{Answerer: self},
		Phase:       pb.Phase(s.Phase),
		Version:     s.Version,
		Founder:     server(s.Founder),
		Replaced:    pbReplaced(s.Replaced),
		Origin:      pbOrigin(s.Origin),
		Epoch:       s.Epoch,
		Clock:       s.Clock,
		Lease:       pbLease(s.Lease),
		ReturningNs: uint64(s.Returning),
	}
}

// state reads the ring of a member of ours.
func state(r *pb.Ring) (protocol.State, error) {
	const field = "ring"
	var s protocol.State
	if r == nil {
		return s, fmt.Errorf("%s is missing", field)
	}
	var err error
	if s.Self, err = optional(field+".answer.answerer", r.GetAnswer().GetAnswerer()); err != nil {
		return protocol.State{}, err
	}
	if s.Pred, err = optional(field+".predecessor", r.GetPredecessor()); err != nil {
		return protocol.State{}, err
	}
	if s.Succ, err = members(field+".successors", r.GetSuccessors(), maxMembers); err != nil {
		return protocol.State{}, err
	}
	if s.Phase, err = phase(r.GetPhase()); err != nil {
		return protocol.State{}, fmt.Errorf("%s: %w", field, err)
	}
	if s.Founder, err = optional(field+".founder", r.GetFounder()); err != nil {
		return protocol.State{}, err
	}
	if s.Replaced, err = replaced(field+".replaced", r.GetReplaced()); err != nil {
		return protocol.State{}, err
	}
	if s.Origin, err = optionalOrigin(field+".origin", r.GetOrigin()); err != nil {
		return protocol.State{}, err
	}
	if s.Zone, err = zone(field+".answer.answerer", r.GetAnswer().GetAnswerer().GetZone()); err != nil {
		return protocol.State{}, err
	}
	if s.Zones, err = zones(field+".successors", r.GetSuccessors()); err != nil {
		return protocol.State{}, err
	}
	s.Version = r.GetVersion()
	if r.GetReturningNs() > uint64(protocol.MaxReturning) {
		return protocol.State{}, fmt.Errorf("%s.returning is %d ns (at most %v)", field, r.GetReturningNs(), protocol.MaxReturning)
	}
	s.Returning = time.Duration(r.GetReturningNs())
	if s.Epoch, err = epoch(field+".epoch", r.GetEpoch()); err != nil {
		return protocol.State{}, err
	}
	if s.Clock, err = epoch(field+".clock", r.GetClock()); err != nil {
		return protocol.State{}, err
	}
	if s.Lease, err = leaseOf(field+".lease", r.GetLease()); err != nil {
		return protocol.State{}, err
	}
	return s, nil
}

// zone reads the zone of a member.
func zone(field, z string) (string, error) {
	if err := ring.CheckZone(z); err != nil {
		return "", fmt.Errorf("%s: the zone %w", field, err)
	}
	return z, nil
}

// zones reads the zones of a list of servers, nil if none of them is in one.
func zones(field string, list []*pb.Server) (out []string, err error) {
	for i, s := range list {
		if s.GetZone() == "" {
			continue
		}
		if out == nil {
			out = make([]string, len(list))
		}
		if out[i], err = zone(fmt.Sprintf("%s[%d]", field, i), s.GetZone()); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// epoch reads an epoch.
func epoch(field string, x uint64) (uint64, error) {
	if x > protocol.MaxEpoch {
		return 0, fmt.Errorf("%s is %d (at most %d)", field, x, uint64(protocol.MaxEpoch))
	}
	return x, nil
}

func pbOrigin(o *ring.Origin) *pb.Origin {
	if o == nil {
		return nil
	}
	return &pb.Origin{Id: o.ID, Marks: o.Marks}
}

// originOf reads an origin; that of number 0 is none.
func originOf(field string, id uint64, marks []uint64) (*ring.Origin, error) {
	switch n := len(marks); {
	case n > ring.MaxMarks:
		return nil, fmt.Errorf("%s has %d marks (at most %d)", field, n, ring.MaxMarks)
	case id == 0 && n > 0:
		return nil, fmt.Errorf("%s has marks of a ring without a number", field)
	case id == 0:
		return nil, nil
	}
	return ring.NewOrigin(id, marks), nil
}

// optionalOrigin reads an origin that may be absent.
func optionalOrigin(field string, o *pb.Origin) (*ring.Origin, error) {
	if o == nil {
		return nil, nil
	}
	if o.GetId() == 0 {
		return nil, fmt.Errorf("%s.id is 0", field)
	}
	return originOf(field, o.GetId(), o.GetMarks())
}

func pbReplaced(r protocol.Replaced) *pb.Replaced {
	if r.Number == 0 {
		return nil
	}
	return &pb.Replaced{
		Who: &pb.Target{Id: r.Who.ID, Incarnation: r.Who.Incarnation},
		By:  server(r.By), After: r.After, Number: r.Number,
	}
}

func replaced(field string, r *pb.Replaced) (protocol.Replaced, error) {
	if r == nil {
		return protocol.Replaced{}, nil
	}
	if r.GetNumber() == 0 {
		return protocol.Replaced{}, fmt.Errorf("%s.number is 0", field)
	}
	by, err := member(field+".by", r.GetBy())
	if err != nil {
		return protocol.Replaced{}, err
	}
	who := ring.Instance{ID: r.GetWho().GetId(), Incarnation: r.GetWho().GetIncarnation()}
	return protocol.Replaced{Who: who, By: by, After: r.GetAfter(), Number: r.GetNumber()}, nil
}

// reasons maps what can be refused to the numbers of the contract.
var reasons = map[protocol.Reason]pb.Refusal_Reason{
	// The contract has no number for it: only a Notify is refused so, and it is
	// what remains if that was not accepted.
	protocol.Nearer:          pb.Refusal_REASON_UNSPECIFIED,
	protocol.NameTaken:       pb.Refusal_REASON_NAME_TAKEN,
	protocol.IdentifierTaken: pb.Refusal_REASON_IDENTIFIER_TAKEN,
	protocol.NotReached:      pb.Refusal_REASON_UNREACHABLE,
	protocol.Outdated:        pb.Refusal_REASON_OUTDATED,
	protocol.Busy:            pb.Refusal_REASON_BUSY,
	protocol.NotInRing:       pb.Refusal_REASON_NOT_JOINED,
}

func pbRefusal(r protocol.Refusal) *pb.Refusal {
	reason, ok := reasons[r.Reason]
	if !ok {
		return nil
	}
	return &pb.Refusal{Reason: reason, Other: server(r.Other), Detail: detail(r.Detail)}
}

func refusal(field string, r *pb.Refusal) (protocol.Refusal, error) {
	if r == nil {
		return protocol.Refusal{}, nil
	}
	var out protocol.Refusal
	for reason, number := range reasons {
		if number == r.GetReason() {
			out.Reason = reason
		}
	}
	if out.Reason == protocol.Consent {
		return protocol.Refusal{}, fmt.Errorf("%s: reason %d is unknown", field, r.GetReason())
	}
	if len(r.GetDetail()) > maxDetail {
		return protocol.Refusal{}, fmt.Errorf("%s: detail has %d bytes (at most %d)", field, len(r.GetDetail()), maxDetail)
	}
	other, err := optional(field+".other", r.GetOther())
	if err != nil {
		return protocol.Refusal{}, err
	}
	out.Other, out.Detail = other, detail(r.GetDetail())
	return out, nil
}

// ringReply reads the answer to Introduce and Leave.
func ringReply(r *pb.Ring) (protocol.Reply, error) {
	s, err := state(r)
	if err != nil {
		return protocol.Reply{}, err
	}
	no, err := refusal("refusal", r.GetRefusal())
	if err != nil {
		return protocol.Reply{}, err
	}
	return protocol.Reply{State: s, Refusal: no}, nil
}

func notifyResp(r protocol.Reply) *pb.NotifyResp {
	return &pb.NotifyResp{Ring: refusingRing(r), Accepted: r.Refusal.Reason == protocol.Consent, Former: server(r.Former)}
}

func notifyReply(r *pb.NotifyResp) (protocol.Reply, error) {
	reply, err := ringReply(r.GetRing())
	if err != nil {
		return protocol.Reply{}, err
	}
	if reply.Former, err = optional("former", r.GetFormer()); err != nil {
		return protocol.Reply{}, err
	}
	switch refused := reply.Refusal.Reason != protocol.Consent; {
	case r.GetAccepted() && refused:
		return protocol.Reply{}, errors.New("the answer both accepts and refuses")
	case !r.GetAccepted() && !refused:
		reply.Refusal.Reason = protocol.Nearer
	}
	return reply, nil
}

// placeResp has the verdicts of protocol.Verdict under the same numbers.
func placeResp(r protocol.Reply) *pb.PlaceResp {
	return &pb.PlaceResp{
		Verdict: pb.PlaceResp_Verdict(r.Verdict),
		Closer:  servers(r.Closer),
		Ring:    fullRing(r.State), // which names the answerer
		Answer:  &pb.Answer{},
	}
}

func placeReply(r *pb.PlaceResp) (protocol.Reply, error) {
	reply := protocol.Reply{Verdict: protocol.Verdict(r.GetVerdict())}
	if v := r.GetVerdict(); v < pb.PlaceResp_VERDICT_FOUND || v > pb.PlaceResp_VERDICT_NEXT {
		return protocol.Reply{}, fmt.Errorf("verdict %d is unknown", v)
	}
	var err error
	if reply.State, err = state(r.GetRing()); err != nil {
		return protocol.Reply{}, err
	}
	reply.Closer, err = members("closer", r.GetCloser(), routing.MaxCloser)
	return reply, err
}

// metaOf reads what the application of a member says of it; empty is nil.
func metaOf(r *pb.MetaResp) ([]byte, error) {
	if n := len(r.GetMeta()); n > transport.MaxMeta {
		return nil, fmt.Errorf("meta has %d bytes (at most %d)", n, transport.MaxMeta)
	} else if n == 0 {
		return nil, nil
	}
	return r.GetMeta(), nil
}

// answerRoute sets out to an answer. It has the verdicts of routing.Verdict under the same
// numbers, and does not repeat to an asker which incarnation of the answerer it has asked.
func answerRoute(out *pb.RouteResp, env transport.Envelope, a *routing.Answer) {
	arc := out.Arc
	out.Reset()
	out.Verdict = pb.RouteResp_Verdict(a.Verdict)
	out.AgeNs, out.LeaseNs = uint64(max(0, a.Age)), uint64(max(0, a.Lease))
	out.Epoch, out.Zone = a.Epoch, a.Zone
	out.Closer = servers(a.Closer)
	if a.Verdict != routing.Mine || env.To.Incarnation == 0 || a.Owner.Instance() != env.To.Instance() {
		out.Owner = server(a.Owner)
	}
	if !a.By.IsZero() {
		out.Answer = &pb.Answer{Answerer: server(a.By)}
	}
	if a.HasArc {
		if arc == nil {
			arc = new(pb.Arc)
		}
		arc.After, arc.To = a.Arc.After, a.Arc.To
		out.Arc = arc
	}
}

// routeAnswer reads what the member to has answered.
func routeAnswer(to ring.Member, r *pb.RouteResp) (routing.Answer, error) {
	a := routing.Answer{Verdict: routing.Verdict(r.GetVerdict())}
	var err error
	switch r.GetVerdict() {
	case pb.RouteResp_VERDICT_MINE, pb.RouteResp_VERDICT_OWNER:
		if a.Verdict == routing.Mine && r.GetOwner() == nil && to.Name != "" && to.Incarnation != 0 {
			a.Owner = to
			break
		}
		a.Owner, err = member("owner", r.GetOwner())
	case pb.RouteResp_VERDICT_CLOSER:
		a.Owner, err = optional("owner", r.GetOwner())
	default:
		err = fmt.Errorf("verdict %d is unknown", r.GetVerdict())
	}
	if err != nil {
		return routing.Answer{}, err
	}
	if arc := r.GetArc(); arc != nil {
		a.Arc, a.HasArc = ring.Arc{After: arc.GetAfter(), To: arc.GetTo()}, true
	}
	if r.GetAgeNs() > math.MaxInt64 || r.GetLeaseNs() > math.MaxInt64 {
		return routing.Answer{}, errors.New("age or lease is out of range")
	}
	a.Age, a.Lease = time.Duration(r.GetAgeNs()), time.Duration(r.GetLeaseNs())
	if a.Epoch, err = epoch("epoch", r.GetEpoch()); err != nil {
		return routing.Answer{}, err
	}
	if a.Zone, err = zone("owner", r.GetZone()); err != nil {
		return routing.Answer{}, err
	}
	if a.By, err = optional("answerer", r.GetAnswer().GetAnswerer()); err != nil {
		return routing.Answer{}, err
	}
	a.Closer, err = members("closer", r.GetCloser(), routing.MaxCloser)
	if err != nil {
		return routing.Answer{}, err
	}
	return a, nil
}
