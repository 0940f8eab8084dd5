package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// noEmptyFlags errs on a flag that was given without a value, as a variable of a
// script does that is not set: it would count as not given.
func noEmptyFlags(cmd *cobra.Command, _ []string) (err error) {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		kind, text := f.Value.Type(), strings.TrimSpace(f.Value.String())
		if err == nil && (kind == "string" && text == "" || kind == "stringSlice" && text == "[]") {
			err = fmt.Errorf("--%s %q: want a value, or no --%s at all", f.Name, f.Value.String(), f.Name)
		}
	})
	return err
}

// onlyWith errs on the first of some flags that was given without the one that it
// is for.
func onlyWith(cmd *cobra.Command, needed string, names ...string) error {
	if cmd.Flags().Changed(needed) {
		return nil
	}
	for _, name := range names {
		if cmd.Flags().Changed(name) {
			return fmt.Errorf("--%s says nothing without --%s: give both or neither", name, needed)
		}
	}
	return nil
}
