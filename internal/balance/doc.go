// Package balance chooses where on the circle a member with several identifiers stands, so
// that every member owns a share of the keys that fits its weight.
//
// For each unit of its weight a member has one identifier, and eight places to choose from
// for it: hashes of its name, the number of the identifier and the number of the variant.
// Others check with one hash an identifier that a member stands where its name allows
// ([Check]). The member may choose among these places, and nowhere else.
//
// A joiner that knows who stands where ([Circle]) chooses all its identifiers together
// ([Circle.Choose]): it takes from those that have most by what is fair, about as much as is
// fair for itself. Later, members come and go, and a member that is left with much more than
// is fair chooses one of its identifiers anew ([Circle.Overloaded], [Circle.Rechoose]).
//
// All of it is arithmetic: no I/O, no clock, no randomness. The same circle and the same
// name give the same choice. What a joiner knows of the circle need not be right for its
// choice to be valid, only for it to be good.
package balance
