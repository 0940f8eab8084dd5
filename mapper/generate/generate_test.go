package generate

import (
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"edged/edge"
	"edged/geo/place"
	"edged/mapper/beacon"
)

func world(t *testing.T, c Config) *World {
	t.Helper()
	w, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestSameSeed(t *testing.T) {
	c := Config{Seed: 7, PoPs: PoPs(20), Units: 3000}
	a, b := world(t, c), world(t, c)
	if !reflect.DeepEqual(a, b) {
		t.Error("two worlds of one seed differ")
	}
	from := time.Unix(1_700_000_000, 0)
	rows := func(w *World) (all []beacon.Row) {
		for rows := range w.Sessions(500, from, 24*time.Hour, Fraud{Share: 0.1, Sources: 2}) {
			all = append(all, rows...)
		}
		return all
	}
	if !slices.Equal(rows(a), rows(b)) {
		t.Error("the sessions of one seed differ")
	}
	c.Seed = 8
	if other := world(t, c); reflect.DeepEqual(a.Units, other.Units) {
		t.Error("another seed makes the same units")
	}
}

func TestUnits(t *testing.T) {
	const n = 50_000
	w := world(t, Config{Seed: 1, PoPs: PoPs(30), Units: n})
	if len(w.Units) != n {
		t.Fatalf("%d units, want %d", len(w.Units), n)
	}
	demand, v6, ecs, misplaced := 0.0, 0, 0, 0
	for i, u := range w.Units {
		if i > 0 && w.Units[i-1].Prefix.Addr().Compare(u.Prefix.Addr()) >= 0 {
			t.Fatalf("unit %d, %v, does not come after %v", i, u.Prefix, w.Units[i-1].Prefix)
		}
		for _, s := range special {
			if s.Overlaps(u.Prefix) || s.Contains(u.Resolver.Addr) {
				t.Fatalf("unit %v with resolver %v is in %v", u.Prefix, u.Resolver.Addr, s)
			}
		}
		demand += u.Demand
		if u.Prefix.Addr().Is6() {
			v6++
		}
		if u.Resolver.ECS {
			ecs++
		}
		if edge.DistanceKm(u.Lat, u.Lon, u.Place.Lat, u.Place.Lon) > misplacedKm {
			misplaced++
		} else if u.Lat != u.Place.Lat || u.Lon != u.Place.Lon {
			t.Fatalf("unit %v is at %v,%v and said to be near, at %v,%v", u.Prefix, u.Lat, u.Lon, u.Place.Lat, u.Place.Lon)
		}
	}
	for name, share := range map[string][2]float64{
		"demand": {demand, 1}, "v6": {float64(v6), v6Share}, "ecs": {float64(ecs), ecsResolver}, "misplaced": {float64(misplaced), misplacedShare},
	} {
		if got := share[0] / n; math.Abs(got-share[1]) > 0.1*share[1] {
			t.Errorf("%s: %.4f a unit, want %.4f", name, got, share[1])
		}
	}
}

// TestDetour holds the draws to the figure that they were fitted to: how far
// apart three providers in one city are.
func TestDetour(t *testing.T) {
	w := world(t, Config{Seed: 2, PoPs: PoPs(1), Units: 1})
	var ranges []float64
	for asn := range uint64(20_000) {
		var three []float64
		for pop := range uint64(3) {
			three = append(three, w.seed.of(forPath, asn, pop).nth(1).logNormal(detourMedianMs, detourSigma))
		}
		ranges = append(ranges, slices.Max(three)-slices.Min(three))
	}
	slices.Sort(ranges)
	for q, want := range map[float64]float64{0.25: 2.4, 0.5: 4.8, 0.75: 9.2, 0.9: 16.4, 0.95: 23.8} {
		if got := ranges[int(q*float64(len(ranges)))]; math.Abs(got-want) > 0.08*want {
			t.Errorf("percentile %.0f of the range of three is %.2f ms, want %.1f", 100*q, got, want)
		}
	}
}

func TestPath(t *testing.T) {
	w := world(t, Config{Seed: 3, PoPs: PoPs(40), Units: 2000})
	at := time.Unix(1_700_000_000, 0)
	changed := 0
	for unit, u := range w.Units {
		for pop, p := range w.PoPs {
			ms := w.Path(unit, pop, at)
			c := cities[u.city]
			if least := edge.DistanceKm(c.lat, c.lon, p.Lat, p.Lon) / 100; ms < least || ms > 1000 {
				t.Fatalf("unit %d to pop %d takes %v ms, want %v at least", unit, pop, ms, least)
			}
		}
		if math.Abs(w.Path(unit, 0, at)-w.Path(unit, 0, at.Add(24*time.Hour))) > 1e-9 {
			changed++
		}
	}
	if changed < 5 || changed > 50 {
		t.Errorf("the path of %d of 2000 units is another at that hour of the next day, want about 20", changed)
	}
}

func TestSessions(t *testing.T) {
	w := world(t, Config{Seed: 4, PoPs: PoPs(20), Units: 500})
	from := time.Unix(1_700_000_000, 0)
	prefixes := map[netip.Prefix]bool{}
	for _, u := range w.Units {
		prefixes[u.Prefix] = true
	}
	n, lies := 0, 0
	for rows := range w.Sessions(5000, from, time.Hour, Fraud{Share: 0.2, Sources: 2, Target: 5}) {
		n++
		if len(rows) != samplePoPs {
			t.Fatalf("session of %d rows, want %d", len(rows), samplePoPs)
		}
		seen := map[uint16]bool{}
		for _, r := range rows {
			if seen[r.PoP] && r.RTT != 2000 || int(r.PoP) >= 20 {
				t.Fatalf("rows %v repeat a pop, or have one that does not exist", rows)
			}
			seen[r.PoP] = true
			if r.Session != rows[0].Session || r.Client != rows[0].Client {
				t.Fatalf("rows %v are not of one session", rows)
			}
			if r.Time < from.Unix() || r.Time >= from.Unix()+3600 || r.RTT == 0 {
				t.Fatalf("row %+v", r)
			}
			if !prefixes[beacon.UnitOf(r.Client).Prefix()] {
				t.Fatalf("client %v is in no unit", r.Client)
			}
		}
		if rows[0].RTT == 10 && rows[0].PoP == 5 {
			lies++
		}
	}
	if n != 5000 || lies < 900 || lies > 1100 {
		t.Errorf("%d sessions with %d lies, want 5000 with about 1000", n, lies)
	}
}

func TestPlaces(t *testing.T) {
	at := place.Place{Country: "DE", Lat: 50, Lon: 9, HasCoord: true, ASN: 64500}
	places := func(yield func(netip.Prefix, place.Place) bool) {
		_ = yield(netip.MustParsePrefix("1.0.0.0/16"), at) &&
			yield(netip.MustParsePrefix("1.2.0.0/16"), place.Place{Country: "DE"}) &&
			yield(netip.MustParsePrefix("2400:1::/40"), at)
	}
	w := world(t, Config{Seed: 1, PoPs: PoPs(2), Units: 100, Places: places})
	v4 := 0
	for _, u := range w.Units {
		switch {
		case netip.MustParsePrefix("1.0.0.0/16").Contains(u.Prefix.Addr()) && u.Prefix.Bits() == 24:
			v4++
		case netip.MustParsePrefix("2400:1::/40").Contains(u.Prefix.Addr()) && u.Prefix.Bits() == 48:
		default:
			t.Errorf("unit %v is in no place with coordinates", u.Prefix)
		}
		if u.Place.ASN != 64500 || cities[u.city].pop != "fra" {
			t.Errorf("unit %v has place %v and city %s", u.Prefix, u.Place, cities[u.city].pop)
		}
	}
	if v4 < 25 || v4 > 75 {
		t.Errorf("%d of 100 units are of ipv4, want about half", v4)
	}
	if _, err := New(Config{PoPs: PoPs(2), Units: 1000, Places: places}); err == nil || !strings.Contains(err.Error(), "512 units with coordinates, want 1000") {
		t.Errorf("error %v, want that there are 512", err)
	}
}

func TestLatencies(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("city_pops.csv", "pop,city,lat,lon\nFrankfurt,x,50.0,8.6\n")
	write("city_rtt.csv", "client,city,lat,lon,pop,min_ms\n0,London,51.5,0,Frankfurt,12.25\n")
	l, err := ReadLatencies(dir)
	if err != nil {
		t.Fatal(err)
	}
	w := world(t, Config{Seed: 1, PoPs: PoPs(3), Units: 1, Latencies: l})
	london := slices.IndexFunc(cities, func(c city) bool { return c.pop == "lhr" })
	if got := w.base[london][0]; got != 12.25 {
		t.Errorf("london to fra takes %v ms, want what was measured, 12.25", got)
	}
	if got := w.base[london][1]; got < 50 {
		t.Errorf("london to iad takes %v ms, want what the line says", got)
	}
	for want, text := range map[string]string{
		`city_rtt.csv:2: pop "Paris" is not in`:    "client,lat,lon,pop,min_ms\n0,1,2,Paris,3\n",
		`column min_ms: "x" is not a number`:       "client,lat,lon,pop,min_ms\n0,1,2,Frankfurt,x\n",
		`no column "min_ms"`:                       "client,lat,lon,pop\n",
		`city_rtt.csv: cannot read the header`:     "",
		`column lat: "NaN" is not a number`:        "client,lat,lon,pop,min_ms\n0,NaN,2,Frankfurt,3\n",
		`record on line 2: wrong number of fields`: "client,lat,lon,pop,min_ms\n0,1,2\n",
	} {
		write("city_rtt.csv", text)
		if _, err := ReadLatencies(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

func TestConfigErrors(t *testing.T) {
	for _, c := range []Config{{Units: 1}, {PoPs: make([]edge.PoP, MaxPoPs+1), Units: 1}, {PoPs: PoPs(1)}, {PoPs: PoPs(1), Units: MaxUnits + 1}} {
		if _, err := New(c); err == nil {
			t.Errorf("%+v: no error", c)
		}
	}
	if a, b := unit4(0), unit4(MaxUnits+1_000_002); a.String() != "1.0.0.0/24" || !b.Addr().Less(netip.MustParseAddr("224.0.0.0")) {
		t.Errorf("units from %v to %v, want 1.0.0.0/24 to one below 224.0.0.0", a, b)
	}
}
