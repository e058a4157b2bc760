package ringmap

import (
	"fmt"
	"math/bits"
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// Announcement is a claim on its way. The process is left out where the receiver should
// know it.
type Announcement struct {
	ID, After, Epoch, Incarnation uint64
	Of                            *ring.Member
	// Zone is the zone of Of, if Zoned. The map neither sets nor reads them.
	Zone  string
	Zoned bool
}

// MaxZoneBytes bounds the zones that are added to one message in their encoding. They fit
// into a message beside its claims.
const MaxZoneBytes = 12 << 10

// ZoneBytes is the encoding of the zone, 0 if there is none.
func (a *Announcement) ZoneBytes() int {
	if !a.Zoned {
		return 0
	}
	return sizeNested(len(a.Zone))
}

func announce(c *Claim, full bool) Announcement {
	a := Announcement{ID: c.ID, After: c.After, Epoch: c.Epoch, Incarnation: c.Of.Incarnation}
	if full {
		a.Of = c.Of
	}
	return a
}

// Kind says what a Request wants.
type Kind uint8

const (
	// Push says: these claims are new. Each part names how far they are to be passed on.
	Push Kind = iota + 1
	// Ask says: my map has this sum in (From, To]. How old is what you know of it, or
	// in which parts does yours differ?
	Ask
	// Compare says: these are the hashes of my claims in (From, To]. Send me those that I
	// lack, and say which of them you lack.
	Compare
)

// Request is a message from one map to another.
type Request struct {
	Kind Kind
	// Beat is the number of the sender's last sweep, by which all begin the next one
	// at the same time.
	Beat uint32

	Parts []Part // Push
	// Ask, Compare: which processes, by their homes: those after From, up to and including To.
	// Of an Ask, a From of 0 is the receiver.
	From, To uint64
	Skip     uint32 // Compare: how many claims of the first process were told already
	Sum      uint64 // Ask
	Level    uint8  // Ask: by which certificate the answerer is to say how old what it knows is
	Hashes   []uint32
}

// Part is claims for a part of the circle of processes: the receiver passes them on to those
// between itself and To, neither included. If To is the receiver, to nobody.
type Part struct {
	To     uint64
	Claims []Announcement
}

// Reply answers a Request.
type Reply struct {
	Beat uint32

	// Ask: the sums are the same, and what the answerer knows was said by the owners at
	// most Age before it answered. Aged is false if it cannot tell.
	Same, Aged bool
	Age        time.Duration
	// Ask: how (From, To] divides, if the sums differ. A stretch of few claims is not
	// divided.
	Stretches []Stretch

	// Push: claims that contradict those that were pushed. Compare: the claims that the
	// asker lacks in (From, Through].
	Claims []Announcement
	// Ask: up to where what the answerer knows is as old as Age; 0: up to To.
	Through uint64
	// Compare: how many claims of the process after Through were told as well.
	Skip uint32
	// Compare: which hashes of the question the answerer lacks, by their places.
	Lacks []uint16
}

// Stretch is a stretch of the answerer's map, from the end of the one before up to To.
type Stretch struct {
	To  uint64
	Sum uint32 // the low half
}

// What messages hold at most.
const (
	maxStretches = 16
	maxHashes    = 64
	maxSent      = 400 // claims in one message
	maxOld       = 8   // contradicting claims in an answer
	maxParts     = 64
	maxLevel     = 64
	// maxBytes bounds the claims of one message in their encoding: names and addresses
	// may be long. It leaves room within the 64 KiB of a message for all the rest.
	maxBytes = 48 << 10
)

// Clone returns a copy that shares nothing that may change.
func (r *Request) Clone() Request {
	out := *r
	out.Hashes = slices.Clone(r.Hashes)
	out.Parts = slices.Clone(r.Parts)
	for i := range out.Parts {
		out.Parts[i].Claims = slices.Clone(out.Parts[i].Claims)
	}
	return out
}

// Clone returns a copy that shares nothing that may change.
func (r *Reply) Clone() Reply {
	out := *r
	out.Stretches, out.Claims, out.Lacks = slices.Clone(r.Stretches), slices.Clone(r.Claims), slices.Clone(r.Lacks)
	return out
}

// Check reports what no map would send.
func (r *Request) Check() error {
	switch {
	case r.Kind < Push || r.Kind > Compare:
		return fmt.Errorf("kind %d is unknown", r.Kind)
	case len(r.Hashes) > maxHashes:
		return fmt.Errorf("hashes has %d entries (at most %d)", len(r.Hashes), maxHashes)
	case len(r.Parts) > maxParts:
		return fmt.Errorf("parts has %d entries (at most %d)", len(r.Parts), maxParts)
	case r.Level > maxLevel:
		return fmt.Errorf("level is %d (at most %d)", r.Level, maxLevel)
	}
	for i := range r.Parts {
		if n := len(r.Parts[i].Claims); n > maxSent {
			return fmt.Errorf("parts[%d].claims has %d entries (at most %d)", i, n, maxSent)
		}
	}
	return nil
}

// Check reports what no map would answer.
func (r *Reply) Check() error {
	switch {
	case len(r.Stretches) > maxStretches+1:
		return fmt.Errorf("stretches has %d entries (at most %d)", len(r.Stretches), maxStretches+1)
	case len(r.Claims) > maxSent:
		return fmt.Errorf("claims has %d entries (at most %d)", len(r.Claims), maxSent)
	case len(r.Lacks) > maxHashes:
		return fmt.Errorf("lacks has %d entries (at most %d)", len(r.Lacks), maxHashes)
	case r.Age < 0:
		return fmt.Errorf("age is %v", r.Age)
	}
	return nil
}

// On reports an identifier that is not on the circle of 2^width points.
func (r *Request) On(width uint) error {
	o := outside{mask: ^uint64(0) >> (64 - width)}
	o.look("from", r.From)
	o.look("to", r.To)
	for i := range r.Parts {
		o.look("parts.to", r.Parts[i].To)
		o.claims("parts.claims", r.Parts[i].Claims)
	}
	return o.err
}

// On reports an identifier that is not on the circle of 2^width points.
func (r *Reply) On(width uint) error {
	o := outside{mask: ^uint64(0) >> (64 - width)}
	o.look("through", r.Through)
	for i := range r.Stretches {
		o.look("stretches.to", r.Stretches[i].To)
	}
	o.claims("claims", r.Claims)
	return o.err
}

// outside finds the first identifier that is not on a circle.
type outside struct {
	mask uint64
	err  error
}

func (o *outside) look(field string, id uint64) {
	if id > o.mask && o.err == nil {
		o.err = fmt.Errorf("%s: identifier %d is not on the circle (at most %d)", field, id, o.mask)
	}
}

func (o *outside) claims(field string, list []Announcement) {
	for i := range list {
		o.look(field+".id", list[i].ID)
		o.look(field+".after", list[i].After)
		if of := list[i].Of; of != nil {
			o.look(field+".home", of.Home)
		}
	}
}

// Size is the number of bytes of the message in the encoding of the wire, protobuf.
func (r *Request) Size() int {
	n := sizeVarint(uint64(r.Beat))
	for i := range r.Parts {
		p := &r.Parts[i]
		inner := 9
		for k := range p.Claims {
			inner += sizeNested(p.Claims[k].size())
		}
		n += sizeNested(inner)
	}
	switch r.Kind {
	case Ask:
		n += sizeNested(sizeFixed(r.From) + 2*9 + 2)
	case Compare:
		n += sizeNested(2*9+sizeNested(4*len(r.Hashes))) + sizeVarint(uint64(r.Skip))
	}
	return n
}

// Size is the number of bytes of the message in the encoding of the wire, protobuf.
func (r *Reply) Size() int {
	n := sizeVarint(uint64(r.Beat))
	if r.Same {
		n += 2
	}
	if r.Aged {
		n += 1 + varint(uint64(r.Age/time.Microsecond)+1)
	}
	n += len(r.Stretches) * sizeNested(9+5)
	for k := range r.Claims {
		n += sizeNested(r.Claims[k].size())
	}
	n += sizeFixed(r.Through) + sizeVarint(uint64(r.Skip))
	if len(r.Lacks) > 0 {
		n += sizeNested(len(r.Lacks))
	}
	return n
}

func (a *Announcement) size() int {
	n := 9 + 9 + sizeVarint(a.Epoch) + sizeVarint(a.Incarnation)
	if a.Of != nil {
		n += sizeNested(len(a.Of.Name)) + sizeNested(len(a.Of.Addr)) + sizeVarint(uint64(a.Of.Choice)) + sizeFixed(a.Of.Home) + a.ZoneBytes()
	}
	return n
}

func varint(x uint64) int { return max(1, (bits.Len64(x)+6)/7) }

// sizeVarint is the size of a field of a number, which is left out if it is 0.
func sizeVarint(x uint64) int {
	if x == 0 {
		return 0
	}
	return 1 + varint(x)
}

// sizeFixed is the size of a field of 8 bytes, which is left out if it is 0.
func sizeFixed(x uint64) int {
	if x == 0 {
		return 0
	}
	return 9
}

// sizeNested is the size of a field of n bytes.
func sizeNested(n int) int { return 1 + varint(uint64(n)) + n }
