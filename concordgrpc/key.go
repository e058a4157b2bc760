package concordgrpc

import (
	"context"
	"net/url"

	"google.golang.org/grpc/metadata"
)

// These are the headers of a call. gRPC encodes the value of one that ends in -bin.
const (
	keyHeader   = "concord-key-bin"
	trailHeader = "concord-forwarded-by" // a member each, escaped as in the path of a URL
)

type keyContext struct{}

// WithKey returns a context for a call about key. A Router sends the call to the owner of key, and
// sends key along, in a header. A server bounds the headers of a request, those of
// [concord.Concord.ServerOptions] to 16 KiB. The key must not be changed while the context is used.
func WithKey(ctx context.Context, key []byte) context.Context {
	return context.WithValue(ctx, keyContext{}, key)
}

// Key returns the key of a call: of the context that WithKey has made or, in a handler, of the call
// that is handled. Ok is false if there is none. The caller must not change the key.
func Key(ctx context.Context) (key []byte, ok bool) {
	if key, ok = ctx.Value(keyContext{}).([]byte); ok {
		return key, true
	}
	if values := metadata.ValueFromIncomingContext(ctx, keyHeader); len(values) > 0 {
		return []byte(values[0]), true
	}
	return nil, false
}

// KeyFunc returns the key of a call. Ok is false if the call has none. Method is the full name of
// the method, such as "/shop.Carts/Get". Request is nil for a stream. A KeyFunc must be safe for
// concurrent use.
type KeyFunc func(ctx context.Context, method string, request any) (key []byte, ok bool)

// key is the key of a call by f or, if f is nil, of the context.
func (f KeyFunc) key(ctx context.Context, method string, request any) ([]byte, bool) {
	if f == nil {
		return Key(ctx)
	}
	return f(ctx, method, request)
}

type epochContext struct{}

// Epoch returns, in a handler behind a Guard, the epoch by which the member owned the key when the
// call was let through. Ok is false if the call has no key. See [concord.Concord.OwnsEpoch].
func Epoch(ctx context.Context) (epoch uint64, ok bool) {
	epoch, ok = ctx.Value(epochContext{}).(uint64)
	return epoch, ok
}

// onward is a context for forwarding the call that is handled with ctx by the member named self. If
// the caller has sent the key along, that is among its headers.
func onward(ctx context.Context, self string) context.Context {
	md, _ := metadata.FromIncomingContext(ctx) // a copy
	for name := range md {
		if reserved(name) {
			delete(md, name)
		}
	}
	if md == nil {
		md = make(metadata.MD, 1)
	}
	md[trailHeader] = append(md[trailHeader], url.PathEscape(self))
	return metadata.NewOutgoingContext(ctx, md)
}
