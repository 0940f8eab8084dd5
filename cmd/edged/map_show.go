package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"edged/edge"
	"edged/maps"
)

// mapSummary is what map show says about a map.
type mapSummary struct {
	Version  string       `json:"version"`
	Created  time.Time    `json:"created"`
	Bytes    int          `json:"bytes"`
	Inputs   []maps.Input `json:"inputs"`
	MadeUp   bool         `json:"made_up,omitempty"` // an input is: round trips are not real
	PoPs     []mapPoP     `json:"pops"`
	Rankings int          `json:"rankings"`
	Orders   int          `json:"orders"`
	Tables   []mapTable   `json:"tables"`
	Gate     *maps.Gate   `json:"gate,omitempty"` // what it was held against when it was built
}

type mapPoP struct {
	Name      string  `json:"name"`
	Lat       float64 `json:"lat"`
	Lon       float64 `json:"lon"`
	Continent string  `json:"continent,omitempty"`
	Capacity  int64   `json:"capacity,omitempty"`

	Pricing *mapPricing `json:"pricing,omitempty"` // nil: the map says nothing of load
}

// mapPricing is what a map says of a PoP's load.
type mapPricing struct {
	Price  float64 `json:"price_ms"`
	Soft   float64 `json:"soft_limit"` // requests/s; 0: none
	Hard   float64 `json:"hard_limit"`
	Demand float64 `json:"demand"` // requests/s
}

// mapTable is one family of one table.
type mapTable struct {
	Table  string `json:"table"`
	Family string `json:"family"`
	maps.SpaceStats
}

// madeUpNote stands above round trips that are not real.
const madeUpNote = "made up\tround trips are for demonstration: nobody measured them"

func mapShowCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show FILE",
		Short: "say what a map holds and what it was built from",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := maps.Open(args[0])
			if err != nil {
				return err
			}
			s := summarize(m)
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), s)
			}
			return s.writeText(cmd.OutOrStdout())
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func summarize(m *maps.Map) mapSummary {
	s := mapSummary{
		Version: m.Version(), Created: m.Created(), Bytes: m.Size(), Inputs: append([]maps.Input{}, m.Inputs()...), MadeUp: m.IsMadeUp(),
		Rankings: m.Rankings(), Orders: m.Orders(), Gate: m.Gate(),
	}
	for i, p := range m.PoPs() {
		row := mapPoP{Name: p.Name, Lat: p.Lat, Lon: p.Lon, Continent: p.Continent, Capacity: p.Capacity}
		if m.Prices() != nil {
			of := m.Prices()[i]
			row.Pricing = &mapPricing{float64(of.Price) / 1000, of.Soft, of.Hard, of.Demand}
		}
		s.PoPs = append(s.PoPs, row)
	}
	for _, table := range []struct {
		name string
		t    *maps.Table
	}{{"ecs", m.ECS()}, {"resolver", m.Resolver()}} {
		v4, v6 := m.Stats(table.t)
		s.Tables = append(
			s.Tables,
			mapTable{table.name, edge.IPv4.String(), v4},
			mapTable{table.name, edge.IPv6.String(), v6},
		)
	}
	return s
}

func (s mapSummary) writeText(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "version\t%s\n", s.Version)
	fmt.Fprintf(tw, "created\t%s\n", s.Created.Format(time.RFC3339))
	fmt.Fprintf(tw, "size\t%d bytes\n", s.Bytes)
	fmt.Fprintf(tw, "rankings\t%d, over %d great-circle orders\n", s.Rankings, s.Orders)
	for _, in := range s.Inputs {
		fmt.Fprintf(tw, "input\t%s (%s)\n", in.Name, in.Version)
	}
	if s.MadeUp {
		fmt.Fprintf(tw, "%s\n", madeUpNote)
	}
	fmt.Fprintln(tw)
	fmt.Fprintln(tw, "table\tfamily\tranges\tmeasured\tof addresses\tunknown")
	for _, t := range s.Tables {
		fmt.Fprintf(tw, "%s\t%s\t%d\t%d\t%s\t%s\n", t.Table, t.Family, t.Ranges, t.MeasuredRanges, percent(t.Measured), percent(t.Unknown))
	}
	fmt.Fprintln(tw)
	fmt.Fprintln(tw, "pop\tlat\tlon\tcontinent\tcapacity")
	for _, p := range s.PoPs {
		fmt.Fprintf(tw, "%s\t%.2f\t%.2f\t%s\t%d\n", p.Name, p.Lat, p.Lon, p.Continent, p.Capacity)
	}
	s.writePrices(tw)
	if err := tw.Flush(); err != nil || s.Gate == nil {
		return err
	}
	return writeGate(w, s.Gate)
}

// writePrices writes what the map says of load, if it does.
func (s mapSummary) writePrices(w io.Writer) {
	for i, p := range s.PoPs {
		if p.Pricing == nil {
			return
		}
		if i == 0 {
			fmt.Fprintln(w)
			fmt.Fprintln(w, "pop\tprice ms\tdemand/s\tsoft\thard")
		}
		fmt.Fprintf(w, "%s\t%.1f\t%.1f\t%s\t%s\n", p.Name, p.Pricing.Price, p.Pricing.Demand, limitText(p.Pricing.Soft), limitText(p.Pricing.Hard))
	}
}

// percent writes a share of 0 to 1 for a person.
func percent(share float64) string { return fmt.Sprintf("%.2f %%", 100*share) }
