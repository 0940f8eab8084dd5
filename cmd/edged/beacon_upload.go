package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
	"github.com/spf13/cobra"

	"edged/admin"
	"edged/edge"
	"edged/mapper/beacon"
)

func beaconUploadCommand() *cobra.Command {
	var (
		f      nodeFlags
		batch  string
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "upload FILE... --node URL --token-file FILE",
		Short: "send measurements to a node",
		Long: `Send measurements from CSV or NDJSON files, which may be compressed with gzip or
zstd, to a node. The columns are those of edged beacon import. It needs a token or
a certificate with the role map-builder.

What is reported as accepted is on the node's disk. An upload that broke off is
taken up by the same command again: rows that are there are not sent again, and
nothing is taken in twice.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if batch != "" && len(args) > 1 {
				return errors.New("--batch names one file's rows: upload the files one by one")
			}
			c, err := f.client()
			if err != nil {
				return err
			}
			defer c.Close()
			reports := []beaconReport{}
			for _, path := range args {
				report, err := uploadBeacons(cmd, c, path, batch)
				if err != nil {
					if !asJSON && report.Accepted+report.RejectedRows() > 0 {
						report.writeText(cmd.ErrOrStderr())
					}
					return fmt.Errorf("%s: %w", path, err)
				}
				if !asJSON {
					report.writeText(cmd.OutOrStdout())
				}
				reports = append(reports, report)
			}
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), reports)
			}
			return nil
		},
	}
	f.add(cmd)
	configFlag(cmd, &f.config)
	cmd.Flags().StringVar(&batch, "batch", "", "the `NAME` of the rows, for ever; default: a hash of the file")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// uploadBeacons sends what a node lacks of one file.
func uploadBeacons(cmd *cobra.Command, c *admin.Client, path, batch string) (beaconReport, error) {
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
	start := make([]byte, 4)
	if _, err := f.ReadAt(start, 0); err == nil && beacon.IsParquet(start) {
		return report, errors.New("a Parquet file cannot be sent as a stream: take it in on the node with edged beacon import, or send it as CSV")
	}
	if batch, err = batchOf(f, batch); err != nil {
		return report, err
	}
	if report.Before, err = c.Resume(cmd.Context(), batch); err != nil {
		return report, again(err)
	}
	bar := newProgressBar(cmd.ErrOrStderr(), filepath.Base(path), info.Size())
	defer bar.clear()
	rest, missing, err := beacon.Rest(&shown{f, bar, 0}, report.Before)
	if err != nil {
		return report, err
	}
	defer rest.Close()
	body, w := io.Pipe()
	defer body.Close() // ends the compression when the node has refused
	from, ended := &noting{Reader: rest}, make(chan struct{})
	go func() {
		defer close(ended)
		w.CloseWithError(compress(w, from))
	}()
	report.Report, err = c.Upload(cmd.Context(), batch, report.Before, body)
	body.Close()
	<-ended
	for _, x := range report.Rejected {
		for i := range x.Lines {
			x.Lines[i] += missing
		}
	}
	if err != nil && from.err != nil {
		return report, fmt.Errorf("the file is damaged or cut off: %w: send it mended with --batch %s, so that no row that was taken comes twice", from.err, batch)
	}
	return report, again(err)
}

// again says of an error that passes how to go on.
func again(err error) error {
	var refused *admin.Refusal
	if err == nil || errors.As(err, &refused) && !refused.Passing() {
		return err
	}
	return fmt.Errorf("%w (run this again to go on)", err)
}

// noting keeps the error with which reading ended early.
type noting struct {
	io.Reader
	err error
}

func (n *noting) Read(b []byte) (int, error) {
	read, err := n.Reader.Read(b)
	if err != nil && err != io.EOF {
		n.err = err
	}
	return read, err
}

func compress(w io.Writer, r io.Reader) error {
	z, err := zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	_, err = io.Copy(z, r)
	return errors.Join(err, z.Close())
}

// shown shows on a bar how much of a file was read.
type shown struct {
	io.Reader
	bar  *progressBar
	done int64
}

func (s *shown) Read(b []byte) (int, error) {
	n, err := s.Reader.Read(b)
	s.done += int64(n)
	s.bar.show(s.done)
	return n, err
}
