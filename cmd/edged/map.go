package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"edged/config"
	"edged/edge"
	"edged/geo/place"
	"edged/mapper"
	"edged/maps"
)

func mapCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "map",
		Short: "build closeness maps and look into them",

		PersistentPreRunE: noEmptyWords,
	}
	cmd.AddCommand(mapBuildCommand(), mapShowCommand(), mapLookupCommand(), mapDiffCommand(), mapEvaluateCommand(), mapVerifyCommand(),
		mapGateCommand(), mapResolversCommand(), mapExplainCommand())
	return cmd
}

func mapBuildCommand() *cobra.Command {
	var netsPath, demandPath, inForcePath, output string
	var tolerance float64
	var asJSON bool
	var segments segmentFlags
	var signOff gateFlags
	var date dateFlag
	cmd := &cobra.Command{
		Use:   "build --config FILE [--segments DIR] [--nets FILE] [--demand FILE] [--in-force FILE] -o FILE",
		Short: "build a map from measurements and place data",
		Long: `Build a map: lay what was measured over place data, so that every address has a
ranking of PoPs. Of the configuration only pops, geo, aggregate and beacon.sources
are read. Without measurements, every ranking goes by distance.

Segments are what beacons measured, of the week that ends with the newest hour.
Client blocks get rankings of their own measurements, and all other places what
those let expect. With a map in force, clients keep its first choice unless another
PoP is better by more than 3 ms and a tenth, and that in nine cases of ten.

Where the configuration has beacon.sources, the folder must have a whole copy of what
each of those nodes measured (edged beacon pull, or --pull).

Not everything is believed. One source (an address, or a /64) counts for 3 samples
an hour or a twentieth of what its block says of a PoP, and one network for
half of what its country says. A source that alone is faster than light from where
its block is said to be is not believed; where three agree, the place data are not.
What was limited stands in the report.

Networks that were measured otherwise go before segments. They are CSV: a prefix,
the names of up to eight PoPs, best first, each with its round-trip time in
milliseconds where that is known, and maybe the table (ecs, resolver or both):

	prefix,ranking,table
	203.0.113.0/24,fra:12.5 ams:14 nyc
	2001:db8::/48,ams fra,resolver

With the demand of clients, in requests per second, no PoP is given more than 70 %
of its capacity, which the configuration says in the same unit:

	prefix,requests
	203.0.113.0/24,12.5

Full PoPs get a price in milliseconds, and clients go where round-trip time and price
are least. Where demand does not fit, limits are raised evenly, and the shortage is
reported; a network with too many clients for one PoP is split into blocks. Networks
without a line count by their sessions, as many requests each as others make; those
without sessions either are in no load, and the report says how many they are.
Without --demand loads are counted in sessions or addresses, and capacities cannot be
kept.

Neighbours whose first choices are within the tolerance of the best become one
range, so that the map is small and answers are good for large blocks. Networks that
measured keep ranges and times of their own.

Before it is written, the map is held against the one in force. When it has holes,
misses PoPs, covers less, moves more than 10 % of demand or 20 % of the addresses
without any, or costs more than 1 ms on sessions that no map is made from (a twentieth
is held back), it is refused unless --accept says why it is right; verdict and
signature are in the file (map show).

The report is of the client table. A map is dated by the newest date that its inputs
say of themselves (the newest session, the day that a place database was built, the
map in force), or by --date or $SOURCE_DATE_EPOCH. Neither the clock nor the times of
files count: the same inputs give the same file, octet for octet, on any machine.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := errors.Join(segments.check(cmd), signOff.check(cmd)); err != nil {
				return err
			}
			dated, ok, err := date.given()
			if err != nil {
				return err
			}
			pops, where, err := config.LoadPoPs(segments.config)
			if err != nil {
				return err
			}
			progress := progressTo(cmd.ErrOrStderr())
			defer progress.end()
			progress.begin("reading place data")
			places, err := place.OpenWith(string(where.City), string(where.ASN), string(where.Overrides))
			if err != nil {
				return err
			}
			verified := make(chan error, 1)
			go func() { verified <- places.Verify() }()
			verify := sync.OnceValue(func() error { return <-verified })
			defer verify()
			in := mapper.Input{PoPs: pops, Place: places.Networks(), Progress: progress.begin, Tolerance: tolerance}
			if !(tolerance >= 0 && tolerance <= maxTolerance) {
				return fmt.Errorf("bad tolerance %v: want 0 to %d ms", tolerance, maxTolerance)
			}
			in.Created = builtAt(places)
			for _, source := range places.Sources() {
				in.Sources = append(in.Sources, maps.Input{Name: source.Name, Version: source.Version})
			}
			if netsPath != "" {
				progress.begin("reading measured networks")
				source, err := readNets(netsPath, pops, &in)
				if problems := (*mapper.Problems)(nil); errors.As(err, &problems) {
					fmt.Fprintln(cmd.ErrOrStderr(), problems) // lines begin with the file, so that editors find the place
					return errReported
				}
				if err != nil {
					return err
				}
				in.Sources = append(in.Sources, source)
			}
			if demandPath != "" {
				if err := addDemand(demandPath, &in); err != nil {
					return err
				}
			}
			if inForcePath != "" {
				if in.InForce, err = maps.Open(inForcePath); err != nil {
					return err
				}
				in.Created = later(in.Created, in.InForce.Created())
			}
			w := mapWriter{cmd.OutOrStdout(), output, signOff, asJSON, progress}
			var m measured
			if segments.into != "" {
				if m, err = segments.addTo(cmd, places, &in); err != nil {
					return err
				}
			}
			if ok {
				in.Created = dated
			}
			progress.begin("verifying place data")
			if err := verify(); err != nil {
				return err
			}
			return w.write(in, m)
		},
	}
	configFlag(cmd, &segments.config)
	cmd.Flags().StringVar(&netsPath, "nets", "", "CSV `FILE` of measured networks")
	segments.add(cmd)
	signOff.add(cmd)
	date.add(cmd)
	cmd.Flags().StringVar(&demandPath, "demand", "", "CSV `FILE` of demand by network")
	cmd.Flags().StringVar(&inForcePath, "in-force", "", "map `FILE` whose first choices are kept unless another is clearly better")
	cmd.Flags().Float64Var(&tolerance, "tolerance", mapper.DefaultTolerance, "by how many `MS` a first choice may be worse than the best; 0 merges nothing")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().StringVarP(&output, "output", "o", "", "the map `FILE` to write")
	cmd.MarkFlagRequired("config")
	cmd.MarkFlagRequired("output")
	return cmd
}

// readNets reads a list of networks into in and names the list by its hash.
func readNets(path string, pops []edge.PoP, in *mapper.Input) (source maps.Input, err error) {
	f, err := edge.OpenRegular(path)
	if err != nil {
		return source, err
	}
	defer f.Close()
	hash := sha256.New()
	if in.Nets, err = mapper.ReadNets(io.TeeReader(f, hash), path, pops); err != nil {
		return source, err
	}
	return maps.Input{Name: filepath.Base(path), Version: fmt.Sprintf("sha256:%x", hash.Sum(nil)[:6])}, nil
}

// mapWriter writes a map, and says what it holds.
type mapWriter struct {
	out    io.Writer
	path   string
	gate   gateFlags
	asJSON bool

	progress *progress
}

// write builds a map, has the gate judge it and writes it. What was measured is the
// zero value where nothing was.
func (w mapWriter) write(in mapper.Input, m measured) error {
	in.Spent = true
	contents, report, err := mapper.Build(in)
	if err != nil {
		return err
	}
	in.Progress("encoding")
	built, err := parsed(contents)
	if err != nil {
		return err
	}
	var held []mapper.HeldSession
	if m.Measurements != nil {
		held = m.Held
	}
	in.Progress("holding it against the map in force")
	verdict := w.gate.judge(in, held, contents, built)
	if verdict == nil {
		in.Progress("writing the map")
		data, err := maps.Encode(contents)
		if err != nil {
			return err
		}
		if err := maps.WriteFile(w.path, data); err != nil {
			return err
		}
		if built, err = maps.Parse(data); err != nil {
			return err
		}
	}
	r := describeBuild(w.path, built, report)
	w.progress.end()
	r.Steps = w.progress.steps
	r.Gate = contents.Gate
	if w.asJSON {
		return errors.Join(verdict, writeJSON(w.out, r))
	}
	if verdict != nil {
		return errors.Join(verdict, writeGate(w.out, contents.Gate))
	}
	if err := r.writeText(w.out); err != nil {
		return err
	}
	if m.Measurements != nil {
		m.writeChecks(w.out, in.Measured)
	}
	if w.gate.accept != "" && contents.Gate.Accepted == nil {
		fmt.Fprintln(w.out, "not signed: no rule refuses the map, so --accept is not in it")
	}
	return writeGate(w.out, contents.Gate)
}

// parsed makes a map of contents.
func parsed(contents *maps.Contents) (*maps.Map, error) {
	data, err := maps.Encode(contents)
	if err != nil {
		return nil, err
	}
	return maps.Parse(data)
}

func mapVerifyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "verify FILE",
		Short: "check that a map is whole",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := maps.Open(args[0])
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: ok: version %s, built %s, %d pops\n",
				args[0], m.Version(), m.Created().Format(time.RFC3339), len(m.PoPs()))
			return nil
		},
	}
}
