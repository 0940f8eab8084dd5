package main

import (
	"net/netip"

	"edged/edge"
	"edged/mapper"
	"edged/mapper/beacon"
)

// frankfurt are the three providers in one town that E4 chooses among.
var frankfurt = []string{"fra-aws", "fra-gcp", "fra-az"}

// steerProbes runs E3 and E4. A probe's measurements are one session.
func steerProbes(o options, dcs []edge.PoP, list []probe) (e3, e4 compared, err error) {
	subjects := make([]subject, len(list))
	var clients []located
	var rows []beacon.Row
	addrs := make([]netip.Addr, len(list))
	inBlock := map[netip.Prefix]int{}
	asn := map[netip.Prefix]uint32{}
	for i, p := range list {
		subjects[i] = subject{p.at.Lat, p.at.Lon, p.at.Country, p.min}
		if inBlock[p.prefix] == 0 {
			clients = append(clients, located{p.prefix, p.at})
			asn[p.prefix] = p.at.ASN
		}
		inBlock[p.prefix]++
		addrs[i] = host(p.prefix, inBlock[p.prefix])
		for pop := range uint16(len(dcs)) {
			if ms, ok := p.min[pop]; ok {
				rows = append(rows, row(i, start, addrs[i], pop, ms))
			}
		}
	}
	l, err := newLab(dcs, clients)
	if err != nil {
		return
	}
	defer l.close()
	if _, err = l.measure("probes", rows); err != nil {
		return
	}
	var three []uint16
	for _, name := range frankfurt {
		for pop, dc := range dcs {
			if dc.Name == name {
				three = append(three, uint16(pop))
			}
		}
	}
	c3, c4 := comparison{o: o}, comparison{o: o}
	town := make([]subject, len(list)) // with the three only
	for i, s := range subjects {
		town[i] = subject{s.lat, s.lon, s.country, map[uint16]float64{}}
		for _, pop := range three {
			if ms, ok := s.rtt[pop]; ok {
				town[i].rtt[pop] = ms
			}
		}
	}
	for i, p := range list {
		if !o.scores(int(p.at.ASN)) { // a network is on one side
			continue
		}
		addr := addrs[i]
		others, err := l.read("probes", without(addr))
		if err != nil {
			return e3, e4, err
		}
		m, err := l.build(others, nil)
		if err != nil {
			return e3, e4, err
		}
		s := subjects[i]
		c3.add(int(p.at.ASN), i, subjects, dcs, s.chose(choose(m, addr, func(pop uint16) bool { _, ok := s.rtt[pop]; return ok })))

		siblings := only(others, func(q netip.Prefix) bool { return asn[q] == p.at.ASN })
		if len(town[i].rtt) < len(frankfurt) || p.at.ASN == 0 || len(siblings.Units) == 0 {
			continue
		}
		if m, err = l.build(siblings, nil); err != nil {
			return e3, e4, err
		}
		c4.add(int(p.at.ASN), i, town, dcs, town[i].chose(choose(m, addr, func(pop uint16) bool { _, ok := town[i].rtt[pop]; return ok })))
	}
	return c3.result(), c4.result(), nil
}

// without leaves out what one probe measured.
func without(client netip.Addr) mapper.Weigh {
	return func(_ beacon.Session, r beacon.Row) float64 {
		if r.Client == client {
			return 0
		}
		return 1
	}
}
