package grpctransport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/ollelogdahl/concord/internal/pb"
	"github.com/ollelogdahl/concord/internal/transport/budget"
	"github.com/ollelogdahl/concord/internal/transport/deadline"
)

// muxServer is the answering side of a stream.
type muxServer struct {
	service  *service
	stream   grpc.ServerStream
	out      outbox
	conn     *inbound // nil: it is not known
	requests heardRequests
	owes     bool          // what is in out is to be sent by whoever receives
	route    *servingRoute // of whoever receives, who answers one after another; nil: there was none

	handlers sync.WaitGroup
	mu       sync.Mutex
	underWay map[uint64]*serving // by their numbers
}

// serveStream answers the requests of one stream until the asker ends it, or the
// connection ends.
func (s *service) serveStream(stream grpc.ServerStream) error {
	m := &muxServer{service: s, stream: stream, conn: s.t.lis.connection(stream.Context()), underWay: make(map[uint64]*serving)}
	m.out.send = func(f *pb.Frames) error { return m.stream.SendMsg(f) }
	if m.conn != nil {
		defer m.conn.streams.Add(-1)
		if m.conn.streams.Add(1) > maxLinks {
			why := fmt.Sprintf("a connection has more than %d streams of requests", maxLinks)
			s.t.refuseRequest(stream.Context(), why)
			return busy(why)
		}
	}
	ctx, cancel := context.WithCancel(stream.Context())
	defer m.handlers.Wait()
	defer cancel()
	for {
		// A handler may use what was received for as long as it is at work.
		var in pb.Frames
		switch err := stream.RecvMsg(&in); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if n := len(in.GetFrames()); n > maxMessage { // on a server of an application
			return s.t.malformed(ctx, errors.New(tooLarge(n)))
		}
		if err := m.received(ctx, in.GetFrames()); err != nil {
			return s.t.malformed(ctx, err)
		}
	}
}

// received handles the frames of one message.
func (m *muxServer) received(ctx context.Context, b []byte) error {
	for len(b) > 0 {
		f, rest, err := nextFrame(b)
		if err != nil {
			return err
		}
		// Who does not read the answers is read no further.
		if m.out.full() {
			m.settle()
			if !m.out.room(ctx.Done()) {
				return nil
			}
		}
		if f.withdrawn {
			m.withdraw(f.call)
		} else if err := m.handle(ctx, f); err != nil {
			m.answer(refuse(f.call, err), true)
		}
		b = rest
	}
	m.settle()
	return nil
}

// settle sends the answers that handle has left.
func (m *muxServer) settle() {
	if m.owes {
		m.owes = false
		m.out.flush(false)
	}
}

// handle has a handler answer a request: in its own time, or at once if that takes none, and
// then the answer is left for settle. An error is the answer.
func (m *muxServer) handle(ctx context.Context, f frame) error {
	if err := m.requests.take(&f); err != nil {
		return m.service.t.malformed(ctx, err)
	}
	if f.method == 0 || int(f.method) > len(m.service.methods) {
		return status.Errorf(codes.Unimplemented, "the method %d is unknown", f.method)
	}
	if len(f.headers) > 0 {
		md := make(metadata.MD, len(f.headers))
		for _, h := range f.headers {
			md.Append(h.key, h.value)
		}
		ctx = metadata.NewIncomingContext(ctx, md)
	}
	var gone time.Time // when the asker gives up
	if d := time.Duration(min(f.timeout, math.MaxInt64)); d > 0 {
		gone = time.Now().Add(d)
	}
	method := &m.service.methods[f.method-1]
	prompt := m.service.t.cfg.Prompt && method.prompt()
	// A context that was made of it may look at it when it has been answered: it is not used again.
	c := &serving{m: m, method: method, frame: f, request: m.requests.now}
	c.Init(ctx, gone)
	if m.conn != nil {
		if err := m.conn.budget.Start(&c.counted, method.kind); err != nil {
			return m.service.t.overBudget(m.conn, method.kind, err)
		}
		c.counted.Came()
	}
	if prompt {
		answer := c.promptly()
		c.finish()
		c.End(context.Canceled)
		flush, _ := m.out.put(answer, !c.method.lookup)
		m.owes = m.owes || flush
		return nil
	}
	if err := m.begin(c); err != nil {
		c.finish()
		return err
	}
	m.handlers.Add(1)
	m.service.t.handlers.Go(func() {
		defer m.handlers.Done()
		c.serve()
	})
	return nil
}

// begin notes that c is under way, unless too many are, or one with the same number.
func (m *muxServer) begin(c *serving) error {
	m.mu.Lock()
	same, n := m.underWay[c.frame.call] != nil, len(m.underWay)
	if !same && n < maxCalls {
		m.underWay[c.frame.call] = c
		m.mu.Unlock()
		return nil
	}
	m.mu.Unlock()
	if same {
		return m.service.t.malformed(c, fmt.Errorf("two requests of a stream have the number %d", c.frame.call))
	}
	why := fmt.Sprintf("%d requests of one stream are at work", n)
	m.service.t.refuseRequest(c, why)
	return busy(why)
}

// withdraw ends the context of the call with that number, if it is under way.
func (m *muxServer) withdraw(number uint64) {
	m.mu.Lock()
	c := m.underWay[number]
	m.mu.Unlock()
	if c != nil {
		m.over(c)
	}
}

// over says that c is not under way any more, and ends its context.
func (m *muxServer) over(c *serving) {
	m.mu.Lock()
	if m.underWay[c.frame.call] == c { // else its number has been given to another
		delete(m.underWay, c.frame.call)
	}
	m.mu.Unlock()
	c.End(context.Canceled)
}

// answer sends an answer, or has it sent.
func (m *muxServer) answer(f parcel, urgent bool) {
	if flush, _ := m.out.put(f, urgent); flush {
		m.out.flush(false)
	}
}

// refuse is the answer to a request that fails with err, which is a status.
func refuse(number uint64, err error) parcel {
	b, err := proto.Marshal(status.Convert(err).Proto())
	if err != nil || len(b) > maxFrame {
		b, _ = proto.Marshal(status.New(codes.Internal, "the failure cannot be encoded").Proto())
	}
	return parcel{frame: frame{call: number, status: b}}
}

// serving is a request being answered. It is the context in which it is, too, which ends when
// the asker gives up.
type serving struct {
	deadline.Context

	m       *muxServer
	method  *servedMethod
	frame   frame
	request *heardRequest
	counted budget.Request // unless m.conn is nil
}

// servingRoute has the messages of a Route being answered.
type servingRoute struct {
	req  pb.RouteReq
	resp pb.RouteResp
}

// serve answers the request.
func (c *serving) serve() {
	answer := c.answer()
	c.finish()
	c.m.over(c)
	c.m.answer(answer, !c.method.lookup)
}

// finish says that the request is over.
func (c *serving) finish() {
	if c.m.conn != nil {
		c.counted.End()
	}
}

// promptly is answer where requests are received.
func (c *serving) promptly() parcel {
	if !c.method.route {
		return c.answer()
	}
	if c.m.route == nil {
		c.m.route = new(servingRoute)
	}
	req, resp := &c.m.route.req, &c.m.route.resp
	err := c.decode(req)
	if err == nil {
		err = c.m.service.route(c, req, resp)
	}
	return c.encoded(resp, err)
}

// answer has the service answer the request, and encodes what it says.
func (c *serving) answer() parcel {
	reply, err := c.method.handle(c.m.service, c, c.decode, nil)
	if err != nil {
		return c.encoded(nil, err)
	}
	return c.encoded(reply.(proto.Message), nil)
}

// encoded is what is answered: reply, or err.
func (c *serving) encoded(reply proto.Message, err error) parcel {
	if err != nil {
		return refuse(c.frame.call, err)
	}
	buf := bodies.Get().(*[]byte)
	body, err := proto.MarshalOptions{}.MarshalAppend((*buf)[:0], reply)
	*buf = body[:0]
	if err != nil || len(body) > maxFrame {
		bodies.Put(buf)
		return refuse(c.frame.call, status.Error(codes.Internal, "the answer cannot be encoded"))
	}
	return parcel{frame: frame{call: c.frame.call, body: body}, buf: buf}
}

// decode reads the message of the request.
func (c *serving) decode(m any) error {
	msg := m.(proto.Message)
	if err := proto.Unmarshal(c.frame.body, msg); err != nil {
		return c.m.service.t.malformed(c, err)
	}
	if who := requestOf(msg); who != nil {
		*who = c.request.Request
	}
	return nil
}

// servedMethod is a unary method as it is answered on a stream.
type servedMethod struct {
	rpcMethod
	handle grpc.MethodHandler
	route  bool // it is Route
}

// servedMethods are the unary methods of the service, in its order.
func servedMethods() []servedMethod {
	d := &pb.ChordService_ServiceDesc
	all := make([]servedMethod, 0, len(d.Methods))
	for _, m := range d.Methods {
		all = append(all, servedMethod{methods["/"+d.ServiceName+"/"+m.MethodName], m.Handler, m.MethodName == "Route"})
	}
	return all
}
