package place

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
)

func TestParseOverridesErrors(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"no prefix", "DE", `o.csv:1: prefix "DE": want the form 192.0.2.0/24 or 2001:db8::/32`},
		{"header not first", "\nprefix,country", `o.csv:2: prefix "prefix": want the form 192.0.2.0/24 or 2001:db8::/32`},
		{"address", "192.0.2.1,DE", `o.csv:1: prefix "192.0.2.1": want the form 192.0.2.0/24 or 2001:db8::/32`},
		{"host bits", "# c\n192.0.2.1/24,DE", `o.csv:2: prefix "192.0.2.1/24" has bits set behind its length: did you mean 192.0.2.0/24?`},
		{"6to4", "2002:c000:200::/40,DE", `o.csv:1: prefix "2002:c000:200::/40" is looked up as the IPv4 addresses in it: give 192.0.2.0/24`},
		{"Teredo servers", "2001::/32,DE", `o.csv:1: prefix "2001::/32" is never looked up: its addresses stand for IPv4 ones, or for none`},
		{"IPv4-compatible", "::/96,DE", `o.csv:1: prefix "::/96" is never looked up: its addresses stand for IPv4 ones, or for none`},
		{"nothing said", "192.0.2.0/24", `o.csv:1: 192.0.2.0/24 has no country, coordinates or AS number`},
		{"lower case", "192.0.2.0/24,de", `o.csv:1: country "de" is not known: want an ISO 3166-1 code of two capital letters`},
		{"half a point", "192.0.2.0/24,DE,1", `o.csv:1: coordinates "1","": want degrees, -90 to 90 and -180 to 180, not both 0`},
		{"latitude", "192.0.2.0/24,DE,91,1", `o.csv:1: coordinates "91","1": want degrees, -90 to 90 and -180 to 180, not both 0`},
		{"not a number", "192.0.2.0/24,DE,NaN,1", `o.csv:1: coordinates "NaN","1": want degrees, -90 to 90 and -180 to 180, not both 0`},
		{"null island", "192.0.2.0/24,DE,0,0", `o.csv:1: coordinates "0","0": want degrees, -90 to 90 and -180 to 180, not both 0`},
		{"AS number", "192.0.2.0/24,,,,x", `o.csv:1: AS number "x": want 1 to 4294967295`},
		{"AS number 0", "192.0.2.0/24,,,,AS0", `o.csv:1: AS number "AS0": want 1 to 4294967295`},
		{"columns", "192.0.2.0/24,DE,1,2,3,4", `o.csv:1: 6 columns, want at most 5: prefix,country,lat,lon,asn`},
		{"twice", "192.0.2.0/24,DE\n10.0.0.0/8,DE\n192.0.2.0/24,DE", `o.csv:3: 192.0.2.0/24 was given on line 1 already`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parseOverrides([]byte(tt.text), "o.csv")
			if err == nil || err.Error() != tt.want {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}
}

func TestParseOverrides(t *testing.T) {
	o, err := parseOverrides([]byte("prefix,country,lat,lon,asn\r\n\n# ours\n 192.0.2.0/24 , DE , 50.1 , 8.7 , AS64496 # Frankfurt\n2001:db8::/32,FR\n"), "o.csv")
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]Place{
		"192.0.2.1":   {Country: "DE", Continent: "EU", Lat: 50.1, Lon: 8.7, HasCoord: true, ASN: 64496},
		"192.0.3.0":   {},
		"2001:db8::1": {Country: "FR", Continent: "EU", Lat: 48.1, Lon: 2.6, HasCoord: true},
		"2001:db9::":  {},
	} {
		if got, _, _ := o.at(netip.MustParseAddr(addr)); got != want {
			t.Errorf("at(%s) = %+v, want %+v", addr, got, want)
		}
	}
}

// slowOverride tries every line, and every length of a block around addr.
func slowOverride(list []override, addr netip.Addr) (Place, int) {
	innermost := func(addr netip.Addr) (best override) {
		for _, o := range list {
			if o.prefix.Contains(addr) && (!best.prefix.IsValid() || o.prefix.Bits() > best.prefix.Bits()) {
				best = o
			}
		}
		return best
	}
	own := innermost(addr)
	for bits := max(0, own.prefix.Bits()); ; bits++ {
		block := netip.PrefixFrom(addr, bits).Masked()
		pure := true
		for _, o := range list {
			if o != own && o.prefix.Overlaps(block) && !o.prefix.Contains(addr) {
				pure = false // it lies inside the block
			}
		}
		if pure {
			return own.place, bits
		}
	}
}

func TestOverridesAgainstSlowTwin(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 100 {
		var list []override
		var text strings.Builder
		seen := map[netip.Prefix]bool{}
		for n := rng.IntN(30); len(list) < n; {
			addr := randomAddr(rng)
			p := netip.PrefixFrom(addr, rng.IntN(addr.BitLen()+1)).Masked()
			if seen[p] || UnwrapPrefix(p) != p || neverLookedUp(p) {
				continue
			}
			seen[p] = true
			list = append(list, override{prefix: p, place: Place{ASN: uint32(len(list) + 1)}})
			fmt.Fprintf(&text, "%s,,,,%d\n", p, len(list))
		}
		o, err := parseOverrides([]byte(text.String()), "o.csv")
		if err != nil {
			t.Fatal(err)
		}
		for range 300 {
			addr := randomAddr(rng)
			got, gotBits, _ := o.at(addr)
			want, wantBits := slowOverride(list, addr)
			if got != want || gotBits != wantBits {
				t.Fatalf("at(%s) = %+v, %d, want %+v, %d in\n%s", addr, got, gotBits, want, wantBits, &text)
			}
		}
	}
}

func FuzzOverrides(f *testing.F) {
	f.Add([]byte("prefix,country,lat,lon,asn\n192.0.2.0/24,DE,50.1,8.7,AS64496\n192.0.2.128/25,,1,2\n::/0,FR\n0.0.0.0/0,US\n"))
	f.Add([]byte("255.255.255.255/32,DE\n255.255.255.0/24,FR\nffff::/16,,,,1#\n,,,,\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		o, err := parseOverrides(text, "o.csv")
		if err != nil {
			if !strings.HasPrefix(err.Error(), "o.csv:") {
				t.Errorf("error without a line: %v", err)
			}
			return
		}
		for i, start := range o.start {
			if i > 0 && !o.start[i-1].Less(start) {
				t.Fatalf("range %d begins at %s after %s", i, start, o.start[i-1])
			}
			if p, bits, _ := o.at(start); p != o.place[i] || bits > start.BitLen() {
				t.Errorf("at(%s) = %+v, %d, want %+v", start, p, bits, o.place[i])
			}
		}
	})
}
