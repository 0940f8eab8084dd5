// Package override keeps what operators ask for against the checks: drain a
// PoP, force an endpoint up or down, give it another weight, pin a prefix to a
// PoP. Each override has an owner, a reason and perhaps an end; the whole fleet
// holds the same set.
//
// The middle is pure. A [Set] holds overrides and clears, in any order of
// arrival; [Set.Plan] says what a new one would do and which [Rule] it would
// break; [Set.View] says which apply at a time. An override that breaks a rule
// together with earlier ones, as two accepted at once on two nodes can, is
// suspended: it is listed, but does nothing while that lasts. Versions (Lamport
// clocks) and node names order overrides, never wall clocks, so the nodes agree
// on who is later. Only the end of an override is a wall-clock time, by the clock
// of the node that accepted it: a proposal tells the others how far theirs are
// from it.
//
// The [Engine] carries changes through the fleet: the accepting node signs a
// proposal, the members check it against their own set and sign
// acknowledgements, and a majority makes it a commit, which spreads by broadcast
// and is repaired by push/pull. It keeps the set in one file. An Engine is safe
// for concurrent use; it starts goroutines only to send.
package override
