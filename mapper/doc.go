// Package mapper builds a closeness map: it lays measured networks over place
// data so that every address there is has a ranking of PoPs.
//
// ReadNets reads the measured networks, a CSV list of prefixes that may nest;
// ReadBeacons and Estimate make such of beacons' sessions. Build flattens them (the
// longest prefix wins), cuts them where the place or the demand changes, and shares
// what clients ask for out among the PoPs within their capacity, at prices in
// milliseconds (package assign). Neighbours that a tolerance does not part become
// one (package compress), and every range gets a ranking: the measured PoPs, by
// round-trip time and price, then all PoPs by great-circle distance from the place.
// An address whose place is not known and that nobody measured gets a row that says
// so. The result has no hole. Report says what came of it.
//
// The resolver table has rankings of the clients behind each resolver
// (RankResolvers). One session in twenty is never estimated from (HeldBack), so
// that maps can be judged by it: CompareHeld, and package gate. Evaluate holds a
// map against measurements, Explain says where the numbers of a ranking come
// from, by the map alone, and Estimates.Trace takes them apart.
//
// All of that is pure: the same input gives the same map, byte for byte, on any
// number of processors. Files, the clock and progress on a terminal are the
// command's (cmd/edged/map.go).
package mapper
