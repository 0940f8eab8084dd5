package generate

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"edged/edge"
)

// Latencies are real minima between cities, read from a folder. The zero value
// knows none.
type Latencies struct {
	pops, clients []site
	ms            map[[2]int]float64 // by client and PoP
}

type site struct {
	name     string
	lat, lon float64
}

// ReadLatencies reads city_pops.csv (pop, lat, lon) and city_rtt.csv (client,
// lat, lon, pop, min_ms) in a folder; they may have other columns.
func ReadLatencies(dir string) (*Latencies, error) {
	l := &Latencies{ms: map[[2]int]float64{}}
	err := readColumns(filepath.Join(dir, "city_pops.csv"), []string{"pop"}, []string{"lat", "lon"}, func(text []string, number []float64) error {
		l.pops = append(l.pops, site{text[0], number[0], number[1]})
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = readColumns(filepath.Join(dir, "city_rtt.csv"), []string{"client", "pop"}, []string{"lat", "lon", "min_ms"}, func(text []string, number []float64) error {
		pop := indexOf(l.pops, text[1])
		if pop < 0 {
			return fmt.Errorf("pop %q is not in city_pops.csv", text[1])
		}
		client := indexOf(l.clients, text[0])
		if client < 0 {
			client = len(l.clients)
			l.clients = append(l.clients, site{text[0], number[0], number[1]})
		}
		l.ms[[2]int{client, pop}] = number[2]
		return nil
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

func indexOf(sites []site, name string) int {
	return slices.IndexFunc(sites, func(s site) bool { return s.name == name })
}

// between returns the minimum between the cities next to two places, if both
// are near enough and it was measured.
func (l *Latencies) between(lat, lon, popLat, popLon float64) (ms float64, ok bool) {
	client, pop := nearest(l.clients, lat, lon), nearest(l.pops, popLat, popLon)
	if client < 0 || pop < 0 {
		return 0, false
	}
	ms, ok = l.ms[[2]int{client, pop}]
	return ms, ok
}

// nearest returns the site next to a place, or -1 when none is within nearKm.
func nearest(sites []site, lat, lon float64) int {
	best, least := -1, float64(nearKm)
	for i, s := range sites {
		if km := edge.DistanceKm(lat, lon, s.lat, s.lon); km <= least {
			best, least = i, km
		}
	}
	return best
}

// readColumns calls row with the named columns of each line of a CSV file.
func readColumns(name string, text, numbers []string, row func(text []string, number []float64) error) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	r := csv.NewReader(f)
	head, err := r.Read()
	if err != nil {
		return fmt.Errorf("%s: cannot read the header: %w", name, err)
	}
	at := make([]int, 0, len(text)+len(numbers))
	for _, column := range slices.Concat(text, numbers) {
		i := slices.Index(head, column)
		if i < 0 {
			return fmt.Errorf("%s: no column %q", name, column)
		}
		at = append(at, i)
	}
	texts, values := make([]string, len(text)), make([]float64, len(numbers))
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		line, _ := r.FieldPos(0)
		for i := range text {
			texts[i] = record[at[i]]
		}
		for i := range numbers {
			value, err := strconv.ParseFloat(record[at[len(text)+i]], 64)
			if err != nil || math.IsNaN(value) || math.IsInf(value, 0) {
				return fmt.Errorf("%s:%d: column %s: %q is not a number", name, line, numbers[i], record[at[len(text)+i]])
			}
			values[i] = value
		}
		if err := row(texts, values); err != nil {
			return fmt.Errorf("%s:%d: %w", name, line, err)
		}
	}
}
