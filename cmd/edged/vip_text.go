package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
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
			announcers(&v), because(v.Cause, v.Waits, v.Failing, v.Fault),
		})
		shades = append(shades, shade(v.State))
		for _, p := range v.Leaving {
			rows = append(rows, []string{
				"- " + bgp.PrefixWords(p.Prefixes), p.State.String(), "", p.Route, "", "", because(p.Cause, p.Waits, "", ""),
			})
			shades = append(shades, shade(p.State))
		}
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
		if !o.Local {
			fmt.Fprintln(w, "\noperation:", o)
		}
	}
	own := slices.DeleteFunc(slices.Clone(s.Operations), func(o bgp.Operation) bool { return !o.Local })
	writeOwn(w, announcer.Own{Node: s.Node, Operations: own})
	for _, o := range s.Elsewhere {
		writeOwn(w, o)
	}
	for _, o := range s.Overdue {
		fmt.Fprintln(w, paint(colour, edge.Failing, "overdue: "+o))
	}
	if s.Rollout != "" {
		fmt.Fprintln(w, "\nrollout:", s.Rollout)
	}
	n := toApply(s)
	sessions := len(s.Pending) - n
	if n > 0 {
		fmt.Fprintf(w, "\n%s pending: edged vip plan --nodes node/%s shows what\n", bgp.Counted(n, "change"), s.Node)
	}
	switch {
	case s.Waits != "":
		fmt.Fprintf(w, "\nsessions are on the way to what the file wants: %s\n", s.Waits)
	case sessions > 0:
		fmt.Fprintf(w, "\n%s on the way to what the file wants\n", bgp.Counted(sessions, "session"))
	}
}

// writeOwn shows what a node does by its own word, whatever the fleet asks.
func writeOwn(w io.Writer, own announcer.Own) {
	silent := ""
	if own.Silent {
		silent = ", as it said last: it is not heard any more"
	}
	for _, o := range own.Operations {
		until := "without an end"
		if !o.Until.IsZero() {
			until = "until " + o.Until.Format(time.RFC3339)
		}
		forced := ""
		if o.Force {
			forced = ", forced"
		}
		fmt.Fprintf(w, "\non %s only: %s %s, by %s: %q, since %s %s%s (%s)%s\n",
			own.Node, o.Kind, cmp.Or(o.VIP, "all VIPs"), o.Actor, o.Reason, o.Since.Format(time.RFC3339), until, forced, o.ID, silent)
	}
	if own.More > 0 {
		fmt.Fprintf(w, "\non %s only: %d more%s\n", own.Node, own.More, silent)
	}
}

// announcers says how many nodes announce a VIP as planned, and apart from them how
// many do otherwise, who may answer badly or not at all.
func announcers(v *announcer.VIPStatus) string {
	if v.Otherwise == 0 {
		return fmt.Sprint(v.Announcers)
	}
	return fmt.Sprintf("%d, and %d not as planned", v.Announcers, v.Otherwise)
}

// because joins why a VIP is as it is with what it waits for, and why its checks fail now
// unless that is the cause.
func because(cause, waits, failing, fault string) string {
	if fault != "" {
		return fault
	}
	if waits != "" {
		cause += "; waits for " + waits
	}
	if failing != "" && !strings.Contains(cause, failing) {
		cause += "; checks fail now: " + failing
	}
	return cause
}

func rounded(seconds float64) string {
	return (time.Duration(seconds) * time.Second).String()
}

// writeVIP shows a person one VIP.
func writeVIP(w io.Writer, v *announcer.VIPStatus) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "VIP\t%s\n", v.Name)
	fmt.Fprintf(t, "prefixes\t%s\n", bgp.PrefixWords(v.Prefixes))
	fmt.Fprintf(t, "state\t%s for %s: %s\n", v.State, rounded(v.Seconds), v.Cause)
	if v.Waits != "" {
		fmt.Fprintf(t, "waits for\t%s\n", v.Waits)
	}
	if v.Failing != "" {
		fmt.Fprintf(t, "checks\tfail now: %s\n", v.Failing)
	}
	if v.Fault != "" {
		fmt.Fprintf(t, "fault\t%s\n", v.Fault)
	}
	for _, p := range v.Leaving {
		fmt.Fprintf(t, "leaving\t%s is %s: %s, route %s\n", bgp.PrefixWords(p.Prefixes), p.State, because(p.Cause, p.Waits, "", ""), p.Route)
	}
	fmt.Fprintf(t, "route\t%s\n", v.Route)
	fmt.Fprintf(t, "sent to\t%s\n", cmp.Or(strings.Join(v.Sent, " "), "nobody"))
	fmt.Fprintf(t, "address and socket\t%s\n", map[bool]string{true: "here", false: "not here"}[v.Bound])
	fmt.Fprintf(t, "announcers\t%s\n", announcers(v))
	fmt.Fprintf(t, "minimum\t%s in %s\n", bgp.Counted(v.MinAnnouncers, "other"), bgp.Counted(v.MinPoPs, "PoP"))
	fmt.Fprintf(t, "promises\t%s (asked %s, %d given to others, %d refused)\n", v.Promises, bgp.Counted(int(v.Guard.Asked), "time"), v.Guard.Granted, v.Guard.Refused)
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
		switch {
		case n.Silent:
			state = "not heard any more; it was " + state
		case n.Mute:
			state += ", but no peer has it"
		case len(n.Lacks) > 0:
			state += ", without " + bgp.PrefixWords(n.Lacks)
		}
		rows = append(rows, []string{n.Node, n.PoP, state})
		shades = append(shades, shade(n.State))
	}
	table(w, colours(w), rows, shades)
}

// toApply counts the pending changes that a plan makes: sessions change by themselves.
func toApply(s *announcer.Status) (n int) {
	for _, c := range s.Pending {
		if c.Kind != bgp.ResetsSession {
			n++
		}
	}
	return n
}

// table writes rows below their heading, each in the colour of its verdict.
func table(w io.Writer, colour bool, rows [][]string, shades []edge.Verdict) {
	if len(rows) > 1 {
		writeRows(w, rows, func(i int, line string) string { return paint(colour, shades[i], line) })
	}
}

// writeProposal shows a person a plan.
func writeProposal(w io.Writer, p *announcer.Proposal) {
	fmt.Fprint(w, p.Plan.Text(p.Verdict))
	for i, wave := range p.Waves {
		fmt.Fprintf(w, "wave %d: %s\n", i+1, strings.Join(wave, " "))
	}
	for _, node := range sortedKeys(p.Silent) {
		fmt.Fprintf(w, "%s did not answer: %s\n", node, p.Silent[node])
	}
}

// writeHowToApply tells a person how to apply a plan, if that may be.
func writeHowToApply(w io.Writer, p *announcer.Proposal, flags planFlags) {
	if !p.Verdict.OK() || len(p.Plan.Steps) == 0 {
		return
	}
	more := ""
	if len(flags.vips) > 0 {
		more += " --vip " + strings.Join(flags.vips, ",")
	}
	if len(flags.giveUp) > 0 {
		more += " --give-up " + strings.Join(flags.giveUp, ",")
	}
	if flags.wide {
		more += " --allow-wide"
	}
	fmt.Fprintf(w, "to apply it: edged vip apply %s --nodes %s%s --reason WHY\n", p.Plan.ID, flags.nodes, more)
}

// getRollout fetches how far the rollout is that a node coordinates; of none named,
// the one that is under way, or the last. nil: there was none.
func getRollout(cmd *cobra.Command, c *admin.Client, coordinator string) (*announcer.Rollout, error) {
	var answer struct {
		announcer.Rollout
		Error string `json:"error"`
	}
	err := c.Get(cmd.Context(), "/v1/vips/rollout", url.Values{"coordinator": {coordinator}}, &answer)
	switch {
	case err != nil:
		return nil, err
	case answer.Error != "":
		return nil, errors.New(answer.Error)
	case answer.Rollout.Rollout == nil:
		return nil, nil
	}
	return &answer.Rollout, nil
}

// writeRollout shows how far a rollout is, unless that is what was shown last.
func writeRollout(w io.Writer, r *announcer.Rollout, asJSON bool, last string) error {
	switch {
	case asJSON:
		return writeJSON(w, r)
	case r == nil:
		fmt.Fprintln(w, "no rollout is under way, and no node has coordinated one")
	case r.String() != last:
		fmt.Fprintln(w, r)
	}
	return nil
}

// watchFor is how long a rollout is watched without an answer: a node that is asked, or
// that coordinates it, may restart.
const watchFor = time.Minute

// watchRollout shows how a rollout goes until it is over, whichever node coordinates
// it. One that ends otherwise than done ends the command with exit code 1.
func watchRollout(cmd *cobra.Command, c *admin.Client, asJSON bool) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	last, coordinator := "", ""
	var silent time.Time // since when; zero: it answers
	for {
		r, err := getRollout(cmd, c, coordinator)
		switch {
		case err != nil && (last == "" || !silent.IsZero() && time.Since(silent) > watchFor):
			return err
		case err != nil:
			if silent.IsZero() && cmd.Context().Err() == nil {
				silent = time.Now()
				fmt.Fprintf(cmd.ErrOrStderr(), "edged: %v; it is asked again for %s\n", err, watchFor)
			}
		default:
			if err := writeRollout(cmd.OutOrStdout(), r, asJSON, last); err != nil || r == nil {
				return err
			}
			if r.Phase == bgp.PhaseDone {
				return nil
			} else if r.Ended() {
				return errReported
			}
			last, coordinator, silent = r.String(), r.Coordinator, time.Time{}
		}
		select {
		case <-cmd.Context().Done():
			return fmt.Errorf("it is watched no more, and goes on: %s; edged vip rollout shows it, pause and abort stop it", last)
		case <-tick.C:
		}
	}
}
