package ring

import "strconv"

// Bounds on the identifiers of a member that stands at several.
const (
	// MaxIdentifiers is how many identifiers one member can have.
	MaxIdentifiers = 1024
	// Variants is the number of places between which a member chooses for each of them.
	Variants = 8
)

// Choice says what an identifier is the hash of. The zero Choice is that of a member with
// one identifier, which is the hash of its name. A member with several identifiers has
// chosen a variant for each: its i-th identifier is the hash of "name_i", or of
// "name_i.v" for every variant v but 0.
type Choice uint16

// Chosen is the choice of a variant for the i-th identifier, from 0 on.
func Chosen(i int, variant uint8) Choice { return Choice(1 + i*Variants + int(variant)) }

// Several reports whether the identifier is one of several of a member.
func (c Choice) Several() bool { return c != 0 }

// Slot is which of the identifiers of the member it is, and the variant.
func (c Choice) Slot() (i int, variant uint8) {
	return int(c-1) / Variants, uint8(c-1) % Variants
}

// Possible reports whether there is such a choice.
func (c Choice) Possible() bool { return c <= MaxIdentifiers*Variants }

// Text is what an identifier of the member of that name is the hash of.
func (c Choice) Text(name string) []byte {
	b := make([]byte, 0, len(name)+8)
	b = append(b, name...)
	if c == 0 {
		return b
	}
	i, variant := c.Slot()
	b = append(b, '_')
	b = strconv.AppendInt(b, int64(i), 10)
	if variant > 0 {
		b = append(b, '.', '0'+variant)
	}
	return b
}

// At is the identifier that the choice gives the member of that name.
func (s Space) At(name string, c Choice) uint64 {
	if c == 0 {
		return s.ID([]byte(name))
	}
	return s.ID(c.Text(name))
}
