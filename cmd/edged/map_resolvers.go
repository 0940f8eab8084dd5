package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"edged/config"
	"edged/geo/place"
	"edged/mapper"
	"edged/mapper/simulate"
)

func mapResolversCommand() *cobra.Command {
	var demandPath string
	var segments segmentFlags
	var asJSON bool
	var most int
	cmd := &cobra.Command{
		Use:   "resolvers --config FILE --segments DIR",
		Short: "list the resolvers whose clients lose most by having one answer",
		Long: `List the resolvers whose clients lose most by having one answer for all of them:
those for which client subnets (ECS) in their queries would help most. The order is
by demand times regret, which is what clients lose to answers of their own. ECS is
needed where three clients of ten lose more than 20 ms.

Clients are known to be behind a resolver by the sessions of beacons. They count by
requests/s with --demand, or else by sessions.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := segments.check(cmd); err != nil {
				return err
			}
			if most < 1 {
				return fmt.Errorf("bad limit %d: want 1 or more", most)
			}
			pops, where, err := config.LoadPoPs(segments.config)
			if err != nil {
				return err
			}
			places, err := place.OpenWith(string(where.City), string(where.ASN), string(where.Overrides))
			if err != nil {
				return err
			}
			var demand []simulate.Demand
			unit := mapper.Sessions
			if demandPath != "" {
				if demand, err = readDemand(demandPath); err != nil {
					return err
				}
				unit = mapper.Requests
			}
			progress := progressTo(cmd.ErrOrStderr())
			defer progress.end()
			in := mapper.Input{PoPs: pops, Progress: progress.begin}
			if _, err := segments.addTo(cmd, places, &in); err != nil {
				return err
			}
			progress.end()
			list, all := in.Measured.Resolvers(demand, most)
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), list)
			}
			if len(list) == 0 {
				fmt.Fprintf(cmd.OutOrStdout(), "no client loses anything by the one answer of its resolver (%d resolvers)\n", all)
				return nil
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d resolvers; those whose clients lose most by one answer:\n", all)
			return writeResolvers(cmd.OutOrStdout(), list, string(unit))
		},
	}
	configFlag(cmd, &segments.config)
	segments.add(cmd)
	cmd.Flags().StringVar(&demandPath, "demand", "", "CSV `FILE` of demand by network, in requests/s")
	cmd.Flags().IntVar(&most, "limit", 50, "list `N` at most")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.MarkFlagRequired("config")
	cmd.MarkFlagRequired("segments")
	return cmd
}

func writeResolvers(w io.Writer, list []mapper.ResolverNeed, unit string) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "resolver\tpop\tblocks\t%s\tround trip\tlost\tlose 20 ms\t\n", unit)
	for _, r := range list {
		note := ""
		if r.Needed {
			note = "ecs needed"
		}
		fmt.Fprintf(tw, "%s\t%s\t%d\t%.1f\t%.1f ms\t%.1f ms\t%s\t%s\n", r.Resolver, r.PoP, r.Units, r.Demand, r.RTT, r.Regret, percent(r.Hurt), note)
	}
	return tw.Flush()
}
