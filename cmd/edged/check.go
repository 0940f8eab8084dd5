package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"edged/config"
)

func checkCommand() *cobra.Command {
	var path string
	var asJSON, show bool
	cmd := &cobra.Command{
		Use:   "check --config FILE",
		Short: "check a configuration and all that it names, without starting",
		Long: `Check a configuration file and everything that it names: zones, maps, databases
and secrets. All errors are listed at once, and the exit code is 1. Warnings are
listed too, but leave it 0.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, c, err := load(path)
			if show && c != nil {
				text, err := c.YAML()
				if err != nil {
					return err
				}
				cmd.OutOrStdout().Write(text)
			}
			if asJSON {
				return writeCheckJSON(cmd.OutOrStdout(), l, err)
			}
			if err != nil {
				return err
			}
			for _, w := range l.warnings {
				fmt.Fprintln(cmd.ErrOrStderr(), "warning:", w)
			}
			if !show {
				fmt.Fprintf(cmd.OutOrStdout(), "%s: ok: %d pops, %d zones, %d maps, %d pools, %d names\n",
					path, len(c.PoPs), len(c.Zones), len(c.Maps), len(c.Pools), len(c.Names))
			}
			return nil
		},
	}
	configFlag(cmd, &path)
	cmd.MarkFlagRequired("config")
	cmd.Flags().BoolVar(&show, "print", false, "print the whole effective configuration, defaults included")
	cmd.Flags().BoolVar(&asJSON, "json", false, "list errors and warnings as JSON")
	cmd.MarkFlagsMutuallyExclusive("print", "json")
	return cmd
}

func configFlag(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVar(path, "config", "", "the configuration `FILE`")
}

// writeCheckJSON prints the outcome of a check for a program.
func writeCheckJSON(w io.Writer, l *loaded, err error) error {
	out := struct {
		OK       bool            `json:"ok"`
		Errors   config.Problems `json:"errors"`
		Warnings config.Problems `json:"warnings"`
	}{OK: err == nil, Errors: config.Problems{}, Warnings: config.Problems{}}
	if err != nil && !errors.As(err, &out.Errors) {
		return err
	}
	if l != nil {
		out.Warnings = append(out.Warnings, l.warnings...)
	}
	if err := writeJSON(w, out); err != nil {
		return err
	}
	if !out.OK {
		return errReported
	}
	return nil
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
