package generate

import (
	"cmp"
	"fmt"
	"iter"
	"math"
	"net/netip"
	"slices"
	"time"

	"edged/edge"
	"edged/geo/place"
)

// Config says what to make.
type Config struct {
	Seed  uint64
	PoPs  []edge.PoP // 1 to MaxPoPs, such as PoPs makes
	Units int        // 1 to MaxUnits
	// Latencies, when set, are taken for paths between the cities they know.
	Latencies *Latencies
	// Places, when set, are the networks that units are sampled from, with their
	// countries, coordinates and AS numbers, in the order of place.DB.Networks.
	// nil: units lie in and around the cities of the PoPs.
	Places iter.Seq2[netip.Prefix, place.Place]
}

// MaxUnits bounds Config.Units: made-up IPv4 units are distinct public /24s.
const MaxUnits = 10_000_000

// Unit is a block of clients that is steered as one.
type Unit struct {
	Prefix   netip.Prefix // a /24 or a /48
	Place    place.Place  // where place data says it is, which may be wrong
	Lat, Lon float64      // where it is
	Demand   float64      // the mean is 1
	Resolver Resolver
	city     int // nearest of the cities: decides the base of its paths
}

// Resolver is what the clients of a unit ask.
type Resolver struct {
	Addr netip.Addr
	ECS  bool // it sends client subnets
}

// World is what New makes.
type World struct {
	PoPs  []edge.PoP
	Units []Unit
	seed  draw
	base  [][]float64 // by city and PoP, ms
}

// New makes a world. It errs when the configuration asks for too much, or there
// are no places to sample.
func New(c Config) (*World, error) {
	switch {
	case len(c.PoPs) < 1 || len(c.PoPs) > MaxPoPs:
		return nil, fmt.Errorf("cannot make a world of %d pops: want 1 to %d", len(c.PoPs), MaxPoPs)
	case c.Units < 1 || c.Units > MaxUnits:
		return nil, fmt.Errorf("cannot make a world of %d units: want 1 to %d", c.Units, MaxUnits)
	}
	w := &World{PoPs: c.PoPs, seed: draw(mix(c.Seed))}
	w.makeBase(c.Latencies)
	if c.Places == nil {
		w.makeUnits(c.Units)
	} else if err := w.sampleUnits(c.Places, c.Units); err != nil {
		return nil, err
	}
	w.finish()
	return w, nil
}

// makeBase fills in what a round trip between each city and PoP takes for a
// network without a detour.
func (w *World) makeBase(l *Latencies) {
	if l == nil {
		l = new(Latencies)
	}
	w.base = make([][]float64, len(cities))
	for i, c := range cities {
		w.base[i] = make([]float64, len(w.PoPs))
		for j, p := range w.PoPs {
			ms, ok := l.between(c.lat, c.lon, p.Lat, p.Lon)
			if !ok {
				hundreds := edge.DistanceKm(c.lat, c.lon, p.Lat, p.Lon) / 100
				ms = max(hostMs+fibreMsPer100Km*hundreds, baseMs+msPer100Km*hundreds+w.residual(i, j))
			}
			w.base[i][j] = ms
		}
	}
}

func (w *World) residual(city, pop int) float64 {
	at := w.seed.of(forResidual, uint64(city), uint64(pop)).uniform() * float64(len(residuals)-1)
	i := int(at)
	return residuals[i] + (at-float64(i))*(residuals[i+1]-residuals[i])
}

// makeUnits makes up units around the cities, each of one of its country's
// networks.
func (w *World) makeUnits(n int) {
	places, nets := zipf(len(cities), cityZipf), zipf(networks, networkZipf)
	w.Units = make([]Unit, n)
	for i := range w.Units {
		d := w.seed.of(forUnit, uint64(i))
		at := pick(places, d.uniform())
		c := cities[at]
		asn := asnOf(at, pick(nets, d.nth(1).uniform()))
		// A network's clients in a city are around one point.
		near := w.seed.of(forNetwork, uint64(asn), uint64(at))
		u := &w.Units[i]
		u.city, u.Lat, u.Lon = at, c.lat+0.3*clamp(near.normal()), c.lon+0.3*clamp(near.nth(1).normal())
		u.Place = place.Place{Country: c.country, Continent: c.continent, City: c.pop, ASN: asn, HasCoord: true}
		u.Prefix = unit4(i)
		if d.nth(2).uniform() < v6Share {
			u.Prefix = unit6(i)
		}
	}
}

func clamp(x float64) float64 { return min(2, max(-2, x)) }

// asnOf returns an AS number for private use (RFC 6996): one network of a
// country, wherever its city.
func asnOf(at, network int) uint32 {
	first := slices.IndexFunc(cities, func(c city) bool { return c.country == cities[at].country })
	return 4_200_000_000 + uint32(first*networks+network)
}

// sampleUnits takes units out of networks, with equal chances for every /24 and
// for every /48 of the first 256 in a network.
func (w *World) sampleUnits(places iter.Seq2[netip.Prefix, place.Place], n int) error {
	type ranked struct {
		rank uint64
		unit Unit
	}
	var all []ranked
	keep := func() { // the n of least rank
		slices.SortFunc(all, func(a, b ranked) int { return cmp.Compare(a.rank, b.rank) })
		all = all[:min(n, len(all))]
	}
	for prefix, p := range places {
		if !p.HasCoord {
			continue
		}
		for unit := range unitsOf(prefix) {
			rank := uint64(w.seed.of(forUnit, addressKey(unit.Addr())))
			all = append(all, ranked{rank, Unit{Prefix: unit, Place: p, Lat: p.Lat, Lon: p.Lon}})
		}
		if len(all) >= 4*n+1<<16 {
			keep()
		}
	}
	keep()
	if len(all) < n {
		return fmt.Errorf("place data has %d units with coordinates, want %d", len(all), n)
	}
	for _, r := range all {
		r.unit.city = nearestCity(r.unit.Lat, r.unit.Lon)
		w.Units = append(w.Units, r.unit)
	}
	return nil
}

func nearestCity(lat, lon float64) int {
	best, least := 0, math.Inf(1)
	for i, c := range cities {
		if km := edge.DistanceKm(lat, lon, c.lat, c.lon); km < least {
			best, least = i, km
		}
	}
	return best
}

// finish puts units in order, and draws demand, resolver and what place data
// gets wrong.
func (w *World) finish() {
	slices.SortFunc(w.Units, func(a, b Unit) int { return a.Prefix.Addr().Compare(b.Prefix.Addr()) })
	sum := 0.0
	for i := range w.Units {
		u := &w.Units[i]
		d := w.seed.of(forClient, addressKey(u.Prefix.Addr()))
		u.Demand = d.logNormal(1, demandSigma)
		sum += u.Demand
		u.Resolver = w.resolver(u, d)
		u.Place.Lat, u.Place.Lon = u.Lat, u.Lon
		if d.nth(1).uniform() < misplacedShare {
			w.misplace(u, d)
		}
	}
	for i := range w.Units {
		w.Units[i].Demand *= float64(len(w.Units)) / sum
	}
}

// misplace makes place data say that a unit is in another city, far away.
func (w *World) misplace(u *Unit, d draw) {
	for n := uint64(10); n < 100; n++ {
		c := cities[d.nth(n).below(len(cities))]
		if edge.DistanceKm(u.Lat, u.Lon, c.lat, c.lon) > misplacedKm {
			u.Place.Lat, u.Place.Lon, u.Place.Country, u.Place.Continent, u.Place.City = c.lat, c.lon, c.country, c.continent, c.pop
			return
		}
	}
}

func (w *World) resolver(u *Unit, d draw) Resolver {
	switch kind := d.nth(2).uniform(); {
	case kind < ownResolver:
		own := w.seed.of(forNetwork, uint64(u.Place.ASN)).nth(9).below(1_000_000)
		return Resolver{Addr: hostOf(unit4(MaxUnits+2+own), 52)}
	case kind < ownResolver+ecsResolver:
		return Resolver{Addr: hostOf(unit4(MaxUnits), 52), ECS: true}
	}
	return Resolver{Addr: hostOf(unit4(MaxUnits+1), 52)}
}

// Path returns how long a round trip from a unit to a PoP takes in ms, without
// the client's own last mile and without jitter.
func (w *World) Path(unit, pop int, at time.Time) float64 {
	u := &w.Units[unit]
	asn, hour := uint64(u.Place.ASN), float64(at.Unix()%86400)/3600
	ms := w.base[u.city][pop] + w.detour(w.seed.of(forPath, asn, uint64(pop)))
	if slow := w.seed.of(forNetwork, asn).nth(1); slow.uniform() < dayShare {
		local := hour + u.Lon/15
		ms += dayMaxMs * slow.nth(1).uniform() * (1 + math.Cos((local-dayPeak)*math.Pi/12)) / 2
	}
	// A change of the path holds until the end of its day.
	day := uint64(at.Unix() / 86400)
	if move := w.seed.of(forPath, addressKey(u.Prefix.Addr()), day, uint64(pop)); w.seed.of(forUnit, addressKey(u.Prefix.Addr()), day).uniform() < moveShare {
		ms += w.detour(move)
	}
	return ms
}

func (w *World) detour(d draw) float64 {
	ms := d.nth(1).logNormal(detourMedianMs, detourSigma)
	if d.nth(2).uniform() < tromboneShare {
		ms += tromboneMinMs + (tromboneMaxMs-tromboneMinMs)*d.nth(3).uniform()
	}
	return ms
}

// zipf returns the cumulative shares of n ranks.
func zipf(n int, exponent float64) []float64 {
	shares := make([]float64, n)
	sum := 0.0
	for i := range shares {
		sum += math.Pow(float64(i+1), -exponent)
		shares[i] = sum
	}
	for i := range shares {
		shares[i] /= sum
	}
	return shares
}

func pick(shares []float64, u float64) int {
	i, _ := slices.BinarySearch(shares, u)
	return min(i, len(shares)-1)
}
