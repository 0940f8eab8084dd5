package place

import (
	"errors"
	"iter"
	"net/netip"
)

// DB answers where an address is. It is immutable and safe for concurrent use.
type DB struct {
	sources []Source
}

// Open is OpenWith without overrides.
func Open(city, asn string) (*DB, error) { return OpenWith(city, asn, "") }

// OpenWith opens a City or Country database and an ASN database, both in the
// MaxMind DB format, and a file of overrides (see docs/format/place.md). An
// empty city means the built-in country data; the other two may be left empty.
// An error names the file and the reason.
func OpenWith(city, asn, overrides string) (*DB, error) {
	return nil, errors.New("place: not built yet")
}

// Lookup returns what is known about an address and the largest network around
// it for which exactly that holds. The network has the family of Unwrap(addr).
// It returns false when nothing at all is known; the network is then the part
// of the address space around addr for which that is so.
func (db *DB) Lookup(addr netip.Addr) (Place, netip.Prefix, bool) {
	return Place{}, netip.Prefix{}, false
}

// Networks iterates over all networks of which something is known, disjoint and
// ascending, IPv4 first, then IPv6. Networks under the prefixes that Unwrap
// resolves are left out: they are looked up as IPv4.
func (db *DB) Networks() iter.Seq2[netip.Prefix, Place] {
	return func(yield func(netip.Prefix, Place) bool) {}
}

// Verify reads every record of every layer and returns the first error. Open
// only takes samples; call Verify before trusting Networks for a whole map.
func (db *DB) Verify() error { return nil }

// Sources lists the inputs, lowest layer first.
func (db *DB) Sources() []Source { return db.sources }
