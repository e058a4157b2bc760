package grpctransport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"

	"github.com/ollelogdahl/concord/internal/pb"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/routing"
	"github.com/ollelogdahl/concord/internal/transport"
	"github.com/ollelogdahl/concord/internal/transport/transporttest"
)

// Frames are written and read as the contract's generated code does.
func TestFramesAreThoseOfTheContract(t *testing.T) {
	f := frame{
		call: 300, method: 4, body: []byte("body"), request: []byte("who"), timeout: 1 << 40,
		headers: []header{{"traceparent", "00-1"}, {"k", ""}}, withdrawn: true, status: []byte{8, 5},
	}
	b := f.append(nil)
	var m pb.Frame
	if err := protodelim.UnmarshalFrom(bytes.NewReader(b), &m); err != nil {
		t.Fatal(err)
	}
	want := &pb.Frame{
		Call: 300, Method: 4, Body: f.body, Request: f.request, TimeoutNs: 1 << 40,
		Headers: map[string]string{"traceparent": "00-1", "k": ""}, Withdrawn: true, Status: f.status,
	}
	if !proto.Equal(&m, want) {
		t.Errorf("generated code reads %v\nwant %v", &m, want)
	}
	var out bytes.Buffer
	if _, err := protodelim.MarshalTo(&out, want); err != nil {
		t.Fatal(err)
	}
	got, rest, err := nextFrame(append(out.Bytes(), 1, 2, 3))
	if err != nil || !bytes.Equal(rest, []byte{1, 2, 3}) || !sameFrame(got, f) {
		t.Errorf("read %+v, rest %v, %v\nwant %+v", got, rest, err, f)
	}
}

// sameFrame reports whether a and b say the same, in whatever order their headers are.
func sameFrame(a, b frame) bool {
	all := func(hs []header) map[header]bool {
		m := map[header]bool{}
		for _, h := range hs {
			m[h] = true
		}
		return m
	}
	for h := range all(a.headers) {
		if !all(b.headers)[h] {
			return false
		}
	}
	return len(a.headers) == len(b.headers) && a.call == b.call && a.method == b.method && a.timeout == b.timeout &&
		a.withdrawn == b.withdrawn && bytes.Equal(a.body, b.body) && bytes.Equal(a.request, b.request) && bytes.Equal(a.status, b.status)
}

// FuzzFrames: whatever is read as frames is the same when written and read again.
func FuzzFrames(f *testing.F) {
	f.Add((&frame{call: 1, method: 4, body: []byte("x"), request: []byte("r")}).append(nil))
	f.Add((&frame{call: 1<<64 - 1, withdrawn: true, headers: []header{{"a", "b"}}}).append((&frame{call: 2, status: []byte("s")}).append(nil)))
	f.Add([]byte{0})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		for len(b) > 0 {
			x, rest, err := nextFrame(b)
			if err != nil {
				return
			}
			if len(rest) >= len(b) {
				t.Fatal("nothing was read")
			}
			again, none, err := nextFrame(x.append(nil))
			if err != nil || len(none) != 0 || !sameFrame(again, x) {
				t.Fatalf("%+v is read as %+v, %v, %d bytes left", x, again, err, len(none))
			}
			b = rest
		}
	})
}

// streaming is two transports, the first of which asks over a stream from the first request on.
func streaming(t *testing.T, h transport.Handler) (a, b *Transport) {
	a, b = begin(t, Config{}, nil), begin(t, Config{}, h)
	a.pool.streams = always
	return a, b
}

func routeOnce(ctx context.Context, a *Transport, b *Transport) error {
	_, err := a.Route(ctx, transport.Envelope{To: at("m", b), Settings: transporttest.Settings}, routing.Query{ID: 1})
	return err
}

// A peer of ours that has no streams is asked by unary calls, from the call on that
// finds out.
func TestPeerWithoutStreamsIsAskedByUnaryCalls(t *testing.T) {
	lis := begin(t, Config{}, nil)
	desc := description()
	desc.Streams = nil
	srv := grpc.NewServer()
	srv.RegisterService(desc, &service{t: lis, handler: &transporttest.Handler{Self: at("m", lis)}})
	plain := loopback(t)
	go srv.Serve(plain)
	t.Cleanup(srv.Stop)

	a := begin(t, Config{}, nil)
	a.pool.streams = always
	to := transporttest.Member("m", plain.Addr().String(), 7)
	for range 3 {
		if _, err := a.Route(patient(t), transport.Envelope{To: to, Settings: transporttest.Settings}, routing.Query{ID: 1}); err != nil {
			t.Fatal(err)
		}
	}
	a.pool.mu.Lock()
	defer a.pool.mu.Unlock()
	for l := range a.pool.links {
		if !l.noStream {
			t.Error("the link tries to open a stream again")
		}
	}
}

// A stream that the peer has ended in peace fails no call: another is opened.
func TestStreamThatEndedIsOpenedAgain(t *testing.T) {
	a, b := streaming(t, nil)
	if err := routeOnce(patient(t), a, b); err != nil {
		t.Fatal(err)
	}
	l := onlyLink(t, a)
	first := l.mux
	if err := first.stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	<-first.stream.Context().Done()
	for range 2 { // the first may find the end, and be a unary call then
		if err := routeOnce(patient(t), a, b); err != nil {
			t.Fatal(err)
		}
	}
	if l.mux == first {
		t.Error("no stream was opened in place of the one that has ended")
	}
}

func onlyLink(t *testing.T, a *Transport) *link {
	t.Helper()
	a.pool.mu.Lock()
	defer a.pool.mu.Unlock()
	if len(a.pool.links) != 1 {
		t.Fatalf("%d links", len(a.pool.links))
	}
	for l := range a.pool.links {
		return l
	}
	return nil
}

// A peer that does not read its stream holds up callers no longer than they wait.
func TestPeerThatDoesNotReadTimesOut(t *testing.T) {
	stuck := make(chan struct{})
	a, b := streaming(t, &transporttest.Handler{OnMaintain: func(context.Context, transport.Envelope, protocol.Request) (protocol.Reply, error) {
		<-stuck
		return protocol.Reply{}, nil
	}})
	t.Cleanup(func() { close(stuck) })
	for range 4 * maxCalls {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Millisecond)
		err := ask(ctx, a, at("m", b))
		cancel()
		var f *protocol.Failure
		if !errors.As(err, &f) || f.Kind != protocol.TimedOut && f.Kind != protocol.Overloaded {
			t.Fatal(err)
		}
	}
}

func TestOutboxSendsMaintenanceFirstAndTogether(t *testing.T) {
	var sent [][]uint64
	o := outbox{send: func(m *pb.Frames) error {
		var calls []uint64
		for b := m.GetFrames(); len(b) > 0; {
			f, rest, err := nextFrame(b)
			if err != nil {
				return err
			}
			calls = append(calls, f.call)
			b = rest
		}
		sent = append(sent, calls)
		return nil
	}}
	big := make([]byte, maxFrame/2)
	for i, f := range []struct {
		body   []byte
		urgent bool
	}{{nil, false}, {nil, false}, {nil, true}, {big, true}, {big, true}, {nil, true}, {nil, false}} {
		if first, err := o.put(parcel{frame: frame{call: uint64(i + 1), body: f.body}}, f.urgent); err != nil || first != (i == 0) {
			t.Fatalf("put %d: %t, %v", i, first, err)
		}
	}
	if o.flush(false) {
		t.Error("more waits after all was sent")
	}
	if got, want := fmt.Sprint(sent), "[[3 4] [5 6 1 2 7]]"; got != want {
		t.Errorf("sent %s; want %s", got, want)
	}
	o.fail(io.EOF)
	if _, err := o.put(parcel{frame: frame{call: 9}}, true); !errors.Is(err, io.EOF) {
		t.Errorf("put after the end: %v", err)
	}
}

// The server answers what it cannot make sense of, and ends a stream of garbage.
func TestStreamRefusesNonsense(t *testing.T) {
	b := begin(t, Config{}, nil)
	a := begin(t, Config{}, nil)
	if err := ask(patient(t), a, at("m", b)); err != nil {
		t.Fatal(err)
	}
	cc := onlyLink(t, a).cc
	stream, err := pb.NewChordServiceClient(cc).Link(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	who, err := proto.Marshal(&pb.Request{Settings: &pb.Settings{HashBits: 64}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		frame frame
		want  codes.Code
		words string
	}{
		{frame{call: 1, method: 4}, codes.InvalidArgument, "the first request of a stream does not say who asks whom"},
		{frame{call: 2, method: 99, request: who}, codes.Unimplemented, "the method 99 is unknown"},
		{frame{call: 3, method: 4, request: []byte{0xff}}, codes.InvalidArgument, "malformed"},
		{frame{call: 4, method: 4, request: who, body: []byte{0xff}}, codes.InvalidArgument, "malformed"},
		{frame{call: 5, method: 4, again: 9}, codes.InvalidArgument, "by a place at which nothing is remembered"},
	} {
		if err := stream.Send(&pb.Frames{Frames: c.frame.append(nil)}); err != nil {
			t.Fatal(err)
		}
		in, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		f, _, err := nextFrame(in.GetFrames())
		if err != nil {
			t.Fatal(err)
		}
		st := status.New(codes.OK, "").Proto()
		if err := proto.Unmarshal(f.status, st); err != nil || f.call != c.frame.call || codes.Code(st.GetCode()) != c.want {
			t.Errorf("call %d: %v, %v; want %v (%s)", f.call, st, err, c.want, c.words)
		}
	}
	if err := stream.Send(&pb.Frames{Frames: []byte{200}}); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.InvalidArgument {
		t.Errorf("after garbage: %v", err)
	}
}

func loopback(t *testing.T) net.Listener {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return lis
}
