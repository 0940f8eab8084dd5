// Package compress makes a map smaller by giving up what nobody would notice:
// where several PoPs are within a few milliseconds of the best, any of them
// will do, so that neighbours can have the same.
//
// The input is a family's address space as leaves, sorted disjoint ranges, each
// with the set of PoPs that are good enough for it. The output is runs, ranges that
// have one PoP, in the form that the builders of package maps take. Every address's PoP is in the set of its leaf.
//
// Merge is the optimal routing table construction of Draves, King, Venkatachary
// and Zill (INFOCOM 1999), with the sets of PoPs where it has sets of next hops:
// up the binary tree of prefixes, a node gets what its children have in common,
// or all that either has; down the tree, a node keeps the PoP of the node above
// if it may, and takes one of its own set if not. What the paper prints as
// nested prefixes is flattened again, for the scopes of answers must come from
// disjoint blocks (RFC 7871 section 7.2.1). The tree is walked over the sorted
// leaves and never stored.
//
// Only the first choice is held to the tolerance. A run names one of its leaves
// to stand for it; package mapper cuts runs again where what comes after the first
// choice is not that leaf's.
package compress
