// Package node is the runtime: it drives one protocol machine and its routing
// over a transport and real timers. It owns every goroutine of a member and
// decides nothing about the ring.
//
// One mutex guards the machine. It is held for one Step and for handing out
// the effects, none of which blocks: questions go to goroutines of their own,
// answers to buffered channels, the range callback to one goroutine. Lookups
// never take it: they read a table behind an atomic pointer, and what memory
// answers takes no lock at all.
package node
