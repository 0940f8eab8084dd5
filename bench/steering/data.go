package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"edged/edge"
	"edged/geo/place"
)

// city is one client of city_rtt.csv.
type city struct {
	name, country string
	lat, lon      float64
	pings         map[uint16]ping // by PoP
}

// ping is what a day of pings to one PoP took, ms.
type ping struct{ min, avg, max float64 }

// cities reads city_pops.csv and city_rtt.csv, clients in the file's order.
func cities(dir string) (pops []edge.PoP, list []city, err error) {
	index := map[string]uint16{}
	err = readCSV(filepath.Join(dir, "city_pops.csv"), []string{"pop", "lat", "lon"}, func(r record) {
		index[r.text("pop")] = uint16(len(pops))
		pops = append(pops, edge.PoP{Name: strings.ToLower(r.text("pop")), Lat: r.number("lat"), Lon: r.number("lon")})
	})
	if err != nil {
		return nil, nil, err
	}
	at := map[string]int{}
	err = readCSV(filepath.Join(dir, "city_rtt.csv"), []string{"client", "city", "country", "lat", "lon", "pop", "min_ms", "avg_ms", "max_ms"}, func(r record) {
		pop, ok := index[r.text("pop")]
		if !ok {
			r.fail("pop %q is not in city_pops.csv", r.text("pop"))
			return
		}
		i, ok := at[r.text("client")]
		if !ok {
			i = len(list)
			at[r.text("client")] = i
			list = append(list, city{
				name: r.text("city"), country: r.text("country"),
				lat: r.number("lat"), lon: r.number("lon"), pings: map[uint16]ping{},
			})
		}
		list[i].pings[pop] = ping{r.number("min_ms"), r.number("avg_ms"), r.number("max_ms")}
	})
	return pops, list, err
}

// probe is one client of probe_rtt.csv.
type probe struct {
	id     string
	prefix netip.Prefix
	at     place.Place
	min    map[uint16]float64 // ms, by PoP
}

// probes reads probe_dcs.csv and probe_rtt.csv, clients in the file's order.
func probes(dir string) (pops []edge.PoP, index map[string]uint16, list []probe, err error) {
	index = map[string]uint16{}
	err = readCSV(filepath.Join(dir, "probe_dcs.csv"), []string{"dc_ip", "name", "lat", "lon"}, func(r record) {
		index[r.text("dc_ip")] = uint16(len(pops))
		pops = append(pops, edge.PoP{Name: strings.ToLower(r.text("name")), Lat: r.number("lat"), Lon: r.number("lon")})
	})
	if err != nil {
		return nil, nil, nil, err
	}
	at := map[string]int{}
	err = readCSV(filepath.Join(dir, "probe_rtt.csv"), []string{"probe", "prefix", "cc", "lat", "lon", "asn", "dc_ip", "min_ms"}, func(r record) {
		pop, ok := index[r.text("dc_ip")]
		if !ok {
			r.fail("dc_ip %q is not in probe_dcs.csv", r.text("dc_ip"))
			return
		}
		i, ok := at[r.text("probe")]
		if !ok {
			i = len(list)
			at[r.text("probe")] = i
			list = append(list, probe{id: r.text("probe"), prefix: r.prefix("prefix"), at: r.place(), min: map[uint16]float64{}})
		}
		list[i].min[pop] = r.number("min_ms")
	})
	return pops, index, list, err
}

// series is what one probe measured to one PoP over time.
type series struct {
	probe string
	at    place.Place
	pop   uint16
	times []int64   // unix seconds
	rtt   []float64 // ms: the average of each round of pings
}

// pings reads probe_pings.csv, series in the file's order, each by time.
func pings(dir string, index map[string]uint16) (list []series, err error) {
	type key struct{ probe, dc string }
	at := map[key]int{}
	err = readCSV(filepath.Join(dir, "probe_pings.csv"), []string{"ts", "cc", "asn", "lat", "lon", "probe", "dc_ip", "avg_ms"}, func(r record) {
		pop, ok := index[r.text("dc_ip")]
		if !ok {
			r.fail("dc_ip %q is not in probe_dcs.csv", r.text("dc_ip"))
			return
		}
		k := key{r.text("probe"), r.text("dc_ip")}
		i, ok := at[k]
		if !ok {
			i = len(list)
			at[k] = i
			list = append(list, series{probe: k.probe, at: r.place(), pop: pop})
		}
		s := &list[i]
		s.times = append(s.times, int64(r.number("ts")))
		s.rtt = append(s.rtt, r.number("avg_ms"))
	})
	for i := range list {
		list[i].sort()
	}
	return list, err
}

// record is one line of a CSV file with a header.
type record struct {
	fields  []string
	columns map[string]int
	errs    *[]error
}

func (r record) fail(format string, args ...any) {
	*r.errs = append(*r.errs, fmt.Errorf(format, args...))
}

func (r record) text(column string) string { return r.fields[r.columns[column]] }

func (r record) number(column string) float64 {
	v, err := strconv.ParseFloat(r.text(column), 64)
	if err != nil {
		r.fail("%s %q is not a number", column, r.text(column))
	}
	return v
}

func (r record) prefix(column string) netip.Prefix {
	p, err := netip.ParsePrefix(r.text(column))
	if err != nil {
		r.fail("%s: %w", column, err)
	}
	return p
}

// place reads the columns cc, asn, lat and lon. An unknown ASN may be empty.
func (r record) place() place.Place {
	p := place.Place{Country: r.text("cc"), Lat: r.number("lat"), Lon: r.number("lon"), HasCoord: true}
	if r.text("asn") != "" {
		p.ASN = uint32(r.number("asn"))
	}
	return p
}

// readCSV calls each for every line of a file that has the columns.
func readCSV(path string, columns []string, each func(record)) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: give the folder of the measurements with --data", err)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	reader := csv.NewReader(f)
	header, err := reader.Read()
	if err != nil {
		return fmt.Errorf("cannot read %q: %w", path, err)
	}
	var errs []error
	r := record{columns: map[string]int{}, errs: &errs}
	for i, name := range header {
		r.columns[name] = i
	}
	for _, name := range columns {
		if _, ok := r.columns[name]; !ok {
			return fmt.Errorf("%s has no column %q", path, name)
		}
	}
	for {
		r.fields, err = reader.Read()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("cannot read %q: %w", path, err)
		}
		each(r)
		if len(errs) > 0 {
			line, _ := reader.FieldPos(0)
			return fmt.Errorf("%s:%d: %w", path, line, errs[0])
		}
	}
}
