package zone

import (
	"encoding/hex"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// Changes is what would turn one zone into another. A record whose TTL changes
// is in both lists.
type Changes struct {
	Added, Removed []dns.RR // in canonical order of their owners
}

// Diff returns the records that b has and a has not, and the other way round.
// Owner names are compared without case, data exactly.
func Diff(a, b *Zone) Changes {
	return Changes{Added: missing(b, a), Removed: missing(a, b)}
}

// missing returns the records of z that other lacks.
func missing(z, other *Zone) []dns.RR {
	var out []dns.RR
	for _, n := range z.order {
		theirs := other.nodes[n.name]
		for _, s := range n.sets {
			have := map[string]bool{}
			if theirs != nil {
				for _, rr := range theirs.set(s.rrtype) {
					have[line(rr)] = true
				}
			}
			for _, rr := range s.rrs {
				if !have[line(rr)] {
					out = append(out, rr)
				}
			}
		}
	}
	return out
}

// line is a record's presentation form, its owner in lower case, with single
// spaces for the tabs between its first fields. NULL has no form of its own.
func line(rr dns.RR) string {
	if null, ok := rr.(*dns.NULL); ok {
		rr = &dns.RFC3597{Hdr: null.Hdr, Rdata: hex.EncodeToString([]byte(null.Data))}
	}
	owner := rr.Header().Name
	text := lower(owner)
	if strings.HasPrefix(text, "$") { // which begins a directive (RFC 1035 section 5.1)
		text = `\` + text
	}
	return text + strings.Replace(rr.String()[len(owner):], "\t", " ", 4)
}

// String gives one line a record, "-" or "+" before it, sorted by the record's
// text, so that what changed stands next to what it became; "" for no change.
func (c Changes) String() string {
	type entry struct{ text, sign string }
	var all []entry
	for _, rr := range c.Removed {
		all = append(all, entry{line(rr), "-"})
	}
	for _, rr := range c.Added {
		all = append(all, entry{line(rr), "+"})
	}
	slices.SortFunc(all, func(a, b entry) int { return strings.Compare(a.text, b.text) })
	var out strings.Builder
	for _, e := range all {
		out.WriteString(e.sign + " " + e.text + "\n")
	}
	return out.String()
}
