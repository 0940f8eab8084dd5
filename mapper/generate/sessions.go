package generate

import (
	"cmp"
	"iter"
	"math"
	"net/netip"
	"slices"
	"time"

	"edged/edge"
	"edged/mapper/beacon"
)

// Fraud is what liars among the sources report.
type Fraud struct {
	Share   float64 // of all sessions, 0 to 1
	Sources int     // how many addresses lie in each unit, 1 to 5
	Target  int     // the PoP that they make look best
}

// Sessions yields n sessions of clients, whose units are drawn by demand, over a
// span of time, in no order of time. Each measures the unit's nearest PoP by
// place data, and a few others out of the nearest; a row's PoP is the index in
// World.PoPs. Every value yielded is the caller's.
func (w *World) Sessions(n int, from time.Time, span time.Duration, fraud Fraud) iter.Seq[[]beacon.Row] {
	units := w.cumulative()
	return func(yield func([]beacon.Row) bool) {
		near := map[int][]int{} // by city of place data
		for i := range n {
			d := w.seed.of(forSample, uint64(i))
			unit := pick(units, d.uniform())
			u := &w.Units[unit]
			city := u.city
			if u.Place.Lat != u.Lat || u.Place.Lon != u.Lon {
				city = nearestCity(u.Place.Lat, u.Place.Lon)
			}
			if near[city] == nil {
				near[city] = w.nearest(city)
			}
			at := from.Add(time.Duration(d.nth(1).uniform() * float64(span)))
			s := sample{w, unit, at, d}
			rows := s.rows(s.choose(near[city]))
			if lie := w.seed.of(forFraud, uint64(i)); lie.uniform() < fraud.Share {
				s.lie(rows, fraud, lie)
			}
			if !yield(rows) {
				return
			}
		}
	}
}

// cumulative returns the cumulative shares of the units' demand.
func (w *World) cumulative() []float64 {
	shares := make([]float64, len(w.Units))
	sum := 0.0
	for i, u := range w.Units {
		sum += u.Demand
		shares[i] = sum
	}
	for i := range shares {
		shares[i] /= sum
	}
	return shares
}

// nearest returns the PoPs by their distance from a city.
func (w *World) nearest(city int) []int {
	order := make([]int, len(w.PoPs))
	for i := range order {
		order[i] = i
	}
	km := func(pop int) float64 {
		return edge.DistanceKm(cities[city].lat, cities[city].lon, w.PoPs[pop].Lat, w.PoPs[pop].Lon)
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(km(a), km(b)) })
	return order
}

// sample is one session to be made.
type sample struct {
	w    *World
	unit int
	at   time.Time
	draw draw
}

// choose returns the PoPs that the session measures: the nearest, others of
// those that come next, and now and then one from anywhere.
func (s *sample) choose(near []int) []int {
	pops := []int{near[0]}
	others := slices.Clone(near[1:min(sampleAmong, len(near))])
	for i := uint64(0); len(pops) < samplePoPs && len(others) > 0; i++ {
		at := s.draw.nth(10 + i).below(len(others))
		pops = append(pops, others[at])
		others = slices.Delete(others, at, at+1)
	}
	if d := s.draw.nth(2); d.uniform() < sampleRandom {
		if any := d.nth(1).below(len(near)); !slices.Contains(pops, any) {
			pops[len(pops)-1] = any
		}
	}
	return pops
}

func (s *sample) rows(pops []int) []beacon.Row {
	u := &s.w.Units[s.unit]
	// A block has a few hundred clients, each with a last mile of its own.
	host := s.draw.nth(3).below(250)
	client := s.w.seed.of(forClient, addressKey(u.Prefix.Addr()), uint64(host))
	lastMile := client.logNormal(lastMileMedianMs, lastMileSigma)
	jitter := client.nth(1).logNormal(jitterMedianMs, jitterSigma) / math.Ln2 // an exponential's median is ln 2
	rows := make([]beacon.Row, len(pops))
	for i, pop := range pops {
		d := s.draw.nth(100 + uint64(i))
		ms := s.w.Path(s.unit, pop, s.at) + lastMile + jitter*d.exponential()
		if d.nth(1).uniform() < spikeShare {
			ms += spikeMeanMs * d.nth(2).exponential()
		}
		rows[i] = beacon.Row{
			Session: uint64(s.draw), Time: s.at.Unix(), Client: hostOf(u.Prefix, host), Resolver: u.Resolver.Addr,
			PoP: uint16(pop), RTT: uint16(min(30000, math.Round(10*ms))), Method: beacon.Resource,
		}
	}
	return rows
}

// lie makes the rows those of a liar: the target at 1 ms, the others far away.
func (s *sample) lie(rows []beacon.Row, fraud Fraud, d draw) {
	host := 250 + d.nth(1).below(max(1, min(5, fraud.Sources)))
	for i := range rows {
		rows[i].Client = hostOf(s.w.Units[s.unit].Prefix, host)
		rows[i].RTT = 2000
	}
	rows[0].PoP, rows[0].RTT = uint16(fraud.Target), 10
	for i := 1; i < len(rows); i++ {
		if rows[i].PoP == rows[0].PoP {
			rows[i].PoP = uint16((fraud.Target + 1) % len(s.w.PoPs))
		}
	}
}

// hostOf returns the n-th address of a unit, 1 to 255.
func hostOf(p netip.Prefix, n int) netip.Addr {
	b := p.Addr().AsSlice()
	b[len(b)-1] = byte(n + 1)
	a, _ := netip.AddrFromSlice(b)
	return a
}
