// Package ring is arithmetic on the identifier circle: points, arcs and the
// members that stand at points. It holds no state and knows no protocol.
//
// Identifiers are 0 … 2^m − 1 with m in 1…64. Every comparison here is one of
// order along a clockwise walk; "<" between identifiers means nothing on a
// circle and must not be used anywhere else in this module.
package ring

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"net"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/ollelogdahl/concord/internal/plain"
)

// Bounds on what a member may call itself. Messages that exceed them are
// refused whole.
const (
	MaxNameLength    = 255
	MaxAddressLength = 261 // a DNS name of 253, a colon, a port, and brackets
	MaxZoneLength    = 64
)

// MaxIncarnation is the highest incarnation that any member can have: as a time in
// Unix milliseconds it is in the year 2248. Adding one to an incarnation never wraps.
const MaxIncarnation = 1 << 43

// Between reports whether a clockwise walk that starts at a meets x strictly
// before b. So Between(a, x, a) holds for every x other than a, and neither
// Between(a, a, b) nor Between(a, b, b) ever holds.
//
// It needs no modulus: identifiers below 2^m keep their cyclic order when the
// differences are taken modulo 2^64.
func Between(a, x, b uint64) bool {
	if a == b {
		return x != a
	}
	return x != a && x-a < b-a
}

// Arc is the points clockwise after After, up to and including To.
// An arc with After == To is the whole circle.
type Arc struct {
	After, To uint64
}

// Contains reports whether id lies on the arc, which is closed at the right.
func (a Arc) Contains(id uint64) bool {
	return id == a.To || Between(a.After, id, a.To)
}

// Whole reports whether the arc is the whole circle.
func (a Arc) Whole() bool { return a.After == a.To }

// Minus is what a has and b has not: no arc, one or two, clockwise from the start
// of a.
func (a Arc) Minus(b Arc) []Arc {
	switch {
	case b.Whole():
		return nil
	case a.Whole():
		return []Arc{{After: b.To, To: b.After}}
	}
	// Both ends of b as steps from the start of a, and how many steps a is long.
	length := a.To - a.After
	from, to := b.After-a.After, b.To-a.After
	var out []Arc
	add := func(x, y uint64) { // the points after step x up to step y
		if x < y {
			out = append(out, Arc{After: a.After + x, To: a.After + y})
		}
	}
	if from < to || to == 0 { // b does not reach over the start of a
		add(0, min(from, length))
		if to != 0 {
			add(min(to, length), length)
		}
	} else {
		add(min(to, length), min(from, length))
	}
	return out
}

func (a Arc) String() string { return fmt.Sprintf("(%d, %d]", a.After, a.To) }

// Member is one incarnation of a member, as others know it.
// The zero Member stands for "none".
type Member struct {
	ID   uint64
	Name string
	Addr string
	// Incarnation tells those of one name apart and is compared only
	// within one name. Zero means a legacy member, which has none; there
	// the address decides.
	Incarnation uint64
	// Choice says what the ID is the hash of: of the name, unless the process stands
	// at several identifiers. Each of these is a member with the same name.
	Choice Choice
	// Home is the hash of the name if the Choice says that the ID is not, else 0.
	Home uint64
}

// Process is what the process is known by, at however many identifiers it stands: the hash
// of its name.
func (m Member) Process() uint64 {
	if m.Choice.Several() {
		return m.Home
	}
	return m.ID
}

// Run is what tells one incarnation of a process from every other.
func (m Member) Run() Instance { return Instance{ID: m.Process(), Incarnation: m.Incarnation} }

// Is reports whether i stands for m: for that identifier of its incarnation, or for its whole run.
func (m Member) Is(i Instance) bool { return i == m.Instance() || i == m.Run() }

// In reports whether one in a list stands for m.
func (m Member) In(list []Instance) bool { return slices.ContainsFunc(list, m.Is) }

// SameProcess reports whether m and o are identifiers of one process.
func (m Member) SameProcess(o Member) bool { return m.Name == o.Name && m.Addr == o.Addr }

// SameMember reports whether m and o are one identifier of one process, of whatever incarnations.
func (m Member) SameMember(o Member) bool { return m.ID == o.ID && m.SameProcess(o) }

// GaveUp reports whether m, which answers in place of o, is another identifier of its process:
// that does not stand at o any more.
func (m Member) GaveUp(o Member) bool { return m.ID != o.ID && m.SameProcess(o) }

// IsZero reports whether m stands for no member.
func (m Member) IsZero() bool { return m.Name == "" && m.Addr == "" }

// Anyone reports whether m is no more than an address: whoever answers there.
func (m Member) Anyone() bool { return m.Name == "" && m.Addr != "" }

// Legacy reports whether m is a legacy member: one that speaks only the base methods of
// the wire, as the existing Concord library does.
func (m Member) Legacy() bool { return m.Incarnation == 0 && m.Name != "" }

// Supersedes reports whether m is a later incarnation of the name that o bears. Of two
// that began at once, the one with the greater address counts as the later.
func (m Member) Supersedes(o Member) bool {
	if m.ID != o.ID || o.Incarnation == 0 {
		return false
	}
	return m.Incarnation > o.Incarnation || m.Incarnation == o.Incarnation && m.Addr > o.Addr
}

// Instance is what tells one incarnation of one member from every other.
type Instance struct {
	ID          uint64
	Incarnation uint64
}

// Instance returns that of m.
func (m Member) Instance() Instance { return Instance{ID: m.ID, Incarnation: m.Incarnation} }

// String is m for those who work on Concord: with its identifier, which may be one of many of
// its process. Others chose its name, which is made harmless.
func (m Member) String() string {
	if m.IsZero() {
		return "none"
	}
	return fmt.Sprintf("%s (%d) %s", plain.Text(m.Name), m.ID, plain.Text(m.Addr))
}

// Whom names the process of m for people: by its name, if that is known, and its address.
func (m Member) Whom() string {
	if m.Name == "" {
		return plain.Text(m.Addr)
	}
	return plain.Text(m.Name) + " at " + plain.Text(m.Addr)
}

// Space is an identifier circle: how wide it is and how names are put on it.
type Space struct {
	Bits uint
	Hash func([]byte) uint64
}

// SHA256 is the default hash: the first 8 bytes of SHA-256, big-endian.
func SHA256(data []byte) uint64 {
	sum := sha256.Sum256(data)
	return binary.BigEndian.Uint64(sum[:8])
}

// Mask has the bits that an identifier may have.
func (s Space) Mask() uint64 { return ^uint64(0) >> (64 - s.Bits) }

// ID is the identifier of a key or a name: the low Bits bits of its hash.
func (s Space) ID(data []byte) uint64 { return s.Hash(data) & s.Mask() }

// Distance is the number of steps of a clockwise walk from a to b.
func (s Space) Distance(a, b uint64) uint64 { return (b - a) & s.Mask() }

// Add is the point d steps clockwise from a.
func (s Space) Add(a, d uint64) uint64 { return (a + d) & s.Mask() }

// Share is how much of the circle lies on the arc, from 0 to 1.
func (s Space) Share(a Arc) float64 {
	if a.Whole() {
		return 1
	}
	return float64(s.Distance(a.After, a.To)) / (float64(s.Mask()) + 1)
}

// Class is the distance class of b seen from a: the position of the highest
// bit of the clockwise distance, 0 for a itself.
func (s Space) Class(a, b uint64) int { return bits.Len64(s.Distance(a, b)) }

// Check reports what is wrong with a member that somebody named: its name or
// address is missing, too long, not UTF-8 or no address, or its identifier is not the
// hash of its name.
func (s Space) Check(m Member) error {
	if m.Name == "" {
		return errors.New("the member has no name")
	}
	if len(m.Name) > MaxNameLength {
		return fmt.Errorf("the name of the member has %d bytes (at most %d)", len(m.Name), MaxNameLength)
	}
	if !utf8.ValidString(m.Name) {
		return fmt.Errorf("the name of the member is not UTF-8: %q", m.Name)
	}
	if err := CheckAddress(m.Addr); err != nil {
		return fmt.Errorf("member %q: %w", m.Name, err)
	}
	if !m.Choice.Possible() || m.Choice.Several() && m.Incarnation == 0 {
		return fmt.Errorf("member %q: the choice %d of its identifier cannot be", m.Name, m.Choice)
	}
	if home := m.Home; m.Choice.Several() && home != s.ID([]byte(m.Name)) || !m.Choice.Several() && home != 0 {
		m.ID, m.Choice = home, 0
		return &HashError{Member: m, Want: s.ID([]byte(m.Name))}
	}
	if want := s.At(m.Name, m.Choice); m.ID != want {
		return &HashError{Member: m, Want: want}
	}
	return nil
}

// HashError is what is wrong with a member whose identifier is not the hash of its
// name: whoever named it has another HashFunc or HashBits, or is mistaken.
type HashError struct {
	Member Member
	Want   uint64 // its identifier by the hash here
}

func (e *HashError) Error() string {
	if e.Member.Choice.Several() {
		return fmt.Sprintf("member %q: identifier %d is not the hash of %q, which HashFunc makes %d here",
			e.Member.Name, e.Member.ID, e.Member.Choice.Text(e.Member.Name), e.Want)
	}
	return fmt.Sprintf("member %q: identifier %d is not the hash of its name, which HashFunc makes %d here",
		e.Member.Name, e.Member.ID, e.Want)
}

// CheckAddress reports what keeps addr from being one that can be dialled:
// host:port with a host and a port of 1 … 65535.
func CheckAddress(addr string) error {
	if len(addr) > MaxAddressLength {
		return fmt.Errorf("address has %d bytes (at most %d)", len(addr), MaxAddressLength)
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil || !utf8.ValidString(addr) {
		return fmt.Errorf("address %q is not host:port", addr)
	}
	if host == "" {
		return fmt.Errorf("address %q has no host", addr)
	}
	if plain.Text(host) != host || strings.ContainsRune(host, ' ') {
		return fmt.Errorf("address %q: the host has characters that no host has", addr)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("address %q: port must be 1 … 65535", addr)
	}
	return nil
}

// CheckZone reports what keeps zone from being that of a member: it is too long, or has
// characters that do not print. Empty: the member is in no zone.
func CheckZone(zone string) error {
	if len(zone) > MaxZoneLength {
		return fmt.Errorf("has %d bytes, at most %d are allowed", len(zone), MaxZoneLength)
	}
	if plain.Text(zone) != zone {
		return fmt.Errorf("has characters that do not print: %s", plain.Text(zone))
	}
	return nil
}

// Settings are what all members of one ring must share. Members whose
// settings differ refuse each other.
type Settings struct {
	Cluster uint64 // first 8 bytes of the SHA-256 of the cluster's name, 0 for none
	Bits    uint   // width of the circle
	Check   uint64 // the kept bits of Hash("concord")
}

// Settings describes the space s together with the name of the cluster.
func (s Space) Settings(cluster string) Settings {
	out := Settings{Bits: s.Bits, Check: s.ID([]byte("concord"))}
	if cluster != "" {
		out.Cluster = SHA256([]byte(cluster))
	}
	return out
}

// Differing names the settings, as the configuration calls them, in which s
// and o differ. HashFunc is judged only where HashBits agree, since the kept
// bits of one function differ too when the widths do.
func (s Settings) Differing(o Settings) []string {
	var names []string
	if s.Cluster != o.Cluster {
		names = append(names, "Cluster")
	}
	switch {
	case s.Bits != o.Bits:
		names = append(names, "HashBits")
	case s.Check != o.Check:
		names = append(names, "HashFunc")
	}
	return names
}
