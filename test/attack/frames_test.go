package attack

import (
	"errors"
	"io"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/pb"
)

// stream is a stream of frames to m.
func stream(t *testing.T, m *concord.Concord) grpc.ClientStream {
	t.Helper()
	s, err := client(t, m).Conn().NewStream(bounded(t, patience), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/concord.ChordService/Link")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// frames writes frames together.
func frames(t *testing.T, all ...*pb.Frame) *pb.Frames {
	t.Helper()
	var out []byte
	for _, f := range all {
		b, err := proto.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		out = protowire.AppendBytes(out, b)
	}
	return &pb.Frames{Frames: out}
}

// ending is the error with which a stream ends.
func ending(s grpc.ClientStream) error {
	for {
		if err := s.RecvMsg(new(pb.Frames)); err != nil {
			return err
		}
	}
}

// envelopeOf is a request of nobody to m, serialized.
func envelopeOf(t *testing.T, m *concord.Concord) []byte {
	t.Helper()
	b, err := proto.Marshal(world.Request(nil, server(m)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBytesThatAreNoFrames(t *testing.T) {
	r := attacked(t, 3)
	m := r.member(0)
	r.unmoved(1, func() {
		for _, garbage := range [][]byte{
			{0xff}, {0x05, 1}, []byte("GET / HTTP/1.1\r\n"), protowire.AppendBytes(nil, []byte{0xff, 0xff}), protowire.AppendBytes(nil, nil),
		} {
			r.counted(m, incoming, 1, func() {
				s := stream(t, m)
				if err := s.SendMsg(&pb.Frames{Frames: garbage}); err != nil && !errors.Is(err, io.EOF) {
					t.Error(err)
				}
				refused(t, ending(s), codes.InvalidArgument, "")
			})
		}
	})
	r.logged(m, "incoming request refused")
}

// Frames whose requests and bodies are no messages, and that are of no method, are refused
// one by one. The stream goes on.
func TestFramesOfNonsense(t *testing.T) {
	r := attacked(t, 3)
	m := r.member(0)
	s := stream(t, m)
	who := envelopeOf(t, m)
	r.unmoved(1, func() {
		r.counted(m, incoming, 2, func() {
			for i, f := range []*pb.Frame{
				{Call: 1, Method: 2, Request: []byte{0xff}}, {Call: 2, Method: 2, Request: who, Body: []byte{0xff}}, {Call: 3, Method: 1 << 31, Request: who},
				{Call: 4, Method: 2, Request: who, TimeoutNs: 1<<64 - 1},
			} {
				if err := s.SendMsg(frames(t, f)); err != nil {
					t.Fatalf("frame %d: %v", i, err)
				}
				answer := new(pb.Frames)
				if err := s.RecvMsg(answer); err != nil {
					t.Fatalf("frame %d: %v", i, err)
				}
				own, n := protowire.ConsumeBytes(answer.GetFrames())
				got := new(pb.Frame)
				if err := proto.Unmarshal(own, got); err != nil || n < 0 || got.GetCall() != f.GetCall() {
					t.Fatalf("frame %d is answered with %v, %v", i, got, err)
				}
				if failed := len(got.GetStatus()) > 0; failed != (f.GetCall() != 4) {
					t.Errorf("frame %d is answered with %v", i, got)
				}
			}
		})
	})
	r.logged(m, "incoming request refused")
}

// A stream on which thousands of requests are sent and no answer is read.
func TestThousandsOfRequestsOnOneStream(t *testing.T) {
	r := attacked(t, 3)
	m := r.member(0)
	s := stream(t, m)
	who := envelopeOf(t, m)
	var messages []*pb.Frames
	for i := range uint64(400) {
		var some []*pb.Frame
		for k := range uint64(25) {
			some = append(some, &pb.Frame{Call: 1 + 25*i + k, Method: 2, Request: who})
		}
		messages = append(messages, frames(t, some...))
	}
	r.unmoved(1, func() {
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			for _, f := range messages {
				if s.SendMsg(f) != nil {
					return
				}
			}
		}()
		select {
		case <-sent:
		case <-time.After(time.Second): // the member reads no more of it
		}
		r.served(m)
	})
}
