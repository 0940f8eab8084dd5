package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"edged/geo/place"
	"edged/mapper"
	"edged/mapper/beacon"
	"edged/mapper/generate"
)

// The bars of a whole build.
const (
	barBuildSeconds = 90
	barAboveBound   = 0.5 // %
)

// buildWhole times edged map build as it is shipped: of places alone, then of
// segments, demand and capacities too, and again with the map in force and what
// clients ask for a little changed. Units and beacons are made up.
func buildWhole(o options, r *report) error {
	if o.city == "" {
		return errors.New("no database: give one with --city")
	}
	dir, err := os.MkdirTemp("", "edged-bench-mapper-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	w := whole{r, dir, filepath.Join(dir, "edged")}
	if out, err := exec.Command("go", "build", "-o", w.edged, "edged/cmd/edged").CombinedOutput(); err != nil {
		return fmt.Errorf("cannot build edged: %w: %s", err, out)
	}
	if o.keep != "" {
		w.dir = o.keep
	}
	if err := w.prepare(o); err != nil {
		return err
	}
	r.add("load of the machine before", load(), "")
	places, err := w.build("places alone", "--config", w.path("plain.yaml"), "-o", w.path("places.edmap"))
	if err != nil {
		return err
	}
	r.most("places alone: file of ipv4", float64(places.Tables[0].Bytes), "bytes", barBytes)
	all := []string{"--config", w.path("edged.yaml"), "--segments", w.path("segments"), "--demand", w.path("demand.csv")}
	whole, err := w.build("whole", append(all, "-o", w.path("map.edmap"))...)
	if err != nil {
		return err
	}
	w.judge("whole", whole)
	all[len(all)-1] = w.path("later.csv")
	later, err := w.build("in force", append(all, "--in-force", w.path("map.edmap"), "--accept", "measured only", "-o", w.path("later.edmap"))...)
	if err != nil {
		return err
	}
	w.judge("in force", later)
	r.add("in force: demand moved", 100*later.Moved/later.InForce, "%")
	return nil
}

// whole is one measurement of builds.
type whole struct {
	r          *report
	dir, edged string
}

func (w *whole) path(name string) string { return filepath.Join(w.dir, name) }

// built is what the command says of a build.
type built struct {
	Bytes  int `json:"bytes"`
	Tables []struct {
		Bytes  int `json:"bytes"`
		Ranges int `json:"ranges"`
		Leaves int `json:"leaves"`
	} `json:"tables"`
	mapper.Report
	Steps []struct {
		Name    string  `json:"name"`
		Seconds float64 `json:"seconds"`
	} `json:"steps"`
}

// build runs one build in a process of its own, and notes what it took.
func (w *whole) build(name string, args ...string) (b built, err error) {
	cmd := exec.Command(w.edged, append([]string{"map", "build", "--json"}, args...)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	start := time.Now()
	out, err := cmd.Output()
	if err != nil {
		return b, fmt.Errorf("%s: %w: %s", name, err, stderr.String())
	}
	seconds := time.Since(start).Seconds()
	if err := json.Unmarshal(out, &b); err != nil {
		return b, fmt.Errorf("%s: %w", name, err)
	}
	usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	w.r.most(name+": time", seconds, "s", barBuildSeconds)
	w.r.add(name+": CPU time", (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds(), "s")
	w.r.add(name+": memory", float64(usage.Maxrss)/1024, "MiB") // in KiB on Linux
	w.r.add(name+": file", float64(b.Bytes), "bytes")
	w.r.add(name+": ipv4 ranges", float64(b.Tables[0].Ranges), "")
	w.r.add(name+": ipv4 ranges before merging", float64(b.Tables[0].Leaves), "")
	w.r.add(name+": rankings", float64(b.Rankings), "")
	for _, s := range b.Steps {
		w.r.add(name+": "+s.Name, s.Seconds, "s")
	}
	return b, nil
}

// judge holds a build under capacity to the bars.
func (w *whole) judge(name string, b built) {
	over := 0.0
	for _, p := range b.PoPs {
		over += max(0, p.Load-p.Held*(1+1e-6))
	}
	w.r.most(name+": overload", over, "requests/s", 0)
	w.r.most(name+": above the bound", 100*b.Above, "%", barAboveBound)
	w.r.add(name+": shortages", float64(len(b.Shortages)), "")
	w.r.add(name+": demand measured", 100*b.Measured/b.Demand, "%")
	w.r.add(name+": mean if all had their nearest", b.Nearest, "ms")
	w.r.add(name+": mean", b.Mean, "ms")
}

// prepare writes the configurations, segments and demand, unless they were kept.
func (w *whole) prepare(o options) error {
	city, err := filepath.Abs(o.city)
	if err != nil {
		return err
	}
	made := fmt.Sprintf("%d units, %d rows, %s\n", o.units, o.rows, city)
	switch before, err := os.ReadFile(w.path("made")); {
	case err == nil && string(before) == made:
		return nil
	case err == nil:
		return fmt.Errorf("%q holds another instance, of %s: give an empty folder with --keep", w.dir, strings.TrimSpace(string(before)))
	}
	db, err := place.OpenWith(city, "", "")
	if err != nil {
		return err
	}
	world, err := generate.New(generate.Config{Seed: 7, PoPs: generate.PoPs(pops), Units: o.units, Places: db.Networks()})
	if err != nil {
		return err
	}
	if err := errors.Join(
		os.MkdirAll(w.dir, 0o755),
		w.config("plain.yaml", world, city, make([]int, pops)), w.config("edged.yaml", world, city, capacities(world)),
		w.demand("demand.csv", world, 0), w.demand("later.csv", world, 0.2),
		w.segments(world, o.rows/perSession),
	); err != nil {
		return err
	}
	return os.WriteFile(w.path("made"), []byte(made), 0o600)
}

func (w *whole) config(name string, world *generate.World, city string, capacity []int) error {
	var b strings.Builder
	b.WriteString("pops:\n")
	for i, p := range world.PoPs {
		fmt.Fprintf(&b, "  - {name: %s, lat: %v, lon: %v, continent: %s, capacity: %d}\n", p.Name, p.Lat, p.Lon, p.Continent, capacity[i])
	}
	fmt.Fprintf(&b, "geo: {city: %q}\n", city)
	return os.WriteFile(w.path(name), []byte(b.String()), 0o600)
}

// demand writes what units ask for, each up to a share more or less.
func (w *whole) demand(name string, world *generate.World, drift float64) error {
	f, err := os.Create(w.path(name))
	if err != nil {
		return err
	}
	defer f.Close()
	out := bufio.NewWriter(f)
	fmt.Fprintln(out, "prefix,requests")
	for i, u := range world.Units {
		swing := drift * (2*float64(i*7919%1000)/999 - 1)
		fmt.Fprintf(out, "%s,%.4f\n", u.Prefix, u.Demand*(1+swing))
	}
	return out.Flush()
}

// segments writes a week of sessions, a quarter of them at a time.
func (w *whole) segments(world *generate.World, sessions int) error {
	writer, err := beacon.NewWriter(w.path("segments"))
	if err != nil {
		return err
	}
	names := make([]string, len(world.PoPs))
	for i, p := range world.PoPs {
		names[i] = p.Name
	}
	start := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	var hours [beaconHours][]beacon.Row
	batch := 0
	flush := func() error {
		for h, rows := range hours {
			if len(rows) > 0 {
				if _, err := writer.Append(beacon.Batch{ID: fmt.Sprintf("%d-%d", batch, h), PoPs: names, Rows: rows}); err != nil {
					return err
				}
			}
			hours[h] = rows[:0]
		}
		batch++
		return nil
	}
	n := 0
	for rows := range world.Sessions(sessions, start, beaconHours*time.Hour, generate.Fraud{}) {
		h := min(int((rows[0].Time-start.Unix())/3600), beaconHours-1)
		hours[h] = append(hours[h], rows...)
		if n++; n%(sessions/4+1) == 0 {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}
