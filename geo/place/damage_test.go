package place

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"

	"github.com/maxmind/mmdbwriter"
)

// A search tree may be damaged so that it is walked for ages: every node links
// to the next one twice, which makes 2^n networks of n nodes.
func TestTreeThatExplodes(t *testing.T) {
	b := written(t, mmdbwriter.Options{IPVersion: 4, RecordSize: 24}, map[string]record{
		"192.0.2.1/32": flatRecord("DE", "", nil, nil),
	})
	const nodes = 32
	for i := range nodes - 1 {
		copy(b[6*i:], []byte{0, 0, byte(i + 1), 0, 0, byte(i + 1)})
	}
	d, err := parseDatabase(b)
	if err == nil {
		db := &DB{layers: []layer{d}}
		err = db.Verify()
	}
	if err == nil || err.Error() != errSize.Error() {
		t.Errorf("error %v, want %v", err, errSize)
	}
}

// A download that broke off must be refused or fail cleanly, wherever it broke.
func TestTruncatedFiles(t *testing.T) {
	for _, networks := range []map[string]record{nestedNetworks, flatNetworks, asnNetworks} {
		whole := written(t, mmdbwriter.Options{}, networks)
		for n := range whole {
			d, err := parseDatabase(whole[:n])
			if err != nil {
				continue
			}
			if err := (&DB{layers: []layer{d}}).Verify(); err == nil {
				t.Errorf("%d of %d bytes pass as sound", n, len(whole))
			}
		}
	}
}

// FuzzDatabase damages sound files: each three bytes of edits put a value at an
// offset from the start (the search tree) or from the end (records, metadata).
func FuzzDatabase(f *testing.F) {
	files := [][]byte{
		written(f, mmdbwriter.Options{RecordSize: 24}, nestedNetworks),
		written(f, mmdbwriter.Options{RecordSize: 28}, flatNetworks),
		written(f, mmdbwriter.Options{RecordSize: 32}, asnNetworks),
		written(f, mmdbwriter.Options{IPVersion: 4}, map[string]record{"0.0.0.0/1": flatRecord("DE", "", nil, nil)}),
	}
	for i := range files {
		f.Add(uint8(i), []byte{})
		f.Add(uint8(i), []byte{0, 2, 0, 0, 5, 0})          // the root links to itself
		f.Add(uint8(i), []byte{0x80, 9, 0xff, 0x81, 0, 7}) // records and metadata
	}
	f.Fuzz(func(t *testing.T, which uint8, edits []byte) {
		b := bytes.Clone(files[int(which)%len(files)])
		for edit := range slices.Chunk(edits, 3) {
			if len(edit) < 3 {
				break
			}
			offset := int(edit[0]&0x7f)<<8 | int(edit[1])
			if edit[0] >= 0x80 {
				offset = len(b) - 1 - offset
			}
			if offset >= 0 && offset < len(b) {
				b[offset] = edit[2]
			}
		}
		d, err := parseDatabase(b)
		if err != nil {
			return
		}
		d.version()
		db := &DB{layers: []layer{d}}
		sound := db.Verify() == nil
		n := 0
		for network, p := range db.Networks() {
			if n++; n > 50 {
				break
			}
			got, where, _ := db.Lookup(network.Addr())
			if where != network || got != p {
				t.Errorf("walk has %s %+v, lookup %s %+v", network, p, where, got)
			}
		}
		for _, addr := range []string{"192.0.2.1", "::", "2001:db8::1", "ffff::"} {
			addr := netip.MustParseAddr(addr)
			if _, network, _ := db.Lookup(addr); !network.Contains(addr) {
				t.Errorf("Lookup(%s) is for %s (sound: %v)", addr, network, sound)
			}
		}
	})
}
