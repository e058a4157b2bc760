// Package attacktest is a hostile process, for tests of what members do about one. It has
// a client that sends any message of the wire, a peer that answers anything to the members
// that ask it, a network whose members lie, an authority that issues any certificate, and
// a connection on which HTTP/2 is written frame by frame.
//
// It knows what everybody knows who has met one member of a ring: the settings of the
// ring, and the names, identifiers, addresses and incarnations of its members.
package attacktest
