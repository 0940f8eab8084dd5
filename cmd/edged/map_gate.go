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
	"edged/mapper"
	"edged/mapper/gate"
	"edged/maps"
)

// gateFlags sign a map off that the gate refuses.
type gateFlags struct{ accept, by string }

func (f *gateFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.accept, "accept", "", "write the map although the gate refuses it, for this `REASON`")
	cmd.Flags().StringVar(&f.by, "by", whoami(), "`WHO` accepts it")
}

// check errs on a signature that says nothing.
func (f *gateFlags) check(cmd *cobra.Command) error { return onlyWith(cmd, "accept", "by") }

// judge holds a new map against the one in force and puts the verdict into its
// contents. It errs when the map is refused and nobody accepts it.
func (f *gateFlags) judge(in mapper.Input, held []mapper.HeldSession, contents *maps.Contents, built *maps.Map) error {
	demand, unit := in.Asked()
	contents.Gate = gate.Judge(gate.Input{
		InForce: in.InForce, New: built, Fleet: names(in.PoPs), Demand: demand, Unit: string(unit), Held: held,
	})
	refused := contents.Gate.Refused()
	if len(refused) == 0 {
		return nil
	}
	if f.accept == "" {
		return refusal(refused, "nothing was written; sign it off with --accept REASON if it is right")
	}
	contents.Gate.Accepted = &maps.Acceptance{By: f.by, Reason: f.accept}
	return nil
}

func refusal(rules []string, hint string) error {
	return fmt.Errorf("gate refuses the map (%s): %s", strings.Join(rules, ", "), hint)
}

func names(pops []edge.PoP) []string {
	list := make([]string, len(pops))
	for i, p := range pops {
		list[i] = p.Name
	}
	return list
}

// writeGate writes a verdict.
func writeGate(w io.Writer, g *maps.Gate) error {
	against := "no map in force"
	if g.InForce != "" {
		against = "version " + g.InForce
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "\ngate, against %s\tverdict\tfigure\tlimit\t\n", against)
	for _, r := range g.Rules {
		limit := "-"
		if r.Outcome != maps.NotApplicable {
			limit = fmt.Sprintf("%.2f %s", r.Limit, r.Unit)
		}
		fmt.Fprintf(tw, "%s\t%s\t%.2f %s\t%s\t%s\n", r.Name, r.Outcome, r.Figure, r.Unit, limit, r.Note)
	}
	if a := g.Accepted; a != nil {
		fmt.Fprintf(tw, "accepted by %s: %s\n", a.By, a.Reason)
	}
	return tw.Flush()
}

func mapGateCommand() *cobra.Command {
	var configPath, segments, demandPath string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "gate OLD NEW",
		Short: "judge a map by the one in force, as map build does",
		Long: `Judge a new map by the one in force: whether it has holes, forgets PoPs or names
ones that are not in the fleet, covers less, moves more than 10 % of demand or
20 % of the addresses without any, or costs more than 1 ms on sessions that were held
back from both maps. With --against, networks without a line in --demand count by their
sessions, as in map build.

The command fails when a rule refuses the map, unless somebody signed it off against
this very map in force when it was built (map build --accept).`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			before, err := maps.Open(args[0])
			if err != nil {
				return err
			}
			after, err := maps.Open(args[1])
			if err != nil {
				return err
			}
			in := gate.Input{InForce: before, New: after}
			var units []mapper.MeasuredUnit
			engine, err := engineOf(configPath)
			if err != nil {
				return err
			}
			if configPath != "" {
				pops, _, err := config.LoadPoPs(configPath)
				if err != nil {
					return err
				}
				in.Fleet = names(pops)
			}
			if segments != "" {
				m, err := readSegments(cmd.Context(), segments, after.PoPs(), nil, mapper.Seen, engine)
				if err != nil {
					return err
				}
				units = m.Units
				in.Held, in.Demand, in.Unit = m.Held, m.Measurements.Demand(), string(mapper.Sessions)
			}
			if demandPath != "" {
				if in.Demand, err = readDemand(demandPath); err != nil {
					return err
				}
				in.Unit = string(mapper.Requests)
				in.Demand, _ = mapper.Complete(in.Demand, units)
			}
			g := gate.Judge(in)
			if signed := after.Gate(); signed != nil && signed.InForce == g.InForce {
				g.Accepted = signed.Accepted
			}
			if asJSON {
				err = writeJSON(cmd.OutOrStdout(), g)
			} else {
				err = writeGate(cmd.OutOrStdout(), g)
			}
			if refused := g.Refused(); len(refused) > 0 && g.Accepted == nil {
				err = errors.Join(err, refusal(refused, "nobody signed it off when it was built"))
			}
			return err
		},
	}
	cmd.Flags().StringVar(&configPath, "config", "", "configuration `FILE` with the fleet's PoPs, and with what aggregates segments")
	cmd.Flags().StringVar(&segments, "against", "", "`DIR` of segments: what was held back in them judges both maps, and clients count by their sessions")
	cmd.Flags().StringVar(&demandPath, "demand", "", "CSV `FILE` of demand by network, in requests/s")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
