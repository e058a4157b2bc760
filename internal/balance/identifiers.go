package balance

import (
	"fmt"
	"slices"

	"github.com/ollelogdahl/concord/internal/plain"
	"github.com/ollelogdahl/concord/internal/ring"
)

const (
	// Variants is the number of places between which a member chooses for each of its
	// identifiers.
	Variants = ring.Variants
	// MaxWeight bounds the identifiers of one member.
	MaxWeight = ring.MaxIdentifiers
)

// Stand is where a member stands on the circle: one identifier for each unit of its
// weight, and which variant each of them is.
type Stand struct {
	IDs     []uint64
	Choices []uint8
}

// Clone is a copy that shares nothing with s.
func (s Stand) Clone() Stand {
	return Stand{IDs: slices.Clone(s.IDs), Choices: slices.Clone(s.Choices)}
}

// Identifier is a variant of the i-th identifier of a member, from 0 on: the hash of
// "name_i", or of "name_i.variant" for every variant but 0.
func Identifier(space ring.Space, name string, i int, variant uint8) uint64 {
	return space.At(name, ring.Chosen(i, variant))
}

// Check reports what is wrong with where a member claims to stand: it has no identifier or
// too many, or one of them is not what its name and its choice give, or it has one twice. It
// costs one hash for each identifier.
func Check(space ring.Space, name string, s Stand) error {
	n := len(s.IDs)
	switch {
	case n == 0:
		return fmt.Errorf("member %q has no identifier", plain.Text(name))
	case n > MaxWeight:
		return fmt.Errorf("member %q has %d identifiers (at most %d)", plain.Text(name), n, MaxWeight)
	case len(s.Choices) != n:
		return fmt.Errorf("member %q has %d identifiers and %d choices", plain.Text(name), n, len(s.Choices))
	}
	for i, id := range s.IDs {
		if s.Choices[i] >= Variants {
			return fmt.Errorf("member %q: identifier %d is variant %d (at most %d)",
				plain.Text(name), i, s.Choices[i], Variants-1)
		}
		if want := Identifier(space, name, i, s.Choices[i]); id != want {
			return fmt.Errorf("member %q: identifier %d is %d, but the hash of %q is %d here",
				plain.Text(name), i, id, plain.Text(string(ring.Chosen(i, s.Choices[i]).Text(name))), want)
		}
	}
	sorted := slices.Sorted(slices.Values(s.IDs))
	for i := 1; i < n; i++ {
		if sorted[i] == sorted[i-1] {
			return &CoincidenceError{ID: sorted[i], One: name, Other: name}
		}
	}
	return nil
}

// CoincidenceError says that two members, or one member twice, would have one identifier.
type CoincidenceError struct {
	ID         uint64
	One, Other string
}

func (e *CoincidenceError) Error() string {
	if e.One == e.Other {
		return fmt.Sprintf("member %q would have identifier %d twice", plain.Text(e.One), e.ID)
	}
	return fmt.Sprintf("members %q and %q would both have identifier %d", plain.Text(e.One), plain.Text(e.Other), e.ID)
}
