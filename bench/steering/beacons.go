package main

import (
	"cmp"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"

	"edged/edge"
	"edged/mapper/beacon"
	"edged/mapper/estimate"
)

// What is drawn around the cities' pings, since data centres have no last mile.
const (
	sessionsPerCity = 10
	popsPerSession  = 4
	candidates      = 10 // the nearest ones
	inTurns         = 6  // sessions that measure all of them in turns: each twice
	lastMileMedian  = 10 // ms, log-normal
	lastMileSigma   = 0.8
	spikes          = 0.03 // share of samples with a delay
	spikeMean       = 80   // ms, exponential
)

// start is when the sessions begin, unix seconds.
const start = 1_700_000_000

// cityPrefix is the made-up block of the i-th city.
func cityPrefix(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{20, byte(i >> 8), byte(i), 0}), 24)
}

// host is the n-th address of a block.
func host(p netip.Prefix, n int) netip.Addr {
	b := p.Addr().As4()
	b[3] = byte(n)
	return netip.AddrFrom4(b)
}

// drawSessions draws what a city's beacon sessions would report, each by a client
// of its own: of the nearest PoP and of three of the other candidates.
func drawSessions(rng *rand.Rand, pops []edge.PoP, i int, c city) (rows []beacon.Row) {
	near := byDistance(pops, c.lat, c.lon)
	others := newElimination(near[1:min(len(near), candidates)])
	for n := range sessionsPerCity {
		chosen := append([]uint16{near[0]}, others.next(rng, n, min(popsPerSession, len(near))-1)...)
		lastMile := lastMileMedian * math.Exp(lastMileSigma*rng.NormFloat64())
		first := len(rows)
		for _, pop := range chosen {
			p := c.pings[pop]
			ms := min(p.min+rng.ExpFloat64()*(p.avg-p.min), p.max) + lastMile
			if rng.Float64() < spikes {
				ms += rng.ExpFloat64() * spikeMean
			}
			rows = append(rows, row(i*sessionsPerCity+n, start+60*int64(n), host(cityPrefix(i), n+1), pop, ms))
		}
		others.learn(rows[first:])
	}
	return rows
}

// elimination chooses which PoPs beside the nearest one a city's sessions measure:
// all candidates in turns, and then those that did best. It knows what sessions
// reported and no more.
type elimination struct {
	pops     []uint16
	turn     []uint16 // that have not had their turn
	sessions []estimate.Session
}

func newElimination(pops []uint16) *elimination { return &elimination{pops: slices.Clone(pops)} }

// next returns the n PoPs of a session.
func (e *elimination) next(rng *rand.Rand, session, n int) (chosen []uint16) {
	if session >= inTurns {
		least := e.least()
		slices.SortStableFunc(e.pops, func(a, b uint16) int { return cmp.Compare(least[a], least[b]) })
		return e.pops[:min(n, len(e.pops))]
	}
	for len(chosen) < min(n, len(e.pops)) {
		if len(e.turn) == 0 {
			e.turn = slices.Clone(e.pops)
			rng.Shuffle(len(e.turn), func(i, j int) { e.turn[i], e.turn[j] = e.turn[j], e.turn[i] })
		}
		if !slices.Contains(chosen, e.turn[0]) {
			chosen = append(chosen, e.turn[0])
		}
		e.turn = e.turn[1:]
	}
	return chosen
}

// learn hears what a session reported.
func (e *elimination) learn(rows []beacon.Row) {
	s := estimate.Session{Client: rows[0].Client, Weight: 1}
	for _, r := range rows {
		s.Values = append(s.Values, estimate.Value{PoP: r.PoP, RTT: float64(r.RTT) / 10})
	}
	e.sessions = append(e.sessions, s)
}

// least returns the least that each PoP took in a session less its last mile,
// tenths of ms. A spike makes a PoP look worse once, and hardly twice.
func (e *elimination) least() map[uint16]int16 {
	least := map[uint16]int16{}
	samples, _ := estimate.Correct(e.sessions, nil)
	for _, s := range samples {
		if v, ok := least[s.PoP]; !ok || s.Tenths < v {
			least[s.PoP] = s.Tenths
		}
	}
	return least
}

func row(session int, at int64, client netip.Addr, pop uint16, ms float64) beacon.Row {
	return beacon.Row{
		Session: uint64(session) + 1, Time: at, Client: client, PoP: pop,
		RTT: uint16(min(max(math.Round(ms*10), 1), math.MaxUint16)), Method: beacon.Ping,
	}
}

// byDistance returns all PoPs, the nearest first.
func byDistance(pops []edge.PoP, lat, lon float64) []uint16 {
	list := make([]uint16, len(pops))
	for i := range list {
		list[i] = uint16(i)
	}
	km := func(pop uint16) float64 { return edge.DistanceKm(lat, lon, pops[pop].Lat, pops[pop].Lon) }
	slices.SortStableFunc(list, func(a, b uint16) int { return cmp.Compare(km(a), km(b)) })
	return list
}
