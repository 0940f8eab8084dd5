package main

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"edged/edge"
	"edged/geo/place"
	"edged/mapper/compress"
	"edged/mapper/generate"
	"edged/maps"
)

// tolerances are what is merged to, in ms, and the one that is held to the bar.
var tolerances = []float64{0, 1, 2, 5, 10}

const (
	defaultTolerance = 2
	barBytes         = 12_000_000
	msPerKm          = 1.66 / 100
	asked            = 100_000
	noPoP            = ^uint16(0) // of addresses whose place is not known
)

// point is a place; it has the times to all PoPs once for all networks there.
type point struct{ lat, lon float64 }

// world is the IPv4 networks of a database and what is known of their places.
type world struct {
	db     *place.DB
	pops   []edge.PoP
	starts []uint64
	points []int32 // by network; -1: not known
	list   []point
	ms     [][]float64 // by point and PoP
}

// mergePlaces makes a map of a city database for each tolerance.
func mergePlaces(o options, r *report) error {
	if o.city == "" {
		return errors.New("no database: give one with --city")
	}
	start := time.Now()
	w, err := readWorld(o.city)
	if err != nil {
		return err
	}
	r.add("networks", float64(len(w.starts)), "")
	r.add("places", float64(len(w.list)), "")
	r.add("reading them", time.Since(start).Seconds(), "s")
	for _, tolerance := range tolerances {
		if err := w.merge(tolerance, r); err != nil {
			return err
		}
	}
	return nil
}

func readWorld(city string) (*world, error) {
	db, err := place.OpenWith(city, "", "")
	if err != nil {
		return nil, err
	}
	w := &world{db: db, pops: generate.PoPs(pops)}
	ids := map[point]int32{}
	next := uint64(0)
	for prefix, at := range db.Networks() {
		if !prefix.Addr().Is4() {
			break
		}
		start := number4(prefix.Addr())
		if start > next {
			w.add(next, -1)
		}
		next = start + 1<<(32-prefix.Bits())
		if !at.HasCoord {
			w.add(start, -1)
			continue
		}
		p := point{at.Lat, at.Lon}
		id, ok := ids[p]
		if !ok {
			id = int32(len(w.list))
			ids[p] = id
			w.list = append(w.list, p)
			w.ms = append(w.ms, w.times(p))
		}
		w.add(start, id)
	}
	if next < 1<<32 {
		w.add(next, -1)
	}
	return w, nil
}

func (w *world) add(start uint64, point int32) {
	w.starts = append(w.starts, start)
	w.points = append(w.points, point)
}

func (w *world) times(p point) []float64 {
	ms := make([]float64, len(w.pops))
	for i, pop := range w.pops {
		ms[i] = msPerKm * edge.DistanceKm(p.lat, p.lon, pop.Lat, pop.Lon)
	}
	return ms
}

// merge makes the map for one tolerance, and asks it.
func (w *world) merge(tolerance float64, r *report) error {
	name := fmt.Sprintf("within %g ms", tolerance)
	var sets compress.Sets
	unknown := compress.Leaf{Best: noPoP, Good: sets.Of(noPoP)}
	byPoint := make([]compress.Leaf, len(w.list))
	for i, ms := range w.ms {
		best := slices.Index(ms, slices.Min(ms))
		var good []uint16
		for pop := range ms {
			if ms[pop] <= ms[best]+tolerance {
				good = append(good, uint16(pop))
			}
		}
		byPoint[i] = compress.Leaf{Best: uint16(best), Good: sets.Of(good...)}
	}
	leaves := make([]compress.Leaf, len(w.starts))
	for i, id := range w.points {
		leaves[i] = unknown
		if id >= 0 {
			leaves[i] = byPoint[id]
		}
		leaves[i].Start.Lo = w.starts[i]
	}
	start := time.Now()
	runs := compress.Merge(compress.V4, leaves, &sets)
	r.add(name+": merging", time.Since(start).Seconds(), "s")
	r.add(name+": runs", float64(len(runs)), "")
	m, err := w.encode(runs)
	if err != nil {
		return err
	}
	if tolerance == defaultTolerance {
		r.most(name+": file", float64(m.Size()), "bytes", barBytes)
	} else {
		r.add(name+": file", float64(m.Size()), "bytes")
	}
	r.most(name+": addresses that are not", float64(w.ask(m, tolerance)), "", 0)
	return nil
}

// encode makes a map of runs; each has the great-circle order of the place that
// stands for it, its PoP before all others.
func (w *world) encode(runs []compress.Run) (*maps.Map, error) {
	c := &maps.Contents{PoPs: w.pops, Created: time.Unix(0, 0)}
	type key struct {
		cell [2]int
		pop  uint16
	}
	rows, ids := map[key]maps.Row{}, map[string]maps.Row{}
	row := func(ranking maps.Ranking) maps.Row {
		c.Rankings = append(c.Rankings, ranking)
		return maps.MakeRow(uint32(len(c.Rankings)-1), false)
	}
	unknown := row(maps.Ranking{Order: maps.NoOrder})
	var v4 maps.Builder4
	for _, run := range runs {
		if run.PoP == noPoP {
			v4.Add(uint32(run.Start.Lo), unknown)
			continue
		}
		at := w.list[w.points[run.Leaf]]
		k := key{[2]int{int(2 * (at.lat + 90)), int(2 * (at.lon + 180))}, run.PoP}
		if _, ok := rows[k]; !ok {
			order := w.order(point{float64(k.cell[0])/2 - 89.75, float64(k.cell[1])/2 - 179.75}, run.PoP)
			text := fmt.Sprint(order)
			if _, ok := ids[text]; !ok {
				c.Orders = append(c.Orders, order)
				ids[text] = row(maps.Ranking{Order: uint32(len(c.Orders) - 1)})
			}
			rows[k] = ids[text]
		}
		v4.Add(uint32(run.Start.Lo), rows[k])
	}
	var v6 maps.Builder6
	v6.Add(0, 0, unknown)
	c.ECS = maps.Table{V4: v4.Finish(), V6: v6.Finish()}
	c.Resolver = c.ECS
	data, err := maps.Encode(c)
	if err != nil {
		return nil, err
	}
	return maps.Parse(data)
}

func (w *world) order(p point, first uint16) []uint16 {
	ms := w.times(p)
	order := make([]uint16, len(ms))
	for i := range order {
		order[i] = uint16(i)
	}
	ms[first] = -1
	slices.SortStableFunc(order, func(a, b uint16) int { return cmp.Compare(ms[a], ms[b]) })
	return order
}

// ask returns how many of random addresses have a PoP that is worse than the
// best at their place by more than the tolerance.
func (w *world) ask(m *maps.Map, tolerance float64) (wrong int) {
	rng := rand.New(rand.NewPCG(9, 1))
	for range asked {
		n := rng.Uint32()
		addr := netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
		at, _, _ := w.db.Lookup(addr)
		row, _, _ := m.ECS().Lookup(addr)
		pop, known := m.First(row)
		switch {
		case known != at.HasCoord:
			wrong++
		case known:
			ms := w.times(point{at.Lat, at.Lon})
			if ms[pop] > slices.Min(ms)+tolerance {
				wrong++
			}
		}
	}
	return wrong
}

func number4(a netip.Addr) uint64 {
	b := a.As4()
	return uint64(b[0])<<24 | uint64(b[1])<<16 | uint64(b[2])<<8 | uint64(b[3])
}
