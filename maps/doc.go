// Package maps holds one immutable closeness map: which PoPs are closest for
// every address there is.
//
// A map is a file. It carries the table of PoPs, the inputs it was built from,
// the rankings (up to eight measured PoPs in order, then a great-circle order
// of all of them) and two tables, one keyed by client subnet (ECS) and one by
// resolver address. A table is a list of sorted disjoint ranges per family that
// cover the whole space, so a lookup cannot miss: it finds the one range that
// holds an address, and the range's Row names a ranking.
//
// Open maps a file read-only into memory and verifies all of it before it
// returns, so no later lookup can fail or panic. Lookups take no lock and
// allocate nothing; a *Map never changes and is safe for any number of
// goroutines. Diff says what a new map would move.
//
// The package does not decide anything: verdicts, pools and scopes are geo's,
// and building a map from measurements and places is mapper's. Address blocks
// follow RFC 7871 section 7.2.1 (answers must not overlap in a cache). The
// file is drawn in docs/format/edmap.md.
package maps
