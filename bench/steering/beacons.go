package main

import (
	"cmp"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"

	"edged/edge"
	"edged/mapper/beacon"
)

// What is drawn around the cities' pings, since data centres have no last mile.
const (
	sessionsPerCity = 10
	popsPerSession  = 4
	candidates      = 10 // the nearest ones, which sessions take turns to measure
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

// drawSessions draws what a city's beacon sessions would report: each measures
// the nearest PoP and three of the other candidates, in turns, by a client of its
// own.
func drawSessions(rng *rand.Rand, pops []edge.PoP, i int, c city) (rows []beacon.Row) {
	near := byDistance(pops, c.lat, c.lon)
	others := slices.Clone(near[1:min(len(near), candidates)])
	turn := len(others)
	for n := range sessionsPerCity {
		chosen := []uint16{near[0]}
		for len(chosen) < min(popsPerSession, len(near)) {
			if turn == len(others) {
				rng.Shuffle(len(others), func(i, j int) { others[i], others[j] = others[j], others[i] })
				turn = 0
			}
			if !slices.Contains(chosen, others[turn]) {
				chosen = append(chosen, others[turn])
			}
			turn++
		}
		lastMile := lastMileMedian * math.Exp(lastMileSigma*rng.NormFloat64())
		for _, pop := range chosen {
			p := c.pings[pop]
			ms := min(p.min+rng.ExpFloat64()*(p.avg-p.min), p.max) + lastMile
			if rng.Float64() < spikes {
				ms += rng.ExpFloat64() * spikeMean
			}
			rows = append(rows, row(i*sessionsPerCity+n, start+60*int64(n), host(cityPrefix(i), n+1), pop, ms))
		}
	}
	return rows
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
