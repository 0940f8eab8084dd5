package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"edged/admin"
	"edged/bgp"
	"edged/bgp/announcer"
	"edged/bgp/speaker"
	"edged/edge"
)

// shade is the verdict in whose colour a state is shown.
func shade(s bgp.State) edge.Verdict {
	switch s {
	case bgp.Announced:
		return edge.OK
	case bgp.LastResort:
		return edge.Failing
	case bgp.Draining, bgp.Withdrawn:
		return edge.Drained
	}
	return edge.Degraded
}

// writeVIPs shows a person how a node has its VIPs.
func writeVIPs(w io.Writer, s *announcer.Status) {
	colour := colours(w)
	fmt.Fprintf(w, "%s in %s, plan %s, generation %d\n", s.Node, s.PoP, s.Plan, s.Generation)
	if s.Frozen != "" {
		fmt.Fprintln(w, "frozen:", s.Frozen)
	}
	fmt.Fprintln(w)
	rows := [][]string{{"VIP", "state", "for", "route", "sent to", "announcers", "cause"}}
	shades := []edge.Verdict{edge.OK}
	for _, v := range s.VIPs {
		rows = append(rows, []string{
			v.Name, v.State.String(), rounded(v.Seconds), v.Route, cmp.Or(strings.Join(v.Sent, " "), "nobody"),
			fmt.Sprintf("%d of %d", v.Announcers, len(v.Nodes)), because(v.Cause, v.Waits, v.Fault),
		})
		shades = append(shades, shade(v.State))
	}
	table(w, colour, rows, shades)
	if len(s.VIPs) == 0 {
		fmt.Fprintln(w, "no VIPs")
	}
	fmt.Fprintln(w)
	rows, shades = [][]string{{"peer", "address", "AS", "session", "since", "BFD", "routes", "flaps", "last error, or note"}}, []edge.Verdict{edge.OK}
	for _, p := range s.Peers {
		colour := edge.OK
		if p.State != speaker.Established {
			colour = edge.Failing
		}
		since := ""
		if !p.Since.IsZero() {
			since = p.Since.Format(time.RFC3339)
		}
		rows = append(rows, []string{
			p.Name, p.Address.String(), fmt.Sprint(p.ASN), string(p.State), since, cmp.Or(string(p.BFD), "off"),
			fmt.Sprint(p.Sent), fmt.Sprint(p.Flaps), cmp.Or(p.LastError, p.Note),
		})
		shades = append(shades, colour)
	}
	table(w, colour, rows, shades)
	for _, o := range s.Operations {
		fmt.Fprintln(w, "\noperation:", o)
	}
	for _, o := range s.Overdue {
		fmt.Fprintln(w, paint(colour, edge.Failing, "overdue: "+o))
	}
	if s.Rollout != "" {
		fmt.Fprintln(w, "\nrollout:", s.Rollout)
	}
	if n := len(s.Pending); n > 0 {
		fmt.Fprintf(w, "\n%d changes pending: edged vip plan --nodes node/%s shows them\n", n, s.Node)
	}
}

// because joins why a VIP is as it is with what it waits for.
func because(cause, waits, fault string) string {
	if fault != "" {
		return fault
	}
	if waits != "" {
		return cause + "; waits for " + waits
	}
	return cause
}

func rounded(seconds float64) string {
	return (time.Duration(seconds) * time.Second).String()
}

// writeVIP shows a person one VIP.
func writeVIP(w io.Writer, v *announcer.VIPStatus) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	var prefixes []string
	for _, p := range v.Prefixes {
		prefixes = append(prefixes, p.String())
	}
	fmt.Fprintf(t, "VIP\t%s\n", v.Name)
	fmt.Fprintf(t, "prefixes\t%s\n", strings.Join(prefixes, " "))
	fmt.Fprintf(t, "state\t%s for %s: %s\n", v.State, rounded(v.Seconds), v.Cause)
	if v.Waits != "" {
		fmt.Fprintf(t, "waits for\t%s\n", v.Waits)
	}
	if v.Fault != "" {
		fmt.Fprintf(t, "fault\t%s\n", v.Fault)
	}
	fmt.Fprintf(t, "route\t%s\n", v.Route)
	fmt.Fprintf(t, "sent to\t%s\n", cmp.Or(strings.Join(v.Sent, " "), "nobody"))
	fmt.Fprintf(t, "address and socket\t%s\n", map[bool]string{true: "here", false: "not here"}[v.Bound])
	fmt.Fprintf(t, "minimum\t%d others in %d PoPs\n", v.MinAnnouncers, v.MinPoPs)
	fmt.Fprintf(t, "promises\t%s (asked %d times, %d given to others, %d refused)\n", v.Promises, v.Guard.Asked, v.Guard.Granted, v.Guard.Refused)
	for _, r := range v.Refusals {
		fmt.Fprintf(t, "no promise\t%s\n", r)
	}
	if len(v.Unsent) > 0 {
		fmt.Fprintf(t, "no peer has\t%s\n", strings.Join(v.Unsent, " "))
	}
	if v.Breaker != "" {
		fmt.Fprintf(t, "breaker\t%s\n", v.Breaker)
	}
	fmt.Fprintf(t, "penalty\t%.0f (suppressed from 3000 to 1500)\n", v.Penalty)
	t.Flush()
	fmt.Fprintln(w)
	rows, shades := [][]string{{"node", "PoP", "state"}}, []edge.Verdict{edge.OK}
	for _, n := range v.Nodes {
		state := n.State.String()
		if n.Silent {
			state = "not heard any more; it was " + state
		}
		rows = append(rows, []string{n.Node, n.PoP, state})
		shades = append(shades, shade(n.State))
	}
	table(w, colours(w), rows, shades)
}

// table writes rows below their heading, each in the colour of its verdict.
func table(w io.Writer, colour bool, rows [][]string, shades []edge.Verdict) {
	if len(rows) > 1 {
		writeRows(w, rows, func(i int, line string) string { return paint(colour, shades[i], line) })
	}
}

// writeProposal shows a person a plan, and how to apply it.
func writeProposal(w io.Writer, p *announcer.Proposal, flags planFlags) {
	fmt.Fprint(w, p.Plan.Text(p.Verdict))
	for i, wave := range p.Waves {
		fmt.Fprintf(w, "wave %d: %s\n", i+1, strings.Join(wave, " "))
	}
	for _, node := range sortedKeys(p.Silent) {
		fmt.Fprintf(w, "%s did not answer: %s\n", node, p.Silent[node])
	}
	if !p.Verdict.OK() || len(p.Plan.Steps) == 0 {
		return
	}
	more := ""
	if len(flags.vips) > 0 {
		more += " --vip " + strings.Join(flags.vips, ",")
	}
	if flags.wide {
		more += " --allow-wide"
	}
	fmt.Fprintf(w, "to apply it: edged vip apply %s --nodes %s%s --reason WHY\n", p.Plan.ID, flags.nodes, more)
}

// showRollout shows how far the rollout is, unless that is what was shown last.
// It returns what it shows.
func showRollout(cmd *cobra.Command, c *admin.Client, asJSON bool, last string) (r *bgp.Rollout, err error) {
	if err := c.Get(cmd.Context(), "/v1/vips/rollout", nil, &r); err != nil {
		return nil, err
	}
	switch {
	case asJSON:
		return r, writeJSON(cmd.OutOrStdout(), r)
	case r == nil:
		fmt.Fprintln(cmd.OutOrStdout(), "this node has coordinated no rollout")
	case r.String() != last:
		fmt.Fprintln(cmd.OutOrStdout(), r)
	}
	return r, nil
}

// watchRollout shows how a rollout goes until it is over. One that ends otherwise
// than done ends the command with exit code 1.
func watchRollout(cmd *cobra.Command, c *admin.Client, asJSON bool) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for last := ""; ; {
		r, err := showRollout(cmd, c, asJSON, last)
		if err != nil || r == nil {
			return err
		}
		switch {
		case r.Phase == bgp.PhaseDone:
			return nil
		case r.Ended():
			return errReported
		}
		last = r.String()
		select {
		case <-cmd.Context().Done():
			return fmt.Errorf("it is watched no more, and goes on: %s; edged vip rollout shows it, pause and abort stop it", last)
		case <-tick.C:
		}
	}
}
