package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"edged/config"
	"edged/edge"
	"edged/geo/place"
	"edged/mapper"
	"edged/mapper/estimate"
	"edged/maps"
)

// mapExplanation is why one range of a map has its ranking.
type mapExplanation struct {
	Query   string       `json:"query"`
	Table   string       `json:"table"`
	From    netip.Addr   `json:"from"`
	To      netip.Addr   `json:"to"`
	Block   netip.Prefix `json:"block"`
	Version string       `json:"version"`
	MadeUp  bool         `json:"made_up,omitempty"` // an input is: round trips are not real
	Newest  *time.Time   `json:"newest_session,omitempty"`
	mapper.Explanation
	Traces []mapTrace `json:"traces,omitempty"` // with segments: how each estimate comes about, the best first
}

// mapTrace is how one estimate came about: the line over distance, the block's own
// access, what each level adds, and what the block says itself. All times are in
// ms.
type mapTrace struct {
	PoP    string    `json:"pop"`
	RTT    float64   `json:"rtt_ms"`
	Km     float64   `json:"km,omitempty"`
	Line   float64   `json:"line_ms"`
	Access float64   `json:"access_ms"`
	Steps  []mapStep `json:"levels"`
	Parent float64   `json:"without_own_ms"`
	Own    *mapWord  `json:"own,omitempty"`
	Out    *mapOut   `json:"left_out,omitempty"` // why the PoP is no candidate
}

// mapOut is a PoP that the block's clients fail to reach too often.
type mapOut struct {
	Attempts int     `json:"attempts"`
	Failures int     `json:"failures"`
	Sources  int     `json:"sources"`
	Share    float64 `json:"failing"`          // by sources, 0 to 1
	AtLeast  float64 `json:"failing_at_least"` // what that proves
}

type mapStep struct {
	Level    string  `json:"level"`
	Add      float64 `json:"add_ms"`
	Blocks   int     `json:"blocks"`
	Believed float64 `json:"believed"` // share, 0 to 1
}

type mapWord struct {
	Median   float64 `json:"median_ms"`
	P90      float64 `json:"p90_ms"`
	Spread   float64 `json:"spread_ms"`
	Samples  int     `json:"samples"`
	Sources  int     `json:"sources"`
	Weight   float64 `json:"weight"`
	Believed float64 `json:"believed"`
	Held     bool    `json:"held"` // too few sources to be believed below what others say
}

func mapExplainCommand() *cobra.Command {
	var resolver, asJSON bool
	var segments segmentFlags
	cmd := &cobra.Command{
		Use:   "explain FILE ADDR|PREFIX",
		Short: "say where the numbers of a ranking come from, and why its order is so",
		Long: `Say where the numbers of a ranking come from, and why its order is so: for each
PoP the level it was measured on (the block itself, its network in the metro or the
country, the metro, the country, places around, the world), how much was measured
there, and what decides between it and the PoP before: round trips, prices for load,
what is in force, or a tie. The map alone tells that.

With --segments and --config the estimates are made again, and each is taken apart:
the line over distance, the block's own access, what every level adds and how far it
is believed, and the block's own median and 90th percentile.`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := errors.Join(segments.check(cmd), onlyWith(cmd, "segments", "config")); err != nil {
				return err
			}
			m, err := maps.Open(args[0])
			if err != nil {
				return err
			}
			prefix, err := parseQuery(args[1])
			if err != nil {
				return err
			}
			var again *mapper.Estimates
			var pops []edge.PoP
			switch {
			case segments.into != "" && segments.config == "":
				return errors.New("--segments alone does not say where clients are: name the configuration, too (--config)")
			case segments.into != "":
				var where config.Geo
				if pops, where, err = config.LoadPoPs(segments.config); err != nil {
					return err
				}
				places, err := place.OpenWith(string(where.City), string(where.ASN), string(where.Overrides))
				if err != nil {
					return err
				}
				progress := progressTo(cmd.ErrOrStderr())
				defer progress.end()
				in := mapper.Input{PoPs: pops, Progress: progress.begin}
				if _, err := segments.addTo(cmd, places, &in); err != nil {
					return err
				}
				progress.end()
				again = in.Measured
			}
			list := explainPrefix(m, resolver, args[1], prefix, again, pops)
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), list)
			}
			for i, e := range list {
				if i > 0 {
					fmt.Fprintln(cmd.OutOrStdout())
				}
				if err := e.writeText(cmd.OutOrStdout()); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&resolver, "resolver", false, "look into the table of resolvers, not of client subnets")
	cmd.Flags().StringVar(&segments.config, "config", "", "configuration `FILE` with pops and place data, for --segments")
	segments.add(cmd)
	cmd.MarkFlagsMutuallyExclusive("resolver", "segments")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// explainPrefix explains each range that a prefix touches, the first ones.
func explainPrefix(m *maps.Map, resolver bool, query string, prefix netip.Prefix, again *mapper.Estimates, pops []edge.PoP) (list []mapExplanation) {
	for _, a := range lookupPrefix(m, resolver, query, prefix) {
		addr := a.From
		if addr.Less(prefix.Addr()) {
			addr = prefix.Addr()
		}
		e := mapExplanation{
			Query: query, Table: a.Table, From: a.From, To: a.To, Block: a.Block, Version: m.Version(), MadeUp: m.IsMadeUp(),
			Explanation: mapper.Explain(m, resolver, addr),
		}
		if newest := m.NewestSession(); !newest.IsZero() {
			e.Newest = &newest
		}
		if again != nil {
			e.Traces = tracesOf(again, addr, pops)
		}
		list = append(list, e)
	}
	return list
}

func tracesOf(again *mapper.Estimates, addr netip.Addr, pops []edge.PoP) (list []mapTrace) {
	traces, _ := again.Trace(addr)
	for _, t := range traces {
		trace := mapTrace{
			PoP: pops[t.PoP].Name, RTT: t.RTT, Km: t.Km, Line: t.Line, Access: t.Access, Steps: []mapStep{}, Parent: t.Parent,
		}
		for _, s := range t.Steps {
			trace.Steps = append(trace.Steps, mapStep{s.Level.String(), s.Add, s.Units, s.Trust})
		}
		if o := t.Own; o != nil {
			trace.Own = &mapWord{o.RTT, o.P90, o.Spread, o.Samples, o.Sources, o.Weight, o.Trust, o.Held}
		}
		if f := again.Failing(addr, t.PoP); f != nil {
			trace.Out = &mapOut{f.Attempts, f.Failures, f.Sources, f.Share, f.AtLeast}
		}
		list = append(list, trace)
	}
	return list
}

func (e mapExplanation) writeText(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "%s\tin the %s table of map %s\n", e.Query, e.Table, e.Version)
	if e.MadeUp {
		fmt.Fprintf(tw, "%s\n", madeUpNote)
	}
	fmt.Fprintf(tw, "range\t%s - %s, answers for %s\n", e.From, e.To, e.Block)
	fmt.Fprintf(tw, "source\t%s\n", e.Source)
	if u := e.Unit; u != nil {
		fmt.Fprintf(tw, "block\t%s: %d sessions of %d sources, %d h before the newest on average; %.1f ms of every round trip are its own access\n",
			u.Prefix, u.Sessions, u.Sources, u.Age, u.Access)
	}
	if e.Newest != nil {
		fmt.Fprintf(tw, "newest\t%s\n", e.Newest.Format(time.RFC3339))
	}
	if len(e.Hops) > 0 {
		fmt.Fprintf(tw, "\npop\tround trip\tprice\tfrom\twhy here\n")
	}
	for _, h := range e.Hops {
		rtt, price := "-", "-"
		if h.RTT > 0 {
			rtt = fmt.Sprintf("%.1f ms", h.RTT)
		}
		if h.Price > 0 {
			price = fmt.Sprintf("%.1f ms", h.Price)
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", h.PoP, rtt, price, h.From, h.Why)
	}
	if len(e.Then) > 0 {
		fmt.Fprintf(tw, "\nthen by distance\t%s\n", strings.Join(e.Then, ", "))
	}
	if err := tw.Flush(); err != nil || len(e.Traces) == 0 {
		return err
	}
	return writeTraces(w, e.Traces)
}

// writeTraces writes estimates as sums.
func writeTraces(w io.Writer, traces []mapTrace) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "\nestimated again\tms\t\n")
	for _, t := range traces {
		out := ""
		if o := t.Out; o != nil {
			out = fmt.Sprintf("not among the choices: %d of %d attempts of %d sources fail, surely more than %s of them", o.Failures, o.Attempts, o.Sources, percent(o.AtLeast))
		}
		fmt.Fprintf(tw, "%s\t%.1f\t%s\n", t.PoP, t.RTT, out)
		fmt.Fprintf(tw, "  distance\t%.1f\t%.0f km along the line\n", t.Line, t.Km)
		fmt.Fprintf(tw, "  access\t%+.1f\t\n", t.Access)
		for _, s := range t.Steps {
			fmt.Fprintf(tw, "  %s\t%+.1f\t%d blocks, believed %s\n", s.Level, s.Add, s.Blocks, percent(s.Believed))
		}
		if o := t.Own; o != nil {
			note := ""
			if o.Held {
				note = "; too few sources to go below what others say"
			}
			fmt.Fprintf(tw, "  %s\t%.1f\twithout its own samples\n", "all levels", t.Parent)
			fmt.Fprintf(tw, "  %s\t%.1f\tmedian of %d samples of %d sources, p90 %.1f, spread %.1f, believed %s%s\n",
				estimate.Own, o.Median, o.Samples, o.Sources, o.P90, o.Spread, percent(o.Believed), note)
		}
	}
	return tw.Flush()
}
