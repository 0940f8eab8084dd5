package main

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
	"go4.org/netipx"

	"edged/edge"
	"edged/geo/place"
	"edged/mapper"
	"edged/mapper/beacon"
	"edged/maps"
)

// lab is a fleet, the places of its clients, and what their beacons measured: a
// folder on disk.
type lab struct {
	dir    string
	pops   []edge.PoP
	names  []string
	places *place.DB
}

// located is a client block with its place.
type located struct {
	prefix netip.Prefix
	at     place.Place
}

// newLab makes a folder with place databases of the clients. The caller removes
// it with close.
func newLab(pops []edge.PoP, clients []located) (_ *lab, err error) {
	dir, err := os.MkdirTemp("", "steering-")
	if err != nil {
		return nil, err
	}
	l := &lab{dir: dir, pops: pops}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	for _, p := range pops {
		l.names = append(l.names, p.Name)
	}
	city, asn := filepath.Join(dir, "city.mmdb"), filepath.Join(dir, "asn.mmdb")
	if err := writePlaces(city, "City", clients, func(p place.Place) mmdbtype.Map {
		return mmdbtype.Map{
			"country_code": mmdbtype.String(p.Country),
			"latitude":     mmdbtype.Float64(p.Lat), "longitude": mmdbtype.Float64(p.Lon),
		}
	}); err != nil {
		return nil, err
	}
	if err := writePlaces(asn, "ASN", clients, func(p place.Place) mmdbtype.Map {
		return mmdbtype.Map{"autonomous_system_number": mmdbtype.Uint32(p.ASN)}
	}); err != nil {
		return nil, err
	}
	l.places, err = place.Open(city, asn)
	return l, err
}

func (l *lab) close() { os.RemoveAll(l.dir) }

func writePlaces(path, kind string, clients []located, record func(place.Place) mmdbtype.Map) error {
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "Steering-" + kind, BuildEpoch: 1})
	if err != nil {
		return err
	}
	for _, c := range clients {
		if err := tree.Insert(netipx.PrefixIPNet(c.prefix), record(c.at)); err != nil {
			return fmt.Errorf("place of %s: %w", c.prefix, err)
		}
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := tree.WriteTo(f); err != nil {
		return err
	}
	return f.Close()
}

// measure writes rows as segments in a folder of that name, and reads them back.
func (l *lab) measure(name string, rows []beacon.Row) (*mapper.Measurements, error) {
	dir := filepath.Join(l.dir, name)
	w, err := beacon.NewWriter(dir)
	if err != nil {
		return nil, err
	}
	if _, err := w.Append(beacon.Batch{ID: name, PoPs: l.names, Rows: rows}); err != nil {
		return nil, err
	}
	return l.read(name, nil)
}

// read reads what was measured under a name.
func (l *lab) read(name string, weigh mapper.Weigh) (*mapper.Measurements, error) {
	set, err := beacon.OpenAll(filepath.Join(l.dir, name))
	if err != nil {
		return nil, err
	}
	defer set.Close()
	return mapper.ReadBeacons(context.Background(), set, mapper.Reading{PoPs: l.pops, Locate: l.locate, Weigh: weigh, Workers: runtime.GOMAXPROCS(0)})
}

// locate says where an address is.
func (l *lab) locate(a netip.Addr) place.Place {
	p, _, _ := l.places.Lookup(a)
	return p
}

// build makes the map of measurements, through the bytes of its file. Where a map
// is in force, units change only for what is clearly better.
func (l *lab) build(m *mapper.Measurements, inForce *maps.Map) (*maps.Map, error) {
	estimates := mapper.Estimate(m, l.pops, l.locate, nil)
	contents, _, err := mapper.Build(mapper.Input{
		PoPs: l.pops, Place: l.places.Networks(), Measured: estimates, InForce: inForce, Created: time.Unix(0, 0),
		Tolerance: mapper.DefaultTolerance,
	})
	if err != nil {
		return nil, err
	}
	b, err := maps.Encode(contents)
	if err != nil {
		return nil, err
	}
	return maps.Parse(b)
}

// only keeps the units for which keep is true.
func only(m *mapper.Measurements, keep func(netip.Prefix) bool) *mapper.Measurements {
	kept := *m
	kept.Units = slices.DeleteFunc(slices.Clone(m.Units), func(u mapper.MeasuredUnit) bool { return !keep(u.Unit.Prefix()) })
	return &kept
}

// choose returns the first PoP that a map has for an address among those
// allowed.
func choose(m *maps.Map, addr netip.Addr, allowed func(pop uint16) bool) uint16 {
	row, _, _ := m.ECS().Lookup(addr)
	ranking := m.Ranking(row.Ranking())
	for _, h := range ranking.Hops {
		if allowed(h.PoP) {
			return h.PoP
		}
	}
	for _, pop := range m.Order(ranking.Order) {
		if allowed(pop) {
			return pop
		}
	}
	return math.MaxUint16
}
