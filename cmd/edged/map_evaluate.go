package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"edged/mapper"
	"edged/maps"
)

func mapEvaluateCommand() *cobra.Command {
	var segments string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "evaluate FILE --against DIR",
		Short: "say what a map's first choices cost against what beacons measured",
		Long: `Say what a map's first choices cost: for each client block that beacons measured,
the round-trip time of the PoP that the map puts first less that of the best one
measured. Measurements that the map was not built from tell more.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := maps.Open(args[0])
			if err != nil {
				return err
			}
			measured, err := readSegments(cmd.Context(), segments, m.PoPs(), nil)
			if err != nil {
				return err
			}
			e := mapper.Evaluate(m, measured.Measurements)
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), e)
			}
			return writeEvaluation(cmd.OutOrStdout(), m, e)
		},
	}
	cmd.Flags().StringVar(&segments, "against", "", "`DIR` of segments with measurements")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.MarkFlagRequired("against")
	return cmd
}

func writeEvaluation(w io.Writer, m *maps.Map, e mapper.Evaluation) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "map\tversion %s\n", m.Version())
	fmt.Fprintf(tw, "measured\t%d blocks, %.0f sessions; of %d more blocks the first choice was not measured\n", e.Units, e.Sessions, e.Unheard)
	fmt.Fprintf(tw, "first is best\t%s of sessions\n", percent(e.Exact))
	fmt.Fprintf(tw, "within 5, 10, 25 ms\t%s, %s, %s\n", percent(e.Within5), percent(e.Within10), percent(e.Within25))
	fmt.Fprintf(tw, "above the best\tmean %.2f ms, p50 %.1f ms, p95 %.1f ms, p99 %.1f ms\n", e.Mean, e.P50, e.P95, e.P99)
	return tw.Flush()
}
