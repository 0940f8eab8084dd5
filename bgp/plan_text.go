package bgp

import (
	"fmt"
	"strings"
	"text/tabwriter"
)

// Text returns the plan for people: a table of what changes at which peers, what
// else is pending, and then what the verdict on it says.
func (f FleetPlan) Text(v Verdict) string {
	var b strings.Builder
	fmt.Fprintf(&b, "plan %s for %s: %s, %s\n", f.ID, f.Selector,
		Counted(len(f.Steps), "node"), Counted(v.Radius, "change"))
	if len(f.Changes) == 0 {
		b.WriteString("nothing changes\n")
	}
	writeChanges(&b, f.Changes)
	if len(f.Beside) > 0 {
		b.WriteString("\npending too, but not in this plan:\n")
		writeChanges(&b, f.Beside)
	}
	if len(v.Counts) > 0 {
		b.WriteString("\n")
		t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "VIP\twhere\tannouncers now\tafter\tat least")
		for _, c := range v.Counts {
			fmt.Fprintf(t, "%s\t%s\t%d\t%d", c.what(), c.where(), c.Before, c.After)
			switch {
			case c.GivenUp:
				fmt.Fprint(t, "\tgiven up")
			case c.PoP == "":
				fmt.Fprintf(t, "\t%d in %s", c.Min, Counted(c.MinPoPs, "PoP"))
			}
			fmt.Fprintln(t)
		}
		t.Flush()
	}
	b.WriteString("\n")
	for _, note := range v.Notes {
		fmt.Fprintf(&b, "note: %s\n", note)
	}
	if v.OK() {
		b.WriteString("verdict: may be applied\n")
	} else {
		b.WriteString("verdict: refused\n")
		for _, r := range v.Broken {
			fmt.Fprintf(&b, "  %s\n", r)
		}
	}
	return b.String()
}

var changeSigns = map[ChangeKind]string{AddsRoute: "+", DropsRoute: "-", AltersRoute: "~", AltersSettings: "~", ResetsSession: "!"}

func writeChanges(b *strings.Builder, changes []Change) {
	var table strings.Builder
	t := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	for _, c := range changes {
		prefix := ""
		if c.Prefix.IsValid() {
			prefix = c.Prefix.String()
		}
		fmt.Fprintf(t, "%s %s\t%s\t%s\t%s\t%s\n", changeSigns[c.Kind], c.Node, c.VIP, prefix, strings.Join(c.Peers, " "), c.what())
	}
	t.Flush()
	b.WriteString(table.String())
}

// what says in words what changes, such as "attributes: plain -> 64512:100".
func (c Change) what() string {
	switch {
	case c.Kind == AddsRoute && c.Over != "":
		return fmt.Sprintf("take over from %s: %s", c.Over, c.After)
	case c.Kind == DropsRoute && c.Over != "":
		return "goes over to " + c.Over
	case c.Kind == AddsRoute:
		return "announce: " + c.After
	case c.Kind == DropsRoute:
		return "withdraw: " + c.Before
	}
	return fmt.Sprintf("%s: %s -> %s", c.Kind, c.Before, c.After)
}

// Counted returns a number with its noun, "1 node" or "2 nodes".
func Counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
