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
//     an incarnation that never was.
//   - A lookup that ends later than its deadline, asks more members than a
//     lookup may, or names as owner an incarnation that never was, nor tried to be, a
//     member; at any time.
//   - A ring that is not ideal within the bound after the faults have ended, or
//     that is ideal and does not stay so.
//   - A lookup in the ideal ring that fails or names another than the owner: of a
//     member, unless fewer members are in its ring than Config.MinMembers, and of a
//     client, if a member serves at one of the addresses that it was given.
//   - An owner that a lookup names against what its caller was promised
//     (invariant.Namings), at any time.
//   - A member that answers a lookup though it knows of fewer members than there
//     have to be, or is isolated in an ideal ring of enough (invariant.Servings).
//   - A member that founds a ring though another has that it had heard
//     (invariant.OneFounder).
//
// While there are faults, a lookup may fail, and may name an owner that is so no
// longer: a lookup is advice. Such lookups are counted, not condemned. An owner
// counts as right if, at the moment the lookup ends, it is the first live member
// at or after the identifier, or lives and holds an arc with the identifier.
//
// # Hostile members
//
// With Config.Hostile some members lie, replay and flood from the beginning of the
// faults on. When the other faults are over they go on: that is the siege. With
// Config.Identity it is a violation, at any time, that an honest member loses its
// place; in the siege, that an honest member passes over another one; and a lookup of an
// honest process that breaks one of invariant.Testimonies. Lookups are judged by these
// alone until the siege is over. Then the hostile processes end, and what is left must heal.
//
// # Where it differs from the runtime
//
// What the runtime does is done here without goroutines. What it decides by is the
// same code: time-outs and suspicions are internal/peer's; lookups, fingers, what is
// remembered, and whom a client asks, internal/routing's; attempts to join
// internal/protocol's. Where the two differ:
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
//   - A client never ends nor starts again, does not hang, and has addresses that
//     are resolved by nobody: it is always given those of members of the start.
//   - A process that hangs answers what came in meanwhile when it wakes.
package sim
