package place

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"

	"edged/edge"
)

// database is a layer read from a file in the MaxMind DB format.
type database struct {
	name   string // where it was given, and the file: for errors
	reader *maxminddb.Reader
	schema schema
	hash   [sha256.Size]byte

	// seen holds the records decoded so far, by their offset in the file. It is
	// nil except in a copy for one walk: databases have far fewer records than
	// networks.
	seen map[uintptr]Place
}

// openDatabase reads a file whole and finds out what its records hold. Errors
// begin with the configuration key and the name.
func openDatabase(key, name string) (database, error) {
	b, err := edge.ReadRegular(name)
	if err != nil {
		return database{}, fmt.Errorf("%s %q: %w", key, name, errors.Unwrap(err))
	}
	d, err := parseDatabase(b)
	if err != nil {
		return database{}, fmt.Errorf("%s %q: %w", key, name, err)
	}
	d.name = fmt.Sprintf("%s %q", key, name)
	return d, nil
}

func parseDatabase(b []byte) (database, error) {
	r, err := maxminddb.OpenBytes(b)
	if err != nil {
		return database{}, fmt.Errorf("not a sound MaxMind DB file: %w; it must be an unpacked .mmdb", err)
	}
	m := r.Metadata
	if m.BinaryFormatMajorVersion != 2 {
		return database{}, fmt.Errorf("MaxMind DB format version %d, want 2", m.BinaryFormatMajorVersion)
	}
	if m.IPVersion != 4 && m.IPVersion != 6 {
		return database{}, fmt.Errorf("IP version %d, want 4 or 6", m.IPVersion)
	}
	d := database{reader: r, hash: sha256.Sum256(b)}
	d.schema, err = d.detect()
	return d, err
}

// version says which database this is, when it was built, and by a hash exactly
// which bytes.
func (d database) version() string {
	m := d.reader.Metadata
	name := strings.Trim(strconv.Quote(m.DatabaseType), `"`)
	return fmt.Sprintf("%s %s sha256:%x", name, d.built().Format("2006-01-02"), d.hash[:6])
}

// built returns when the database was made, by its own word.
func (d database) built() time.Time { return d.reader.Metadata.BuildTime().UTC() }

// find returns the record for an address and the number of leading bits of the
// address that lead to it; false if there is no record.
func (d database) find(addr netip.Addr) (maxminddb.Result, int, bool) {
	if addr.Is6() && d.reader.Metadata.IPVersion == 4 {
		return maxminddb.Result{}, 0, false
	}
	r := d.reader.Lookup(addr)
	bits := 0
	if p := r.Prefix(); p.Addr().BitLen() == addr.BitLen() {
		bits = p.Bits()
	} // else a record above the root of the IPv4 tree, which holds for all of IPv4
	return r, bits, r.Found()
}

func (d database) at(addr netip.Addr) (Place, int, error) {
	r, bits, found := d.find(addr)
	if err := r.Err(); err != nil {
		return Place{}, addr.BitLen(), fmt.Errorf("%s: %w", d.name, err)
	}
	if !found {
		return Place{}, bits, nil
	}
	if p, ok := d.seen[r.Offset()]; ok {
		return p, bits, nil
	}
	p, err := d.schema.decode(r)
	if err != nil {
		return Place{}, bits, fmt.Errorf("%s: record of %s: %w", d.name, r.Prefix(), err)
	}
	if d.seen != nil {
		d.seen[r.Offset()] = p
	}
	return p, bits, nil
}

// size allows for a search tree (which has one leaf more than nodes) in which
// the IPv4 part is linked to from several places.
func (d database) size() int { return 8 * (int(d.reader.Metadata.NodeCount) + 1) }

func (d database) remembering() layer {
	d.seen = map[uintptr]Place{}
	return d
}

// sampled is the number of records that tell what a database holds.
const sampled = 1000

// detect finds the schema in the first records that show one. All of the first
// records must be readable.
func (d database) detect() (schema, error) {
	var found schema
	records := 0
	for addr, steps := first, d.size(); addr.IsValid() && records < sampled; steps-- {
		r, bits, ok := d.find(addr)
		if err := r.Err(); err != nil {
			return 0, err
		}
		if steps == 0 {
			return 0, errSize
		}
		addr = after(addr, bits)
		if !ok {
			continue
		}
		records++
		var record map[string]any
		if err := r.Decode(&record); err != nil {
			return 0, fmt.Errorf("record of %s: %w", r.Prefix(), err)
		}
		if found == 0 {
			found = schemaOf(record)
		}
	}
	if found == 0 {
		return 0, fmt.Errorf("none of the first %d records has a country, coordinates or an AS number (database type %q)",
			records, d.reader.Metadata.DatabaseType)
	}
	return found, nil
}
