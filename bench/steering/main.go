package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "steering:", err)
		os.Exit(1)
	}
}

// options are the command line.
type options struct {
	data string
	json bool
	half string // of the clients that are scored: all, even or odd
	seed uint64
	only string // checks to run, all when empty
}

// runs reports whether a check is asked for.
func (o options) runs(check string) bool { return o.only == "" || strings.Contains(o.only, check) }

// scores reports whether a client's outcome counts.
func (o options) scores(i int) bool {
	return o.half == "all" || (o.half == "even") == (i%2 == 0)
}

// result is everything that is printed.
type result struct {
	E1 compared `json:"E1"`
	E2 compared `json:"E2"`
	E3 compared `json:"E3"`
	E4 compared `json:"E4"`
	E5 drift    `json:"E5"`
	E7 capture  `json:"E7"`
}

func run(args []string, w io.Writer) error {
	var o options
	flags := flag.NewFlagSet("steering", flag.ContinueOnError)
	flags.StringVar(&o.data, "data", "", "folder of the measurements")
	flags.BoolVar(&o.json, "json", false, "print JSON")
	flags.StringVar(&o.half, "half", "all", "score all clients, the even or the odd ones (the others still teach)")
	flags.Uint64Var(&o.seed, "seed", 1, "of what is drawn")
	flags.StringVar(&o.only, "only", "", "run only these checks, for example E1,E2")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch {
	case o.data == "":
		return fmt.Errorf("no data: give the folder of the measurements with --data")
	case o.half != "all" && o.half != "even" && o.half != "odd":
		return fmt.Errorf("bad half %q: want all, even or odd", o.half)
	}
	r, err := measure(o)
	if err != nil {
		return err
	}
	if o.json {
		return json.NewEncoder(w).Encode(r)
	}
	r.write(w)
	return nil
}

func measure(o options) (r result, err error) {
	pops, cityList, err := cities(o.data)
	if err != nil {
		return r, err
	}
	dcs, index, probeList, err := probes(o.data)
	if err != nil {
		return r, err
	}
	seriesList, err := pings(o.data, index)
	if err != nil {
		return r, err
	}
	if r.E1, r.E2, r.E7, err = steerCities(o, pops, cityList); err != nil {
		return r, err
	}
	if o.runs("E3") || o.runs("E4") {
		if r.E3, r.E4, err = steerProbes(o, dcs, probeList); err != nil {
			return r, err
		}
	}
	if !o.runs("E5") {
		return r, nil
	}
	r.E5, err = predict(o, dcs, seriesList)
	return r, err
}

// write prints the results as a table.
func (r result) write(w io.Writer) {
	fmt.Fprintln(w, "check  who           n  exact  <=5ms  <=10ms  <=25ms    mean  (95 % interval)     p95     p99")
	for _, c := range []struct {
		name string
		c    compared
	}{{"E1", r.E1}, {"E2", r.E2}, {"E3", r.E3}, {"E4", r.E4}} {
		for _, row := range []struct {
			who string
			s   score
		}{{"edged", c.c.score}, {"geo-nearest", c.c.Geo}, {"country", c.c.Country}, {"oracle", c.c.Oracle}} {
			s := row.s
			fmt.Fprintf(w, "%-5s  %-11s %4d  %4.1f%%  %4.1f%%   %4.1f%%   %4.1f%%  %6.2f  (%5.2f - %5.2f)  %6.1f  %6.1f\n", c.name, row.who, s.N,
				100*s.Exact, 100*s.Within5, 100*s.Within10, 100*s.Within25, s.Mean, s.MeanCI[0], s.MeanCI[1], s.P95, s.P99)
		}
	}
	fmt.Fprintf(w, "E5     error of the median: n %d, p50 %.2f ms, p90 %.2f ms, p95 %.2f ms\n", r.E5.N, r.E5.P50, r.E5.P90, r.E5.P95)
	fmt.Fprintf(w, "E7     attacks: n %d, captured %.2f %%\n", r.E7.N, 100*r.E7.Captured)
}
