package main

import (
	"math"
	"net/netip"
	"slices"

	"edged/edge"
	"edged/mapper/beacon"
)

// drift is how far what a map expects is from what is measured later.
type drift struct {
	N   int     `json:"n"`
	P50 float64 `json:"p50_ms"`
	P90 float64 `json:"p90_ms"`
	P95 float64 `json:"p95_ms"`
}

// learned is the share of a series that a map is built from; minSide is how
// many pings there must be on both sides.
const (
	learned = 0.6
	minSide = 5
)

// predict runs E5. Each probe is a made-up block and each of its pings a session
// of a client of its own, since a probe stands for a block; a map has up to eight
// PoPs in a ranking, so each data centre is a fleet by itself.
func predict(o options, dcs []edge.PoP, list []series) (drift, error) {
	var errors []float64
	for dc := range uint16(len(dcs)) {
		var rows []beacon.Row
		var clients []located
		later := map[netip.Prefix]float64{}
		for i, s := range list {
			split := int(learned * float64(len(s.rtt)))
			if s.pop != dc || !o.scores(int(s.at.ASN)) || split < minSide || len(s.rtt)-split < minSide {
				continue
			}
			prefix := cityPrefix(i)
			clients = append(clients, located{prefix, s.at})
			for n, ms := range s.rtt[:split] {
				rows = append(rows, row(i<<12|n, s.times[n], host(prefix, n), 0, ms))
			}
			rest := slices.Sorted(slices.Values(s.rtt[split:]))
			later[prefix] = quantile(rest, 0.5)
		}
		if len(clients) == 0 {
			continue
		}
		more, err := predictOne(dcs[dc], clients, rows, later)
		if err != nil {
			return drift{}, err
		}
		errors = append(errors, more...)
	}
	slices.Sort(errors)
	return drift{len(errors), quantile(errors, 0.5), quantile(errors, 0.9), quantile(errors, 0.95)}, nil
}

func predictOne(dc edge.PoP, clients []located, rows []beacon.Row, later map[netip.Prefix]float64) (errors []float64, err error) {
	l, err := newLab([]edge.PoP{dc}, clients)
	if err != nil {
		return nil, err
	}
	defer l.close()
	measured, err := l.measure("pings", rows)
	if err != nil {
		return nil, err
	}
	m, err := l.build(measured, nil)
	if err != nil {
		return nil, err
	}
	for _, c := range clients {
		row, _, _ := m.ECS().Lookup(c.prefix.Addr())
		expected := float64(m.Ranking(row.Ranking()).Hops[0].RTT) / 2
		errors = append(errors, math.Abs(expected-later[c.prefix]))
	}
	return errors, nil
}
