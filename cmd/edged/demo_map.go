package main

import (
	"context"
	"errors"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"edged/geo/place"
	"edged/mapper"
	"edged/mapper/beacon"
	"edged/mapper/generate"
	"edged/maps"
)

// The demo's clients are made up, in real networks. The seed is one with which those of
// demoClients are close to the PoPs near them, as most made-up clients are, but not all.
const (
	demoSeed     = 2313
	demoSessions = 4000
	demoEvery    = 1500 // one in so many networks of the place data has clients
)

// demoMap is the name of the demo's map and, with another ending, its file.
const demoMap = "made-up"

// writeDemoMap makes the demo's map as map build does: of segments, which are made of
// beacon rows, which are made up. The map says so.
func writeDemoMap(ctx context.Context, dir string) error {
	places, err := place.Open("", "")
	if err != nil {
		return err
	}
	segments := filepath.Join(dir, "made-up-beacons")
	if err := writeDemoBeacons(segments, places); err != nil {
		return err
	}
	m, err := readSegments(ctx, segments, demoPoPs, locate(places), mapper.Seen, beacon.Embedded{})
	if err != nil {
		return err
	}
	in := mapper.Input{
		PoPs: demoPoPs, Place: places.Networks(), Created: time.Unix(m.Newest, 0), Tolerance: mapper.DefaultTolerance,
		Measured: mapper.Estimate(m.Measurements, demoPoPs, m.wellPlaced(locate(places)), nil),
		Sources:  []maps.Input{{Name: maps.MadeUp + m.source.Name, Version: m.source.Version}},
	}
	for _, s := range places.Sources() {
		in.Sources = append(in.Sources, maps.Input{Name: s.Name, Version: s.Version})
	}
	contents, _, err := mapper.Build(in)
	if err != nil {
		return err
	}
	data, err := maps.Encode(contents)
	if err != nil {
		return err
	}
	return maps.WriteFile(filepath.Join(dir, demoMap+".edmap"), data)
}

// writeDemoBeacons makes up what clients measured in an hour of the day that the
// place data are of.
func writeDemoBeacons(dir string, places *place.DB) error {
	units := demoUnits(places)
	world, err := generate.New(generate.Config{Seed: demoSeed, PoPs: demoPoPs, Units: len(units), Places: func(yield func(netip.Prefix, place.Place) bool) {
		for _, u := range units {
			if p, _, _ := places.Lookup(u.Addr()); !yield(u, p) {
				return
			}
		}
	}})
	if err != nil {
		return err
	}
	batch := beacon.Batch{ID: demoMap}
	for _, p := range demoPoPs {
		batch.PoPs = append(batch.PoPs, p.Name)
	}
	for rows := range world.Sessions(demoSessions, places.Sources()[0].Built, time.Hour, generate.Fraud{}) {
		batch.Rows = append(batch.Rows, rows...)
	}
	w, err := beacon.NewWriter(dir)
	if err != nil {
		return err
	}
	added, err := w.Append(batch)
	if err == nil && !added {
		err = errors.New("the sample measurements are there already")
	}
	return err
}

// demoUnits returns the networks of demoClients and the first /24 of others now and
// then, ascending.
func demoUnits(places *place.DB) (units []netip.Prefix) {
	for _, c := range demoClients {
		units = append(units, netip.MustParsePrefix(c.subnet))
	}
	n := 0
	for p, at := range places.Networks() {
		if !p.Addr().Is4() {
			break
		}
		if !at.HasCoord || p.Bits() > 24 {
			continue
		}
		if n++; n%demoEvery == 0 {
			units = append(units, netip.PrefixFrom(p.Addr(), 24))
		}
	}
	slices.SortFunc(units, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	return slices.Compact(units)
}
