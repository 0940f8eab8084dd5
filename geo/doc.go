// Package geo decides which endpoints a client gets, for how large a prefix
// the decision holds, and why.
//
// A [View] is built once from the fleet's PoPs, the pools and the maps, and is
// immutable from then on. It answers one question, [View.Decide]: for this pool,
// this client and this address family, which endpoints? The decision is a pure
// function of the view and its arguments; it takes no lock, makes no call and
// allocates nothing. Given a [Trace], the same code also writes down what it
// weighed, so an explanation can never differ from the answer.
//
// Closeness comes from a map (package maps). For each set of PoPs that pools
// use, the view holds a cover: the map's ranges reduced to the order of those
// PoPs, with equal neighbours merged. The block that a cover gives for an
// address is the ECS scope (RFC 7871, section 7.2.1): blocks never overlap.
//
// Pins go before the map: laid over its ranges, they split blocks at their edges.
//
// States of members and pins come in with the configuration, or later through
// [View.With], which shares everything else with the old view. Only members with
// the best verdict in the pool are chosen among; what goes when none is better
// than failing is the pool's [FailOpen]. All that states decide is worked out
// when the view is built, alike for all clients, so that no answer is missing in
// one place only, and the TTL is the same everywhere.
package geo
