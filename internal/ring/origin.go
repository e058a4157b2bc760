package ring

import (
	"fmt"
	"net"
	"slices"
	"strings"
)

// MaxMarks is how many marks an Origin has at most.
const MaxMarks = 32

// Origin says which ring a member is in. Rings that were founded apart have an Origin
// each; when they become one, so do their Origins. It is not modified once it was made.
// A nil Origin is that of a member that is in no ring, or does not say in which: a
// legacy member, or one of an earlier version.
type Origin struct {
	// ID is the number of the ring: the smallest that was drawn when it, or a ring
	// that is one with it now, was founded. Never 0.
	ID uint64
	// Marks are what the ring may have in common with another, in ascending order: the
	// numbers drawn, who founded it and what they were given. Of more than MaxMarks
	// only the smallest are kept. None: they are not known.
	Marks []uint64
}

// Founded is the Origin of a ring that founder founds. Drawn is a random number, given the
// addresses that founder was told to look for a ring at; none: it was to look for none.
//
// The founder's own address alone is no mark, since another ring may use it later. Two
// founders that were each given the address of the other have a mark in common.
func Founded(drawn uint64, founder Member, given []string) *Origin {
	drawn = max(drawn, 1)
	o := NewOrigin(drawn, []uint64{drawn, mark("member", founder.Name, normal(founder.Addr))})
	return o.Given(founder, given)
}

// Given is o of a ring that by has founded, or would have founded if there had been none,
// as it was given those addresses to look for a ring at. It is o itself if that adds
// nothing.
func (o *Origin) Given(by Member, addrs []string) *Origin {
	if o == nil || len(addrs) == 0 {
		return o
	}
	own := normal(by.Addr)
	var marks []uint64
	for _, addr := range addrs {
		addr = normal(addr)
		marks = append(marks, mark("given", addr))
		if addr != own {
			marks = append(marks, mark("pair", min(addr, own), max(addr, own)))
		}
	}
	return o.And(NewOrigin(o.ID, marks))
}

// NewOrigin is an Origin of that number and of those marks, in any order.
func NewOrigin(id uint64, marks []uint64) *Origin {
	marks = slices.Clone(marks)
	slices.Sort(marks)
	marks = slices.Compact(marks)
	return &Origin{ID: id, Marks: slices.Clip(marks[:min(len(marks), MaxMarks)])}
}

// mark is a number that stands for the parts. Each kind of mark has a first part of
// its own.
func mark(parts ...string) uint64 { return SHA256([]byte(strings.Join(parts, "\x00"))) }

// normal is an address in the form in which equal addresses are equal.
func normal(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return strings.ToLower(addr)
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if ip := net.ParseIP(host); ip != nil {
		host = ip.String()
	}
	return net.JoinHostPort(host, port)
}

// Kin reports whether members of o and of p may be in one ring: the two are one ring
// already, have a mark in common, or one of them is not known.
func (o *Origin) Kin(p *Origin) bool {
	if o == nil || p == nil || o.ID == p.ID || o.marked(p.ID) || p.marked(o.ID) {
		return true
	}
	return slices.ContainsFunc(o.Marks, p.marked)
}

func (o *Origin) marked(x uint64) bool {
	_, ok := slices.BinarySearch(o.Marks, x)
	return ok
}

// And is the Origin of a ring that o and p have become. It is o itself if p adds nothing
// to it. In whatever order Origins are put together, and however often, the result is
// the same, as long as there is room for all marks. After that o keeps its own: else one
// member that tells of many marks could take away those by which the members of its
// ring know each other.
func (o *Origin) And(p *Origin) *Origin {
	switch {
	case p == nil || o == p:
		return o
	case o == nil:
		return p
	}
	room := MaxMarks - len(o.Marks)
	added := slices.DeleteFunc(slices.Clone(p.Marks), o.marked)
	both := NewOrigin(min(o.ID, p.ID), slices.Concat(o.Marks, added[:min(len(added), room)]))
	if both.ID == o.ID && slices.Equal(both.Marks, o.Marks) {
		return o
	}
	return both
}

// String is the number of the ring, in words if there is none.
func (o *Origin) String() string {
	if o == nil {
		return "unknown"
	}
	return fmt.Sprintf("%016x", o.ID)
}
