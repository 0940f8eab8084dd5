package dnsserver

import (
	"fmt"
	"io"
	"text/tabwriter"

	"edged/geo"
)

// WriteText writes the explanation for a person.
func (e *Explanation) WriteText(w io.Writer) error {
	p := &printer{w: w}
	p.linef("%s %s: %s", e.Name, e.Type, e.Rcode)
	for _, r := range e.Records {
		p.linef("  %s", r)
	}
	if e.ECSScope != nil {
		p.linef("  ECS scope /%d", *e.ECSScope)
	}
	p.linef("")
	switch {
	case e.Zone == "":
		p.linef("zone      none: %s", e.Match)
	case e.Owner == "":
		p.linef("zone      %s serial %d", e.Zone, e.Serial)
	default:
		p.linef("zone      %s serial %d, %s: %s", e.Zone, e.Serial, e.Match, e.Owner)
	}
	if e.Decision != nil {
		p.decision(e.Decision)
	}
	return p.err
}

// printer keeps the first error, so that callers check once.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) linef(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}

func (p *printer) decision(t *geo.Trace) {
	for i := range t.Stages {
		p.stage(&t.Stages[i])
	}
	p.linef("")
	if t.Why != "" {
		p.linef("outcome   %s: %s", t.Outcome, t.Why)
	} else {
		p.linef("outcome   %s of PoP %s", t.Outcome, t.PoP)
	}
	p.linef("ttl       %d: %s", t.TTL, t.TTLWhy)
	for _, e := range t.Endpoints {
		use := "held back: the pool answers with fewer"
		if e.Used {
			use = "answered"
		}
		p.linef("  %s weight %d, %s, %s", e.Address, e.Weight, e.Verdict, use)
	}
	if t.ScopeSent {
		p.linef("scope     /%d: every client in that block gets the same choice", t.Scope)
	} else {
		p.linef("scope     none sent: the query had no client subnet")
	}
}

func (p *printer) stage(s *geo.Stage) {
	p.linef("pool      %s, policy %s, best verdict %s", s.Pool, s.Policy, s.Best)
	if l := s.Location; l != nil {
		p.location(l)
	}
	p.linef("")
	table := tabwriter.NewWriter(p.w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "  \tcandidate\trtt ms\tkm from first\tverdict\tweight\twhy")
	for _, c := range s.Candidates {
		mark, rtt := " ", "-"
		if c.Chosen {
			mark = "*"
		}
		if c.RTT > 0 {
			rtt = fmt.Sprintf("%.1f", c.RTT)
		}
		fmt.Fprintf(table, "  %s\t%s\t%s\t%d\t%s\t%d\t%s\n", mark, c.Name, rtt, c.Km, c.Verdict, c.Weight, c.Reason)
	}
	if p.err == nil {
		p.err = table.Flush()
	}
	for _, c := range s.Candidates {
		p.members(&c)
	}
}

// members tells of the members of a candidate of which there is something to
// tell.
func (p *printer) members(c *geo.Candidate) {
	for _, m := range c.Members {
		if m.Why == "" && m.TTL == 0 {
			continue
		}
		line := fmt.Sprintf("  %s: %s %s", c.Name, m.Member, m.Verdict)
		if m.Why != "" {
			line += ": " + m.Why
		}
		if m.TTL > 0 {
			line += fmt.Sprintf("; may change in %d s", m.TTL)
		}
		p.linef("%s", line)
	}
}

func (p *printer) location(l *geo.Location) {
	p.linef("located   by %s %s", l.Source, l.Address)
	for _, why := range l.PassedOver {
		p.linef("  not by  %s", why)
	}
	kind := "place data"
	if l.Measured {
		kind = "measured"
	}
	p.linef("map       %s version %s, range %s-%s, %s", l.Map, l.Version, l.From, l.To, kind)
	if l.Degraded != "" {
		p.linef("  degraded: %s", l.Degraded)
	}
	if l.Pin != "" {
		p.linef("pin       %s", l.Pin)
	}
	p.linef("block     /%d has one order of PoPs", l.Block)
	if l.Plurality {
		p.linef("  the subnet sent is wider than that block: most of it decided")
	}
}
