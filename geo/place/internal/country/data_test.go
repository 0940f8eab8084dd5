package country

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

type network struct {
	prefix netip.Prefix
	code   string
}

func built(tb testing.TB, list []network) *Data {
	tb.Helper()
	var b Builder
	for _, n := range list {
		if err := b.Add(n.prefix, n.code); err != nil {
			tb.Fatal(err)
		}
	}
	d, err := b.Finish(Origin{Package: "p", Version: "1", File: "f"})
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

func networks(lines ...string) []network {
	var list []network
	for _, line := range lines {
		prefix, code, _ := strings.Cut(line, " ")
		list = append(list, network{netip.MustParsePrefix(prefix), code})
	}
	return list
}

func TestFind(t *testing.T) {
	d := built(t, networks(
		"1.0.0.0/24 AU", "1.0.1.0/24 CN", "1.0.2.0/23 CN",
		"1.0.8.0/26 DE", "1.0.8.64/26 FR", "1.0.8.128/25 FR", // most of it is in FR
		"1.0.9.0/26 FR", "1.0.9.64/26 DE", // as much, and the rest not known: DE comes first
		"1.0.10.7/32 JP",
		"255.255.255.0/24 US",
		"2001:db8::/32 NL", "2001:db9::/49 BE", "2001:db9:0:8000::/50 NL",
		"ffff:ffff:ffff::/48 US",
	))
	for _, tt := range []struct{ addr, code, from, to string }{
		{"0.0.0.0", "", "0.0.0.0", "0.255.255.255"},
		{"1.0.0.255", "AU", "1.0.0.0", "1.0.0.255"},
		{"1.0.1.0", "CN", "1.0.1.0", "1.0.3.255"},
		{"1.0.3.255", "CN", "1.0.1.0", "1.0.3.255"},
		{"1.0.4.0", "", "1.0.4.0", "1.0.7.255"},
		{"1.0.8.1", "FR", "1.0.8.0", "1.0.8.255"},
		{"1.0.9.255", "DE", "1.0.9.0", "1.0.9.255"},
		{"1.0.10.0", "JP", "1.0.10.0", "1.0.10.255"},
		{"1.0.11.0", "", "1.0.11.0", "255.255.254.255"},
		{"255.255.255.255", "US", "255.255.255.0", "255.255.255.255"},
		{"::", "", "::", "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff"},
		{"2001:db8::1", "NL", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"},
		{"2001:db9:0:ffff::", "BE", "2001:db9::", "2001:db9:0:ffff:ffff:ffff:ffff:ffff"},
		{"2001:db9:1::", "", "2001:db9:1::", "ffff:ffff:fffe:ffff:ffff:ffff:ffff:ffff"},
		{"ffff:ffff:ffff::1", "US", "ffff:ffff:ffff::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
	} {
		code, from, to := d.Find(netip.MustParseAddr(tt.addr))
		if code != tt.code || from != netip.MustParseAddr(tt.from) || to != netip.MustParseAddr(tt.to) {
			t.Errorf("Find(%s) = %q, %s, %s, want %q, %s, %s", tt.addr, code, from, to, tt.code, tt.from, tt.to)
		}
	}
	if got, want := d.Codes(), []string{"AU", "BE", "CN", "DE", "FR", "JP", "NL", "US"}; !slices.Equal(got, want) {
		t.Errorf("Codes = %v, want %v", got, want)
	}
}

func TestFindInEmptyData(t *testing.T) {
	d := built(t, nil)
	for _, addr := range []string{"0.0.0.0", "255.255.255.255", "::", "ffff::"} {
		if code, _, _ := d.Find(netip.MustParseAddr(addr)); code != "" {
			t.Errorf("Find(%s) = %q", addr, code)
		}
	}
}

func TestBuilderErrors(t *testing.T) {
	for _, tt := range []struct {
		name  string
		lines []network
		want  string
	}{
		{"code", networks("1.0.0.0/24 usa"), `network 1.0.0.0/24: "usa" is not a country: want two capital letters`},
		{"order", networks("1.0.1.0/24 US", "1.0.0.0/24 US"), "network 1.0.0.0/24 comes after 1.0.1.0/24: want disjoint networks in ascending order"},
		{"overlap", networks("1.0.0.0/16 US", "1.0.1.0/24 US"), "network 1.0.1.0/24 comes after 1.0.0.0/16: want disjoint networks in ascending order"},
		{"families", networks("2001:db8::/32 US", "1.0.1.0/24 US"), "network 1.0.1.0/24 comes after 2001:db8::/32: want disjoint networks in ascending order"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b Builder
			var err error
			for _, n := range tt.lines {
				if err = b.Add(n.prefix, n.code); err != nil {
					break
				}
			}
			if err == nil || err.Error() != tt.want {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}
}

// slowFind looks at every network, and counts the shares of a mixed cell.
func slowFind(list []network, addr netip.Addr) string {
	unit := 24
	if addr.Is6() {
		unit = 48
	}
	cell := netip.PrefixFrom(addr, unit).Masked()
	shares := map[string]uint64{}
	for _, n := range list {
		switch {
		case !n.prefix.Overlaps(cell):
		case n.prefix.Bits() <= unit:
			return n.code
		default:
			shares[n.code] += 1 << (40 - (n.prefix.Bits() - unit))
		}
	}
	best := ""
	for code, share := range shares {
		if best == "" || share > shares[best] || share == shares[best] && code < best {
			best = code
		}
	}
	return best
}

func TestFindAgainstSlowTwin(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	randomPrefix := func() netip.Prefix {
		if rng.IntN(2) == 0 {
			return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(rng.IntN(2)), byte(rng.IntN(8)), byte(rng.IntN(256))}), 12+rng.IntN(21)).Masked()
		}
		return netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 4: byte(rng.IntN(2)), 5: byte(rng.IntN(8)), 6: byte(rng.IntN(256))}), 34+rng.IntN(30)).Masked()
	}
	for range 200 {
		var list []network
		for range 60 {
			p := randomPrefix()
			if !slices.ContainsFunc(list, func(n network) bool { return n.prefix.Overlaps(p) }) {
				list = append(list, network{p, []string{"DE", "FR", "US"}[rng.IntN(3)]})
			}
		}
		slices.SortFunc(list, func(a, b network) int { return a.prefix.Addr().Compare(b.prefix.Addr()) })
		d, err := Parse(built(t, list).Encode())
		if err != nil {
			t.Fatal(err)
		}
		for range 200 {
			addr := randomPrefix().Addr()
			code, from, to := d.Find(addr)
			if want := slowFind(list, addr); code != want {
				t.Fatalf("Find(%s) = %q, want %q in %v", addr, code, want, list)
			}
			if addr.Less(from) || to.Less(addr) || slowFind(list, from) != code || slowFind(list, to) != code {
				t.Fatalf("Find(%s): range %s to %s is not all in %q", addr, from, to, code)
			}
		}
	}
}

func TestParseErrors(t *testing.T) {
	good := built(t, networks("1.0.0.0/24 AU", "2001:db8::/32 NL")).Encode()
	flipped := bytes.Clone(good)
	flipped[len(flipped)-1] ^= 1
	newer := bytes.Clone(good)
	newer[len(magic)] = 2
	header := good[:len(magic)+1+sha256.Size]
	body := good[len(header):]

	for _, tt := range []struct {
		name string
		file []byte
		want string
	}{
		{"empty", nil, "country data: not in edged's format"},
		{"other file", []byte("hello, world"), "country data: not in edged's format"},
		{"short header", header[:20], "country data: cut short in the header"},
		{"version", newer, "country data: format version 2, want 1"},
		{"flipped bit", flipped, "country data: hash is "},
		{"cut short", sealed(body[:len(body)-1]), "country data: cut short"},
		{"too long", sealed(append(bytes.Clone(body), 0)), "country data: 1 bytes follow the last table"},
		{"length", sealed([]byte{200, 1}), "country data: 200 things announced in 0 bytes"},
		{"number", sealed(bytes.Repeat([]byte{0xff}, 20)), "country data: cut short, or a number too large"},
		{"codes", sealed([]byte("\x00\x00\x00\x02USDE\x01\x00\x00\x01\x00\x00")), `country data: country "DE" is out of order`},
		{"no range", sealed([]byte("\x00\x00\x00\x00\x00\x01\x00\x00")), "country data: a table has no range"},
		{"first start", sealed([]byte("\x00\x00\x00\x00\x01\x05\x00\x01\x00\x00")), "country data: range 0 begins 5 cells after the one before"},
		{"equal starts", sealed([]byte("\x00\x00\x00\x00\x02\x00\x00\x00\x00\x01\x00\x00")), "country data: range 1 begins 0 cells after the one before"},
		{"large start", sealed([]byte("\x00\x00\x00\x00\x02\x00\x80\x80\x80\x08\x00\x00\x01\x00\x00")), "country data: range 1 begins beyond the address space"},
		{"country", sealed([]byte("\x00\x00\x00\x01DE\x01\x00\x02\x01\x00\x00")), "country data: a range has country 2 of 2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse(tt.file)
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}
}

// sealed puts a sound header before a body.
func sealed(body []byte) []byte {
	hash := sha256.Sum256(body)
	return slices.Concat([]byte(magic), []byte{formatVersion}, hash[:], body)
}

func FuzzParse(f *testing.F) {
	f.Add(built(f, networks("1.0.0.0/24 AU", "2001:db8::/32 NL")).Encode()[len(magic)+1+sha256.Size:])
	f.Add(built(f, networks("0.0.0.0/0 AU", "::/0 NL")).Encode()[len(magic)+1+sha256.Size:])
	f.Add(binary.AppendUvarint(nil, 1<<63))
	f.Fuzz(func(t *testing.T, body []byte) {
		d, err := Parse(sealed(body))
		if err != nil {
			return
		}
		again, err := Parse(d.Encode())
		if err != nil || !bytes.Equal(again.Encode(), d.Encode()) {
			t.Fatalf("encoding again: %v", err)
		}
		for _, addr := range []string{"0.0.0.0", "1.0.0.1", "255.255.255.255", "::", "2001:db8::", "ffff:ffff:ffff:ffff::"} {
			addr := netip.MustParseAddr(addr)
			if _, from, to := d.Find(addr); addr.Less(from) || to.Less(addr) {
				t.Errorf("Find(%s): range %s to %s", addr, from, to)
			}
		}
	})
}
