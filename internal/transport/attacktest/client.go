package attacktest

import (
	"context"
	"crypto/tls"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"

	"github.com/ollelogdahl/concord/internal/pb"
	"github.com/ollelogdahl/concord/internal/ring"
)

// maxMessage bounds what a client sends and receives, in bytes: far more than a member
// does.
const maxMessage = 64 << 20

// World is what an attacker knows of the rings that it attacks: their circle and the
// name of their cluster.
type World struct {
	Space   ring.Space
	Cluster string
}

// Default is the world of rings with the default circle and no cluster.
var Default = World{Space: ring.Space{Bits: 64, Hash: ring.SHA256}}

// Settings are those of the ring.
func (w World) Settings() *pb.Settings {
	s := w.Space.Settings(w.Cluster)
	return &pb.Settings{Cluster: s.Cluster, HashBits: uint32(s.Bits), HashCheck: s.Check}
}

// Server is a member as anybody can name one. Its identifier is the hash of its name.
func (w World) Server(name, addr string, incarnation uint64) *pb.Server {
	return &pb.Server{Id: w.Space.ID([]byte(name)), Name: name, Address: addr, Incarnation: incarnation}
}

// Request is the envelope of a request of sender, nil for a client, to target, nil for
// whoever answers.
func (w World) Request(sender, target *pb.Server) *pb.Request {
	r := &pb.Request{Sender: sender, Settings: w.Settings()}
	if target != nil {
		r.Target = &pb.Target{Id: target.GetId(), Incarnation: target.GetIncarnation()}
	}
	return r
}

// Now is the incarnation of a member that starts now.
func Now() uint64 { return uint64(time.Now().UnixMilli()) }

// Client sends what it is told to one member. The caller closes it.
type Client struct {
	pb.ChordServiceClient

	cc *grpc.ClientConn
}

// Dial makes a client of the member at addr. It connects with the first request, with TLS
// if config is not nil.
func Dial(addr string, config *tls.Config) (*Client, error) {
	creds := insecure.NewCredentials()
	if config != nil {
		creds = credentials.NewTLS(config)
	}
	cc, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(creds), grpc.WithIdleTimeout(0),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)))
	if err != nil {
		return nil, err
	}
	return &Client{ChordServiceClient: pb.NewChordServiceClient(cc), cc: cc}, nil
}

// Conn is the connection, for requests of other services.
func (c *Client) Conn() *grpc.ClientConn { return c.cc }

// AskRing asks the member for its ring.
func (c *Client) AskRing(ctx context.Context) error {
	_, err := c.GetRing(ctx, &pb.RingReq{Request: Default.Request(nil, nil)})
	return err
}

// Close ends the connection.
func (c *Client) Close() { _ = c.cc.Close() }

// Raw has the bytes of a *[]byte sent, and those received put there, as they are. It is
// for grpc.ForceCodecV2.
type Raw struct{}

// Name implements encoding.CodecV2.
func (Raw) Name() string { return "proto" }

// Marshal implements encoding.CodecV2.
func (Raw) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.(*[]byte)
	if !ok {
		return nil, errors.New("attacktest: not bytes")
	}
	return mem.BufferSlice{mem.SliceBuffer(*b)}, nil
}

// Unmarshal implements encoding.CodecV2.
func (Raw) Unmarshal(data mem.BufferSlice, v any) error {
	b, ok := v.(*[]byte)
	if !ok {
		return errors.New("attacktest: not bytes")
	}
	*b = data.Materialize()
	return nil
}
