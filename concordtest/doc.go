// Package concordtest runs rings of members inside a test, makes the faults of a network between
// them, and knows the truth: who is in the ring and who owns which key. It is for tests of programs
// that use package concord, as net/http/httptest is for those that use net/http.
//
// # A ring in memory
//
// [New] makes a [Ring] that is carried in memory: no socket is opened, and nothing leaves the
// process. Inside a testing/synctest bubble it runs on the bubble's clock, so that an hour of its
// life takes less than a second:
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
// Make the Ring inside the bubble. It is stopped before the bubble ends.
//
// # A ring on sockets
//
// With [Options.Sockets] the members speak gRPC over TCP on 127.0.0.1, with the TLS of their
// configuration, and every connection between them passes through a relay of the test, which makes
// the faults. All faults work on both, but what carries them differs:
//
//	                 in memory                         on sockets
//	Kill, Restart    connections break                 the same
//	Hang             requests wait until Resume        the same; connections are still accepted
//	Cut, Partition   what is sent is lost              what is sent arrives after Heal, as with TCP,
//	                                                   if the connection is still there
//	Delay            of each request and each answer   of each piece of the connection's bytes
//	Lose             requests and answers are lost     TCP sends them again: they are 200 ms late,
//	                                                   then 400 ms more, and so on
//	TLS              checked, and not used             used
//
// A ring on sockets needs real time: it does not work in a bubble.
//
// # Programs that start their own members
//
// A program under test that makes its member itself is given a configuration of [Ring.Config] to
// start from. Its Network is that of the ring. Any BindAddr and AdvAddr work there: in memory they
// are names, and need not exist. [Ring.Adopt] then counts the member in. [Ring.Client] and
// [Ring.ClientConfig] are for programs that only look keys up.
//
// # Failures
//
// A Ring fails the test when what it was asked for does not happen. At the end of a failed test it
// logs the state of every member, and the seed, which [Options.Seed] takes to run the same test with
// the same delays, losses, and randomness of members. The order in which goroutines run is not part
// of it.
package concordtest
