// Package grpctransport speaks the wire contract of proto/concord.proto over
// gRPC. It is the only room that knows pb types: what it is given and what it
// hands on are the types of ring, protocol and routing.
//
// # Connections
//
// There is at most one connection to an address in use for new requests. This
// package dials it and hands it to gRPC, which therefore never reconnects by
// itself: a connection that ended is replaced by the next request to its
// address. A failure to dial is thus always that of an attempt begun after the
// request, which matters because a refused connection is taken for proof that
// the member is gone. At most one attempt is under way for an address.
//
// A request that was given a connection from before, and whose connection ends
// under it, is made once more on a new one: the peer may have been restarted
// since. Requests of the contract may arrive twice without harm.
//
// An address is not a member: names come to stand for other hosts, and behind a load
// balancer each connection may lead to another process. So a connection on which another
// than the member asked for has answered, or something that is no member, serves that
// member no longer; the next question for it dials anew, which resolves the name anew. If
// the connection was there before the question, that is asked again at once: that another
// answers is thus always the word of a connection that is younger than a second or was made
// for the question. An address that always leads to somebody else costs one connection a
// second at most, and who is there is not disturbed. A question to an address alone has a
// connection of its own, which is kept if who is there advertises that very address.
//
// # Streams
//
// Once a peer has shown that it is a member of ours, the requests to it travel as frames
// on one stream of the connection, the method Link, in place of unary calls; see mux.go
// and muxserver.go. Answers leave in the order in which they are ready. Messages that wait
// at the same time are written together, those of the ring's maintenance first. The two
// members of a pair have a stream in each direction, for the questions of either: that a
// member can be reached at the address that it advertises is shown by questions that
// were sent there, and by nothing else.
//
// # Legacy members
//
// A legacy member is one that speaks the base contract only: the first three methods of
// the service and the fields below 16, as the existing Concord library does. It has no
// incarnation. This package asks it in terms of the base contract, so that the rooms above
// talk to members and not to kinds of members; see legacy.go.
package grpctransport
