package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"edged/mapper"
	"edged/mapper/beacon"
	"edged/maps"
)

func mapEvaluateCommand() *cobra.Command {
	var configPath, segments, demandPath string
	var heldBack, asJSON bool
	cmd := &cobra.Command{
		Use:   "evaluate FILE --against DIR",
		Short: "say what a map's first choices cost against what beacons measured",
		Long: `Say what a map's first choices cost: for each client block that beacons measured,
the round-trip time of the PoP that the map puts first less that of the best one
measured. Beside it stand the PoP that is nearest by distance and the best one.

Blocks count by their sessions, or by the requests/s of --demand, and alike.
Measurements that the map was not built from tell more: --held-back takes only the
twentieth of sessions that map build never uses.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := maps.Open(args[0])
			if err != nil {
				return err
			}
			engine, err := engineOf(configPath)
			if err != nil {
				return err
			}
			part := mapper.Whole
			if heldBack {
				part = mapper.Unseen
			}
			measured, err := readSegments(cmd.Context(), segments, m.PoPs(), nil, part, engine)
			if err != nil {
				return err
			}
			unit, weight := "sessions", (func(beacon.Unit) float64)(nil)
			if demandPath != "" {
				demand, err := readDemand(demandPath)
				if err != nil {
					return err
				}
				unit, weight = "requests/s", mapper.UnitDemand(demand)
			}
			e := mapper.Evaluate(m, measured.Measurements, weight)
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), e)
			}
			return writeEvaluation(cmd.OutOrStdout(), m, e, unit)
		},
	}
	cmd.Flags().StringVar(&configPath, "config", "", "configuration `FILE` that says what aggregates segments; only aggregate is read")
	cmd.Flags().StringVar(&segments, "against", "", "`DIR` of segments with measurements")
	cmd.Flags().StringVar(&demandPath, "demand", "", "CSV `FILE` of demand by network, in requests/s")
	cmd.Flags().BoolVar(&heldBack, "held-back", false, "take only sessions that no map is built from")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.MarkFlagRequired("against")
	return cmd
}

func writeEvaluation(w io.Writer, m *maps.Map, e mapper.Evaluation, unit string) error {
	fmt.Fprintf(w, "map %s: %d blocks, %.0f sessions; of %d more blocks the first choice was not measured\n", m.Version(), e.Units, e.Sessions, e.Unheard)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, part := range []struct {
		by string
		mapper.Compared
	}{{fmt.Sprintf("by %s (%.0f)", unit, e.Demand), e.ByDemand}, {"by block", e.ByUnit}} {
		fmt.Fprintf(tw, "\n%s\tblocks\tbest\twithin 5, 10, 25 ms\tmean above the best, 95 %% interval\tp50\tp90\tp95\tp99\tround trip\n", part.by)
		for _, row := range []struct {
			name string
			mapper.Score
		}{{"this map", part.Map}, {"nearest pop", part.Nearest}, {"best pop", part.Oracle}} {
			fmt.Fprintf(tw, "%s\t%d\t%s\t%s, %s, %s\t%.2f ms (%.2f to %.2f)\t%.1f\t%.1f\t%.1f\t%.1f\t%.2f ms\n",
				row.name, row.Units, percent(row.Exact), percent(row.Within5), percent(row.Within10), percent(row.Within25),
				row.Mean, row.Interval[0], row.Interval[1], row.P50, row.P90, row.P95, row.P99, row.RTT)
		}
	}
	return tw.Flush()
}
