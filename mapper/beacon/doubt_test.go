package beacon

import (
	"maps"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"edged/edge"
)

func TestDoubts(t *testing.T) {
	pops := []edge.PoP{{Name: "fra", Lat: 50.11, Lon: 8.68}, {Name: "sin", Lat: 1.35, Lon: 103.82}}
	berlin := Point{52.52, 13.4} // 424 km from Frankfurt: 4.24 ms; 99 ms to Singapore
	where := func(u Unit) (Point, bool) {
		return berlin, u != UnitOf(netip.MustParseAddr("81.2.9.0"))
	}
	for _, tt := range []struct {
		what    string
		rows    string // client pop rtt, in 0.1 ms
		places  string
		sources int
	}{
		{"possible", "81.2.3.1 fra 43; 81.2.3.2 sin 2000", "", 0},
		{"no answer is not fast", "81.2.3.1 sin 0; 81.2.3.2 fra 90", "", 0},
		{"one liar", "81.2.3.1 sin 10; 81.2.3.1 sin 20; 81.2.3.2 fra 90", "", 1},
		{"two", "81.2.3.1 sin 10; 81.2.3.2 sin 20", "", 0},
		{"three agree", "81.2.3.1 sin 10; 81.2.3.2 fra 42; 81.2.3.3 sin 90", "81.2.3.0/24", 0},
		{"three rows of one /64", "2a00:1:2:3::1 sin 1; 2a00:1:2:3::2 sin 1; 2a00:1:2:3::3 sin 1", "", 1},
		{"three /64s", "2a00:1:2:3::1 sin 1; 2a00:1:2:4::1 sin 1; 2a00:1:2:5::1 sin 1", "2a00:1:2::/48", 0},
		{"nobody knows where", "81.2.9.1 fra 1; 81.2.9.2 fra 1; 81.2.9.3 fra 1", "", 0},
		{"a pop nobody knows", "81.2.3.1 xyz 1", "", 0},
	} {
		d := NewDoubts(&Set{PoPs: []string{"fra", "sin", "xyz"}}, pops, where)
		for text := range strings.SplitSeq(tt.rows, "; ") {
			f := strings.Fields(text)
			rtt := 0
			for _, c := range f[2] {
				rtt = rtt*10 + int(c-'0')
			}
			d.Add(Session{Rows: []Row{{
				Client: netip.MustParseAddr(f[0]), RTT: uint16(rtt),
				PoP: uint16(slices.Index([]string{"fra", "sin", "xyz"}, f[1])),
			}}})
		}
		var places []string
		for _, u := range d.Places() {
			places = append(places, u.String())
		}
		if got := strings.Join(places, " "); got != tt.places || len(d.Sources()) != tt.sources {
			t.Errorf("%s: places %q and %d sources are doubted, want %q and %d", tt.what, got, len(d.Sources()), tt.places, tt.sources)
		}
	}
}

// TestNearIsNotTooFast holds the quick answer to distances: what it lets pass is
// possible, and what it does not is impossible but for a few metres.
func TestNearIsNotTooFast(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	passed := 0
	for range 200_000 {
		a := newSpot(Point{rng.Float64()*180 - 90, rng.Float64()*360 - 180}, true)
		b := newSpot(Point{rng.Float64()*180 - 90, rng.Float64()*360 - 180}, true)
		if rng.IntN(2) == 0 { // in one town
			b = newSpot(Point{min(90, a.Lat+rng.Float64()), a.Lon + rng.Float64()}, true)
		}
		km := edge.DistanceKm(a.Lat, a.Lon, b.Lat, b.Lon)
		rtt := uint16(math.Floor(km/kmPerMS*10)) + uint16(rng.IntN(3))
		possible := float64(rtt)/10 >= km/kmPerMS
		switch fast := near(&a, &b, rtt); {
		case fast && !possible:
			t.Fatalf("%v to %v, %v km, in %v tenths of a ms passes", a.Point, b.Point, km, rtt)
		case fast:
			passed++
		case possible && float64(rtt)/10*kmPerMS-km > 0.1:
			t.Fatalf("%v to %v, %v km, in %v tenths of a ms does not pass", a.Point, b.Point, km, rtt)
		}
	}
	if passed == 0 {
		t.Error("none passes")
	}
	if !near(&spot{}, &spot{}, math.MaxUint16) {
		t.Error("the longest round trip does not pass")
	}
}

func TestReadHosting(t *testing.T) {
	got, err := ReadHosting(strings.NewReader("# clouds\nAS64500 # one\n\n 64501\nas4200000000"), "h")
	if want := []uint32{64500, 64501, 4200000000}; err != nil || !slices.Equal(slices.Sorted(maps.Keys(got)), want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	for text, want := range map[string]string{
		"1\nASx": `h:2: bad number of an autonomous system "ASx": want one like AS64500`,
		"AS0":    `h:1: bad number of an autonomous system "AS0": want one like AS64500`,
		"1 2":    `h:1: bad number of an autonomous system "1 2": want one like AS64500`,
	} {
		if _, err := ReadHosting(strings.NewReader(text), "h"); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}
