package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"edged/bgp/audit"
	"edged/config"
)

func auditCommand() *cobra.Command {
	var f nodeFlags
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "print what changed on a node, by whom and why",
		Long:  "Print the audit log of a running node, one JSON object a line.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.client()
			if err != nil {
				return err
			}
			defer c.Close()
			var text []byte
			if err := c.Get(cmd.Context(), "/v1/audit", nil, &text); err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
	f.add(cmd)
	configFlag(cmd, &f.config)
	cmd.AddCommand(auditVerifyCommand())
	return cmd
}

func auditVerifyCommand() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "verify [DIR]",
		Short: "say whether an audit log is as it was written",
		Long: `Verify the audit log of a node on this machine, or a copy of it in DIR. No node is
needed. The first line that was changed, removed or added is named, and the exit
code is 1. So it is when files are missing, or empty; but the newest eight files
are kept, and where older ones were removed it says which entries are left.

Whoever may write the log may also cut off its end, or make it anew: keep its
head, which this prints, elsewhere.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := vipsDir(config.Path(config.GuessDataDir(path)))
			if len(args) == 1 {
				dir = args[0]
			}
			if _, err := os.Stat(dir); len(args) == 0 && errors.Is(err, fs.ErrNotExist) {
				if _, err := os.Stat(path); err != nil { // it would say where the log is
					return fmt.Errorf("audit log: %q is not there, nor can the configuration be read that may name another data_dir: %w", dir, err)
				}
				fmt.Fprintf(cmd.OutOrStdout(), "no entries: %q is not there, as on a node that never had VIPs\n", dir)
				return nil
			}
			r, err := audit.VerifyDir(dir)
			if err != nil {
				return fmt.Errorf("audit log: %w", err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "entries %d to %d are as they were written; the last has the hash %s\n", r.First, r.Head.Seq, r.Head.Hash)
			if r.First > 1 {
				fmt.Fprintf(cmd.OutOrStdout(), "what was before entry %d is not there any more: the log keeps its newest eight files\n", r.First)
			}
			return nil
		},
	}
	configFlag(cmd, &path)
	return cmd
}

// vipsDir holds what VIPs keep, and the audit log.
func vipsDir(dataDir config.Path) string { return filepath.Join(string(dataDir), "vips") }
