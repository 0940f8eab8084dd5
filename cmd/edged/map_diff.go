package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"edged/maps"
)

func mapDiffCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "say whose first choice changes from one map to another",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			before, err := maps.Open(args[0])
			if err != nil {
				return err
			}
			after, err := maps.Open(args[1])
			if err != nil {
				return err
			}
			d := maps.Diff(before, after)
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), d)
			}
			return writeDiff(cmd.OutOrStdout(), before, after, d)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func writeDiff(w io.Writer, before, after *maps.Map, d maps.Difference) error {
	fmt.Fprintf(w, "from version %s to %s\n", before.Version(), after.Version())
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, space := range []struct {
		table, family, unit string
		d                   maps.SpaceDifference
	}{
		{"ecs", "v4", "/24", d.ECS.V4},
		{"ecs", "v6", "/48", d.ECS.V6},
		{"resolver", "v4", "/24", d.Resolver.V4},
		{"resolver", "v6", "/48", d.Resolver.V6},
	} {
		fmt.Fprintf(tw, "\n%s %s: the first choice of %s of %.0f known %s blocks changed\n",
			space.table, space.family, percent(space.d.Share()), space.d.Known, space.unit)
		if len(space.d.Moves) == 0 {
			continue
		}
		fmt.Fprintf(tw, "from\tto\t%s blocks\n", space.unit)
		for _, m := range space.d.Moves {
			fmt.Fprintf(tw, "%s\t%s\t%.1f\n", orNone(m.From), orNone(m.To), m.Blocks)
		}
		fmt.Fprintf(tw, "\nlargest ranges\tfrom\tto\t%s blocks\n", space.unit)
		for _, r := range space.d.Ranges {
			fmt.Fprintf(tw, "%s - %s\t%s\t%s\t%.1f\n", r.First, r.Last, orNone(r.From), orNone(r.To), r.Blocks)
		}
	}
	return tw.Flush()
}

// orNone names the lack of a first choice.
func orNone(pop string) string {
	if pop == "" {
		return "(none)"
	}
	return pop
}
