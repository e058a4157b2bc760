package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/plain"
	"github.com/ollelogdahl/concord/internal/remote/adminpb"
)

var (
	// ErrUnavailable: nobody answers at the address.
	ErrUnavailable = errors.New("no answer")
	// ErrNotAdmin: what answers at the address is no admin listener.
	ErrNotAdmin = errors.New("not an admin listener")
	// ErrRefused: the member does not do it, and says why.
	ErrRefused = errors.New("the member refuses")
	// ErrUnacknowledged: the member has left, but not all neighbours have
	// acknowledged it.
	ErrUnacknowledged = errors.New("not all neighbours have acknowledged that it leaves")
)

// Client asks one member at its admin listener. Its methods may be called
// concurrently. Their errors match the context's, or one of those above.
type Client struct {
	conn *grpc.ClientConn
	stub adminpb.AdminClient
}

// Dial makes a client of the admin listener at addr, host:port or unix:PATH. It
// connects when it is first asked something.
func Dial(addr string) (*Client, error) {
	target := addr
	if !strings.HasPrefix(addr, "unix:") {
		target = "passthrough:///" + addr
	}
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy())
	if err != nil {
		return nil, err
	}
	return &Client{conn: conn, stub: adminpb.NewAdminClient(conn)}, nil
}

// Close ends the client and what it is being asked.
func (c *Client) Close() error { return c.conn.Close() }

// Status is the state of the member.
func (c *Client) Status(ctx context.Context) (concord.Status, error) {
	r, err := c.stub.Status(ctx, &adminpb.StatusReq{})
	if err != nil {
		return concord.Status{}, explain(ctx, err)
	}
	s, err := readStatus(r)
	if err != nil {
		return s, fmt.Errorf("%w: %w", ErrNotAdmin, err)
	}
	return s, nil
}

// Watch yields what [concord.Concord.Watch] does at the member. It ends when the
// member is stopped, or with an error.
func (c *Client) Watch(ctx context.Context) iter.Seq2[concord.Event, error] {
	return func(yield func(concord.Event, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := c.stub.Watch(ctx, &adminpb.WatchReq{})
		for err == nil {
			var e *adminpb.Event
			if e, err = stream.Recv(); err == nil && !yield(readEvent(e), nil) {
				return
			}
		}
		if !errors.Is(err, io.EOF) {
			yield(concord.Event{}, explain(ctx, err))
		}
	}
}

// Leave lets the member leave its ring and waits until it has.
func (c *Client) Leave(ctx context.Context) error {
	r, err := c.stub.Leave(ctx, &adminpb.LeaveReq{})
	switch {
	case err != nil:
		return explain(ctx, err)
	case r.GetUnacknowledged() != "":
		return fmt.Errorf("%w: %s", ErrUnacknowledged, r.GetUnacknowledged())
	}
	return nil
}

// SetWeight has the member stand at so many identifiers and waits until it does; 0: it
// drains.
func (c *Client) SetWeight(ctx context.Context, weight int) error {
	if _, err := c.stub.SetWeight(ctx, &adminpb.SetWeightReq{Weight: int64(weight)}); err != nil {
		return explain(ctx, err)
	}
	return nil
}

// explain says what a call's error means.
func explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	words := plain.Text(status.Convert(err).Message())
	switch status.Code(err) {
	case codes.FailedPrecondition, codes.InvalidArgument:
		return fmt.Errorf("%w: %s", ErrRefused, words)
	case codes.Unimplemented, codes.Internal, codes.Unknown:
		return fmt.Errorf("%w: %s", ErrNotAdmin, words)
	}
	return fmt.Errorf("%w: %s", ErrUnavailable, words)
}
