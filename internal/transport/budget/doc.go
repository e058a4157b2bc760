// Package budget bounds what other processes may use of a member: connections, and
// requests at work, of each kind, in all and from one host.
//
// It knows nothing of gRPC. Whoever accepts connections tells it of each ([Budget.Admit]),
// of each request on it ([Conn.Begin]), and of their ends. It decides which are refused,
// which connections are closed to make room, and how long a connection is not read
// because its requests have been refused too often.
//
// # Hosts
//
// A host is an IPv4 address or an IPv6 network of 64 bits. Nobody may use all of a
// budget from one host. Unless Limits.PerHost says otherwise, a loopback address has no
// such share: all members of a test are there. Neither has a connection that comes from
// no IP address.
//
// # Members
//
// A connection is a stranger's until [Conn.Claim] says that it belongs to a member that
// this side has reached itself. Members have budgets of their own, which strangers cannot
// use up, and their connections are not closed to make room. Maintenance of the ring and
// lookups have different budgets as well, so that lookups cannot take that of the ring.
package budget
