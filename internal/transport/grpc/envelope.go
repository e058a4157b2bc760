package grpctransport

import (
	"fmt"
	"sync/atomic"

	"github.com/ollelogdahl/concord/internal/pb"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
	"github.com/ollelogdahl/concord/internal/transport"
)

// takesBrief is the bit of Request.features of one that takes the answer of a ring in which
// nothing has changed for what it is without its phase, its version and who answers.
const takesBrief = 1 << 0

// pbRequest is the part of a request that says who asks whom.
func pbRequest(env transport.Envelope) *pb.Request {
	r := &pb.Request{
		Features: takesBrief,
		Sender:   server(env.From),
		Settings: &pb.Settings{
			Cluster:   env.Settings.Cluster,
			HashBits:  uint32(env.Settings.Bits),
			HashCheck: env.Settings.Check,
		},
	}
	if o := env.Origin; o != nil {
		r.Ring, r.Marks = o.ID, o.Marks
	}
	if !env.To.Anyone() {
		r.Target = &pb.Target{Id: env.To.ID, Incarnation: env.To.Incarnation}
	}
	return r
}

// asking is an envelope as it is sent.
type asking struct {
	env     transport.Envelope
	brief   bool // without the marks of the origin
	request *pb.Request
	encoded atomic.Pointer[[]byte] // request as it is sent in frames; nil: not yet
}

// request is pbRequest of env, which on one link is nearly always the same. The marks of
// the sender's origin are left out for a peer that has named the same one.
func (l *link) request(env transport.Envelope) *pb.Request {
	brief := l.brief(env)
	if a := l.asking.Load(); a != nil && a.env == env && a.brief == brief {
		return a.request
	}
	a := &asking{env: env, brief: brief, request: pbRequest(env)}
	if brief {
		a.request.Marks = nil
	}
	l.asking.Store(a)
	return a.request
}

// brief reports whether the peer needs no marks of the origin of env.
func (l *link) brief(env transport.Envelope) bool {
	return env.Origin != nil && l.origin.Load() == env.Origin.ID
}

// notes keeps which ring the peer has said to be in.
func (l *link) notes(o *ring.Origin) {
	var id uint64
	if o != nil {
		id = o.ID
	}
	l.origin.Store(id)
}

// envelope reads that part; a request without it is a legacy member's.
func envelope(r *pb.Request) (transport.Envelope, error) {
	if r == nil {
		return transport.Envelope{Legacy: true}, nil
	}
	from, err := optional("sender", r.GetSender())
	if err != nil {
		return transport.Envelope{}, err
	}
	origin, err := originOf("request", r.GetRing(), r.GetMarks())
	if err != nil {
		return transport.Envelope{}, err
	}
	s := r.GetSettings()
	if s.GetHashBits() > 64 {
		return transport.Envelope{}, fmt.Errorf("settings: hash_bits is %d (at most 64)", s.GetHashBits())
	}
	return transport.Envelope{
		From:     from,
		Origin:   origin,
		To:       ring.Member{ID: r.GetTarget().GetId(), Incarnation: r.GetTarget().GetIncarnation()},
		Settings: ring.Settings{Cluster: s.GetCluster(), Bits: uint(s.GetHashBits()), Check: s.GetHashCheck()},
	}, nil
}

func query(r *pb.RouteReq) (routing.Query, error) {
	if n := len(r.GetAvoid()); n > routing.MaxAvoid {
		return routing.Query{}, fmt.Errorf("avoid has %d entries (at most %d)", n, routing.MaxAvoid)
	}
	q := routing.Query{ID: r.GetId()}
	for _, t := range r.GetAvoid() {
		q.Avoid = append(q.Avoid, ring.Instance{ID: t.GetId(), Incarnation: t.GetIncarnation()})
	}
	return q, nil
}

func targets(instances []ring.Instance) []*pb.Target {
	if len(instances) == 0 {
		return nil
	}
	out := make([]*pb.Target, 0, len(instances))
	for _, x := range instances {
		out = append(out, &pb.Target{Id: x.ID, Incarnation: x.Incarnation})
	}
	return out
}
