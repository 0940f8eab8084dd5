package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"edged/config"
	"edged/edge"
)

// errReported ends a command with exit code 1 when it has said all there is to
// say.
var errReported = errors.New("reported already")

// run runs one command line until it is done or ctx is, and returns its exit
// code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := rootCommand()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if _, ok := err.(config.Problems); ok {
		fmt.Fprintln(stderr, err) // begins with the file, so that editors find the place
	} else if !errors.Is(err, errReported) {
		fmt.Fprintln(stderr, "edged:", err)
	}
	return 1
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "edged",
		Short:         "Answers DNS with the PoP that is closest for the client",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(
		serveCommand(),
		checkCommand(),
		reloadCommand(),
		explainCommand(),
		statusCommand(),
		healthCommand(),
		loadCommand(),
		fleetCommand(),
		overridesCommand(),
		demoCommand(),
		demoSiteCommand(),
		vipCommand(),
		auditCommand(),
		mapCommand(),
		simulateCommand(),
		beaconCommand(),
		conformanceCommand(),
		versionCommand(),
	)
	root.AddCommand(overrideCommands()...)
	for _, c := range root.Commands() {
		if c.HasSubCommands() && !c.Runnable() {
			onlyGroups(c)
		}
	}
	return root
}

// onlyGroups has a command that does nothing itself name what is not one of its
// commands, whatever flags that has. Alone it prints its help.
func onlyGroups(c *cobra.Command) {
	c.DisableFlagParsing = true
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 || args[0] == "--help" || args[0] == "-h" {
			return c.Help()
		}
		var known []string
		for _, sub := range c.Commands() {
			known = append(known, sub.Name())
		}
		slices.Sort(known)
		if strings.HasPrefix(args[0], "-") {
			return fmt.Errorf("unknown flag %q: %s takes a command: %s", args[0], c.CommandPath(), strings.Join(known, ", "))
		}
		return fmt.Errorf("unknown command %q for %q; %s", args[0], c.CommandPath(), edge.Suggest(args[0], known))
	}
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "print the version",
		Args:  cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) {
			fmt.Fprintln(cmd.OutOrStdout(), "edged", version())
		},
	}
}

// version is the module's version or, in a build from a checkout, its revision.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value[:min(12, len(s.Value))]
		}
	}
	return "devel"
}
