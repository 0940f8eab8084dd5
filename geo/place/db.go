package place

import (
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"time"
)

// DB says where an address is. It is immutable and safe for concurrent use.
type DB struct {
	layers  []layer // the lowest first
	sources []Source
}

// Source names one input of a DB.
type Source struct {
	Name    string    // "country", "city", "asn" or "overrides"
	Version string    // what it is and which issue of it, short and stable
	Built   time.Time // when the issue was made, as it says itself; zero: it does not say
}

// A layer is one source of places.
type layer interface {
	// at returns what the layer itself knows about addr (the zero Place if
	// nothing), and how many leading bits of addr decide that.
	at(addr netip.Addr) (Place, int, error)

	// size returns a number of blocks that the layer cannot split the address
	// space into more than, unless its file is damaged.
	size() int

	// remembering returns the same layer in a form that is faster for one walk
	// by one goroutine.
	remembering() layer
}

// Open is OpenWith without overrides.
func Open(city, asn string) (*DB, error) { return OpenWith(city, asn, "") }

// OpenWith opens a City or Country database and an ASN database, both in the
// MaxMind DB format, and a file of overrides (see docs/format/place.md). An
// empty city means the built-in country data; the other two are left out when
// empty. Errors name the file, the reason and where the file was given.
func OpenWith(city, asn, overrides string) (*DB, error) {
	db := new(DB)
	if err := db.addCity(city); err != nil {
		return nil, err
	}
	if err := db.addASN(asn); err != nil {
		return nil, err
	}
	if err := db.addOverrides(overrides); err != nil {
		return nil, err
	}
	return db, nil
}

func (db *DB) add(l layer, name, version string, built time.Time) {
	db.layers = append(db.layers, l)
	db.sources = append(db.sources, Source{Name: name, Version: version, Built: built})
}

func (db *DB) addCity(name string) error {
	if name == "" {
		l, err := builtIn()
		if err != nil {
			return fmt.Errorf("built-in place data: %w; this copy of edged is damaged", err)
		}
		db.add(l, "country", l.version(), l.built())
		return nil
	}
	d, err := openDatabase("geo.city", name)
	if err != nil {
		return err
	}
	if d.schema == asn {
		return fmt.Errorf("%s is an ASN database; give it as geo.asn", d.name)
	}
	db.add(d, "city", d.version(), d.built())
	return nil
}

func (db *DB) addASN(name string) error {
	if name == "" {
		return nil
	}
	d, err := openDatabase("geo.asn", name)
	if err != nil {
		return err
	}
	if d.schema != asn {
		return fmt.Errorf("%s is a City or Country database; give it as geo.city", d.name)
	}
	db.add(d, "asn", d.version(), d.built())
	return nil
}

func (db *DB) addOverrides(name string) error {
	if name == "" {
		return nil
	}
	l, err := openOverrides(name)
	if err != nil {
		return fmt.Errorf("geo.overrides: %w", err)
	}
	db.add(l, "overrides", l.version(), time.Time{})
	return nil
}

// Lookup returns what is known about an address, and a network around it in
// which exactly that is known everywhere. The network is of the family of
// Unwrap(addr). If nothing is known it returns false and the network of which
// that is so; for the zero Addr, the zero Prefix. A damaged record counts as
// none; Verify tells.
func (db *DB) Lookup(addr netip.Addr) (Place, netip.Prefix, bool) {
	if !addr.IsValid() {
		return Place{}, netip.Prefix{}, false
	}
	p, network, _ := lookup(db.layers, Unwrap(addr))
	return p, network, p != Place{}
}

// lookup asks all layers. An address that Unwrap would change must have been
// unwrapped.
func lookup(layers []layer, addr netip.Addr) (Place, netip.Prefix, error) {
	bits := 0
	if addr.Is6() {
		if compatible.Contains(addr) {
			return Place{}, compatible, nil
		}
		bits = bitsClear(addr)
	}
	var p Place
	var damage error
	for _, l := range layers {
		q, n, err := l.at(addr)
		if err != nil && damage == nil {
			damage = err
		}
		p, bits = p.under(q), max(bits, n)
	}
	return p, netip.PrefixFrom(addr, bits).Masked(), damage
}

// Networks iterates over the networks of which something is known: disjoint and
// ascending, IPv4 first, then IPv6. Those under a prefix that Unwrap resolves
// are left out, since they are looked up as IPv4. Neighbours may hold the same
// Place. It stops at a damaged record: call Verify first.
func (db *DB) Networks() iter.Seq2[netip.Prefix, Place] {
	return func(yield func(netip.Prefix, Place) bool) {
		db.walk(yield)
	}
}

// Verify reads every record of every layer and returns the first error. Opening
// only takes samples, since a large database needs seconds to be read whole.
func (db *DB) Verify() error {
	return db.walk(func(netip.Prefix, Place) bool { return true })
}

var errSize = errors.New("search tree splits into more networks than its size allows; the file is damaged")

// walk looks up block after block. It ends when yield returns false, or with the
// first error.
func (db *DB) walk(yield func(netip.Prefix, Place) bool) error {
	layers := make([]layer, len(db.layers))
	steps := 1000 // for the blocks that bitsClear splits off
	for i, l := range db.layers {
		layers[i] = l.remembering()
		steps += l.size()
	}
	for addr := first; addr.IsValid(); steps-- {
		if steps == 0 {
			return errSize
		}
		p, network, err := lookup(layers, addr)
		if err != nil {
			return err
		}
		if p != (Place{}) && !yield(network, p) {
			return nil
		}
		addr = after(addr, network.Bits())
	}
	return nil
}

// Sources lists the inputs, the lowest layer first.
func (db *DB) Sources() []Source { return db.sources }
