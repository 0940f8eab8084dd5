package mapper

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"edged/edge"
	"edged/maps"
)

var pops = []edge.PoP{
	{Name: "fra", Lat: 50.11, Lon: 8.68},
	{Name: "ams", Lat: 52.37, Lon: 4.9},
	{Name: "nyc", Lat: 40.71, Lon: -74.01},
	{Name: "sin", Lat: 1.35, Lon: 103.82},
	{Name: "syd", Lat: -33.87, Lon: 151.21},
	{Name: "gru", Lat: -23.55, Lon: -46.63},
	{Name: "jnb", Lat: -26.2, Lon: 28.05},
	{Name: "nrt", Lat: 35.68, Lon: 139.69},
	{Name: "lax", Lat: 34.05, Lon: -118.24},
}

func TestReadNets(t *testing.T) {
	nets, err := ReadNets(strings.NewReader(`prefix,ranking
# measured last week

2001:db8::/48, ams fra , resolver
10.0.0.0/8,"nyc"
203.0.113.0/24,fra:12.5 ams:0.1 nyc:32767.5
10.0.0.0/8,nyc
2001:db8::/32,sin,ecs
2001:db8::/32,syd,resolver
10.0.0.0/16,fra,both
192.0.2.0/24,ams,ecs
192.0.2.0/24,ams
`), "nets.csv", pops)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, n := range nets {
		got = append(got, fmt.Sprint(n.Line, " ", n.Prefix, " ", n.Hops, " ", n.Tables))
	}
	want := []string{
		"5 10.0.0.0/8 [{2 0}] both",
		"10 10.0.0.0/16 [{0 0}] both",
		"11 192.0.2.0/24 [{1 0}] ecs",
		"12 192.0.2.0/24 [{1 0}] resolver", // the rest of "both"
		"6 203.0.113.0/24 [{0 25} {1 1} {2 65535}] both",
		"8 2001:db8::/32 [{3 0}] ecs",
		"9 2001:db8::/32 [{4 0}] resolver",
		"4 2001:db8::/48 [{1 0} {0 0}] resolver",
	}
	if !slices.Equal(got, want) {
		t.Errorf("networks\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestReadNetsRefuses(t *testing.T) {
	for line, want := range map[string]string{
		"prefix,requests\n10.0.0.0/8,fra":              `n:1: bad header "prefix,requests": want prefix,ranking or prefix,ranking,table, or no header`,
		"10.0.0.0/8":                                   `n:1: 1 columns, want prefix,ranking or prefix,ranking,table`,
		"10.0.0.0/8,fra,ecs,x":                         `n:1: 4 columns, want prefix,ranking or prefix,ranking,table`,
		"\n10.0.0.0/33,fra":                            `n:2: bad prefix "10.0.0.0/33": want one like 203.0.113.0/24`,
		"10.0.0.1,fra":                                 `n:1: prefix "10.0.0.1" has no length: write 10.0.0.1/32 for the one address`,
		"10.0.0.1/24,fra":                              `n:1: prefix "10.0.0.1/24" has bits set after its length: did you mean 10.0.0.0/24?`,
		"::ffff:10.0.0.0/120,fra":                      `n:1: prefix "::ffff:10.0.0.0/120" is an ipv4-mapped one: write it as ipv4`,
		"10.0.0.0/8,":                                  `n:1: ranking is empty: want names of pops, best first`,
		"10.0.0.0/8,frb ams":                           `n:1: unknown pop "frb"; did you mean "fra"?`,
		"10.0.0.0/8,frankfurt":                         `n:1: unknown pop "frankfurt"; known here: ams, fra, gru, jnb, lax, nrt, nyc, sin, syd`,
		"10.0.0.0/8,fra ams fra":                       `n:1: pop "fra" is twice in the ranking`,
		"10.0.0.0/8,fra ams nyc sin syd gru jnb nrt x": `n:1: ranking has 9 pops, want at most 8: the others follow by distance`,
		"10.0.0.0/8,fra:0":                             `n:1: bad round-trip time "0" of pop "fra": want milliseconds above 0, at most 32767.5`,
		"10.0.0.0/8,fra:NaN":                           `n:1: bad round-trip time "NaN" of pop "fra": want milliseconds above 0, at most 32767.5`,
		"10.0.0.0/8,fra:40000":                         `n:1: bad round-trip time "40000" of pop "fra": want milliseconds above 0, at most 32767.5`,
		"10.0.0.0/8,fra,ECS4":                          `n:1: unknown table "ECS4": want ecs, resolver or both`,
		"10.0.0.0/8,fra\n10.0.0.0/8,ams":               `n:2: prefix 10.0.0.0/8 has another ranking in line 1`,
		"10.0.0.0/8,fra,ecs\n10.0.0.0/8,fra:3":         `n:2: prefix 10.0.0.0/8 has another ranking in line 1`,
		"10.0.0.0/8,fra \"x\" ams\n9.0.0.0/9,b":        "n:1: bare \" in non-quoted-field\nn:2: unknown pop \"b\"; known here: ams, fra, gru, jnb, lax, nrt, nyc, sin, syd",
	} {
		_, err := ReadNets(strings.NewReader(line), "n", pops)
		if err == nil || err.Error() != want {
			t.Errorf("%q: error\n%v\nwant\n%s", line, err, want)
		}
	}
}

func TestReadNetsListsFiftyProblems(t *testing.T) {
	list := strings.Repeat("10.0.0.0/8,fra\n10.0.0.0/8,x\n", 60)
	_, err := ReadNets(strings.NewReader(list), "n", pops)
	var problems *Problems
	if !errors.As(err, &problems) || len(problems.Unwrap()) != 60 {
		t.Fatalf("error %v, want 60 problems", err)
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != 51 || lines[50] != "and 10 more" || lines[49] != `n:100: unknown pop "x"; known here: ams, fra, gru, jnb, lax, nrt, nyc, sin, syd` {
		t.Errorf("%d lines, the last two %q", len(lines), lines[len(lines)-2:])
	}
}

func FuzzReadNets(f *testing.F) {
	f.Add("prefix,ranking\n10.0.0.0/8,fra:1.5 ams\n2001:db8::/32,nyc,resolver\n")
	f.Add("10.0.0.0/8,\"fra\n\n# x\n0.0.0.0/0,fra,ecs\n::/0,ams")
	f.Fuzz(func(t *testing.T, list string) {
		nets, err := ReadNets(strings.NewReader(list), "n", pops)
		if err != nil {
			return
		}
		// What is read can be built, and each network is found in the map.
		contents, _, err := Build(Input{PoPs: pops, Nets: nets, Created: created})
		if err != nil {
			t.Fatal(err)
		}
		for _, kind := range []Tables{ECS, Resolver} {
			table := &contents.ECS
			if kind == Resolver {
				table = &contents.Resolver
			}
			for _, n := range nets {
				row, _, _ := table.Lookup(n.Prefix.Addr())
				got, want := contents.Rankings[row.Ranking()].Hops, longest(nets, kind, n.Prefix.Addr())
				if !slices.Equal(got, want) {
					t.Fatalf("%s has hops %v in the %v table, want %v", n.Prefix, got, kind, want)
				}
			}
		}
	})
}

// longest returns the hops of the longest network around an address.
func longest(nets []Net, kind Tables, addr netip.Addr) (hops []maps.Hop) {
	bits := -1
	for _, n := range nets {
		if n.Tables&kind != 0 && n.Prefix.Contains(addr) && n.Prefix.Bits() > bits {
			hops, bits = n.Hops, n.Prefix.Bits()
		}
	}
	return hops
}
