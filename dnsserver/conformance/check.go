package conformance

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Verdict is how one check ended: Pass, Fail, Warn or Skip.
type Verdict string

// The verdicts. Only Fail makes a server fail as a whole.
const (
	Pass Verdict = "pass"
	Fail Verdict = "fail"
	Warn Verdict = "warn" // a SHOULD, or good practice, that is not met
	Skip Verdict = "skip" // the check says nothing about this server
)

// Options say whom to ask and about what.
type Options struct {
	Server    netip.AddrPort
	Name      string         // a name of type A, best one whose answer depends on the client
	Zone      string         // the zone that holds Name; empty: found by asking
	Delegated string         // a name at or below a zone cut; empty: referral checks are skipped
	Large     string         // a name whose TXT RRset exceeds 512 octets; empty: truncation is skipped
	Subnets   []netip.Prefix // extra client subnets for the scope checks, beside the built-in sample
	Timeout   time.Duration  // per try; 0 = 1 s. A UDP question is tried twice
}

// Result is one line of a report.
type Result struct {
	ID       string  `json:"id"`
	Ref      string  `json:"ref"` // RFC and section
	What     string  `json:"what"`
	Verdict  Verdict `json:"verdict"`
	Evidence string  `json:"evidence"` // what was seen, in words
}

// Report is what Run found, in the order of the checks.
type Report struct {
	Server  netip.AddrPort  `json:"server"`
	Name    string          `json:"name"`
	Zone    string          `json:"zone"`
	Results []Result        `json:"results"`
	Counts  map[Verdict]int `json:"counts"`
}

// Failed tells whether any check failed.
func (r *Report) Failed() bool { return r.Counts[Fail] > 0 }

// Find returns the result with the given id, and whether there is one.
func (r *Report) Find(id string) (Result, bool) {
	for _, res := range r.Results {
		if res.ID == id {
			return res, true
		}
	}
	return Result{}, false
}

// check is one entry of the list: what it is called and how to find out.
type check struct {
	id, ref, what string
	run           func(*session) outcome
}

type outcome struct {
	verdict  Verdict
	evidence string
}

func pass(format string, a ...any) outcome { return outcome{Pass, fmt.Sprintf(format, a...)} }
func fail(format string, a ...any) outcome { return outcome{Fail, fmt.Sprintf(format, a...)} }
func warn(format string, a ...any) outcome { return outcome{Warn, fmt.Sprintf(format, a...)} }
func skip(format string, a ...any) outcome { return outcome{Skip, fmt.Sprintf(format, a...)} }

// checks returns the whole list in the order in which it runs.
func checks() []check {
	var all []check
	for _, part := range [][]check{headerChecks, packetChecks, ednsChecks, ecsChecks, cookieChecks, tcpChecks, identityChecks, lastChecks} {
		all = append(all, part...)
	}
	return all
}

// ErrNoAnswer is wrapped by Run's error when the server does not answer a plain
// question, so that no check would mean anything.
var ErrNoAnswer = errors.New("no answer")

// Run asks every question and returns the report. It errs when the server does
// not answer at all, when it does not serve Name, or when ctx ends.
func Run(ctx context.Context, o Options) (*Report, error) {
	if o.Timeout <= 0 {
		o.Timeout = time.Second
	}
	o.Name = dns.Fqdn(strings.ToLower(o.Name))
	for _, p := range o.Subnets {
		if !routable(p.Addr()) {
			return nil, fmt.Errorf("subnet %q is of a special-purpose block, which may rightly get scope 0; want a public one", p)
		}
	}
	s := &session{Options: o, nextID: 0x5a01}
	if err := s.findZone(); err != nil {
		return nil, err
	}
	report := &Report{Server: o.Server, Name: s.Name, Zone: s.Zone, Counts: map[Verdict]int{}}
	for _, c := range checks() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		out := c.run(s)
		report.Results = append(report.Results, Result{c.id, c.ref, c.what, out.verdict, out.evidence})
		report.Counts[out.verdict]++
	}
	return report, nil
}

// findZone checks that the server answers for Name and, when Zone is empty,
// takes the owner of the SOA record that a question for SOA brings back.
func (s *session) findZone() error {
	r, err := s.udp(s.query(s.Name, dns.TypeSOA))
	if err != nil {
		return fmt.Errorf("%s does not answer a question for %q over udp: %w; is the port right?", s.Server, s.Name, err)
	}
	if r.rcode != dns.RcodeSuccess && r.rcode != dns.RcodeNameError {
		return fmt.Errorf("%s answers %s for %q: not served here; name one of its own with --name", s.Server, rcodeText(r.rcode), s.Name)
	}
	if r.rcode == dns.RcodeNameError {
		return fmt.Errorf("%s says that %q does not exist; name an existing one with --name", s.Server, s.Name)
	}
	if s.Zone != "" {
		s.Zone = dns.Fqdn(strings.ToLower(s.Zone))
		return nil
	}
	for _, rr := range append(append([]dns.RR{}, r.msg.Answer...), r.msg.Ns...) {
		if rr.Header().Rrtype == dns.TypeSOA {
			s.Zone = strings.ToLower(rr.Header().Name)
			return nil
		}
	}
	return fmt.Errorf("%s sends no SOA record for %q, so its zone is not known; say it with --zone", s.Server, s.Name)
}
