package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"edged/config"
	"edged/edge"
	"edged/mapper/beacon"
)

func beaconCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "beacon",
		Short: "take in what beacons measured, and look at what is there",
	}
	cmd.AddCommand(beaconImportCommand(), beaconUploadCommand(), beaconPullCommand(), beaconListCommand(), beaconRetainCommand(),
		beaconInitClickHouseCommand())
	return cmd
}

func beaconImportCommand() *cobra.Command {
	var (
		into, batch, configPath string
		days                    int
		private, asJSON         bool
	)
	cmd := &cobra.Command{
		Use:   "import FILE... --into DIR",
		Short: "take in measurements from files",
		Long: `Take in measurements from CSV, NDJSON or Parquet files; CSV and NDJSON may be
compressed with gzip or zstd. What a file is shows in its first octets. The
columns are, in any order:

	time      RFC 3339 or Unix seconds
	session   any name of up to 255 octets; rows of one session have the same
	client    IPv4 or IPv6 address
	resolver  that asked for the session's name; may be empty
	pop       name
	rtt_ms    0.3 to 3000; empty when no answer came
	method    resource, connect, tcp or ping; resource-failed and so on when no
	          answer came

A wrong row is rejected and counted, the others are taken. A wrong header rejects
the file. What is reported as accepted is on disk, and readers find it. A file
that is imported again brings nothing twice: its batch is named by its content
(or by --batch), and an import that was interrupted goes on where it was. Another
file under the same batch, or the same one with more pops in the configuration
than before, is refused: bring in just the rows that were rejected, as a file of
their own. At the end, the segments of hours that are over are merged.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if batch != "" && len(args) > 1 {
				return errors.New("--batch names one file's rows: import the files one by one")
			}
			if days < 0 {
				return fmt.Errorf("bad days %d: want 0 or more", days)
			}
			o := beacon.Options{Now: time.Now(), AllowPrivate: private}
			o.Oldest = o.Now.AddDate(0, 0, -days)
			if days == 0 {
				o.Oldest = time.Time{}
			}
			if configPath != "" {
				pops, _, err := config.LoadPoPs(configPath)
				if err != nil {
					return err
				}
				for _, p := range pops {
					o.PoPs = append(o.PoPs, p.Name)
				}
			}
			var err error
			if o.Into, err = beacon.NewWriter(into); err != nil {
				return err
			}
			reports := []beaconReport{}
			for _, path := range args {
				report, err := importBeacons(cmd, path, batch, o)
				if err != nil {
					err = fmt.Errorf("%s: %w", path, err)
					if n := report.Accepted; n > 0 {
						err = fmt.Errorf("%w (%d rows before that are taken in, as --batch %s)", err, n, report.Batch)
					}
					return err
				}
				if !asJSON {
					report.writeText(cmd.OutOrStdout())
				}
				reports = append(reports, report)
			}
			if _, err := o.Into.Merge(o.Now); err != nil {
				return err
			}
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), reports)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&into, "into", "", "the folder of segments, `DIR`; made when it is not there")
	cmd.Flags().StringVar(&batch, "batch", "", "the `NAME` of the rows, for ever; default: a hash of the file")
	cmd.Flags().StringVar(&configPath, "config", "", "configuration `FILE`: pops that it does not name are rejected")
	cmd.Flags().IntVar(&days, "days", 0, "reject rows that are older than so many `DAYS`; 0: none")
	cmd.Flags().BoolVar(&private, "allow-private", false, "take addresses that are not public, as in a laboratory")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.MarkFlagRequired("into")
	return cmd
}

// beaconReport is what became of one file.
type beaconReport struct {
	File   string `json:"file"`
	Before int    `json:"before"` // rows that were judged before, and not sent again
	beacon.Report
}

// importBeacons takes one file in.
func importBeacons(cmd *cobra.Command, path, batch string, o beacon.Options) (beaconReport, error) {
	report := beaconReport{File: path}
	f, err := edge.OpenRegular(path)
	if err != nil {
		return report, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return report, err
	}
	if o.Batch, err = batchOf(f, batch); err != nil {
		return report, err
	}
	bar := newProgressBar(cmd.ErrOrStderr(), filepath.Base(path), info.Size())
	o.Progress = bar.show
	defer bar.clear()
	start := make([]byte, 4)
	if _, err := f.ReadAt(start, 0); err == nil && beacon.IsParquet(start) {
		report.Report, err = beacon.IntakeParquet(cmd.Context(), f, info.Size(), o)
		return report, err
	}
	report.Report, err = beacon.Intake(cmd.Context(), f, o)
	return report, err
}

// batchOf returns the name of a file's rows: the one given or, without, one made of
// the content's hash. The file is read from its beginning then.
func batchOf(f *os.File, given string) (string, error) {
	if given != "" {
		return given, nil
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return "", err
	}
	_, err := f.Seek(0, io.SeekStart)
	return fmt.Sprintf("sha256-%x", hash.Sum(nil)[:12]), err
}

func (r beaconReport) writeText(w io.Writer) {
	fmt.Fprintf(w, "%s: %d rows accepted", r.File, r.Accepted)
	if r.Known > 0 {
		fmt.Fprintf(w, " (%d of them were here)", r.Known)
	}
	fmt.Fprintf(w, ", %d rejected", r.RejectedRows())
	if r.Before > 0 {
		fmt.Fprintf(w, ", after %d that came before", r.Before)
	}
	fmt.Fprintln(w)
	for _, x := range r.Rejected {
		lines := strings.Trim(fmt.Sprint(x.Lines), "[]")
		more := ""
		if x.Rows > len(x.Lines) {
			more = " …"
		}
		fmt.Fprintf(w, "  %d %s, such as %s: lines %s%s\n", x.Rows, x.Reason, x.Example, strings.ReplaceAll(lines, " ", ", "), more)
	}
}

// progressBar shows on a terminal how much of a file is done; nowhere else.
type progressBar struct {
	w     io.Writer
	name  string
	total int64
	last  int // percent shown last
}

func newProgressBar(w io.Writer, name string, total int64) *progressBar {
	if !terminal(w) {
		w = nil
	}
	return &progressBar{w: w, name: name, total: max(1, total), last: -1}
}

const barWidth = 30

func (p *progressBar) show(done int64) {
	percent := int(min(100, 100*done/p.total))
	if p.w == nil || percent == p.last {
		return
	}
	p.last = percent
	full := barWidth * percent / 100
	fmt.Fprintf(p.w, "\r\x1b[K%s [%s%s] %d %%", p.name, strings.Repeat("#", full), strings.Repeat(".", barWidth-full), percent)
}

func (p *progressBar) clear() {
	if p.w != nil {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

// beaconHour is what beacon list says of an hour.
type beaconHour struct {
	Hour     time.Time `json:"hour"`
	Rows     int       `json:"rows"`
	Segments int       `json:"segments"`
}

func beaconListCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list DIR",
		Short: "say what a folder of segments holds, and check that they are whole",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := os.Stat(args[0]); err != nil {
				return err
			}
			set, err := beacon.OpenAll(args[0])
			if err != nil {
				return err
			}
			defer set.Close()
			hours := []beaconHour{}
			for _, h := range set.Hours {
				hours = append(hours, beaconHour{h.Start, h.Rows, h.Segments()})
			}
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), struct {
					Rows  int          `json:"rows"`
					PoPs  []string     `json:"pops"`
					Hours []beaconHour `json:"hours"`
				}{set.Rows, append([]string{}, set.PoPs...), hours})
			}
			tw := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(tw, "hour\trows\tsegments")
			for _, h := range hours {
				fmt.Fprintf(tw, "%s\t%d\t%d\n", h.Hour.Format(time.RFC3339), h.Rows, h.Segments)
			}
			fmt.Fprintf(tw, "all\t%d\t\n\n", set.Rows)
			fmt.Fprintf(tw, "pops\t%s\n", strings.Join(set.PoPs, " "))
			return tw.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
