// Package concordtest runs whole rings inside a test. It injects network faults between the
// members, and it knows the truth: which members are in the ring and which of them owns a key. It
// is for tests of programs that use package concord, as net/http/httptest is for programs that use
// net/http.
//
// # Rings in memory
//
// By default a [Ring] carries its traffic in memory and opens no socket. Inside a testing/synctest
// bubble it runs on the bubble's clock, so an hour in the life of a ring of five takes about half
// a second:
//
//	func TestStoreKeepsItsKeys(t *testing.T) {
//		synctest.Test(t, func(t *testing.T) {
//			ring := concordtest.New(t, concordtest.Options{})
//			members := ring.Start(5, func(i int, c *concord.Config) {
//				c.OnRangeChange = stores[i].rangeChanged
//			})
//			ring.Settle(t.Context())
//			ring.Kill(members[2])
//			time.Sleep(time.Hour)
//			...
//		})
//	}
//
// Call [New] inside the bubble. The ring is stopped before the bubble ends.
//
// # Rings on sockets
//
// With [Options.Sockets] the members speak gRPC over TCP on loopback addresses and use the TLS of
// their configuration. Every connection between them passes through a relay in the test's process,
// which injects the faults. Every fault works on both kinds of ring, with these differences:
//
//	                 in memory                        on sockets
//	Kill, Restart    connections break                the same
//	Hang             requests wait for Resume         the same; connections are still accepted
//	Cut, Partition   messages are lost                messages arrive after Heal, as with TCP,
//	                                                  if their connection still exists
//	Delay            of each request and each reply   of each piece of a connection's bytes
//	Lose             requests and replies are lost    TCP sends them again: they arrive 200 ms
//	                                                  late, then another 400 ms, and so on
//	TLS              validated, but not used          used
//
// A ring on sockets needs real time. Inside a bubble it fails the test.
//
// # Programs that start their own members
//
// Give a program that makes its own member a configuration from [Ring.Config]; its Network field
// leads to the ring. The program may set any AdvAddr: members of the ring reach it by that address
// even if no such host exists. Call [Ring.Adopt] to make the member part of the truth.
// [Ring.Client] and [Ring.ClientConfig] are for programs that only look keys up.
//
// Connections that a program makes itself, to serve the keys, are not part of the ring and have no
// faults.
//
// # Failures
//
// A Ring calls Fatalf when it cannot do what it was asked for. When a test has failed, for whatever
// reason, the ring logs the state of every member and its seed. Set [Options.Seed] to that seed to
// draw the same delays and losses, and the same jitter of the members' rounds, again. The seed does
// not fix the order in which goroutines run.
package concordtest
