package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"edged/admin"
	"edged/edge"
	"edged/health/override"
)

// Overrides implements admin.Node.
func (n *node) Overrides() any { return n.fleet.Overrides() }

// Override implements admin.Node.
func (n *node) Override(ctx context.Context, q override.Request) admin.Overriding {
	result, err := n.fleet.Submit(ctx, q)
	if err != nil {
		return admin.Overriding{Error: err.Error(), Result: result}
	}
	return admin.Overriding{Applied: true, Result: result}
}

// overrideCommands are the commands by which operators overrule the checks.
func overrideCommands() []*cobra.Command {
	return []*cobra.Command{
		overrideCommand(override.Drain, "TARGET", "take a PoP, node, pool or endpoint out of answers", `Take out of the answers what TARGET names, for as long as anything else is left:
pop/fra, node/fra1, pool/www, endpoint/www/198.51.100.1, or a glob such as
pop/eu-*. A pool says with fail_open.drained whether it may come back when all
else is disabled.`, "  edged drain pop/fra --reason 'switch replacement' --for 2h"),
		overrideCommand(override.ForceDown, "TARGET", "never answer a PoP, node, pool or endpoint", `Never answer what TARGET names, whatever the checks say and whatever else is
left.`, "  edged force-down endpoint/www/198.51.100.1 --reason 'serves wrong content'"),
		overrideCommand(override.ForceUp, "TARGET", "answer a PoP, node, pool or endpoint as if it were ok", `Take what TARGET names as ok, whatever the checks say.`,
			"  edged force-up pool/www --reason 'the check is broken' --for 30m"),
		overrideCommand(override.Weight, "TARGET WEIGHT", "give endpoints another weight", `Give the endpoints that TARGET names the weight 0 to 65535; 0 = only when no
other is left.`, "  edged weight endpoint/www/198.51.100.1 50 --reason 'half the cores'"),
		overrideCommand(override.PinPrefix, "PREFIX pop/NAME", "answer the clients of a prefix from one PoP first", `Rank one PoP first for the clients and resolvers in PREFIX, which is at most a
/24 or /48.`, "  edged pin-prefix 203.0.113.0/24 pop/fra --reason 'case 4711' --for 24h"),
		overrideCommand(override.Clear, "TARGET|PREFIX|ID", "end overrides", `End the overrides that were made with just that target or prefix, or the one
with that ID: edged overrides lists them.`, "  edged clear pop/fra --reason 'switch replaced'"),
	}
}

func overrideCommand(action override.Action, form, short, long, example string) *cobra.Command {
	var f nodeFlags
	var flags override.Flags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   string(action) + " " + form,
		Short: short,
		Long: long + `

It holds on the whole fleet once a majority of the members acknowledged it, and
is refused else. It survives restarts.`,
		Example: example,
		Args:    cobra.ExactArgs(strings.Count(form, " ") + 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q, err := override.ParseRequest(string(action), args, flags)
			if err != nil {
				return err
			}
			c, err := f.client()
			if err != nil {
				return err
			}
			defer c.Close()
			r, err := c.Override(cmd.Context(), q)
			if err != nil {
				return err
			}
			if asJSON {
				err = writeJSON(cmd.OutOrStdout(), r)
			} else {
				writeOverriding(cmd.OutOrStdout(), cmd.ErrOrStderr(), q, r)
			}
			if err == nil && !r.Applied {
				err = errReported
			}
			return err
		},
	}
	f.add(cmd)
	configFlag(cmd, &f.config)
	cmd.Flags().StringVar(&flags.Reason, "reason", "", "why, in words")
	cmd.MarkFlagRequired("reason")
	cmd.Flags().StringVar(&flags.Owner, "owner", whoami(), "who asks; over a URL it is the token's name")
	cmd.Flags().BoolVar(&flags.DryRun, "dry-run", false, "only show what it would do, and whether a rule forbids it")
	cmd.Flags().BoolVar(&flags.Local, "local", false, "on this node only, without asking the others")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the outcome as JSON")
	if action != override.Clear {
		cmd.Flags().StringVar(&flags.For, "for", "", "for how long, such as 2h, by the clock of the node that is asked (default: until cleared)")
	}
	return cmd
}

// whoami is the user's name, as well as it can be told.
func whoami() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	return cmp.Or(os.Getenv("USER"), "unknown")
}

// writeOverriding tells a person what became of a request.
func writeOverriding(stdout, stderr io.Writer, q override.Request, r admin.Overriding) {
	for _, f := range r.Result.Effect.Rules {
		down := ""
		if f.Down > 0 {
			down = fmt.Sprintf(", not counting %d that checks find down", f.Down)
		}
		fmt.Fprintf(stdout, "rule %q in %s: %d of %d in service now, %d after%s\n", f.Rule, f.Where, f.Before, f.All, f.After, down)
	}
	if !r.Applied {
		fmt.Fprintln(stderr, "edged:", r.Error)
		return
	}
	if e := r.Result.Effect; q.Action != override.Clear && q.Action != override.PinPrefix {
		fmt.Fprintf(stdout, "matches %d pops, %d nodes, %d endpoints\n", len(e.PoPs), len(e.Nodes), len(e.Endpoints))
	}
	if q.DryRun {
		fmt.Fprintf(stdout, "%s: would hold\n", q)
		return
	}
	verb := "holds as"
	if q.Action == override.Clear {
		verb = "ended"
	}
	for _, o := range r.Result.Overrides {
		fmt.Fprintf(stdout, "%s: %s %s", q, verb, o.ID)
		if !o.Expires.IsZero() && q.Action != override.Clear {
			fmt.Fprintf(stdout, " until %s", o.Expires.Format(time.RFC3339))
		}
		fmt.Fprintln(stdout)
	}
	if len(r.Result.Members) > 1 {
		fmt.Fprintf(stdout, "acknowledged by %s\n", strings.Join(r.Result.Members, ", "))
	}
}

func overridesCommand() *cobra.Command {
	var f nodeFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "overrides",
		Short: "list what operators ask for",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var v override.View
			return f.show(cmd, "/v1/overrides", asJSON, &v, func(w io.Writer) { writeOverrides(w, &v) })
		},
	}
	f.add(cmd)
	configFlag(cmd, &f.config)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func writeOverrides(w io.Writer, v *override.View) {
	for _, c := range v.Clocks {
		word, by := "ahead of", c.Ahead.Round(time.Second)
		if by < 0 {
			word, by = "behind", -by
		}
		fmt.Fprintf(w, "this node's clock is %s %s that of %s, which decides when its overrides end\n", by, word, c.Node)
	}
	if len(v.Active)+len(v.Suspended) == 0 {
		fmt.Fprintln(w, "no overrides")
		return
	}
	rows := [][]string{{"override", "owner", "reason", "since", "until", "id", ""}}
	suspended := []bool{false}
	add := func(o override.Override, why string) {
		until := "cleared"
		if !o.Expires.IsZero() {
			until = o.Expires.Format(time.RFC3339)
		}
		if o.Local {
			why = strings.TrimPrefix(why+"; this node only", "; ")
		}
		rows = append(rows, []string{o.What(), o.Owner, o.Reason, o.Created.Format(time.RFC3339), until, o.ID.String(), why})
	}
	for _, o := range v.Active {
		add(o, "")
		suspended = append(suspended, false)
	}
	for _, s := range v.Suspended {
		add(s.Override, "suspended: "+s.Why)
		suspended = append(suspended, true)
	}
	colour := colours(w)
	writeRows(w, rows, func(i int, line string) string { return paint(colour && suspended[i], edge.Failing, line) })
}
