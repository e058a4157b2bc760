// Package sim runs rings of any size on virtual time: the machines of
// internal/protocol and the tables, searches and fingers of internal/routing,
// the code that ships, over a network of its own that makes faults. One seed is
// one run, bit for bit: Result.Trace is a hash over all that happened.
//
// # A run
//
// Run puts the members where Config.Start says, lets them alone for
// Config.Warmup, and then makes faults for Config.Duration while lookups run and
// every state of every member is judged by the rules of internal/invariant.
// Then faults end. All members that can know of each other must be one ideal
// ring within Config.Bound rounds, must stay so, and every lookup in that ring
// must be right.
//
// # What counts as a violation
//
//   - A state that breaks a rule of invariant.Always, at any time; a pointer to
//     a life that never was.
//   - A lookup that ends later than its deadline, asks more members than a
//     lookup may, or names as owner a life that never was, nor tried to be, a
//     member; at any time.
//   - A ring that is not ideal within the bound after the faults have ended, or
//     that is ideal and does not stay so.
//   - A lookup in the ideal ring that fails or names another than the owner.
//
// While there are faults, a lookup may fail, and may name an owner that is so no
// longer: a lookup is advice. Such lookups are counted, not condemned. An owner
// counts as right if, at the moment the lookup ends, it is the first live member
// at or after the identifier, or lives and holds an arc with the identifier.
//
// # Where it differs from the runtime
//
// The runtime's part (time-outs by the round trips seen, suspicions, attempts to
// join, fingers in turn) is done here as in internal/node, without goroutines.
// Where the two differ:
//
//   - A message is lost or doubled as a whole; TCP would send it again later.
//     A request on a new connection takes one more round trip. A connection is
//     open until it is idle for the longer of 10 s and 8 intervals (there 64, with
//     a limit on their number), a request on it times out, or the other process
//     ends, which breaks it and is told to the machine.
//     One that leads to another member than the one asked for serves one request,
//     there any for up to a second.
//   - What becomes of a Tell is not measured.
//   - A lookup that turns to another member because its own time runs out does not
//     hear the first any more, and nothing is found out about that one.
//   - A member's table is made when it is next read, not when it changes, so a
//     suspicion that ends between the two no longer counts.
//   - A process that hangs answers what came in meanwhile when it wakes.
package sim
