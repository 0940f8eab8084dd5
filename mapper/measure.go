package mapper

import (
	"cmp"
	"iter"
	"math"
	"net/netip"
	"slices"

	"edged/edge"
	"edged/geo/place"
	"edged/mapper/beacon"
	"edged/mapper/estimate"
	"edged/maps"
)

// Measurements are the sessions of beacons by client unit, and who asked for
// them.
type Measurements struct {
	Units     []MeasuredUnit // ascending
	Resolvers []MeasuredResolver
	Sessions  int
	Rows      int
	Unknown   int // rows of PoPs that are not in the fleet
	Refused   int // rows that are not believed at all
	Lowered   int // rows that count less than others
}

// MeasuredUnit is what the clients of one unit measured.
type MeasuredUnit struct {
	Unit     beacon.Unit
	Sessions []estimate.Session
}

// MeasuredResolver is a resolver and the sessions that each unit had through it.
type MeasuredResolver struct {
	Addr  netip.Addr
	Units map[beacon.Unit]float64
}

// Weigh says how much of a row's weight counts: 1 is all, 0 nothing.
// beacon.Trust.Weight is one.
type Weigh func(beacon.Session, beacon.Row) float64

// ReadBeacons puts sessions in order by unit. A session's samples weigh less
// with their age, which is counted in hours from the newest session, so that the
// clock does not matter, and less or nothing where weigh says so; nil believes
// all rows. It returns the first error of the sessions.
func ReadBeacons(sessions iter.Seq2[beacon.Session, error], pops []edge.PoP, weigh Weigh) (*Measurements, error) {
	index := map[string]uint16{}
	for i, p := range pops {
		index[p.Name] = uint16(i)
	}
	m := &Measurements{}
	units := map[beacon.Unit][]estimate.Session{}
	hours := map[beacon.Unit][]int64{}
	resolvers := map[netip.Addr]map[beacon.Unit]float64{}
	newest := int64(0)
	for s, err := range sessions {
		if err != nil {
			return nil, err
		}
		client := s.Rows[0].Client
		unit := beacon.UnitOf(client)
		session := estimate.Session{Client: beacon.SourceOf(client).Prefix().Addr(), Values: make([]estimate.Value, 0, len(s.Rows))}
		for _, r := range s.Rows {
			pop, ok := index[s.PoPs[r.PoP]]
			if !ok {
				m.Unknown++
				continue
			}
			counts := 1.0
			if weigh != nil {
				counts = weigh(s, r)
			}
			if counts <= 0 {
				m.Refused++
				continue
			}
			if counts < 1 {
				m.Lowered++
			}
			session.Values = append(session.Values, estimate.Value{PoP: pop, RTT: float64(r.RTT) / 10, Less: 1 - counts})
			m.Rows++
		}
		if len(session.Values) == 0 {
			continue
		}
		m.Sessions++
		hour := s.Time() / 3600
		newest = max(newest, hour)
		units[unit] = append(units[unit], session)
		hours[unit] = append(hours[unit], hour)
		if resolver := s.Rows[0].Resolver; resolver.IsValid() {
			if resolvers[resolver] == nil {
				resolvers[resolver] = map[beacon.Unit]float64{}
			}
			resolvers[resolver][unit]++
		}
	}
	for unit, list := range units {
		for i := range list {
			list[i].Weight = math.Exp2(-float64(newest-hours[unit][i]) / beacon.HalfLife)
		}
		m.Units = append(m.Units, MeasuredUnit{unit, list})
	}
	slices.SortFunc(m.Units, func(a, b MeasuredUnit) int { return cmp.Compare(a.Unit, b.Unit) })
	for addr, by := range resolvers {
		m.Resolvers = append(m.Resolvers, MeasuredResolver{addr, by})
	}
	slices.SortFunc(m.Resolvers, func(a, b MeasuredResolver) int { return a.Addr.Compare(b.Addr) })
	return m, nil
}

// Estimates are rankings made of measurements: for units, for resolvers, and for
// every place.
type Estimates struct {
	pops  []edge.PoP
	units []MeasuredUnit
	model *estimate.Model
	now   func(netip.Addr) (pop uint16, ok bool) // the first choice in force; nil: none
	guess map[guessKey][]maps.Hop

	hosting int // units
}

// Estimate fits the model to measurements. The place of a unit is that of its
// first address. hosting are the networks (ASNs) of servers, which teach nothing
// about people's networks beside them; it may be nil.
func Estimate(m *Measurements, pops []edge.PoP, locate func(netip.Addr) place.Place, hosting map[uint32]bool) *Estimates {
	e := &Estimates{pops: pops, units: m.Units, guess: map[guessKey][]maps.Hop{}}
	units := make([]estimate.Unit, len(m.Units))
	for i, u := range m.Units {
		at := locate(u.Unit.Prefix().Addr())
		units[i] = estimate.Unit{Place: at, Cells: estimate.Cells(u.Sessions, estimate.Line(pops, at)), Servers: hosting[at.ASN]}
		if units[i].Servers {
			e.hosting++
		}
	}
	e.model = estimate.Fit(pops, units)
	return e
}

// Hosting returns how many units are of networks of servers.
func (e *Estimates) Hosting() int { return e.hosting }

// Limited returns how many networks would have spoken for a country
// (estimate.Model.Limited).
func (e *Estimates) Limited() int { return e.model.Limited() }

// Keep makes units stay with the first choice that a map in force has for them
// unless another PoP is clearly better (estimate.Settle).
func (e *Estimates) Keep(inForce *maps.Map) {
	index := map[string]uint16{}
	for i, p := range e.pops {
		index[p.Name] = uint16(i)
	}
	e.now = func(addr netip.Addr) (uint16, bool) {
		row, _, _ := inForce.ECS().Lookup(addr)
		first, ok := inForce.First(row)
		if !ok {
			return 0, false
		}
		pop, ok := index[inForce.PoPs()[first].Name]
		return pop, ok
	}
}

// nets returns the units' rankings as measured networks.
func (e *Estimates) nets() []Net {
	nets := make([]Net, len(e.units))
	for i, u := range e.units {
		prefix, list := u.Unit.Prefix(), e.model.Unit(i)
		if e.now != nil {
			if pop, ok := e.now(prefix.Addr()); ok {
				list = estimate.Settle(list, pop)
			}
		}
		nets[i] = Net{Prefix: prefix, Hops: hops(list), Tables: Both}
	}
	return nets
}

// guessKey is a place as guesses tell places apart.
type guessKey struct {
	asn      uint32
	country  string
	lat, lon int32 // in steps of guessStep
}

// guessStep is how far places are apart that have guesses of their own, degrees:
// 11 km of latitude.
const guessStep = 0.1

// at returns the ranking of a place without measurements of its own; none where
// the place is not known.
func (e *Estimates) at(p place.Place) []maps.Hop {
	if !p.HasCoord {
		return nil
	}
	if !e.model.Knows(p.ASN) {
		p.ASN = 0
	}
	k := guessKey{p.ASN, p.Country, int32(math.Floor(p.Lat / guessStep)), int32(math.Floor(p.Lon / guessStep))}
	list, ok := e.guess[k]
	if !ok {
		p.Lat, p.Lon = (float64(k.lat)+0.5)*guessStep, (float64(k.lon)+0.5)*guessStep
		list = hops(e.model.At(p))
		e.guess[k] = list
	}
	return list
}

// hops writes the best estimates as hops.
func hops(list []estimate.Estimate) []maps.Hop {
	list = list[:min(len(list), maps.MaxHops)]
	result := make([]maps.Hop, len(list))
	for i, e := range list {
		// 0 would say that the time is not known.
		result[i] = maps.Hop{PoP: e.PoP, RTT: uint16(min(max(math.Round(e.RTT*2), 1), math.MaxUint16))}
	}
	return result
}
