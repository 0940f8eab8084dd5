package main

import (
	"math/rand/v2"
	"net/netip"
	"slices"

	"edged/edge"
	"edged/geo/place"
	"edged/mapper/beacon"
)

// steerCities runs E1, E2 and E7.
func steerCities(o options, pops []edge.PoP, list []city) (e1, e2 compared, e7 capture, err error) {
	rng := rand.New(rand.NewPCG(o.seed, 1))
	var rows []beacon.Row
	subjects := make([]subject, len(list))
	clients := make([]located, len(list))
	for i, c := range list {
		subjects[i] = subject{c.lat, c.lon, c.country, map[uint16]float64{}}
		for pop, p := range c.pings {
			subjects[i].rtt[pop] = p.avg
		}
		clients[i] = located{cityPrefix(i), place.Place{Country: c.country, Lat: c.lat, Lon: c.lon}}
		rows = append(rows, drawSessions(rng, pops, i, c)...)
	}
	l, err := newLab(pops, clients)
	if err != nil {
		return
	}
	defer l.close()
	measured, err := l.measure("cities", slices.Clone(rows))
	if err != nil {
		return
	}
	any := func(uint16) bool { return true }

	whole, err := l.build(measured, nil)
	if err != nil {
		return
	}
	first := make([]uint16, len(list)) // what an honest map answers
	c1, c2 := comparison{o: o}, comparison{o: o}
	for i := range list {
		first[i] = choose(whole, host(cityPrefix(i), 1), any)
		c1.add(i, i, subjects, pops, subjects[i].chose(first[i]))
	}
	for i := range list {
		if !o.scores(i) || !o.runs("E2") {
			continue
		}
		without, err := l.build(only(measured, func(p netip.Prefix) bool { return p != cityPrefix(i) }), nil)
		if err != nil {
			return e1, e2, e7, err
		}
		c2.add(i, i, subjects, pops, subjects[i].chose(choose(without, host(cityPrefix(i), 1), any)))
	}
	if o.runs("E7") {
		e7, err = attack(o, l, list, rows, whole, first)
	}
	return c1.result(), c2.result(), e7, err
}
