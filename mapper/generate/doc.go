// Package generate makes up clients, networks and paths, for tests of scale and
// for demonstrations, where real measurements are too few.
//
// A World has PoPs and units, client blocks with a city, a network, a resolver
// and a demand; it says how long a round trip takes at a time (Path), and yields
// sessions of beacons that measured it (Sessions). All of it follows from a seed
// and from the table of parameters in params.go, which says where each comes
// from. Given a folder of real latencies between cities, paths between those
// cities take them; all others follow a line over distance.
//
// Nothing made here is a measurement. A result that was found on it must never
// be shown as one about the real network.
//
// A World is immutable and safe for concurrent use, and its draws are hashes of
// what they are for: no order of calls changes a value.
package generate
