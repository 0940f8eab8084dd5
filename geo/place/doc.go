// Package place says where an address is: country, continent, city,
// coordinates and AS number, together with the network for which that holds.
//
// A DB is layered. At the bottom lies either the built-in country data
// (delegations of the five regional registries, embedded in the binary) or a
// City or Country database in the MaxMind DB format; an ASN database in the same
// format may be laid over it, and an operator's overrides on top. MaxMind's
// nested records and the flat ones of DB-IP and ip-location-db are both read;
// which of the two is found in the records, not in the file's name.
//
// An IPv6 address that carries an IPv4 one (v4-mapped, 6to4, Teredo, NAT64) is
// looked up as that IPv4 address; see Unwrap. An unknown position is never
// (0,0): Place.HasCoord says whether there is one.
//
// Files are read into memory whole, so that a file rewritten in place cannot
// harm a running program. A DB is immutable once opened and safe for concurrent
// use. It is meant for building maps and for explaining answers, not for the
// query path, which has everything folded into its map.
//
// The format of the embedded data is in docs/format/place.md.
package place
