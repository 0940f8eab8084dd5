package zone

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// twin answers from a plain list of records by the words of the RFCs, without a
// tree: the slow twin of Lookup, for names of plain lower-case labels.
type twin struct {
	records []dns.RR
	dynamic []string
}

func (w twin) at(name string, rrtype uint16) (rrs []dns.RR) {
	for _, rr := range w.records {
		if rr.Header().Name == name && rr.Header().Rrtype == rrtype {
			rrs = append(rrs, rr)
		}
	}
	return rrs
}

// exists: a name exists when it or a name below it owns something (RFC 4592 §2.2.2).
func (w twin) exists(name string) bool {
	owns := func(owner string) bool { return owner == name || strings.HasSuffix(owner, "."+name) }
	return slices.ContainsFunc(w.records, func(rr dns.RR) bool { return owns(rr.Header().Name) }) || slices.ContainsFunc(w.dynamic, owns)
}

// lookup gives rcode, AA, answer and authority; negative is the SOA to deny with.
func (w twin) lookup(name string, rrtype uint16, negative dns.RR) Result {
	r := Result{Authoritative: true}
	var seen []string
	for {
		if !strings.HasSuffix("."+name, ".example.com.") || slices.Contains(seen, name) || len(seen) == maxChain {
			return r
		}
		source, target := w.source(name, rrtype)
		if len(seen) > 0 && slices.Contains(w.dynamic, source) {
			return r
		}
		seen = append(seen, name)
		switch {
		case target == "cut":
			r.Authoritative = len(r.Answer) > 0
			r.Ns = w.at(source, dns.TypeNS)
			return r
		case target == "dname":
			dname := w.at(source, dns.TypeDNAME)[0].(*dns.DNAME)
			if !slices.Contains(r.Answer, dns.RR(dname)) {
				r.Answer = append(r.Answer, dname)
			}
			next := strings.TrimSuffix(name, source) + dname.Target
			if len(next) > 254 {
				r.Rcode = dns.RcodeYXDomain
				return r
			}
			r.Answer = append(r.Answer, rename(name, &dns.CNAME{Hdr: dns.RR_Header{Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: dname.Hdr.Ttl}, Target: next}))
			if rrtype == dns.TypeCNAME {
				return r
			}
			name = next
			continue
		case source == "":
			r.Rcode = dns.RcodeNameError
			r.Ns = []dns.RR{negative}
			return r
		}
		data := w.at(source, rrtype)
		cname := w.at(source, dns.TypeCNAME)
		switch {
		case len(data) > 0:
			for _, rr := range data {
				r.Answer = append(r.Answer, rename(name, rr))
			}
			return r
		case len(cname) > 0:
			r.Answer = append(r.Answer, rename(name, cname[0]))
			name = cname[0].(*dns.CNAME).Target
		default:
			r.Ns = []dns.RR{negative}
			return r
		}
	}
}

// source finds the owner that answers for a name, "" for none; how is "cut" or
// "dname" when that owner sends the question elsewhere.
func (w twin) source(name string, rrtype uint16) (owner, how string) {
	labels := dns.SplitDomainName(name)
	for i := len(labels) - 2; i >= 0; i-- { // from example.com. down
		above := dns.Fqdn(strings.Join(labels[i:], "."))
		if i < len(labels)-2 && len(w.at(above, dns.TypeNS)) > 0 && (above != name || rrtype != dns.TypeDS) {
			return above, "cut"
		}
		if above != name && len(w.at(above, dns.TypeDNAME)) > 0 {
			return above, "dname"
		}
	}
	if w.exists(name) {
		return name, ""
	}
	for !w.exists(name) {
		_, name, _ = strings.Cut(name, ".")
	}
	if w.exists("*." + name) {
		return "*." + name, ""
	}
	return "", ""
}

func rename(name string, rr dns.RR) dns.RR {
	rr = dns.Copy(rr)
	rr.Header().Name = name
	return rr
}

// TestTwin asks random small zones every name that their labels can make.
func TestTwin(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	labels := []string{"a", "b", "c", "*"}
	types := []string{"A 192.0.2.1", "TXT x", "NS ns.other.", "CNAME", "CNAME", "DNAME", "DS 1 13 2 00", "MX 1 x."}
	name := func(least int) string {
		parts := []string{}
		for range least + random.IntN(4-least) {
			parts = append(parts, labels[random.IntN(len(labels))])
		}
		return strings.Join(append(parts, "example.com."), ".")
	}
	all := []string{"example.com."}
	for from := 0; len(all) < 1+4+16+64; { // every name of up to three labels
		last := all[from:]
		from = len(all)
		for _, up := range last {
			for _, label := range labels {
				all = append(all, label+"."+up)
			}
		}
	}
	zones, asked := 0, 0
	for zones < 1500 {
		text := "$TTL 300\nexample.com. SOA ns. host. 1 2 3 4 5\nexample.com. NS ns.other.\n"
		for range 2 + random.IntN(9) {
			data := types[random.IntN(len(types))]
			if data == "CNAME" || data == "DNAME" {
				data += " " + name(0)
			}
			text += fmt.Sprintf("%s %s\n", name(1), data)
		}
		var dynamic []string
		if random.IntN(3) == 0 {
			dynamic = []string{name(1)}
		}
		z, err := Parse("example.com", strings.NewReader(text), "", Options{Dynamic: dynamic})
		if err != nil {
			continue // breaks a rule; those are tested elsewhere
		}
		zones++
		w := twin{dynamic: dynamic}
		for _, n := range z.order {
			for _, s := range n.sets {
				w.records = append(w.records, s.rrs...)
			}
		}
		for _, q := range all {
			for _, rrtype := range []uint16{dns.TypeA, dns.TypeTXT, dns.TypeDS, dns.TypeCNAME, dns.TypeNS, dns.TypeDNAME} {
				asked++
				ours, theirs := z.Lookup(q, rrtype), w.lookup(q, rrtype, z.negative)
				if ours.Rcode != theirs.Rcode || ours.Authoritative != theirs.Authoritative || !sameSet(ours.Answer, theirs.Answer) || !sameSet(ours.Ns, theirs.Ns) {
					t.Fatalf("%s %s in\n%sdynamic %q\ngot\n%swant\n%s", q, dns.Type(rrtype), text, dynamic, render(ours), render(theirs))
				}
			}
		}
	}
	t.Logf("%d zones, %d questions", zones, asked)
}
