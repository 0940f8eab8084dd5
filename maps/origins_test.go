package maps

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// explained is the sample with a gate and origins.
func explained() *Contents {
	c := sample()
	c.Gate = &Gate{
		InForce: "0123456789ab",
		Rules: []GateRule{
			{Name: "holes", Outcome: Passed, Limit: 0.1, Unit: "%"},
			{Name: "moved", Outcome: Refused, Figure: 12.5, Limit: 10, Unit: "%", Note: "most from fra to nyc"},
			{Name: "regret", Outcome: NotApplicable, Limit: 1, Unit: "ms"},
		},
		Accepted: &Acceptance{By: "ann", Reason: "fra is rebuilt"},
	}
	c.Origins = &Origins{
		Newest: time.Date(2026, 6, 17, 18, 0, 0, 0, time.UTC),
		Units: []UnitOrigin{
			{Prefix: netip.MustParsePrefix("2001:db8::/48"), Sessions: 1, Sources: 1, Access: 0.1},
			{Prefix: netip.MustParsePrefix("10.1.2.0/24"), Sessions: 70000, Sources: 40, Access: 12.34, Age: 30, Kept: true},
		},
		Hops: []Origin{MakeOrigin(7, 40), MakeOrigin(1, 5), MakeOrigin(0, 0)},
	}
	return c
}

func TestGateSurvivesTheFile(t *testing.T) {
	want := explained()
	m, err := Parse(encode(t, want))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(m.Gate(), want.Gate) {
		t.Errorf("gate %+v, want %+v", m.Gate(), want.Gate)
	}
	if got := m.Gate().Refused(); !slices.Equal(got, []string{"moved"}) {
		t.Errorf("refused by %q, want by moved", got)
	}
	plain, err := Parse(encode(t, sample()))
	if err != nil {
		t.Fatal(err)
	}
	if plain.Gate() != nil || plain.HopOrigins(2) != nil || plain.UnitOrigins() != 0 || !plain.NewestSession().IsZero() {
		t.Error("a map without gate and origins has some")
	}
}

// What a gate refused is no map until somebody signs it off.
func TestRefusedMapsNeedASignature(t *testing.T) {
	c := explained()
	c.Gate.Accepted = nil
	_, err := Encode(c)
	if want := "gate refuses the map (moved), and nobody signed it off"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q in it", err, want)
	}
}

func TestOriginsSurviveTheFile(t *testing.T) {
	want := explained()
	m, err := Parse(encode(t, want))
	if err != nil {
		t.Fatal(err)
	}
	if !m.NewestSession().Equal(want.Origins.Newest) || m.UnitOrigins() != 2 {
		t.Errorf("newest %v of %d units", m.NewestSession(), m.UnitOrigins())
	}
	for id, hops := range [][]Origin{{}, {}, {MakeOrigin(7, 40), MakeOrigin(1, 5)}, {MakeOrigin(0, 0)}} {
		if got := m.HopOrigins(uint32(id)); !slices.Equal(got, hops) {
			t.Errorf("ranking %d has origins %v, want %v", id, got, hops)
		}
	}
	for _, tt := range []struct {
		addr string
		want UnitOrigin
	}{
		// Values are bounded and rounded to what the file can hold.
		{"10.1.2.200", UnitOrigin{netip.MustParsePrefix("10.1.2.0/24"), 65535, 40, 12.3, 30, true}},
		{"::ffff:10.1.2.3", UnitOrigin{netip.MustParsePrefix("10.1.2.0/24"), 65535, 40, 12.3, 30, true}},
		{"2001:db8::ffff", UnitOrigin{netip.MustParsePrefix("2001:db8::/48"), 1, 1, 0.1, 0, false}},
		{"10.1.3.0", UnitOrigin{}},
		{"2001:db8:1::", UnitOrigin{}},
	} {
		got, ok := m.UnitOrigin(netip.MustParseAddr(tt.addr))
		if got != tt.want || ok != (tt.want != UnitOrigin{}) {
			t.Errorf("%s: %+v %v, want %+v", tt.addr, got, ok, tt.want)
		}
	}
}

func TestOriginRoundsDown(t *testing.T) {
	for _, tt := range []struct {
		level         uint8
		samples, want int
	}{{1, 0, 0}, {2, 1, 1}, {3, 5, 4}, {7, 12, 12}, {15, 13, 12}, {4, 1 << 20, 4096}, {0, -1, 0}} {
		if o := MakeOrigin(tt.level, tt.samples); o.Level() != tt.level || o.Samples() != tt.want {
			t.Errorf("level %d, %d samples: got %d, %d, want %d", tt.level, tt.samples, o.Level(), o.Samples(), tt.want)
		}
	}
}

func TestParseRefusesExplanations(t *testing.T) {
	good := encode(t, explained())
	for _, tt := range []struct {
		name, section string
		at            int
		value         []byte
		want          string
	}{
		{"many rules", "gate", 2 + 12, []byte{65}, `section "gate", before byte 16: gate has 65 rules, want at most 64`},
		{"outcome", "gate", 2 + 12 + 2 + 2 + 5, []byte{3}, `rule "holes" of the gate has outcome 3, want less than 3`},
		{"figure", "gate", 2 + 12 + 2 + 2 + 5 + 2 + 6, []byte{0xf8, 0x7f}, `rule "holes" of the gate has NaN, want a number`},
		{"text too long", "gate", 0, []byte{0xff, 0xff}, `section "gate", before byte 2: section ends too early`},
		{"newest", "origins", 0, []byte{255, 255, 255, 255, 255, 255, 255, 255}, `newest session is -1 seconds after 1970`},
		{"many units", "origins", 8, []byte{1, 0, 4}, `origins are of 262145 units, want at most 262144`},
		{"other hops", "origins", 12, []byte{4}, `origins are of 4 hops, but the map has 3`},
		{"order", "origins", 16 + 7, []byte{0xff}, `units of the origins are not in order`},
		{"cut short", "origins", 8, []byte{200}, `section ends too early`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Parse(put(good, tt.section, tt.at, tt.value...)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q in it", err, tt.want)
			}
		})
	}
}
