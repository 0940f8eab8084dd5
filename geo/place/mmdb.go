package place

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/oschwald/maxminddb-golang/v2"
)

// file is a database in the MaxMind DB format, whatever its records hold.
type file struct {
	reader  *maxminddb.Reader
	version string
}

// openFile reads a database whole and checks what its metadata promise.
func openFile(name string) (file, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return file{}, err
	}
	f, err := parseFile(b)
	if err != nil {
		return file{}, fmt.Errorf("%q: %w", name, err)
	}
	return f, nil
}

func parseFile(b []byte) (file, error) {
	r, err := maxminddb.OpenBytes(b)
	if err != nil {
		return file{}, fmt.Errorf("not a MaxMind DB file: %w; want an unpacked .mmdb", err)
	}
	m := r.Metadata
	if m.BinaryFormatMajorVersion != 2 {
		return file{}, fmt.Errorf("MaxMind DB format version %d, want 2", m.BinaryFormatMajorVersion)
	}
	if m.IPVersion != 4 && m.IPVersion != 6 {
		return file{}, fmt.Errorf("IP version %d, want 4 or 6", m.IPVersion)
	}
	if m.NodeCount == 0 {
		return file{}, errors.New("holds no network")
	}
	hash := sha256.Sum256(b)
	version := fmt.Sprintf("%s %s sha256:%x", m.DatabaseType, m.BuildTime().UTC().Format("2006-01-02"), hash[:6])
	return file{reader: r, version: version}, nil
}

// find returns the record for an address and the number of leading bits of the
// address that lead to it. The record may be none: see Result.Found.
func (f file) find(addr netip.Addr) (maxminddb.Result, int) {
	if addr.Is6() && f.reader.Metadata.IPVersion == 4 {
		return maxminddb.Result{}, 0
	}
	r := f.reader.Lookup(addr)
	p := r.Prefix()
	if p.Addr().BitLen() != addr.BitLen() {
		return r, 0 // a record above the root of the IPv4 tree
	}
	return r, p.Bits()
}

// nodes is the size of the search tree: a sound file has at most one network
// more.
func (f file) nodes() int { return int(f.reader.Metadata.NodeCount) }
