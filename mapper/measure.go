package mapper

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"net/netip"
	"slices"

	"edged/edge"
	"edged/geo/place"
	"edged/mapper/beacon"
	"edged/mapper/estimate"
	"edged/mapper/simulate"
	"edged/maps"
)

// Measurements are what beacons measured, by client unit, and who asked for them.
type Measurements struct {
	Units     []MeasuredUnit // ascending
	Resolvers []MeasuredResolver
	Sessions  int
	Rows      int
	Failures  int           // attempts that brought no answer, in sessions that reached another PoP
	Unknown   int           // rows of PoPs that are not in the fleet
	Refused   int           // rows that are not believed at all
	Lowered   int           // rows that count less than others
	Newest    int64         // Unix time of the newest session
	Held      []HeldSession // sessions that were held back; by number
}

// MeasuredUnit is what the clients of one unit measured.
type MeasuredUnit struct {
	Unit     beacon.Unit
	Sessions int
	Cells    []estimate.Cell // by PoP; none when all its samples weigh next to nothing
	Sources  int             // addresses that the sessions come from
	Age      float64         // mean of the sessions' ages, hours
	Failing  []Failing       // PoPs that are no candidates, by PoP
}

// MeasuredResolver is a resolver and the sessions that each unit had through it.
type MeasuredResolver struct {
	Addr  netip.Addr
	Units map[beacon.Unit]float64
}

// Weigh says how much of a row's weight counts: 1 is all, 0 nothing. It may be
// called by several goroutines. beacon.Trust.Weight is one.
type Weigh func(beacon.Session, beacon.Row) float64

// Reading says how sessions are read.
type Reading struct {
	PoPs    []edge.PoP                   // rows of others do not count
	Locate  func(netip.Addr) place.Place // what distance lets expect; nil: nothing
	Weigh   Weigh                        // nil: all rows count whole
	Part    Part                         // of the sessions
	Engine  beacon.Engine                // nil: the embedded one
	Workers int                          // goroutines; 0: one
}

// ReadBeacons makes measurements of the sessions in a set. Unit by unit it takes
// out what all rows of a session share (estimate.Correct); the corrected round
// trips go to the engine, which makes medians of them. A session's samples weigh
// less with their age, which is counted in hours from the set's newest one, so
// that the clock does not matter.
func ReadBeacons(ctx context.Context, set *beacon.Set, o Reading) (*Measurements, error) {
	if o.Engine == nil {
		o.Engine = beacon.Embedded{}
	}
	agg, err := o.Engine.Begin(ctx)
	if err != nil {
		return nil, err
	}
	defer agg.Close() // what an engine may leave behind does not make a number wrong
	r := newReader(set, o, agg)
	if err := set.ByUnit(ctx, o.Workers, r.unit); err != nil {
		return nil, err
	}
	slices.SortFunc(r.m.Units, func(a, b MeasuredUnit) int { return cmp.Compare(a.Unit, b.Unit) })
	if err := fillCells(r.m.Units, agg.Cells()); err != nil {
		return nil, fmt.Errorf("cannot aggregate beacons: %w", err)
	}
	for addr, by := range r.resolvers {
		r.m.Resolvers = append(r.m.Resolvers, MeasuredResolver{addr, by})
	}
	slices.SortFunc(r.m.Held, func(a, b HeldSession) int { return cmp.Or(cmp.Compare(a.ID, b.ID), a.Client.Compare(b.Client)) })
	slices.SortFunc(r.m.Resolvers, func(a, b MeasuredResolver) int { return a.Addr.Compare(b.Addr) })
	return r.m, nil
}

// Estimates are rankings made of measurements: for units, for resolvers, and for
// every place.
type Estimates struct {
	pops  []edge.PoP
	units []MeasuredUnit
	model *estimate.Model

	resolvers []MeasuredResolver
	locate    func(netip.Addr) place.Place
	newest    int64     // Unix time of the newest session
	hosting   int       // units
	limited   int       // networks
	access    []float64 // of units, ms
}

// Estimate fits the model to measurements. The place of a unit is that of its
// first address; locate is called by several goroutines. hosting are the networks (ASNs) of servers, which teach nothing
// about people's networks beside them; it may be nil.
func Estimate(m *Measurements, pops []edge.PoP, locate func(netip.Addr) place.Place, hosting map[uint32]bool) *Estimates {
	e := &Estimates{pops: pops, units: m.Units, resolvers: m.Resolvers, locate: locate, newest: m.Newest}
	units := make([]estimate.Unit, len(m.Units))
	inParallel(len(units), func(i int) {
		at := locate(m.Units[i].Unit.Prefix().Addr())
		units[i] = estimate.Unit{Place: at, Cells: m.Units[i].Cells, Servers: hosting[at.ASN]}
	})
	for i := range units {
		if units[i].Servers {
			e.hosting++
		}
	}
	e.model = estimate.Fit(pops, units)
	e.limited, e.access = e.model.Limited(), make([]float64, len(units))
	for i := range e.access {
		e.access[i] = e.model.Access(i)
	}
	return e
}

// release lets go of all that estimates are made from, which is most of what a build
// remembers, also of the cells of the Measurements. Nothing is estimated after it.
func (e *Estimates) release() {
	e.model, e.resolvers, e.locate = nil, nil, nil
	for i := range e.units {
		e.units[i].Cells = nil
	}
}

// Hosting returns how many units are of networks of servers.
func (e *Estimates) Hosting() int { return e.hosting }

// Limited returns how many networks would have spoken for a country
// (estimate.Model.Limited).
func (e *Estimates) Limited() int { return e.limited }

// nets returns the units' rankings as measured networks. The PoP in force at an
// address, if there is one, is among a unit's when anything is known of it.
func (e *Estimates) nets(inForce func(netip.Addr) uint16) []Net {
	nets := make([]Net, len(e.units))
	e.model.EachUnit(func(r *estimate.Ranker, i int) {
		unit := &e.units[i]
		list := unit.reachable(r.Best(i, maps.MaxHops+len(unit.Failing)))
		prefix := unit.Unit.Prefix()
		net := Net{Prefix: prefix, Tables: Both}
		now := inForce(prefix.Addr())
		if at := slices.IndexFunc(list, func(e estimate.Estimate) bool { return e.PoP == now }); at >= 0 {
			net.margin = uint16(min(10*estimate.Margin(list[at], list[0]), math.MaxUint16))
			if at >= maps.MaxHops {
				list[maps.MaxHops-1] = list[at]
			}
		}
		net.Hops, net.origins = hops(list), origins(list)
		nets[i] = net
	})
	return nets
}

// demand returns the units' sessions as their demand.
func (e *Estimates) demand() []simulate.Demand { return sessionsOf(e.units) }

// Demand returns the units' sessions as their demand.
func (m *Measurements) Demand() []simulate.Demand { return sessionsOf(m.Units) }

func sessionsOf(units []MeasuredUnit) []simulate.Demand {
	list := make([]simulate.Demand, len(units))
	for i, u := range units {
		list[i] = simulate.Demand{Prefix: u.Unit.Prefix(), Requests: float64(u.Sessions)}
	}
	return list
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

// snap moves a place to the middle of the cell that has one guess, and names that.
func (e *Estimates) snap(p place.Place) (place.Place, guessKey) {
	if !e.model.Knows(p.ASN) {
		p.ASN = 0
	}
	k := guessKey{p.ASN, p.Country, int32(math.Floor(p.Lat / guessStep)), int32(math.Floor(p.Lon / guessStep))}
	p.Lat, p.Lon = (float64(k.lat)+0.5)*guessStep, (float64(k.lon)+0.5)*guessStep
	return p, k
}

// at returns the ranking of a place without measurements of its own, and where it
// comes from; none where the place is not known.
func (e *Estimates) at(p place.Place) ([]maps.Hop, []maps.Origin) {
	if !p.HasCoord {
		return nil, nil
	}
	list := e.model.At(p)
	return hops(list), origins(list)
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
