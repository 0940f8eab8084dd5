package dnsserver

import (
	"github.com/miekg/dns"
)

// answerBelowDNAME answers a name below a DNAME, whose CNAME is made up for
// each name asked (RFC 6672). It goes through zone.Lookup and miekg/dns, and
// allocates.
func (r *responder) answerBelowDNAME(z *zoneData, q *query, msg []byte, rep *reply) {
	name, _, err := dns.UnpackDomainName(msg[:q.end], headerLen)
	if err != nil {
		rep.rcode = rcodeServFail
		return
	}
	res := z.zone.Lookup(name, q.qtype)
	b, err := newBlob(name, false, sections{
		rcode: res.Rcode, authoritative: res.Authoritative,
		answer: res.Answer, authority: res.Ns, additional: res.Extra, glue: !res.Authoritative,
	})
	if err != nil {
		rep.rcode = rcodeServFail
		return
	}
	rep.put(b, msg, q.end, q.nameLen)
}
