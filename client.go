package concord

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"

	"github.com/ollelogdahl/concord/internal/bootstrap"
	"github.com/ollelogdahl/concord/internal/node"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/transport"
)

// ClientConfig says how a Client speaks to a ring. It is copied by Dial and never
// modified. The zero ClientConfig is right for a ring whose members leave the same
// fields of their Config at zero. HashFunc, HashBits and Cluster must be those of
// the members; they refuse a client that differs.
type ClientConfig struct {
	// HashFunc is as in Config. Nil: SHA-256.
	HashFunc func([]byte) uint64
	// HashBits is the width of the circle, as in Config, from 1 to 64. Zero: 64.
	HashBits uint

	// Cluster is the name of the ring, as in Config.
	Cluster string

	// TLS, if set, encrypts and authenticates all connections: the Client half of
	// a member's TLSConfig, with the same requirements. Nil: plaintext.
	TLS *tls.Config

	// LogHandler receives what keeps the client from members: each cause and member the
	// first time and then at most once a minute. Nil: nothing is logged, which costs
	// nothing.
	LogHandler slog.Handler

	// Observer, if set, is told what the client does; its functions Serve, Extract,
	// Range, Successor, Predecessor and RingMet are never called. What it points to
	// is copied. Nil: nobody, which costs nothing.
	Observer *Observer

	// Network, if set, carries the client's traffic instead of TCP, as in Config.
	// Nil: TCP.
	Network transport.Network
}

// validate reports every mistake at once.
func (c *ClientConfig) validate() error {
	var errs []error
	wrong := func(field, msg string) {
		errs = append(errs, &ConfigError{Field: field, Err: errors.New(msg), client: true})
	}
	if c.HashBits > 64 {
		wrong("HashBits", fmt.Sprintf("is %d, at most 64 are allowed", c.HashBits))
	}
	if c.TLS != nil {
		checkClient(c.TLS, func(msg string) { wrong("TLS", msg) })
	}
	return errors.Join(errs...)
}

// Client looks keys up in a ring without being a member of it: it owns nothing,
// listens nowhere, and no member knows it. Make it with Dial. An idle Client asks
// nobody anything and lets its connections go after half a minute. Its methods may
// be called concurrently.
type Client struct {
	space ring.Space
	node  *node.Client
}

// Dial makes a Client of the ring that the addresses lead to: host:port or names of
// SRV records, as with [Concord.Join]. It asks all of them at once and returns when a
// member has answered; one suffices. Later, when none of the members met since
// answers, the Client asks the addresses again, and resolves names anew.
//
// Mistakes in cfg are *ConfigErrors, joined. Otherwise the error is a *DialError,
// which matches ctx's error and the last cause of each address. What can get
// better (an address that refuses or is silent, a member that is in no ring) is
// tried again until ctx ends, or for 30 s if ctx has no deadline. What cannot
// (every address leads to another kind of ring, or none is one) is an error at
// once. ctx bounds Dial only; Close ends the Client.
func Dial(ctx context.Context, cfg ClientConfig, addrs ...string) (*Client, error) {
	return dial(ctx, cfg, addrs, resolver(cfg.Network))
}

// dial is Dial with names resolved by dns.
func dial(ctx context.Context, cfg ClientConfig, addrs []string, dns bootstrap.DNS) (*Client, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	out := &DialError{Err: ctx.Err()}
	var usable []string
	for _, a := range addrs {
		if err := bootstrap.Check(a); err != nil {
			out.Attempts = append(out.Attempts, DialAttempt{Address: a, Err: fmt.Errorf("%w: %w", ErrAddress, err)})
		} else {
			usable = append(usable, a)
		}
	}
	if len(addrs) == 0 {
		out.Attempts = []DialAttempt{{Err: fmt.Errorf("%w: no address given", ErrAddress)}}
	}
	if len(usable) == 0 || out.Err != nil {
		return nil, out
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, joinTimeout)
		defer cancel()
	}
	tr, err := network(cfg.Network).OpenClient(transport.Options{Client: cfg.TLS, Inject: cfg.Observer.copied().Inject})
	if err != nil {
		return nil, err
	}
	c := &Client{space: space(cfg.HashBits, cfg.HashFunc)}
	var log *slog.Logger
	if cfg.LogHandler != nil {
		log = slog.New(cfg.LogHandler)
	}
	c.node = node.NewClient(node.ClientConfig{Space: c.space, Settings: c.space.Settings(cfg.Cluster), Addrs: usable,
		Resolver: &bootstrap.Resolver{DNS: dns}, Observer: cfg.Observer.inside(), Log: log, Inspect: inspectClient(cfg.TLS)}, tr)
	err = c.node.Dial(ctx)
	if err == nil {
		return c, nil
	}
	c.node.Close()
	var je *node.JoinError
	if !errors.As(err, &je) {
		return nil, publicError(err)
	}
	return nil, dialError(je, out.Attempts)
}

// checkAddress reports that s is not host:port.
func checkAddress(s string) error {
	if err := ring.CheckAddress(s); err != nil {
		return fmt.Errorf("%w: %w", ErrAddress, err)
	}
	return nil
}

// Lookup finds the member that is responsible for key; see [Concord.Lookup].
func (c *Client) Lookup(key []byte) (Server, error) {
	return c.LookupContext(context.Background(), key)
}

// LookupContext finds the member that is responsible for key; see
// [Concord.LookupContext]. The error is ErrStopped after Close, or a *LookupError.
func (c *Client) LookupContext(ctx context.Context, key []byte, opts ...LookupOption) (Server, error) {
	return c.finding().lookup(ctx, key, opts)
}

// LookupN finds the member that is responsible for key and the n−1 members after
// it; see [Concord.LookupN].
func (c *Client) LookupN(ctx context.Context, key []byte, n int, opts ...LookupOption) ([]Server, error) {
	return c.finding().lookupN(ctx, key, n, opts)
}

// LookupAll finds for each of the keys the member that is responsible for it; see
// [Concord.LookupAll].
func (c *Client) LookupAll(ctx context.Context, keys [][]byte, opts ...LookupOption) ([]Server, error) {
	return c.finding().lookupAll(ctx, keys, opts)
}

// Trace looks key up and says what was done for it; see [Concord.Trace].
func (c *Client) Trace(ctx context.Context, key []byte, opts ...LookupOption) (Trace, error) {
	return c.finding().trace(ctx, key, opts)
}

// Reject reports that s, named as the owner of key, did not serve it. For two
// seconds lookups of this Client go round s, and name it as an owner only on its
// own word, given during the lookup.
func (c *Client) Reject(key []byte, s Server) { c.finding().reject(s) }

// Close ends the Client: lookups under way fail, and when it returns no goroutine
// and no connection of the Client is left. It may be called more than once and
// returns nil.
func (c *Client) Close() error {
	c.node.Close()
	return nil
}

func (c *Client) finding() finding { return finding{&c.node.Finder, c.space} }
