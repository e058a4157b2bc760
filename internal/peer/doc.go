// Package peer holds what a process knows about the processes that it talks to:
// how fast each of them answers, and which of them did not answer of late.
//
// Its types are values with methods that read no clock, take no lock and hold no
// map. Their containers belong to their owners: the runtime keeps estimates in a
// map behind a lock, the simulator in a sorted slice, so that one of a million
// simulated members stays small. Both decide by the same code.
package peer
