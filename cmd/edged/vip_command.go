package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
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

// planFlags say what is planned.
type planFlags struct {
	nodes string
	vips  []string // each one or several with commas

	giveUp []string // likewise: prefixes
	wide   bool
}

// only returns the VIPs that are planned; nil: all.
func (p *planFlags) only() []string {
	if p.vips == nil {
		return nil
	}
	return strings.Split(strings.Join(p.vips, ","), ",")
}

// given returns the prefixes that are given up.
func (p *planFlags) given() ([]netip.Prefix, error) {
	if p.giveUp == nil {
		return nil, nil
	}
	prefixes, err := bgp.ParsePrefixes(strings.Join(p.giveUp, ","))
	if err != nil {
		return nil, fmt.Errorf("--give-up: %w", err)
	}
	return prefixes, nil
}

func (p *planFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.nodes, "nodes", "", "which nodes: node/NAME, pop/NAME or all, several with commas")
	cmd.MarkFlagRequired("nodes")
	cmd.Flags().StringArrayVar(&p.vips, "vip", nil, "only these `NAMES`, several with commas (default: all)")
	cmd.Flags().StringArrayVar(&p.giveUp, "give-up", nil, "take these `PREFIXES` away though too few nodes, or none, announce them then: no promises are asked for")
	cmd.Flags().BoolVar(&p.wide, "allow-wide", false, "also when it changes many VIPs, or what routers hear from many announcers of one")
}

func vipPlanCommand() *cobra.Command {
	var f vipFlags
	var p planFlags
	cmd := &cobra.Command{
		Use:   "plan --nodes SELECTOR",
		Short: "show what the files of nodes would change, and whether that is safe",
		Long: `Show for each node and peer what would be announced, withdrawn or changed, how
many announcers each VIP would have, in which waves it would happen, and every
rule that speaks against it. Nothing changes. A plan that is refused ends with
exit code 1.`,
		Example: "  edged vip plan --nodes pop/fra\n  edged vip plan --nodes node/fra1,node/fra2 --vip ns1\n  edged vip plan --nodes all --allow-wide --give-up 198.51.100.54/32",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.client()
			if err != nil {
				return err
			}
			defer c.Close()
			given, err := p.given()
			if err != nil {
				return err
			}
			query := url.Values{"nodes": {p.nodes}, "wide": {fmt.Sprint(p.wide)}}
			if p.vips != nil {
				query.Set("vips", strings.Join(p.only(), ","))
			}
			if given != nil {
				query.Set("give_up", bgp.PrefixWords(given))
			}
			var answer struct {
				announcer.Proposal
				Error string `json:"error"`
			}
			if err := c.Get(cmd.Context(), "/v1/vips/plan", query, &answer); err != nil {
				return err
			}
			if answer.Error != "" {
				return errors.New(answer.Error)
			}
			if f.json {
				err = writeJSON(cmd.OutOrStdout(), answer.Proposal)
			} else {
				writeProposal(cmd.OutOrStdout(), &answer.Proposal, p)
			}
			if err == nil && !answer.Verdict.OK() {
				err = errReported
			}
			return err
		},
	}
	f.add(cmd)
	p.add(cmd)
	return cmd
}

func vipApplyCommand() *cobra.Command {
	var f vipFlags
	var p planFlags
	var q announcer.Application
	var bake time.Duration
	var watch bool
	cmd := &cobra.Command{
		Use:   "apply PLAN --nodes SELECTOR --reason WHY",
		Short: "roll a plan out, wave by wave",
		Long: `Make the plan again and, if it is still the one with that ID, roll it out: one
node, the rest of its PoP, a quarter of the others, all. Each wave must be confirmed
by what peers were sent and by who answers, and is watched before the next one
begins. What goes wrong aborts the wave, and its nodes get back what they had.

The node that this command talks to coordinates; any other shows and steers the
rollout, too. If it restarts, the rollout stays paused until "edged vip resume".`,
		Example: "  edged vip apply 3f2a9c01b7de --nodes pop/fra --reason 'new ns1 in Frankfurt' --watch",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.Plan, q.Nodes, q.VIPs, q.Wide, q.Bake, q.Actor = args[0], p.nodes, p.only(), p.wide, bake, whoami()
			var err error
			if q.GiveUp, err = p.given(); err != nil {
				return err
			}
			if bake < time.Second {
				return fmt.Errorf("--bake %s: want 1s at least, or all waves are one", bake)
			}
			c, err := f.client()
			if err != nil {
				return err
			}
			defer c.Close()
			var r announcer.Proposal
			if err := c.Change(cmd.Context(), "/v1/vips/apply", q, &r); err != nil {
				return err
			}
			if f.json {
				err = writeJSON(cmd.OutOrStdout(), r)
			} else {
				writeProposal(cmd.OutOrStdout(), &r, p)
				fmt.Fprintln(cmd.OutOrStdout(), "the rollout has begun; edged vip rollout shows how far it is")
			}
			if err != nil || !watch {
				return err
			}
			return watchRollout(cmd, c, f.json)
		},
	}
	f.add(cmd)
	p.add(cmd)
	cmd.Flags().DurationVar(&bake, "bake", bgp.DefaultBake, "how long each wave is watched, from 1s to 24h")
	cmd.Flags().StringVar(&q.Reason, "reason", "", "why, in words")
	cmd.MarkFlagRequired("reason")
	cmd.Flags().BoolVar(&q.Shift, "allow-shift", false, "also when traffic moves otherwise than forecast")
	cmd.Flags().BoolVar(&watch, "watch", false, "show how it goes until it is over")
	return cmd
}

func vipRolloutCommand() *cobra.Command {
	var f vipFlags
	var watch bool
	cmd := &cobra.Command{
		Use:   "rollout",
		Short: "show how far the rollout is, whichever node coordinates it",
		Long: `Show the rollout that is under way, whichever node coordinates it. If none is,
show the last one. --json shows what nodes announce by it only on its coordinator.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.client()
			if err != nil {
				return err
			}
			defer c.Close()
			if watch {
				return watchRollout(cmd, c, f.json)
			}
			r, err := getRollout(cmd, c, "")
			if err != nil {
				return err
			}
			return writeRollout(cmd.OutOrStdout(), r, f.json, "")
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&watch, "watch", false, "show how it goes until it is over")
	return cmd
}

func vipSteerCommand(action, short string) *cobra.Command {
	var f vipFlags
	var reason string
	var force bool
	cmd := &cobra.Command{
		Use:   action + " [PLAN] --reason WHY",
		Short: short,
		Long: strings.ToUpper(short[:1]) + short[1:] + `.

The rollout is the one that is under way, whichever node coordinates it: any node
passes this on. Without one it is the last, if the node that is asked coordinated
it. PLAN says which one is meant, and no other is touched.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.client()
			if err != nil {
				return err
			}
			defer c.Close()
			q := announcer.Steering{Action: action, Plan: strings.Join(args, ""), Reason: reason, Actor: whoami(), Force: force}
			var r *announcer.Rollout
			if err := c.Change(cmd.Context(), "/v1/vips/rollout", q, &r); err != nil {
				return err
			}
			return writeRollout(cmd.OutOrStdout(), r, f.json, "")
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&reason, "reason", "", "why, in words")
	cmd.MarkFlagRequired("reason")
	if action == "rollback" {
		cmd.Flags().BoolVar(&force, "force", false, "withdraw what the rollout was the first to announce, though nobody can promise to stay")
	}
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
