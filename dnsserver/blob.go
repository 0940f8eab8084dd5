package dnsserver

import (
	"encoding/binary"
	"fmt"

	"github.com/miekg/dns"
)

// blob is a prepacked answer: what stands behind the question, up to OPT. Its
// compression pointers count on a question whose name has base octets. When the
// name asked is longer by d, because the answer belongs to an ancestor or a
// wildcard, every pointer in relocs moves by d.
type blob struct {
	body       []byte
	relocs     []uint16 // offsets of pointers in body
	base       int
	rcode      uint16
	authority  bool // AA
	an, ns, ar uint16
	required   int // octets without the additional records that may be left out
	requiredAR uint16
}

// put appends the blob to a reply whose question ends at pos, if it fits into
// limit, and returns the new end. Additional records go when only they do not
// fit; otherwise nothing is put and ok is false.
func (b *blob) put(msg []byte, pos, limit, nameLen int) (end int, ar uint16, ok bool) {
	n, ar := len(b.body), b.ar
	if pos+n > limit {
		if n, ar = b.required, b.requiredAR; pos+n > limit {
			return pos, 0, false
		}
	}
	copy(msg[pos:], b.body[:n])
	if d := uint16(nameLen - b.base); d != 0 {
		for _, at := range b.relocs {
			if int(at) >= n {
				break
			}
			p := msg[pos+int(at):]
			binary.BigEndian.PutUint16(p, binary.BigEndian.Uint16(p)+d)
		}
	}
	return pos + n, ar, true
}

// packer builds a blob's body with RFC 1035 section 4.1.4 compression.
type packer struct {
	body     []byte
	relocs   []uint16
	start    int            // offset of body in the message
	offsets  map[string]int // lower-case wire name → offset in the message
	owner    string         // lower-case wire name of the question
	wildcard bool           // the owner stands for the name asked, whatever that is
}

// newBlob packs the sections of an answer to a question for owner. When
// wildcard is true owner is a wildcard's own name, and records owned by it are
// answered as owned by the name asked.
func newBlob(owner string, wildcard bool, m sections) (*blob, error) {
	name, err := wireName(owner)
	if err != nil {
		return nil, err
	}
	p := &packer{start: headerLen + len(name) + 4, offsets: map[string]int{}, owner: lowerASCII(name), wildcard: wildcard}
	skip := wildcard // its first label is not in the message
	for at := 0; name[at] != 0; at += 1 + int(name[at]) {
		if !skip {
			p.offsets[lowerASCII(name[at:])] = headerLen + at
		}
		skip = false
	}
	b := &blob{
		base: len(name), rcode: uint16(m.rcode), authority: m.authoritative,
		an: uint16(len(m.answer)), ns: uint16(len(m.authority)), ar: uint16(len(m.additional)),
	}
	for _, rrs := range [][]dns.RR{m.answer, m.authority, m.additional} {
		b.required = len(p.body)
		for _, rr := range rrs {
			if err := p.rr(rr); err != nil {
				return nil, fmt.Errorf("%s: %w", rr.Header().Name, err)
			}
		}
	}
	if m.glue { // a referral without its glue leads nowhere: RFC 9471
		b.required, b.requiredAR = len(p.body), b.ar
	}
	b.body, b.relocs = p.body, p.relocs
	if p.start+len(b.body) > maxMessage {
		return nil, fmt.Errorf("%s: the answer takes %d octets, more than a message can hold", owner, len(b.body))
	}
	return b, nil
}

// sections is an answer before packing.
type sections struct {
	rcode                         int
	authoritative                 bool
	answer, authority, additional []dns.RR
	glue                          bool // the additional records are glue
}

func (p *packer) rr(rr dns.RR) error {
	buf := make([]byte, maxMessage)
	end, err := dns.PackRR(rr, buf, 0, nil, false)
	if err != nil {
		return err
	}
	owner := nameIn(buf)
	if p.wildcard && lowerASCII(owner) == p.owner {
		p.body = binary.BigEndian.AppendUint16(p.body, toOwner)
	} else {
		p.name(owner)
	}
	fixed := buf[len(owner) : len(owner)+10]
	rdata := buf[len(owner)+10 : end]
	p.body = append(p.body, fixed...)
	lengthAt := len(p.body) - 2
	p.rdata(rr.Header().Rrtype, rdata)
	binary.BigEndian.PutUint16(p.body[lengthAt:], uint16(len(p.body)-lengthAt-2))
	return nil
}

// rdata appends record data, with its names compressed for the types of RFC
// 1035 that allow it (RFC 3597 section 4).
func (p *packer) rdata(rrtype uint16, data []byte) {
	switch rrtype {
	case dns.TypeNS, dns.TypeCNAME, dns.TypePTR:
		p.name(data)
	case dns.TypeMX:
		p.body = append(p.body, data[:2]...)
		p.name(data[2:])
	case dns.TypeSOA:
		mname := nameIn(data)
		rname := nameIn(data[len(mname):])
		p.name(mname)
		p.name(rname)
		p.body = append(p.body, data[len(mname)+len(rname):]...)
	default:
		p.body = append(p.body, data...)
	}
}

// name appends a name in wire format, ending it with a pointer where a suffix
// stands in the message already.
func (p *packer) name(name []byte) {
	for at := 0; name[at] != 0; at += 1 + int(name[at]) {
		key := lowerASCII(name[at:])
		if offset, ok := p.offsets[key]; ok {
			p.relocs = append(p.relocs, uint16(len(p.body)))
			p.body = binary.BigEndian.AppendUint16(p.body, 0xc000|uint16(offset))
			return
		}
		// Pointers have 14 bits; leave room for names longer than the owner.
		if offset := p.start + len(p.body); offset < 0x4000-2*maxName {
			p.offsets[key] = offset
		}
		p.body = append(p.body, name[at:at+1+int(name[at])]...)
	}
	p.body = append(p.body, 0)
}

// nameIn returns the uncompressed wire-format name at the start of b.
func nameIn(b []byte) []byte {
	at := 0
	for b[at] != 0 {
		at += 1 + int(b[at])
	}
	return b[:at+1]
}

// wireName packs a name in presentation form.
func wireName(s string) ([]byte, error) {
	buf := make([]byte, maxName+1)
	n, err := dns.PackDomainName(dns.Fqdn(s), buf, 0, nil, false)
	if err != nil {
		return nil, fmt.Errorf("name %q: %w", s, err)
	}
	return buf[:n], nil
}
