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

// ClientConfig configures a Client. Dial copies it and never modifies it.
//
// The zero ClientConfig fits a ring whose members leave the same fields of their Config at zero.
// HashFunc, HashBits and Cluster must equal those of the members. Members refuse a client that
// differs.
type ClientConfig struct {
	// HashFunc is as in Config. If nil, SHA-256.
	HashFunc func([]byte) uint64
	// HashBits is the width of the circle, as in Config. If zero, 64. It is at most 64.
	HashBits uint

	// Cluster is the name of the ring, as in Config. If empty, the ring has no name.
	Cluster string

	// TLS, if not nil, encrypts and authenticates all connections. It has to meet the requirements
	// of TLSConfig.Client. If nil, connections are in plaintext.
	TLS *tls.Config

	// Identity is as in TLSConfig, for the members that the client asks. If nil, the rule is the
	// same, with TLS in place of TLSConfig.Client.
	Identity func(Peer) error

	// LogHandler receives the failures that keep the client from members. Each cause and member is
	// logged the first time and then at most once a minute. If nil, nothing is logged.
	LogHandler slog.Handler

	// Observer, if not nil, is told what the client does. Its functions Serve, Extract, Range,
	// Successor, Predecessor and RingMet are never called. Dial copies it.
	Observer *Observer

	// NoSubscribe keeps the client from subscribing at a member when it looks keys up. It then asks
	// for each owner once a second, for as long as lookups need it. If false, the client
	// subscribes; see Client.
	NoSubscribe bool

	// Network, if not nil, carries the client's traffic instead of TCP, as in Config.
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

// Client looks up keys in a ring without being a member of it. It owns no keys, it does not listen,
// and no member knows it. Use Dial to make one.
//
// A Client that looks keys up, or asks for the Members, regularly subscribes at a member: the
// member tells it of its map of the ring, and of each change. It begins when it is asked again a
// second or more after the first time. Lookups are then answered from memory, once the owner of the
// key has confirmed its range to the client. If that member goes, or says nothing, the Client
// subscribes at another. After five minutes it does so in any case. If all members refuse, the
// Client asks as before.
//
// A Client that has been asked neither for a minute ends its subscription. An idle Client sends no
// requests and closes its connections after half a minute. Its methods may be called concurrently.
type Client struct {
	space    ring.Space
	settings ring.Settings
	node     *node.Client
	tr       transport.Transport // of node
}

// Dial makes a Client of the ring that the addresses lead to. An address is host:port or the name
// of SRV records, as with [Concord.Join]. Dial asks all addresses at once and returns when one
// member has answered. Later, when none of the members that the Client has met answers, it asks the
// addresses again and resolves their names anew.
//
// Mistakes in cfg are *ConfigErrors, joined. Any other error is a *DialError, which matches the
// error of ctx and the last cause at each address. Dial retries while success is possible: when an
// address refuses or does not answer, or when the member there is in no ring. It does so until ctx
// ends, or for 30 s if ctx has no deadline. Dial fails at once if every address leads to another
// kind of ring or is not an address.
//
// ctx bounds Dial only. Call Close to release the Client.
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
	by := seeking{bare: cfg.TLS == nil}
	if _, ok := ctx.Deadline(); !ok {
		by.own = joinTimeout
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, by.own)
		defer cancel()
	}
	tr, err := network(cfg.Network).OpenClient(transport.Options{Client: cfg.TLS, Inject: cfg.Observer.copied().Inject})
	if err != nil {
		return nil, err
	}
	c := &Client{space: space(cfg.HashBits, cfg.HashFunc), tr: tr}
	c.settings = c.space.Settings(cfg.Cluster)
	var log *slog.Logger
	if cfg.LogHandler != nil {
		log = slog.New(cfg.LogHandler)
	}
	c.node = node.NewClient(node.ClientConfig{Space: c.space, Settings: c.settings, Addrs: usable,
		Resolver: &bootstrap.Resolver{DNS: dns}, Observer: cfg.Observer.inside(), Log: log, NoSubscribe: cfg.NoSubscribe, Inspect: inspectClient(cfg.TLS), Admit: cfg.admission().admits(),
		Proven: cfg.TLS != nil && cfg.Identity != nil}, tr)
	err = c.node.Dial(ctx)
	if err == nil {
		return c, nil
	}
	c.node.Close()
	var je *node.JoinError
	if !errors.As(err, &je) {
		return nil, publicError(err)
	}
	return nil, dialError(je, by, out.Attempts)
}

// checkAddress reports that s is not host:port.
func checkAddress(s string) error {
	if err := ring.CheckAddress(s); err != nil {
		return fmt.Errorf("%w: %w", ErrAddress, err)
	}
	return nil
}

// Lookup returns the member that is responsible for key. See [Concord.Lookup].
func (c *Client) Lookup(key []byte) (Server, error) {
	return c.LookupContext(context.Background(), key)
}

// LookupContext returns the member that is responsible for key. See [Concord.LookupContext]. The
// error is ErrStopped after Close, and a *LookupError otherwise.
func (c *Client) LookupContext(ctx context.Context, key []byte, opts ...LookupOption) (Server, error) {
	return c.finding().lookup(ctx, key, opts)
}

// LookupN returns the member that is responsible for key and the n−1 members after it. See
// [Concord.LookupN].
func (c *Client) LookupN(ctx context.Context, key []byte, n int, opts ...LookupOption) ([]Server, error) {
	return c.finding().lookupN(ctx, key, n, opts)
}

// LookupAll returns the members that are responsible for the keys. See [Concord.LookupAll].
func (c *Client) LookupAll(ctx context.Context, keys [][]byte, opts ...LookupOption) ([]Server, error) {
	return c.finding().lookupAll(ctx, keys, opts)
}

// Trace looks up key and returns the path of the lookup. See [Concord.Trace].
func (c *Client) Trace(ctx context.Context, key []byte, opts ...LookupOption) (Trace, error) {
	return c.finding().trace(ctx, key, opts)
}

// Reject reports that s did not serve key although a lookup named it as the owner. For two seconds,
// lookups of this Client go around s. They name it as an owner only if s itself confirms it during
// the lookup.
func (c *Client) Reject(key []byte, s Server) { c.finding().reject(s) }

// KeyID returns the identifier of a key. See [Concord.KeyID].
func (c *Client) KeyID(key []byte) uint64 { return c.space.ID(key) }

// Close closes the Client. Lookups in progress fail. When Close returns, the Client has no
// goroutine and no connection left. Close may be called more than once. It always returns nil.
func (c *Client) Close() error {
	c.node.Close()
	return nil
}

func (c *Client) finding() finding { return finding{&c.node.Finder, c.space} }
