package grpctransport

import (
	"context"
	"path"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"

	"github.com/ollelogdahl/concord/internal/pb"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/transport"
	"github.com/ollelogdahl/concord/internal/transport/budget"
)

// silentLimit is how long a connection may be without its first request, and about how
// long a request may be without its message.
const silentLimit = 10 * time.Second

// kindOf is what kind of request a method is, as its budgets go.
var kindOf = map[string]budget.Kind{
	"GetRing": budget.Ring, "Place": budget.Ring, "Map": budget.Ring,
	"Notify": budget.Change, "Introduce": budget.Change, "Changed": budget.Change, "Leave": budget.Change,
	"Route": budget.Lookup, "Meta": budget.Lookup,
	"FindSuccessor": budget.Forwarded,
	"Subscribe":     budget.Subscription,
}

// methodKinds are the kinds by the full names of the methods.
var methodKinds = func() map[string]budget.Kind {
	out := make(map[string]budget.Kind, len(kindOf))
	for name, kind := range kindOf {
		out["/"+path.Join(pb.ChordService_ServiceDesc.ServiceName, name)] = kind
	}
	return out
}()

// working is the context of a request that has arrived.
type working struct {
	context.Context
	request *budget.Request // nil: refused is set
	refused error
	stop    func() bool // ends what ends the request with its context
}

// workingKey is the key of a working in itself.
type workingKey struct{}

// Value implements context.Context.
func (w *working) Value(key any) any {
	if key == (workingKey{}) {
		return w
	}
	return w.Context.Value(key)
}

// over ends the request.
func (w *working) over() {
	w.stop()
	w.request.End()
}

// take is what gRPC calls when the headers of a request have arrived, before anything is
// done for it. It must not block.
func (t *Transport) take(ctx context.Context, info *tap.Info) (context.Context, error) {
	kind, known := methodKinds[info.FullMethodName]
	c := t.lis.connection(ctx)
	if !known || c == nil {
		return ctx, nil
	}
	r, err := c.budget.Begin(kind)
	if err == nil {
		w := &working{Context: ctx, request: r}
		w.stop = context.AfterFunc(ctx, r.End)
		return w, nil
	}
	err = t.overBudget(c, kind, err)
	if _, ok := ctx.Deadline(); ok {
		// gRPC would keep the timer of the deadline of a request that ends here.
		return &working{Context: ctx, refused: err}, nil
	}
	return ctx, err
}

// overBudget tells of a request that is over a budget, and is the answer to it. A legacy
// member, which asks others with FindSuccessor, hands an answer on as it is: it would pass
// for its own.
func (t *Transport) overBudget(c *inbound, kind budget.Kind, err error) error {
	if t.refused != nil {
		t.refused(transport.Refusal{Request: true, Busy: true, From: host(c.from), Why: err.Error()})
	}
	if kind == budget.Forwarded {
		return status.Error(codes.ResourceExhausted, err.Error())
	}
	return busy(err.Error())
}

// busy is the answer of a member that has too much to do.
func busy(why string) error {
	st := status.New(codes.ResourceExhausted, detail(why))
	if detailed, err := st.WithDetails(&pb.Answer{}); err == nil {
		st = detailed
	}
	return st.Err()
}

// claim counts the connection of ctx as one of the member from, if this side has reached
// it at its address.
func (t *Transport) claim(ctx context.Context, from ring.Member) {
	if from.IsZero() {
		return
	}
	if c := t.lis.connection(ctx); c != nil && !c.budget.Member() && t.pool.reaches(from) {
		c.budget.Claim(from.ID)
	}
}

// watch closes the connections that say nothing, or nothing any more, until Close.
func (t *Transport) watch() {
	tick := time.NewTicker(silentLimit)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			t.lis.budget.Silent(silentLimit)
			// gRPC ends a connection that has no stream before that.
			t.lis.budget.Idle(t.cfg.idleLimit() + 2*silentLimit)
		case <-t.ended:
			return
		}
	}
}

// Intake is what others take up of this side; see transport.Transport.
func (t *Transport) Intake() transport.Intake {
	if t.lis == nil {
		return transport.Intake{}
	}
	counts := t.lis.budget.Counts()
	in := transport.Intake{
		Connections: t.lis.budget.Connections(), ConnectionsRefused: counts.Connections,
		ConnectionsClosed: counts.Closed, AcceptFailures: t.lis.failures(),
		RingRefused: counts.Requests[budget.Ring], ChangesRefused: counts.Requests[budget.Change],
		LookupsRefused: counts.Requests[budget.Lookup], ForwardedRefused: counts.Requests[budget.Forwarded],
		SubscribeRefused: counts.Requests[budget.Subscription],
	}
	in.Deaf, in.Err = t.lis.deafFor()
	return in
}
