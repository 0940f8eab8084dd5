package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"edged/config"
	"edged/edge"
	"edged/mapper/simulate"
	"edged/maps"
)

func simulateCommand() *cobra.Command {
	var mapPath, configPath, demandPath string
	var down []string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "simulate --down POP[,POP...] {--map FILE | --config FILE} [--demand FILE]",
		Short: "say who goes where when PoPs are down, and what that loads",
		Long: `Say who goes where when PoPs are down: the load of each PoP before and after, how
much longer round trips become, and which PoPs get more than their capacity. All
clients take the next PoP of the map's ranking; what edges do about load later is
not in it. With a configuration it is the map that it calls default, or its only one.

The demand is CSV, in requests per second:

	prefix,requests
	203.0.113.0/24,12.5

Without it every IPv4 /24 that the map knows counts as 1, and capacities say
nothing.`,
		Args:    cobra.NoArgs,
		PreRunE: noEmptyWords,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if mapPath == "" {
				var err error
				if mapPath, err = servedMap(configPath); err != nil {
					return err
				}
			}
			m, err := maps.Open(mapPath)
			if err != nil {
				return err
			}
			var demand []simulate.Demand
			if demandPath != "" {
				if demand, err = readDemand(demandPath); err != nil {
					return err
				}
			}
			result, err := simulate.Down(m, down, demand)
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), result)
			}
			return writeSimulation(cmd.OutOrStdout(), result, demand != nil)
		},
	}
	cmd.Flags().StringSliceVar(&down, "down", nil, "the `POP`s that are down")
	cmd.Flags().StringVar(&mapPath, "map", "", "the map `FILE`")
	cmd.Flags().StringVar(&configPath, "config", "", "the configuration `FILE` whose map it is")
	cmd.Flags().StringVar(&demandPath, "demand", "", "CSV `FILE` of demand by network")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.MarkFlagRequired("down")
	cmd.MarkFlagsOneRequired("map", "config")
	cmd.MarkFlagsMutuallyExclusive("map", "config")
	return cmd
}

// servedMap returns the file of a configuration's map: the one named default, or
// the only one.
func servedMap(configPath string) (string, error) {
	c, err := config.Load(configPath)
	if err != nil {
		return "", err
	}
	names := sortedKeys(c.Maps)
	if _, ok := c.Maps["default"]; ok {
		names = []string{"default"}
	}
	if len(names) != 1 {
		return "", fmt.Errorf("%s: it has %d maps, none of them default; name one's file with --map", configPath, len(names))
	}
	return string(c.Maps[names[0]].File), nil
}

func readDemand(path string) ([]simulate.Demand, error) {
	f, err := edge.OpenRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	demand, err := simulate.ReadDemand(f, path)
	if err == nil && len(demand) == 0 {
		err = errors.New(path + ": no demand in it; leave --demand out to count addresses")
	}
	return demand, err
}

func writeSimulation(w io.Writer, r *simulate.Result, requests bool) error {
	unit, share := "/24 blocks", 0.0
	if requests {
		unit = "requests/s"
	}
	if r.Total > 0 {
		share = r.Moved / r.Total
	}
	fmt.Fprintf(w, "without %s, %s of %.1f %s move\n", strings.Join(r.Down, ", "), percent(share), r.Total, unit)
	if r.RTTKnown > 0 {
		fmt.Fprintf(w, "their round trips take %.1f ms in place of %.1f, where the map has both (%s of them)\n", r.RTTAfter, r.RTTBefore, percent(r.RTTKnown/r.Moved))
	}
	if r.NoHome > 0 {
		fmt.Fprintf(w, "%.1f have no PoP left\n", r.NoHome)
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "\npop\tbefore\tafter\tcapacity\t\n")
	for _, p := range r.PoPs {
		capacity, over := "-", ""
		if p.Capacity > 0 && requests {
			capacity = fmt.Sprintf("%.1f", p.Capacity)
			if p.Over() > 0 {
				over = fmt.Sprintf("over by %.1f", p.Over())
			}
		}
		fmt.Fprintf(tw, "%s\t%.1f\t%.1f\t%s\t%s\n", p.Name, p.Before, p.After, capacity, over)
	}
	if len(r.Moves) > 0 {
		fmt.Fprintf(tw, "\nfrom\tto\t%s\t\t\n", unit)
		for _, m := range r.Moves {
			fmt.Fprintf(tw, "%s\t%s\t%.1f\t\t\n", m.From, orNone(m.To), m.Demand)
		}
	}
	return tw.Flush()
}
