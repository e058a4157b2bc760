// Package concord implements Chord, a protocol that tells which server of a group is responsible
// for a key. The group has no master. Its servers may join, leave, hang, crash and be cut off from
// each other at any time. The protocol is the version that Pamela Zave corrected, and proved
// correct as a protocol ("Reasoning about Identifier Spaces: How to Make Chord Correct", 2017).
// This code is checked by a model checker in small rings, and simulated in large ones; it is not
// proved. Members talk to each other over gRPC.
//
// The package stores nothing. Programs build distributed hash tables, caches and sharded services
// on it.
//
// # Guarantees
//
// Each member has a place on a circle of identifiers: the hash of its name. With
// [Config.VirtualNodes] it has several places, and the members' shares of the keys are even. A key
// belongs to the first member at or after the hash of the key. Each member knows the next
// SuccessorCount members after it. A ring that has settled with at least SuccessorCount+1 members
// therefore survives SuccessorCount−1 failures at the same time. When a partition ends, its two
// rings become one.
//
// The answer of a lookup is advice: it was right at some instant, not long ago.
// [docs/GUARANTEES.md] says what is promised, from which size of the ring on, and what is not.
//
// # Starting a member
//
//	node := concord.New(concord.Config{
//		Name:         "node1",
//		BindAddr:     "0.0.0.0:7946",
//		AdvAddr:      "node1.example.com:7946",
//		VirtualNodes: 16, // even shares; the same on all members
//	})
//	if err := node.Start(); err != nil { ... }
//	defer node.Leave(ctx)
//
// The first member then calls [Concord.Create]. Every other member calls [Concord.Join] with the
// address of any member. Alternatively all members call [Concord.JoinOrCreate] with the same
// addresses, in any order.
//
// [Concord.Leave] leaves the ring and stops; [Concord.Stop] alone looks like a crash to the others.
// [Concord.Drain] hands on all ranges and runs on, and [Concord.SetWeight] changes how many places
// the member has.
//
// # Looking up keys
//
// [Concord.Lookup] returns the server of a key, and [Concord.Owns] reports whether that is this
// member. [Config.OnRangeChange] is called when the range of keys that the member is responsible
// for has changed. [Concord.LookupN] returns several servers for a key, [Concord.LookupAll] the
// servers of many keys, and [Concord.Trace] the path of a lookup. A program that only looks up keys
// does not have to be a member: [Dial] returns a [Client]. With [Config.Zone], the servers of
// LookupN are in zones of their own. [Concord.WatchRing] yields the members of the whole ring with
// their ranges, and then each change.
//
// # Serving keys
//
// [Concord.Serve] calls a [Handler] for each range that the member gains or loses, one after
// another where ranges overlap, and its [Service] tells which keys the program is ready to serve.
// By default two members can take a key for their own at one instant. With [Config.Lease] at most
// one does, and after a crash there is none for a while.
//
// # One port
//
// A member can receive on the gRPC server of the application, next to the application's services;
// see [Concord.Register]. [Concord.Conn] returns a connection to the services of the application
// that a lookup has named.
//
// # Observing
//
// [Concord.Status] returns the state of a member, and [Concord.Watch] yields the changes of its
// range. An [Observer] is told of lookups, requests and changes when they happen. Packages
// [github.com/ollelogdahl/concord/concordprom] and
// [github.com/ollelogdahl/concord/concordotel] turn them into metrics and traces, which
// [docs/METRICS.md] lists together with alerts. [docs/OPERATIONS.md] is for the people who run
// members.
//
// # Failures
//
// When a member stops answering, the member before it goes around it and the member after it takes
// over its keys. A member that was taken for dead but is alive rejoins by itself. In a partition
// each side owns every key, unless [Config.MinMembers] says how many members a side needs.
//
// # Testing
//
// Package [github.com/ollelogdahl/concord/concordtest] runs rings inside the tests of programs that
// use this package. Its rings live in memory, can run on the virtual time of testing/synctest, and
// can be made to fail in the ways above.
//
// # JSON
//
// In JSON, identifiers, distances and incarnations are strings of decimal digits, because they have
// 64 bits and the numbers of jq and JavaScript have 53. Decoding accepts numbers, too.
//
// [docs/GUARANTEES.md]: https://github.com/ollelogdahl/concord/blob/main/docs/GUARANTEES.md
// [docs/METRICS.md]: https://github.com/ollelogdahl/concord/blob/main/docs/METRICS.md
// [docs/OPERATIONS.md]: https://github.com/ollelogdahl/concord/blob/main/docs/OPERATIONS.md
package concord
