package grpctransport

import (
	"context"
	"strings"

	"google.golang.org/grpc/metadata"
)

// maxCarried bounds what Config.Inject may add to the headers of one request, in
// bytes: half of what a peer accepts.
const maxCarried = maxHeaders / 2

// headerCost is what a header counts beside its name and value (RFC 9113, 6.5.2).
const headerCost = 32

// bare is ctx without the headers that whoever gave it to us, for a lookup, say,
// means for requests of its own: its tokens do not concern the members.
func bare(ctx context.Context) context.Context {
	if _, ok := metadata.FromOutgoingContext(ctx); !ok {
		return ctx
	}
	return metadata.NewOutgoingContext(ctx, nil)
}

// injected is ctx with the headers that Config.Inject names.
func (t *Transport) injected(ctx context.Context) context.Context {
	if t.cfg.Inject == nil {
		return ctx
	}
	var pairs []string
	left := maxCarried
	t.cfg.Inject(ctx, func(key, value string) {
		key = strings.ToLower(key)
		if cost := len(key) + len(value) + headerCost; carriable(key, value) && cost <= left {
			left -= cost
			pairs = append(pairs, key, value)
		}
	})
	if len(pairs) == 0 {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, pairs...)
}

// carriable reports whether gRPC takes the header and leaves it as it is.
func carriable(key, value string) bool {
	if key == "" || strings.HasPrefix(key, "grpc-") || strings.HasSuffix(key, "-bin") {
		return false
	}
	for _, c := range []byte(key) {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.') {
			return false
		}
	}
	for _, c := range []byte(value) {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// extracted is the context of a request as Config.Extract makes it.
func (t *Transport) extracted(ctx context.Context) context.Context {
	if t.cfg.Extract == nil {
		return ctx
	}
	md, _ := metadata.FromIncomingContext(ctx)
	return t.cfg.Extract(ctx, func(key string) string {
		if values := md.Get(key); len(values) > 0 {
			return values[0]
		}
		return ""
	})
}
