// Package mapper builds a closeness map: it lays measured networks over place
// data so that every address there is has a ranking of PoPs.
//
// ReadNets reads the measured networks, a CSV list of prefixes that may nest.
// Build flattens them (the longest prefix wins), cuts them where the place
// changes, and gives every resulting range a ranking: the measured PoPs first,
// then all PoPs by great-circle distance from the place. An address whose place
// is not known and that nobody measured gets a row that says so. The result
// has no hole.
//
// Both are pure: the same input gives the same map, byte for byte. Files, the
// clock and progress on a terminal are the command's (cmd/edged/map.go).
package mapper
