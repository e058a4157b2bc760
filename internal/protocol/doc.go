// Package protocol is ring maintenance as a machine without I/O: Pamela Zave's
// corrected Chord ("Reasoning about Identifier Spaces: How to Make Chord
// Correct", IEEE TSE 43(12), 2017) with join, stabilize, rectify and fail, and
// what her assumptions leave to an implementation: introductions, leaving,
// acquaintances by which a ring finds itself again, placement, and recovery
// from the loss of every successor. docs/PROTOCOL.md gives the reasons.
//
// # The caller's duties
//
//  1. Call Step with every event, one at a time, with a time that never runs
//     backwards. Step never blocks.
//  2. Carry out the effects it returns before the next Step, in order. The
//     slice is valid until then; the values in it for as long as wanted.
//  3. For every Ask deliver exactly one Answer with the same call number:
//     the reply, or the failure, also when the caller's own deadline ends it.
//     Tell needs none.
//  4. For every Asked event with a token, send the Respond that comes back with
//     it, at once or later. The asker may have given up by then.
//  5. Deliver Tick when the time of the latest WakeAt has come.
//
// # Why an old answer does no harm
//
// A question and the use of its answer are two steps, and events come between
// them. So an answer never carries a decision over: it is matched by its call
// number to the operation that is still open, every condition is tested again
// on the pointers as they are now, and an answer to a question that no longer
// stands changes no pointer. What may still be stale is the list inside the
// answer. Whatever a replaced list drops, and is not known dead, becomes a
// pending acquaintance: it stays pending until a placement that starts at that
// member has found this one. So no live member is lost by a stale list; at
// worst the ring is imperfect for the rounds that the placement takes.
package protocol
