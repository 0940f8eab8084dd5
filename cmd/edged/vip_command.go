package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"edged/bgp"
	"edged/bgp/announcer"
)

func vipCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "vip",
		Short: "show, roll out, drain and hold VIPs",
		Long: `VIPs are addresses that many nodes announce together. What a node announces is
its stored plan; what its file wants beyond that is pending until it is planned
and applied. The first plan of a VIP is what the file says.`,
		PersistentPreRunE: noEmptyWords,
	}
	cmd.AddCommand(
		vipListCommand(), vipShowCommand(),
		vipPlanCommand(), vipApplyCommand(), vipRolloutCommand(),
		vipSteerCommand("pause", "stop the rollout where it is"),
		vipSteerCommand("resume", "go on with a paused rollout"),
		vipSteerCommand("abort", "give the nodes of the current wave back what they had"),
		vipSteerCommand("rollback", "give all nodes of the rollout back what they had, also when it is over"),
	)
	cmd.AddCommand(vipOperationCommands()...)
	return cmd
}

// vipFlags are those of all commands about VIPs.
type vipFlags struct {
	nodeFlags
	json bool
}

func (f *vipFlags) add(cmd *cobra.Command) {
	f.nodeFlags.add(cmd)
	configFlag(cmd, &f.config)
	cmd.Flags().BoolVar(&f.json, "json", false, "print JSON")
}

func vipListCommand() *cobra.Command {
	var f vipFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "list VIPs, peers and operations as a node has them",
		Long: `List VIPs, peers and operations as a node has them. Announcers are the nodes that
announce a VIP as planned, as far as this node hears; others that announce it are
told apart, for they may answer badly or not at all. What a node was asked with
--local is shown on all nodes, as "on NAME only".`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var s announcer.Status
			return f.show(cmd, "/v1/vips", f.json, &s, func(w io.Writer) { writeVIPs(w, &s) })
		},
	}
	f.add(cmd)
	return cmd
}

func vipShowCommand() *cobra.Command {
	var f vipFlags
	cmd := &cobra.Command{
		Use:   "show NAME",
		Short: "show one VIP: its state, why, and what it waits for",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var s announcer.Status
			c, err := f.client()
			if err != nil {
				return err
			}
			defer c.Close()
			if err := c.Get(cmd.Context(), "/v1/vips", nil, &s); err != nil {
				return err
			}
			var known []string
			for _, v := range s.VIPs {
				if v.Name == args[0] && f.json {
					return writeJSON(cmd.OutOrStdout(), v)
				} else if v.Name == args[0] {
					writeVIP(cmd.OutOrStdout(), &v)
					return nil
				}
				known = append(known, v.Name)
			}
			return fmt.Errorf("%s has no VIP %q; it has: %s", s.Node, args[0], strings.Join(known, ", "))
		},
	}
	f.add(cmd)
	return cmd
}

// vipOperationCommands are the commands by which engineers take nodes out, hold
// them, and bring them back.
func vipOperationCommands() []*cobra.Command {
	return []*cobra.Command{
		vipOperationCommand(string(bgp.Drain), "take VIPs of a node or PoP out of service, without harm",
			`Stop answering with the PoP where a pool requires the VIP, wait until such answers
have expired, make the routes less preferred, wait, and withdraw them, but only
while enough others have promised to stay. Without promises the VIP stays
announced as the last resort. It lasts until undrain, also over restarts.

--local works with nothing else alive, and goes before what the fleet asks. --force
withdraws without promises, which can leave nobody who announces the VIP.`),
		vipOperationCommand(string(bgp.Maintenance), "drain with an end that must be kept",
			`Drain, from --begin on, for as long as --for says. It is refused when more than
--max-out nodes would be out of a VIP at the same time. When the time runs out an
alarm is raised; nothing is announced again before undrain.`),
		vipOperationCommand(string(bgp.Hold), "keep the VIPs of a node or PoP as they are",
			`The node withdraws nothing, makes nothing less preferred and takes nothing up again
until release, whatever its checks find. What it brings up after a start or for a
plan still comes up, and a node that is stopped takes its VIPs with it.`),
		vipOperationCommand(string(bgp.Announce), "announce a VIP of the node's file, on that node alone",
			`For emergencies: announce a VIP of the node's file that no plan names, or one that
the fleet drains there. It lasts until release.`),
		vipEndCommand("undrain", "end drain and maintenance",
			`End drain and maintenance of the node or PoP that is named. What was asked of a
PoP is not ended for one of its nodes, nor the other way round. What a node was asked
with --local ends with --local, on the node. There an ID with --local also ends, for
this node alone, what the fleet asked. If nothing of that is in force, what is there is
listed with the command that ends it.`),
		vipEndCommand("release", "end hold and announce",
			`End hold of the node or PoP that is named, and announce of the VIP that --vip names
or of the ID. What was asked of a PoP is not ended for one of its nodes, nor the other
way round. What a node was asked with --local ends with --local, on the node. There an
ID with --local also ends, for this node alone, what the fleet asked. If nothing of
that is in force, what is there is listed with the command that ends it.`),
	}
}

// target reads "node/fra1" or "pop/fra" into a request, or an operation's ID if
// that is allowed.
func target(args []string, q *announcer.Request, orID bool) error {
	if len(args) == 0 {
		if !q.Local {
			return errors.New("name node/NAME or pop/NAME, or say --local for the node that this command talks to")
		}
		return nil
	}
	kind, name, found := strings.Cut(args[0], "/")
	switch {
	case kind == "node" && name != "":
		q.Node = name
	case kind == "pop" && name != "":
		q.PoP = name
	case !found && orID:
		q.ID = args[0]
	default:
		return fmt.Errorf("target %q: want node/NAME or pop/NAME", args[0])
	}
	return nil
}

func vipOperationCommand(kind, short, long string) *cobra.Command {
	var f vipFlags
	q := announcer.Request{Kind: bgp.OperationKind(kind)}
	var since string
	cmd := &cobra.Command{
		Use: map[bgp.OperationKind]string{
			bgp.Drain:       "drain node/NAME|pop/NAME --reason WHY",
			bgp.Maintenance: "maintenance node/NAME|pop/NAME --for TIME --reason WHY",
			bgp.Hold:        "hold node/NAME|pop/NAME --reason WHY",
			bgp.Announce:    "announce --local --vip NAME --reason WHY",
		}[bgp.OperationKind(kind)],
		Short: short,
		Long:  long,
		Example: map[bgp.OperationKind]string{
			bgp.Drain:       "  edged vip drain node/fra1 --reason 'new kernel' --for 2h",
			bgp.Maintenance: "  edged vip maintenance node/fra1 --reason 'new disks' --begin 2026-11-22T22:00:00Z --for 1h",
			bgp.Hold:        "  edged vip hold pop/fra --reason 'its checks are wrong' --for 1h",
			bgp.Announce:    "  edged vip announce --local --vip ns1 --reason 'nobody else can'",
		}[bgp.OperationKind(kind)],
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if err := target(args, &q, false); err != nil {
				return err
			}
			if q.For <= 0 && cmd.Flags().Changed("for") {
				return fmt.Errorf("--for %s: want more than nothing", q.For)
			}
			if q.MaxOut < 1 && cmd.Flags().Changed("max-out") {
				return fmt.Errorf("--max-out %d: want 1 or more", q.MaxOut)
			}
			if since != "" {
				if q.Since, err = time.Parse(time.RFC3339, since); err != nil {
					return fmt.Errorf("--begin %q: want a time such as 2026-11-22T22:00:00Z", since)
				}
			}
			return operate(cmd, &f, q)
		},
	}
	f.add(cmd)
	addRequest(cmd, &q)
	cmd.Flags().DurationVar(&q.For, "for", 0, "for how long, such as 2h; what is not ended by then raises an alarm")
	switch bgp.OperationKind(kind) {
	case bgp.Drain:
		cmd.Flags().BoolVar(&q.Force, "force", false, "also without the promises of others")
	case bgp.Maintenance:
		cmd.Flags().BoolVar(&q.Force, "force", false, "also without the promises of others, and beside other maintenance")
		cmd.Flags().StringVar(&since, "begin", "", "when it begins, such as 2026-11-22T22:00:00Z (default: now)")
		cmd.Flags().IntVar(&q.MaxOut, "max-out", bgp.DefaultMaxOut, "how many nodes may be out of a VIP at once")
		cmd.MarkFlagRequired("for")
	case bgp.Announce:
		cmd.Flags().Lookup("vip").Usage = "this VIP"
		cmd.MarkFlagRequired("vip")
		cmd.MarkFlagRequired("local")
	}
	return cmd
}

func vipEndCommand(end, short, long string) *cobra.Command {
	var f vipFlags
	q := announcer.Request{End: end}
	cmd := &cobra.Command{
		Use:     end + " node/NAME|pop/NAME|ID --reason WHY",
		Short:   short,
		Long:    long,
		Example: fmt.Sprintf("  edged vip %s node/fra1 --reason 'done'", end),
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := target(args, &q, true); err != nil {
				return err
			}
			return operate(cmd, &f, q)
		},
	}
	f.add(cmd)
	addRequest(cmd, &q)
	return cmd
}

func addRequest(cmd *cobra.Command, q *announcer.Request) {
	cmd.Flags().StringVar(&q.VIP, "vip", "", "only this VIP (default: all)")
	cmd.Flags().StringVar(&q.Reason, "reason", "", "why, in words")
	cmd.MarkFlagRequired("reason")
	cmd.Flags().BoolVar(&q.Local, "local", false, "on the node that this command talks to alone, which needs no other node, nor a disk")
}

// operate sends a request and shows what each node did.
func operate(cmd *cobra.Command, f *vipFlags, q announcer.Request) error {
	q.Actor = whoami()
	c, err := f.client()
	if err != nil {
		return err
	}
	defer c.Close()
	var all []announcer.Outcome
	err = c.Change(cmd.Context(), "/v1/vips/operations", q, &all)
	if f.json && all != nil {
		return errors.Join(writeJSON(cmd.OutOrStdout(), all), err)
	}
	for _, o := range all {
		if o.Error == "" {
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", o.Node, o.What)
		}
	}
	return err
}
