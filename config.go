package concord

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/transport"
)

// Defaults and bounds of the fields of Config.
const (
	// DefaultHashBits is the HashBits of a Config that sets none. It is also the largest.
	DefaultHashBits = 64
	// DefaultSuccessorCount is the SuccessorCount of a Config that sets none.
	DefaultSuccessorCount = 3
	// MaxSuccessorCount is the largest SuccessorCount.
	MaxSuccessorCount = 64
	// DefaultStabilizeInterval is the StabilizeInterval of a Config that sets none.
	DefaultStabilizeInterval = time.Second
	// MinStabilizeInterval is the smallest StabilizeInterval.
	MinStabilizeInterval = 10 * time.Millisecond
	// DefaultTakeoverTimeout is the TakeoverTimeout of a Config that sets none.
	DefaultTakeoverTimeout = 10 * time.Second
	// DefaultFoundAfter is the FoundAfter of a Config that sets none.
	DefaultFoundAfter = 3 * time.Second
	// MinFoundAfter is the smallest FoundAfter.
	MinFoundAfter = 100 * time.Millisecond
	// MaxMeta is the largest number of bytes in Meta.
	MaxMeta = 256
	// MaxVirtualNodes is the largest number of VirtualNodes.
	MaxVirtualNodes = ring.MaxIdentifiers
)

// The transports carry as much, no less and no more.
var _ [MaxMeta]struct{} = [transport.MaxMeta]struct{}{}

// Config configures a member. New copies it and never modifies it.
//
// HashFunc, HashBits and Cluster must be the same on all members of a ring. Members that differ in
// one of them refuse each other.
type Config struct {
	// Name is the name of the member, unique in the ring. Its hash is the member's identifier,
	// which is its place on the circle. Name is required. It is UTF-8 of at most 255 bytes.
	Name string

	// BindAddr is the host and port to listen on. An empty or wildcard host listens on all
	// interfaces. Port 0 picks a free port. BindAddr is required, unless the member is registered
	// on a server of the application: then it must be empty. See [Concord.Register].
	BindAddr string

	// AdvAddr is the host and port at which the other members reach this one. They verify it: a
	// member is refused if its AdvAddr leads nowhere or to another member. Port 0 stands for the
	// bound port. If empty, AdvAddr is the bound address, whose host must not be a wildcard then.
	// It is required if the member is registered on a server of the application.
	AdvAddr string

	// OnRangeChange, if not nil, is called with the newest range of keys that the member is
	// responsible for when that range has changed. It is called with the same range if other
	// members have been responsible for it in the meantime; see CauseResumed. Create and Join each
	// cause a call; Stop and Leave cause none. A member that loses its range gets no call. Nor does
	// one that gives a range up, by SetWeight or Drain or because it moves an identifier by itself:
	// Watch, Serve and Ranges tell that.
	//
	// Calls are made one at a time and outside all locks. A call may block and may call any method
	// of the member, Stop included. Changes during a call are merged into one call after it. No
	// call begins after Stop or Leave has returned. A panic in it is not recovered.
	OnRangeChange func(Range)

	// HashFunc hashes names and keys to identifiers, which are the low HashBits bits of its result.
	// It must be safe for concurrent use. If nil, the first 8 bytes of SHA-256 are used,
	// big-endian.
	HashFunc func([]byte) uint64

	// HashBits is the width of the circle, which has 2^HashBits identifiers. If zero, 64. It is at
	// most 64.
	HashBits uint

	// SuccessorCount is how many of the members after it each member knows. A ring that has settled
	// with at least SuccessorCount+1 members survives SuccessorCount−1 failures at the same time.
	// With a higher count, every round sends a longer list. If zero, 3. It is at most 64.
	SuccessorCount uint

	// LogHandler receives changes of state and the failures that keep the member from others. Each
	// cause and peer is logged the first time and then at most once a minute. If nil, nothing is
	// logged.
	LogHandler slog.Handler

	// StabilizeInterval is the time between two rounds in which the member checks its neighbours.
	// Joins, leaves and broken connections are handled when they happen, so it only bounds how long
	// a silent failure goes unnoticed. A longer interval costs less; a shorter one notices sooner.
	// If zero, 1 s. It is at least 10 ms.
	StabilizeInterval time.Duration

	// MinMembers is how many live members, itself included, the member must know to serve keys.
	// With fewer it is isolated: its lookups return ErrIsolated, Owns returns false, Range and
	// OnRangeChange do not change, it names no owner to others, and it keeps searching for the
	// other members. If MinMembers is more than half of all members, at most one side of a
	// partition serves keys.
	//
	// A member knows itself and its successors, so MinMembers is at most SuccessorCount+1. It
	// should be the same on all members; with a Lease it must be above one on all or on none. If
	// zero or one, a member serves keys even when it is alone, and each side of a partition owns
	// every key.
	MinMembers uint

	// Lease, if not zero, makes members own their ranges by leases, so that at most one member owns
	// a key at any instant: Owns, OwnsEpoch and OwnedUntil are true only while the lease holds,
	// which other members renew. A member that takes over from one that does not answer owns
	// nothing of what that one had for a Lease. Leaving and joining hand over at once. Range,
	// OnRangeChange and lookups are as without a Lease.
	//
	// The rates of the members' monotonic clocks must differ by less than 5 %. MinMembers must be
	// more than half of all members; otherwise each side of a partition owns every key. With
	// MinMembers, a member owns what so many members, itself included, have voted for within the
	// last Lease. A member that has started votes for nobody for a Lease, so the members that found
	// a ring own nothing for so long, and if half of the members restart within a Lease, nobody
	// owns anything for a while. Service.Wait waits for that. See "Leases" in docs/GUARANTEES.md.
	// Legacy members grant no leases.
	//
	// Lease must be the same on all members. A member whose Lease differs, and the one before it,
	// own nothing. No call returns an error for that. Each of the two logs that the Lease of its
	// neighbour differs, and has it in Status().Failures. Lease is at least SuccessorCount+4
	// StabilizeIntervals, and at most a day. If zero, there are no leases.
	Lease time.Duration

	// TakeoverTimeout is how long a join waits at most for the functions Take of [Concord.Serve].
	// They get the data of the range that the member is about to own, while its successor still
	// serves that range. If they take longer, the member joins without the data, and the range is
	// served once Take has returned. If the context of Join has a deadline, Join keeps 30 s of the
	// time that is left, or half of it if that is less, for the join itself, and waits for Take no
	// longer than the rest. If zero, 10 s. Without a Take there is no wait.
	//
	// It is also how long SetWeight waits for Release before an identifier goes.
	TakeoverTimeout time.Duration

	// FoundAfter is how long JoinOrCreate searches for a ring, and for other members that search,
	// before it creates a ring although not every address has answered. It should be several times
	// the slowest round trip. It should also be longer than the time that members take to start
	// together: members that do not hear of each other within FoundAfter create one ring each, and
	// these become one later. If zero, 3 s. It is at least 100 ms.
	FoundAfter time.Duration

	// StateDir, if not empty, is a directory in which the member remembers its incarnation and up
	// to 32 members of its ring, and which identifiers a member with VirtualNodes has chosen.
	// After a restart it finds the ring with them even if no address given to Join leads there any
	// more. The directory is made if it does not exist. Each member needs its own.
	//
	// The file in it, ring.json, is replaced when the neighbours have changed, at most every three
	// seconds. When only other members have changed, it is replaced every minute. It is also
	// replaced at the end. If the file is damaged, or belongs to another Name or Cluster, it is
	// renamed to ring.json.damaged-<time>. Failures to use the directory are logged, and the member
	// runs without it. Start returns an error only if another running member uses the directory, on
	// systems where files can be locked (Unix). If empty, nothing is remembered.
	StateDir string

	// VirtualNodes is at how many identifiers the member stands. Each has a range of its own, so
	// that the shares of members with many are even. If zero or one, the member stands at the hash
	// of its Name, and shares differ widely: see "Even shares" in docs/USAGE.md for figures. It is
	// at most 1024; 16 is a good choice. A member with twice as many gets about twice the share.
	//
	// A member that joins learns where the others stand. Its Name gives eight places for each of
	// its identifiers but the first. The member chooses the one that makes the shares of all most
	// even. What a ring costs grows with the number of identifiers: see docs/PERFORMANCE.md.
	//
	// VirtualNodes may differ between members. Members with more than one and legacy members refuse
	// each other: no ring has both. OnRangeChange is called for each range that has changed; ranges
	// are told apart by their End. See also Ranges and SetWeight.
	VirtualNodes uint

	// Meta is what the application says about the member, such as the application's own address.
	// The method [Concord.Meta] returns it to everyone who asks. It does not change while the
	// member runs. It may be empty. It has at most 256 bytes.
	Meta []byte

	// Zone is where the member runs: what fails together, such as a rack, a data centre or an
	// availability zone. [Concord.LookupN] names servers in different zones as far as there are
	// any. All members and clients of a ring see it, and it does not change while the member runs.
	// It is free text that prints, of at most 64 bytes. If empty, the member is in no zone, and
	// LookupN takes it for one in a zone of its own.
	Zone string

	// TLS, if not nil, encrypts and authenticates all connections between members. If nil,
	// connections are in plaintext.
	TLS *TLSConfig

	// Authorize, if not nil, decides who may be a member. If it returns an error for a peer, the
	// peer is refused as by TLSConfig.Identity, which is called before it. Without TLS it judges
	// claims that nothing proves. It is called for each member that this one asks or is asked by,
	// itself included if it asks its own address: at least once for each connection and member. It
	// does not end connections that it has accepted; they are replaced after at most 25 minutes. It
	// must be safe for concurrent use and must not block. If nil, everybody may be a member.
	Authorize func(Peer) error

	// Cluster is the name of the ring. Members with another name are refused. If empty, the ring
	// has no name, and becomes one with other rings without a name only if it has something in
	// common with them: see "Rings stay apart" in docs/GUARANTEES.md. Legacy members, which are
	// those of the existing Concord library, can take part only in a ring without a name.
	Cluster string

	// Limits bound what other processes may use of the member, such as connections. The zero value
	// has defaults.
	Limits Limits

	// Observer, if not nil, is told what the member does, for metrics and traces. New copies it.
	Observer *Observer

	// Network, if not nil, carries the member's traffic instead of TCP. It is for tests: package
	// concordtest makes Networks in memory and with faults.
	Network transport.Network
}

// maxLease bounds Config.Lease.
const maxLease = 24 * time.Hour

// ConfigError is one mistake in a Config or a ClientConfig. Start and Dial return all mistakes at
// once, joined.
type ConfigError struct {
	// Field is the name of the field, such as "TLS.Server".
	Field string
	// Err says what is wrong with the field.
	Err error

	client bool // it is a field of a ClientConfig
}

// Error names the struct and the field and says what is wrong.
func (e *ConfigError) Error() string {
	in := "Config."
	if e.client {
		in = "ClientConfig."
	}
	return "concord: " + in + e.Field + ": " + e.Err.Error()
}

// Unwrap returns Err.
func (e *ConfigError) Unwrap() error { return e.Err }

// mostIdentifiers is at how many identifiers a member can stand.
func (c *Config) mostIdentifiers() uint {
	if bits := c.space().Bits; bits < 32 {
		return min(MaxVirtualNodes, uint(1)<<bits)
	}
	return MaxVirtualNodes
}

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

// first is the first identifier of the member, or its only one.
func (c *Config) first(s ring.Space, addr string) ring.Member {
	m := ring.Member{ID: s.ID([]byte(c.Name)), Name: c.Name, Addr: addr}
	if c.VirtualNodes > 1 {
		m.Choice, m.Home = ring.Chosen(0, 0), m.ID
		m.ID = s.At(c.Name, m.Choice)
	}
	return m
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

// longestWait is as long as for ever, and can be added to other times.
const longestWait = 100 * 365 * 24 * time.Hour

func (c *Config) takeoverTimeout() time.Duration {
	if c.TakeoverTimeout == 0 {
		return DefaultTakeoverTimeout
	}
	return min(c.TakeoverTimeout, longestWait)
}

func (c *Config) foundAfter() time.Duration {
	if c.FoundAfter == 0 {
		return DefaultFoundAfter
	}
	return min(c.FoundAfter, longestWait)
}

// validate reports every mistake at once. A registered member receives on a server of the
// application.
func (c *Config) validate(registered bool) error {
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
	c.validateAddresses(registered, wrong)
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
		wrong("MinMembers", "is %d, but with SuccessorCount %d a member knows at most %d members, itself included: raise SuccessorCount to at least %d",
			c.MinMembers, most-1, most, c.MinMembers-1)
	}
	switch least := protocol.ShortestLease(c.successors(), c.interval()); {
	case c.Lease < 0:
		wrong("Lease", "is negative: %v", c.Lease)
	case c.Lease > 0 && c.SuccessorCount <= MaxSuccessorCount && c.Lease < least:
		wrong("Lease", "is %v, but with SuccessorCount %d and StabilizeInterval %v at least %v is required", c.Lease, c.successors(), c.interval(), least)
	case c.Lease > maxLease:
		wrong("Lease", "is %v, at most %v is allowed", c.Lease, maxLease)
	}
	if d := c.TakeoverTimeout; d < 0 {
		wrong("TakeoverTimeout", "is negative: %v", d)
	}
	switch d := c.FoundAfter; {
	case d < 0:
		wrong("FoundAfter", "is negative: %v", d)
	case d > 0 && d < MinFoundAfter:
		wrong("FoundAfter", "is %v, at least %v is required", d, MinFoundAfter)
	}
	if c.VirtualNodes > MaxVirtualNodes {
		wrong("VirtualNodes", "is %d, at most %d are allowed", c.VirtualNodes, MaxVirtualNodes)
	} else if most := c.mostIdentifiers(); c.VirtualNodes > most {
		wrong("VirtualNodes", "is %d, but with HashBits %d there are %d identifiers in all", c.VirtualNodes, c.HashBits, most)
	}
	if n := len(c.Meta); n > MaxMeta {
		wrong("Meta", "has %d bytes, at most %d are allowed", n, MaxMeta)
	}
	if err := ring.CheckZone(c.Zone); err != nil {
		wrong("Zone", "%w", err)
	}
	c.Limits.validate(wrong)
	errs = append(errs, c.TLS.validate()...)
	return errors.Join(errs...)
}

// validateAddresses says what is wrong with BindAddr and AdvAddr.
func (c *Config) validateAddresses(registered bool, wrong func(field, format string, args ...any)) {
	bindHost, err := splitAddr(c.BindAddr)
	switch {
	case registered && c.BindAddr != "":
		wrong("BindAddr", "is %q, but the member is registered on a server, which listens in its place", c.BindAddr)
	case registered && c.Network != nil:
		wrong("Network", "has no use for the server that the member is registered on")
	case !registered && err != nil:
		wrong("BindAddr", "%w", err)
	}
	advHost, advErr := splitAddr(c.AdvAddr)
	_, advPort, _ := net.SplitHostPort(c.AdvAddr)
	switch {
	case c.AdvAddr == "" && registered:
		wrong("AdvAddr", "is empty, but must be the address of the server that the member is registered on")
	case c.AdvAddr == "" && err == nil && wildcard(bindHost):
		wrong("AdvAddr", "is empty, and other members cannot reach the wildcard host of BindAddr %q", c.BindAddr)
	case c.AdvAddr == "":
	case advErr != nil:
		wrong("AdvAddr", "%w", advErr)
	case wildcard(advHost):
		wrong("AdvAddr", "other members cannot reach the wildcard host of %q", c.AdvAddr)
	case registered && strings.Trim(advPort, "0") == "":
		wrong("AdvAddr", "%q: the port is 0, but must be that of the server that the member is registered on", c.AdvAddr)
	case len(c.AdvAddr) > ring.MaxAddressLength:
		wrong("AdvAddr", "has %d bytes, at most %d are allowed", len(c.AdvAddr), ring.MaxAddressLength)
	}
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
