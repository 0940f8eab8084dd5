package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"edged/mapper"
	"edged/maps"
)

// maxTolerance is beyond any use, in ms.
const maxTolerance = 1000

// addDemand reads what clients ask for into in.
func addDemand(path string, in *mapper.Input) error {
	in.Progress("reading demand")
	demand, err := readDemand(path)
	if err != nil {
		return err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	in.Demand = demand
	in.Sources = append(in.Sources, maps.Input{Name: filepath.Base(path), Version: fmt.Sprintf("sha256:%x", sha256.Sum256(b))[:len("sha256:")+12]})
	return nil
}

// buildReport is what map build says of the map it wrote.
type buildReport struct {
	File    string       `json:"file"`
	Version string       `json:"version"`
	Bytes   int          `json:"bytes"`
	Tables  []buildTable `json:"tables"`
	mapper.Report
	Gate  *maps.Gate `json:"gate"`
	Steps []step     `json:"steps"`
}

// buildTable is one family. Bytes is what a map of that family alone would take.
type buildTable struct {
	Family string `json:"family"`
	Bytes  int    `json:"bytes"`
	Leaves int    `json:"leaves"` // before neighbours were merged
	maps.SpaceStats
}

func describeBuild(path string, m *maps.Map, report mapper.Report) buildReport {
	r := buildReport{File: path, Version: m.Version(), Bytes: m.Size(), Report: report}
	size4, size6 := m.ECS().Bytes()
	if m.Resolver().V4 != m.ECS().V4 {
		more4, more6 := m.Resolver().Bytes()
		size4, size6 = size4+more4, size6+more6
	}
	v4, v6 := m.Stats(m.ECS())
	r.Tables = []buildTable{
		{"ipv4", m.Size() - size6, report.Leaves4, v4},
		{"ipv6", m.Size() - size4, report.Leaves6, v6},
	}
	return r
}

func (r buildReport) writeText(w io.Writer) error {
	fmt.Fprintf(w, "%s: version %s, %d measured networks, %d ipv4 and %d ipv6 ranges, %d rankings, %d bytes\n",
		r.File, r.Version, r.Nets, r.Tables[0].Ranges, r.Tables[1].Ranges, r.Rankings, r.Bytes)
	for _, t := range r.Tables {
		fmt.Fprintf(w, "%s: %d bytes without the other family, %d ranges before neighbours were merged\n", t.Family, t.Bytes, t.Leaves)
	}
	if r.Demand > 0 {
		fmt.Fprintf(w, "demand: %.1f %s, %s of it measured", r.Demand, r.Unit, percent(r.Measured/r.Demand))
		if r.Assumed > 0 {
			fmt.Fprintf(w, ", %s assumed from sessions of networks without a line", percent(r.Assumed/r.Demand))
		}
		if r.Nowhere > 0 {
			fmt.Fprintf(w, ", %s from where nothing is known", percent(r.Nowhere/r.Demand))
		}
		fmt.Fprintln(w)
	}
	if r.Uncounted > 0 {
		fmt.Fprintf(w, "uncounted: %s of the ipv4 addresses that have a pop (%.0f of %.0f /24 blocks) have no demand: the map answers them as well, and they are in no load\n",
			percent(r.Uncounted/r.Ranked), r.Uncounted, r.Ranked)
	}
	if r.InForce > 0 {
		fmt.Fprintf(w, "moved: %s of the demand that has a first choice in the map in force\n", percent(r.Moved/r.InForce))
	}
	if r.Timed > 0 {
		fmt.Fprintf(w, "round trips: %.2f ms on average, %.2f if all went to the nearest\n", r.Mean, r.Nearest)
	}
	fmt.Fprintln(w, "capacity: "+r.capacity())
	for _, s := range r.Shortages {
		fmt.Fprintf(w, "shortage: %.1f requests/s have no other choice than %s, which should have %.1f at most", s.Demand, strings.Join(s.PoPs, ", "), s.Soft)
		if s.Short > 0 {
			fmt.Fprintf(w, " and can have %.1f: %.1f too many", s.Hard, s.Short)
		}
		fmt.Fprintln(w)
	}
	r.writeSplits(w)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "\npop\tload\tshare\tsoft limit\thard limit\tprice\n")
	for _, p := range r.PoPs {
		soft, hard, price, over := "-", "-", "-", ""
		if p.Soft > 0 {
			soft, hard, price = fmt.Sprintf("%.1f", p.Soft), fmt.Sprintf("%.1f", p.Hard), fmt.Sprintf("%.1f ms", p.Price)
			switch {
			case p.Load > p.Hard:
				over = "\tabove the hard limit"
			case p.Held > p.Soft:
				over = fmt.Sprintf("\tshortage: held to %.1f", p.Held)
			case p.Load > p.Soft*(1+1e-5): // beyond rounding
				over = "\tabove the soft limit"
			}
		}
		share := 0.0
		if r.Demand > 0 {
			share = p.Load / r.Demand
		}
		fmt.Fprintf(tw, "%s\t%.1f\t%s\t%s\t%s\t%s%s\n", p.Name, p.Load, percent(share), soft, hard, price, over)
	}
	if len(r.Resolvers) > 0 {
		fmt.Fprintf(tw, "\nresolvers whose clients lose most by one answer:\n")
	}
	if err := tw.Flush(); err != nil || len(r.Resolvers) == 0 {
		return err
	}
	return writeResolvers(w, r.Resolvers, string(r.Unit))
}

// listedSplits is how many split ranges the text lists.
const listedSplits = 5

// writeSplits says whose clients were too many for one PoP.
func (r buildReport) writeSplits(w io.Writer) {
	if len(r.Split) == 0 {
		return
	}
	fmt.Fprintf(w, "split: %.1f requests/s of networks that are too large for one pop\n", r.SplitDemand)
	for i, s := range r.Split {
		if i == listedSplits {
			fmt.Fprintln(w, "  and others")
			break
		}
		fmt.Fprintf(w, "  %s - %s, %.1f requests/s:", s.From, s.To, s.Demand)
		for k, p := range s.PoPs {
			if k > 0 {
				fmt.Fprint(w, ",")
			}
			fmt.Fprintf(w, " %s %s", p.Name, percent(p.Share))
		}
		fmt.Fprintln(w)
	}
}

// capacity says whether the map keeps within what PoPs can take, or why not.
func (r buildReport) capacity() string {
	cost := percent(r.Above) + " above the least possible cost"
	full := 0
	for _, p := range r.PoPs {
		if p.Hard > 0 && p.Load > p.Hard {
			full++
		}
	}
	switch {
	case !r.Limited && r.Unit == mapper.Requests:
		return "no pop has one"
	case !r.Limited:
		return "not kept, since nobody said how many requests/s clients make (--demand); loads are in " + string(r.Unit)
	case full > 0:
		return fmt.Sprintf("not kept: %d of %d pops are above their hard limit", full, len(r.PoPs))
	case len(r.Shortages) > 0:
		return "kept by hard limits, not by all soft ones; at " + cost
	default:
		return "kept, at " + cost
	}
}
