package concord

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/transport"
)

// Defaults and bounds of Config.
const (
	DefaultHashBits          = 64
	DefaultSuccessorCount    = 3
	MaxSuccessorCount        = 64
	DefaultStabilizeInterval = time.Second
	MinStabilizeInterval     = 10 * time.Millisecond
	DefaultFoundAfter        = 3 * time.Second
	MinFoundAfter            = 100 * time.Millisecond
	MaxMeta                  = 256 // bytes
)

// The transports carry as much, no less and no more.
var _ [MaxMeta]struct{} = [transport.MaxMeta]struct{}{}

// Config says who a member is and how it behaves. It is copied by New and never
// modified. HashFunc, HashBits and Cluster must be the same on all members of a
// ring; members that differ in one refuse each other.
type Config struct {
	// Name is the member's name, unique in the ring. The member's identifier,
	// its place on the circle, is the hash of it. Required; UTF-8, at most 255 bytes.
	Name string

	// BindAddr is the host and port to listen at. An empty or wildcard host
	// listens on all interfaces, port 0 picks a free port. Required.
	BindAddr string

	// AdvAddr is the host and port at which the other members reach this one.
	// They verify that: a member whose AdvAddr leads nowhere, or to somebody
	// else, is refused. Empty: the bound address, whose host must then be a
	// definite one. Port 0: the bound port.
	AdvAddr string

	// OnRangeChange, if set, is called with the newest range of keys that this
	// member is responsible for, whenever that has changed, and with the same range
	// if others have been responsible for it meanwhile, see CauseResumed. Calls are made one
	// at a time, outside all locks, and may call any method of the member, Stop
	// included; changes during a call are merged into one call after it. Create
	// and Join each cause a call, Stop and Leave none, and none begins after
	// those have returned. A panic in it is not caught.
	OnRangeChange func(Range)

	// HashFunc puts names and keys on the circle: the low HashBits bits of what
	// it returns. It must be safe for concurrent use. Nil: the first 8 bytes of
	// SHA-256, big-endian.
	HashFunc func([]byte) uint64

	// HashBits is the width of the circle, which has 2^HashBits identifiers.
	// Zero: 64. At most 64.
	HashBits uint

	// SuccessorCount is how many of the members after it each member knows. A
	// ring that has settled with at least SuccessorCount+1 members survives
	// SuccessorCount−1 failures at once; more cost a longer list in every
	// round. Zero: 3. At most 64.
	SuccessorCount uint

	// LogHandler receives changes of state, and what keeps the member from others: each
	// cause and peer the first time and then at most once a minute. Nil: nothing is
	// logged, which costs nothing.
	LogHandler slog.Handler

	// StabilizeInterval is the time between two rounds in which a member looks
	// after its neighbours. Breaks, joins and leaves are dealt with as they
	// come, so it bounds how long a silent failure goes unnoticed: longer is
	// cheaper, shorter is quicker. Zero: 1 s. At least 10 ms.
	StabilizeInterval time.Duration

	// MinMembers is how many members, this one included, must be known to live
	// for this one to serve keys. With fewer it is isolated: lookups at it give
	// ErrIsolated, Owns is false, Range and OnRangeChange stand still, it names
	// no owner to others, and it goes on looking for the others. With more than
	// half of all members, at most one side of a partition serves. A member
	// knows itself and its successors, so at most SuccessorCount+1. It should be
	// the same on all members. Zero and one: a member serves even when it is
	// alone, and each side of a partition owns every key.
	MinMembers uint

	// FoundAfter is for how long JoinOrCreate looks for a ring, and for others
	// to found one with, before it founds one though not everybody has answered.
	// It should be several times the slowest round trip, and longer than the
	// time over which members started together come up: members that do not
	// hear of each other for so long found one ring each, which become one when
	// they can. Zero: 3 s. At least 100 ms.
	FoundAfter time.Duration

	// StateDir, if set, is a directory in which the member remembers its
	// incarnation and up to 32 members of its ring, so that after a restart it finds
	// the ring though every address given to Join is gone. It is made if need be;
	// each member needs one of its own. The file in it, ring.json, is replaced when
	// the neighbours have changed, at most every three seconds, when only others
	// have, every minute, and at the end. What keeps it from being used is logged,
	// and the member does without: a file that is damaged, or that of another Name
	// or Cluster, is set aside as ring.json.damaged-<time>. Only a directory that
	// another running member uses is an error of Start, where files can be locked
	// (Unix). Empty: nothing is remembered.
	StateDir string

	// Meta is what the application says of the member to whoever asks for it by
	// [Concord.Meta], its own address say. It does not change while the member
	// runs. Nil and empty: nothing. At most 256 bytes.
	Meta []byte

	// TLS, if set, encrypts and authenticates all connections between members.
	// Nil: plaintext.
	TLS *TLSConfig

	// Cluster names the ring. Members of another name are refused. Empty: no
	// name; only then can members of the existing Concord library take part.
	Cluster string

	// Observer, if set, is told what the member does, for metrics and traces. What
	// it points to is copied. Nil: nobody, which costs nothing.
	Observer *Observer

	// Network, if set, carries the member's traffic instead of TCP. It is for tests:
	// package concordtest makes Networks, in memory or with faults. Nil: TCP.
	Network transport.Network
}

// ConfigError is one mistake in a Config, or in a ClientConfig. Start and Dial
// report all of them, joined.
type ConfigError struct {
	// Field is the name of the field, as "TLS.Server".
	Field string
	// Err says what is wrong with it.
	Err error

	client bool // it is a field of a ClientConfig
}

func (e *ConfigError) Error() string {
	in := "Config."
	if e.client {
		in = "ClientConfig."
	}
	return "concord: " + in + e.Field + ": " + e.Err.Error()
}

// Unwrap returns Err.
func (e *ConfigError) Unwrap() error { return e.Err }

// space is the circle that the configuration describes.
func (c *Config) space() ring.Space { return space(c.HashBits, c.HashFunc) }

// space is the circle of so many bits, 0 for the default, on which hash, nil for
// the default, puts names and keys.
func space(bits uint, hash func([]byte) uint64) ring.Space {
	s := ring.Space{Bits: bits, Hash: hash}
	if s.Bits == 0 || s.Bits > 64 {
		s.Bits = DefaultHashBits
	}
	if s.Hash == nil {
		s.Hash = ring.SHA256
	}
	return s
}

func (c *Config) successors() int {
	if c.SuccessorCount == 0 {
		return DefaultSuccessorCount
	}
	return int(c.SuccessorCount)
}

func (c *Config) interval() time.Duration {
	if c.StabilizeInterval == 0 {
		return DefaultStabilizeInterval
	}
	return c.StabilizeInterval
}

func (c *Config) foundAfter() time.Duration {
	if c.FoundAfter == 0 {
		return DefaultFoundAfter
	}
	return c.FoundAfter
}

// validate reports every mistake at once.
func (c *Config) validate() error {
	var errs []error
	wrong := func(field, format string, args ...any) {
		errs = append(errs, &ConfigError{Field: field, Err: fmt.Errorf(format, args...)})
	}
	switch {
	case c.Name == "":
		wrong("Name", "is empty")
	case len(c.Name) > ring.MaxNameLength:
		wrong("Name", "has %d bytes, at most %d are allowed", len(c.Name), ring.MaxNameLength)
	case !utf8.ValidString(c.Name):
		wrong("Name", "is not UTF-8: %q", c.Name)
	}
	bindHost, err := splitAddr(c.BindAddr)
	if err != nil {
		wrong("BindAddr", "%w", err)
	}
	switch advHost, advErr := splitAddr(c.AdvAddr); {
	case c.AdvAddr == "" && err == nil && wildcard(bindHost):
		wrong("AdvAddr", "is empty, and BindAddr %q names no definite host that others could reach", c.BindAddr)
	case c.AdvAddr == "":
	case advErr != nil:
		wrong("AdvAddr", "%w", advErr)
	case wildcard(advHost):
		wrong("AdvAddr", "%q names no definite host that others could reach", c.AdvAddr)
	case len(c.AdvAddr) > ring.MaxAddressLength:
		wrong("AdvAddr", "has %d bytes, at most %d are allowed", len(c.AdvAddr), ring.MaxAddressLength)
	}
	if c.HashBits > 64 {
		wrong("HashBits", "is %d, at most 64 are allowed", c.HashBits)
	}
	if c.SuccessorCount > MaxSuccessorCount {
		wrong("SuccessorCount", "is %d, at most %d are allowed", c.SuccessorCount, MaxSuccessorCount)
	}
	switch d := c.StabilizeInterval; {
	case d < 0:
		wrong("StabilizeInterval", "is negative: %v", d)
	case d > 0 && d < MinStabilizeInterval:
		wrong("StabilizeInterval", "is %v, at least %v is required", d, MinStabilizeInterval)
	}
	if most := uint(c.successors()) + 1; c.SuccessorCount <= MaxSuccessorCount && c.MinMembers > most {
		wrong("MinMembers", "is %d, but with SuccessorCount %d a member knows of at most %d, itself included: raise SuccessorCount to at least %d",
			c.MinMembers, most-1, most, c.MinMembers-1)
	}
	switch d := c.FoundAfter; {
	case d < 0:
		wrong("FoundAfter", "is negative: %v", d)
	case d > 0 && d < MinFoundAfter:
		wrong("FoundAfter", "is %v, at least %v is required", d, MinFoundAfter)
	}
	if n := len(c.Meta); n > MaxMeta {
		wrong("Meta", "has %d bytes, at most %d are allowed", n, MaxMeta)
	}
	errs = append(errs, c.TLS.validate()...)
	return errors.Join(errs...)
}

// splitAddr checks host:port with a port of 0 … 65535 and returns the host.
func splitAddr(addr string) (string, error) {
	if addr == "" {
		return "", errors.New("is empty")
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", fmt.Errorf("%q is not host:port", addr)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", fmt.Errorf("%q: port must be 0 … 65535", addr)
	}
	return host, nil
}

// wildcard reports whether host stands for all interfaces.
func wildcard(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.Unmap().IsUnspecified()
}

// advertised is the address that the others are told, given the bound one.
func (c *Config) advertised(bound string) (string, error) {
	adv := transport.Advertised(c.AdvAddr, bound)
	if err := ring.CheckAddress(adv); err != nil {
		return "", &ConfigError{Field: "AdvAddr", Err: err}
	}
	return adv, nil
}
