package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// noEmptyWords errs on an argument that is empty, and on a flag that was given without
// a value or with an empty one in a list, as a variable of a script is that is not set:
// it would count as not given.
func noEmptyWords(cmd *cobra.Command, args []string) (err error) {
	if slices.Contains(args, "") {
		return fmt.Errorf("an argument is empty: want %s", cmd.UseLine())
	}
	cmd.Flags().Visit(func(f *pflag.Flag) {
		var values []string
		list, is := f.Value.(pflag.SliceValue)
		switch {
		case is:
			values = strings.Split(strings.Join(list.GetSlice(), ","), ",")
		case f.Value.Type() == "string":
			values = []string{f.Value.String()}
		}
		empty := slices.ContainsFunc(values, func(v string) bool { return strings.TrimSpace(v) == "" })
		if err != nil || !empty {
			return
		}
		err = fmt.Errorf("--%s %q: want a value", f.Name, strings.Join(values, ","))
		if f.Annotations[cobra.BashCompOneRequiredFlag] != nil {
			return
		}
		err = fmt.Errorf("%w, or no --%s at all", err, f.Name)
		if _, means, ok := strings.Cut(f.Usage, " (default: "); ok {
			err = fmt.Errorf("%w, which means %s", err, strings.TrimSuffix(means, ")"))
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
