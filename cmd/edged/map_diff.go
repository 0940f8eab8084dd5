package main

import (
	"bytes"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"edged/config"
	"edged/edge"
	"edged/geo/place"
	"edged/mapper/compare"
	"edged/mapper/picture"
	"edged/maps"
)

// mapDifference is what map diff says: of addresses, and of the demand on them.
type mapDifference struct {
	maps.Difference
	Demand *compare.Result `json:"demand"`
}

func mapDiffCommand() *cobra.Command {
	var asJSON bool
	var configPath, picturePath string
	var flags demandFlags
	cmd := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "say whose first choice changes from one map to another",
		Long: `Say whose first choice changes from one map to another: how much demand moves,
between which PoPs, in which countries and networks, and how its round trips change
by what the new map expects of both PoPs.

Demand is requests/s by network (--demand) or the sessions of beacons (--against);
without either every IPv4 /24 counts alike. Countries come from the built-in data,
and with --config from the place data that the configuration names; networks (ASNs)
need the latter. The picture shows where those who move are, as SVG or PNG by the
name of the file.`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			draw, err := drawing(picturePath)
			if err != nil {
				return err
			}
			before, err := maps.Open(args[0])
			if err != nil {
				return err
			}
			after, err := maps.Open(args[1])
			if err != nil {
				return err
			}
			demand, unit, err := flags.read()
			if err != nil {
				return err
			}
			places, err := openPlaces(configPath)
			if err != nil {
				return err
			}
			d := mapDifference{maps.Diff(before, after), compare.Maps(before, after, demand, unit, places.Lookup)}
			if draw != nil {
				if err := writePicture(picturePath, draw, before, after, d.Demand); err != nil {
					return err
				}
			}
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), d)
			}
			return writeDiff(cmd.OutOrStdout(), before, after, d)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().StringVar(&configPath, "config", "", "configuration `FILE` with the place data")
	cmd.Flags().StringVar(&picturePath, "picture", "", "write a picture of who moves to `FILE`, .svg or .png")
	flags.add(cmd)
	return cmd
}

// openPlaces opens the place data of a configuration, or the built-in one.
func openPlaces(configPath string) (*place.DB, error) {
	if configPath == "" {
		return place.Open("", "")
	}
	_, where, err := config.LoadPoPs(configPath)
	if err != nil {
		return nil, err
	}
	return place.OpenWith(string(where.City), string(where.ASN), string(where.Overrides))
}

// drawing returns how to write a picture of that name; nil for none.
func drawing(path string) (func(*picture.Picture, io.Writer) error, error) {
	switch ext := strings.ToLower(filepath.Ext(path)); {
	case path == "":
		return nil, nil
	case ext == ".svg":
		return (*picture.Picture).SVG, nil
	case ext == ".png":
		return (*picture.Picture).PNG, nil
	}
	return nil, fmt.Errorf("cannot draw %q: want a name that ends in .svg or .png", path)
}

func writePicture(path string, draw func(*picture.Picture, io.Writer) error, before, after *maps.Map, c *compare.Result) error {
	title := fmt.Sprintf("map %s to %s: %s of %.0f %s move", before.Version(), after.Version(), percent(share(c.Moved, c.Total)), c.Total, c.Unit)
	var b bytes.Buffer
	if err := draw(picture.New(c, after.PoPs(), title), &b); err != nil {
		return err
	}
	if err := edge.ReplaceFile(path, b.Bytes(), 0o644); err != nil {
		return fmt.Errorf("cannot write %q: %w", path, err)
	}
	return nil
}

func share(part, whole float64) float64 {
	if whole == 0 {
		return 0
	}
	return part / whole
}

// Rows of lists in the text.
const (
	listedMoves  = 20
	listedGroups = 10
)

func writeDiff(w io.Writer, before, after *maps.Map, d mapDifference) error {
	c := d.Demand
	fmt.Fprintf(w, "from version %s to %s\n", before.Version(), after.Version())
	fmt.Fprintf(w, "%s of %.1f %s move", percent(share(c.Moved, c.Total)), c.Total, c.Unit)
	if c.RTT.Known > 0 {
		fmt.Fprintf(w, "; round trips of %s of them should change from %.1f to %.1f ms", percent(c.RTT.Known/c.Moved), c.RTT.Before, c.RTT.After)
	}
	fmt.Fprintln(w)
	if u := c.Uncounted; u.Total > 0 {
		fmt.Fprintf(w, "%s of %.0f /24 blocks without any demand move\n", percent(u.Moved/u.Total), u.Total)
	}
	if c.Lost > 0 {
		fmt.Fprintf(w, "%.1f %s lose their first choice and get none\n", c.Lost, c.Unit)
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "\npop\tbefore\tafter\tlimit\t\n")
	for _, p := range c.PoPs {
		limit, note := "-", ""
		if c.Unit == "requests/s" && p.Limit() > 0 {
			limit = fmt.Sprintf("%.1f", p.Limit())
			if p.After > p.Limit() {
				note = fmt.Sprintf("over by %.1f", p.After-p.Limit())
			}
		}
		if p.Gone {
			note = "not in the new map"
		}
		fmt.Fprintf(tw, "%s\t%.1f\t%.1f\t%s\t%s\n", p.Name, p.Before, p.After, limit, note)
	}
	if len(c.Moves) > 0 {
		fmt.Fprintf(tw, "\nfrom\tto\t%s\tround trips\t\n", c.Unit)
	}
	for _, m := range c.Moves[:min(len(c.Moves), listedMoves)] {
		fmt.Fprintf(tw, "%s\t%s\t%.1f\t%s\t\n", orNone(m.From), orNone(m.To), m.Demand, changeText(m.RTT))
	}
	for _, list := range []struct {
		name   string
		groups []compare.Group
	}{{"country", c.Country}, {"network", c.ASN}} {
		if len(list.groups) > 0 {
			fmt.Fprintf(tw, "\n%s\tmoved\tof %s\tround trips\t\n", list.name, c.Unit)
		}
		for _, g := range list.groups[:min(len(list.groups), listedGroups)] {
			fmt.Fprintf(tw, "%s\t%.1f\t%.1f\t%s\t\n", g.Name, g.Moved, g.Total, changeText(g.RTT))
		}
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	return writeSpaces(w, d.Difference)
}

// changeText writes how round trips change, "-" when nobody knows.
func changeText(c compare.Change) string {
	if c.Known == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f to %.1f ms", c.Before, c.After)
}

// writeSpaces writes which addresses move.
func writeSpaces(w io.Writer, d maps.Difference) error {
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
