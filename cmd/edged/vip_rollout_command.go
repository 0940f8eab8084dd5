package main

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"edged/bgp"
	"edged/bgp/announcer"
)

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
				writeProposal(cmd.OutOrStdout(), &answer.Proposal)
				writeHowToApply(cmd.OutOrStdout(), &answer.Proposal, p)
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
				writeProposal(cmd.OutOrStdout(), &r)
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
	cmd.Flags().StringSliceVar(&q.Leave, "leave", nil, "leave these `NODES` as they are, though the rollout before is still to give back what they had")
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
