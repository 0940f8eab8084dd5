package simulate

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"edged/edge"
	"edged/maps"
	"edged/maps/mapstest"
)

// threePoPs has fra, ams and iad. 10.0.0.0/9 is nearest to fra and then ams, by
// measurement; the other half of 10.0.0.0/8 to iad, by distance; 2001:db8::/32 to
// ams alone; of the rest nothing is known.
func threePoPs(t *testing.T) *maps.Map {
	t.Helper()
	var v4 maps.Builder4
	v4.Add(0, maps.MakeRow(0, false))
	v4.Add(10<<24, maps.MakeRow(1, true))
	v4.Add(10<<24|1<<23, maps.MakeRow(2, false))
	v4.Add(11<<24, maps.MakeRow(0, false))
	var v6 maps.Builder6
	v6.Add(0, 0, maps.MakeRow(0, false))
	v6.Add(0x20010db8<<32, 0, maps.MakeRow(3, true))
	v6.Add(0x20010db9<<32, 0, maps.MakeRow(0, false))
	table := maps.Table{V4: v4.Finish(), V6: v6.Finish()}
	return mapstest.Map(t, &maps.Contents{
		PoPs:    []edge.PoP{{Name: "fra", Lat: 50, Lon: 8, Capacity: 100}, {Name: "ams", Lat: 52, Lon: 5, Capacity: 120}, {Name: "iad", Lat: 39, Lon: -77}},
		Created: time.Unix(0, 0),
		Orders:  [][]uint16{{2, 1, 0}},
		Rankings: []maps.Ranking{
			{Order: maps.NoOrder},
			{Hops: []maps.Hop{{PoP: 0, RTT: 20}, {PoP: 1, RTT: 30}}, Order: 0},
			{Order: 0},
			{Hops: []maps.Hop{{PoP: 1, RTT: 8}}, Order: maps.NoOrder},
		},
		ECS: table, Resolver: table,
	})
}

func TestDown(t *testing.T) {
	m := threePoPs(t)
	prefix := netip.MustParsePrefix
	demand := []Demand{
		{prefix("10.0.0.0/8"), 160}, // half fra, half iad
		{prefix("10.1.2.3/32"), 20},
		{prefix("2001:db8:1::/48"), 50},
		{prefix("192.0.2.0/24"), 7},   // not known
		{prefix("2001:db8::/31"), 20}, // half is not known
	}
	for _, test := range []struct {
		down []string
		want Result
	}{
		{[]string{"fra"}, Result{
			Total: 240, Moved: 100, RTTBefore: 10, RTTAfter: 15, RTTKnown: 100,
			PoPs:  []PoP{{"fra", 100, 0, 100}, {"ams", 60, 160, 120}, {"iad", 80, 80, 0}},
			Moves: []Move{{"fra", "ams", 100}},
		}},
		{[]string{"ams", "fra"}, Result{
			Total: 240, Moved: 160, NoHome: 60,
			PoPs:  []PoP{{"fra", 100, 0, 100}, {"ams", 60, 0, 120}, {"iad", 80, 180, 0}},
			Moves: []Move{{"fra", "iad", 100}, {"ams", "", 60}},
		}},
	} {
		got, err := Down(m, test.down, demand)
		if err != nil {
			t.Fatal(err)
		}
		test.want.Down = test.down
		if !reflect.DeepEqual(*got, test.want) {
			t.Errorf("without %v:\n%+v, want\n%+v", test.down, *got, test.want)
		}
	}
	if got, _ := Down(m, []string{"fra"}, demand); got.PoPs[1].Over() != 40 || got.PoPs[2].Over() != 0 {
		t.Errorf("ams is over by %v and iad by %v, want 40 and 0", got.PoPs[1].Over(), got.PoPs[2].Over())
	}
	got, err := Down(m, []string{"iad"}, nil)
	if err != nil || got.Total != 65536 || got.Moved != 32768 || got.PoPs[1].After != 32768 {
		t.Errorf("by addresses: %+v, error %v, want half of 65536 to go to ams", got, err)
	}
	if _, err := Down(m, []string{"nyc"}, nil); err == nil || err.Error() != `map has no pop "nyc"` {
		t.Errorf("error %v", err)
	}
}

func TestReadDemand(t *testing.T) {
	got, err := ReadDemand(strings.NewReader("prefix,requests\n# a\n192.0.2.0/24, 1.5\n2001:db8::/32,0\n"), "d")
	want := []Demand{{netip.MustParsePrefix("192.0.2.0/24"), 1.5}, {netip.MustParsePrefix("2001:db8::/32"), 0}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, error %v, want %v", got, err, want)
	}
	for text, want := range map[string]string{
		// A wrong header was passed over, whatever the second column was.
		"prefix,sessions\n192.0.2.0/24,1\n": `d:1: bad header "prefix,sessions": want "prefix,requests", or no header, and demand in requests per second`,
		"requests,prefix\n1,192.0.2.0/24\n": `d:1: bad header "requests,prefix": want "prefix,requests"`,
		"network,load\n":                    `d:1: bad header "network,load": want`,
		"192.0.2.1/24,1\n":                  `d:1: "192.0.2.1/24" is not a network`,
		"x,1\n":                             `d:1: "x" is not a network`,
		"192.0.2.0/24,-1\n":                 `d:1: "-1" is not a number of requests`,
		"192.0.2.0/24,Inf\n":                `d:1: "Inf" is not a number of requests`,
		"192.0.2.0/24,NaN\n":                `d:1: "NaN" is not a number of requests`,
		"192.0.2.0/24,1e300\n":              `d:1: "1e300" requests per second: want 0 or 1e-09 and more, and 1e+12 at most in all lines together`,
		"192.0.2.0/24,1e-300\n":             `d:1: "1e-300" requests per second: want 0 or`,
		"192.0.2.0/24,9e11\n::/0,2e11\n":    `d:2: "2e11" requests per second: want 0 or`,
		"a,b,c\n":                           "wrong number of fields",
		"::ffff:1.2.3.0/120,1":              "is not a network",
	} {
		if _, err := ReadDemand(strings.NewReader(text), "d"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want one with %q", text, err, want)
		}
	}
}

func FuzzReadDemand(f *testing.F) {
	f.Add("prefix,requests\n192.0.2.0/24,1.5\n")
	f.Add("2001:db8::/32,1e9\n#x\n")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := ReadDemand(strings.NewReader(text), "d")
		if err != nil && list != nil {
			t.Error("a list beside an error")
		}
		for _, d := range list {
			if !(d.Requests >= 0) || d.Prefix != d.Prefix.Masked() {
				t.Errorf("accepted %v", d)
			}
		}
	})
}
