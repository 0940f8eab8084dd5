package maps

import (
	"bytes"
	"math"
	"reflect"
	"strings"
	"testing"
)

// priced is the sample with prices.
func priced() *Contents {
	c := sample()
	c.Prices = []Pricing{
		{Price: 4000, Soft: 70_000, Hard: 95_000, Demand: 81_000.5, Leaving: []Leaving{{0, 100}, {3, 2000.25}, {MaxLeaving, 1}}},
		{},
		{Demand: 12, Leaving: []Leaving{{7, 12}}},
	}
	return c
}

func TestPricesSurviveTheFile(t *testing.T) {
	want := priced()
	b := encode(t, want)
	if !bytes.Equal(b, encode(t, priced())) {
		t.Error("the same prices gave other bytes")
	}
	m, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	checkContents(t, m, want)
	if !reflect.DeepEqual(m.Prices(), want.Prices) {
		t.Errorf("prices %v, want %v", m.Prices(), want.Prices)
	}
	without, err := Parse(encode(t, sample()))
	if err != nil {
		t.Fatal(err)
	}
	if without.Prices() != nil {
		t.Errorf("a map without prices has %v", without.Prices())
	}
	if m.Version() == without.Version() {
		t.Error("prices are not part of the version")
	}
}

func TestPricesRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		prices []Pricing
		want   string
	}{
		"of others":      {[]Pricing{{}}, `section "prices", before byte 4: prices are of 1 pops, but the map has 3`},
		"none":           {[]Pricing{}, "prices are of 0 pops, but the map has 3"},
		"price":          {[]Pricing{{Price: MaxPricing + 1}, {}, {}}, `pop "fra": price of 10000001 µs, want at most 10000000`},
		"negative":       {[]Pricing{{}, {Soft: -1}, {}}, `pop "nyc": -1 requests/s: want 0 to 1e+15`},
		"negative zero":  {[]Pricing{{}, {Soft: math.Copysign(0, -1)}, {}}, `pop "nyc": -0 requests/s: want 0 to 1e+15`},
		"not a number":   {[]Pricing{{}, {Hard: math.NaN()}, {}}, `pop "nyc": NaN requests/s`},
		"endless":        {[]Pricing{{}, {}, {Demand: math.Inf(1)}}, `pop "sin": +Inf requests/s`},
		"hard below":     {[]Pricing{{Soft: 10, Hard: 9}, {}, {}}, "hard limit 9 is below the soft limit 10"},
		"steps descend":  {[]Pricing{{Demand: 9, Leaving: []Leaving{{2, 1}, {2, 1}}}, {}, {}}, "demand leaves at 2 steps, want them to ascend to 1023 at most"},
		"steps too high": {[]Pricing{{Demand: 9, Leaving: []Leaving{{MaxLeaving + 1, 1}}}, {}, {}}, "demand leaves at 1024 steps"},
		"nothing leaves": {[]Pricing{{Demand: 9, Leaving: []Leaving{{2, 0}}}, {}, {}}, "no demand leaves at 2 steps"},
		"more than all":  {[]Pricing{{Demand: 9, Leaving: []Leaving{{2, 5}, {3, 5}}}, {}, {}}, "demand of 10 leaves, of 9 in all"},
	} {
		c := sample()
		c.Prices = tt.prices
		if _, err := Encode(c); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q in it", name, err, tt.want)
		}
	}
	good := encode(t, priced())
	for name, tt := range map[string]struct {
		file []byte
		want string
	}{
		"many steps": {put(good, "prices", 8, 0xff, 0xff), "demand leaves at 65535 prices, want at most 1024"},
		"too short":  {put(good, "prices", 8, 200), `section "prices", before byte `},
	} {
		if _, err := Parse(tt.file); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q in it", name, err, tt.want)
		}
	}
}
