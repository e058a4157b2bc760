// Package concord tells, in a group of servers without a master, which server
// is responsible for a key, and keeps telling it right while servers join,
// leave, hang, crash and are cut off from each other. It is the Chord lookup
// protocol as corrected and proved by Pamela Zave, over gRPC.
//
// # Guarantees
//
// Members stand on a circle of identifiers at the hash of their names. A key
// belongs to the first member at or after the key's own hash. Each member knows
// the few members after it, so that a ring that has settled with at least
// SuccessorCount+1 members survives SuccessorCount−1 failures at once. Two
// parts of a ring that were cut apart become one again when they can reach each
// other. What a lookup says is advice: right at some instant not long ago. See
// [docs/GUARANTEES.md] for what is promised, from which size on, and what is not.
//
// # Starting a member
//
//	node := concord.New(concord.Config{
//		Name:     "node1",
//		BindAddr: "0.0.0.0:7946",
//		AdvAddr:  "node1.example.com:7946",
//	})
//	if err := node.Start(); err != nil { ... }
//	defer node.Stop()
//
// The first member calls Create, every other Join with the address of any. Or all
// call JoinOrCreate with the same addresses, in any order.
//
// # Looking up
//
// Lookup names the server of a key. Owns says whether that is this member, and
// OnRangeChange tells when the range of keys that it is responsible for has
// changed. LookupN names several servers for a key, LookupAll the servers of many
// keys, and Trace says how one was found. A program that only looks up need not be a
// member: Dial gives it a Client.
//
// # Observing
//
// Status is the state of a member, Watch the changes of its range, and an Observer is
// told of lookups, requests and changes as they happen. Packages
// [github.com/ollelogdahl/concord/concordprom] and
// [github.com/ollelogdahl/concord/concordotel] make metrics and traces of that;
// [docs/METRICS.md] lists them, with alerts. [docs/OPERATIONS.md] is for whoever runs
// members.
//
// # Failures
//
// A member that stops answering is noticed by the member before it, which goes
// round it; the one after it takes over its keys. A member that was taken for
// dead and lives takes its place again by itself. In a partition each side owns
// every key, unless Config.MinMembers says how many members it takes.
//
// # Testing
//
// Package [github.com/ollelogdahl/concord/concordtest] runs rings inside the tests of programs that use this package, in
// memory and on the virtual time of testing/synctest, and makes the failures above.
//
// # JSON
//
// In JSON, identifiers, distances and incarnations are strings of decimal digits:
// they have 64 bits, and the numbers of jq and JavaScript 53. Decoding takes numbers,
// too.
//
// [docs/GUARANTEES.md]: https://github.com/ollelogdahl/concord/blob/main/docs/GUARANTEES.md
// [docs/METRICS.md]: https://github.com/ollelogdahl/concord/blob/main/docs/METRICS.md
// [docs/OPERATIONS.md]: https://github.com/ollelogdahl/concord/blob/main/docs/OPERATIONS.md
package concord
