package conformance

import (
	"encoding/binary"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// packet is a query laid out by hand. Every field goes on the wire as it
// stands, so a packet can be as wrong as a check needs it.
type packet struct {
	id        uint16
	flags     uint16 // the second 16-bit word of the header
	qdcount   int    // -1: the number of questions
	questions [][]byte
	opts      []opt
	trailer   []byte // octets after the last record, counted nowhere
	cut       int    // when above 0, only so many octets are sent
}

// Header flags (RFC 1035 §4.1.1).
const (
	flagQR = 1 << 15
	flagAA = 1 << 10
	flagTC = 1 << 9
	flagRD = 1 << 8
	flagRA = 1 << 7
	flagZ  = 1 << 6
	flagAD = 1 << 5
	flagCD = 1 << 4
)

// opt is an OPT pseudo-record (RFC 6891 §6.1.2).
type opt struct {
	size    uint16 // the sender's UDP payload size
	ext     uint8  // the upper eight bits of the rcode
	version uint8
	flags   uint16 // DO is the top bit
	options []option
	extra   uint16 // added to RDLENGTH, so that it points past the packet
}

const flagDO = 1 << 15

// option is one EDNS option as it is on the wire.
type option struct {
	code uint16
	data []byte
}

// EDNS option codes used here.
const (
	optNSID    = 3
	optECS     = 8
	optExpire  = 9
	optCookie  = 10
	optEDE     = 15
	optUnknown = 65001 // local use (RFC 6891 §9): no server knows it
)

// question returns the wire form of one question of class IN. The case of name
// is kept. It must be a legal name: checks use their own or the user's, which
// Run has already asked about.
func question(name string, qtype, class uint16) []byte {
	var b []byte
	for _, label := range strings.Split(strings.TrimSuffix(name, "."), ".") {
		if label == "" {
			continue
		}
		b = append(b, byte(len(label)))
		b = append(b, label...)
	}
	b = append(b, 0)
	b = binary.BigEndian.AppendUint16(b, qtype)
	return binary.BigEndian.AppendUint16(b, class)
}

// query returns a plain question with a fresh id and no flags.
func (s *session) query(name string, qtype uint16) packet {
	s.nextID++
	return packet{id: s.nextID, qdcount: -1, questions: [][]byte{question(name, qtype, dns.ClassINET)}}
}

// edns is query with an OPT record of 1232 octets that holds the options.
func (s *session) edns(name string, qtype uint16, options ...option) packet {
	p := s.query(name, qtype)
	p.opts = []opt{{size: 1232, options: options}}
	return p
}

// bytes lays the packet out.
func (p packet) bytes() []byte {
	b := binary.BigEndian.AppendUint16(nil, p.id)
	b = binary.BigEndian.AppendUint16(b, p.flags)
	count := p.qdcount
	if count < 0 {
		count = len(p.questions)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(count))
	b = append(b, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(len(p.opts)))
	for _, q := range p.questions {
		b = append(b, q...)
	}
	for _, o := range p.opts {
		b = o.append(b)
	}
	b = append(b, p.trailer...)
	if p.cut > 0 && p.cut < len(b) {
		b = b[:p.cut]
	}
	return b
}

func (o opt) append(b []byte) []byte {
	var data []byte
	for _, x := range o.options {
		data = binary.BigEndian.AppendUint16(data, x.code)
		data = binary.BigEndian.AppendUint16(data, uint16(len(x.data)))
		data = append(data, x.data...)
	}
	b = append(b, 0)
	b = binary.BigEndian.AppendUint16(b, dns.TypeOPT)
	b = binary.BigEndian.AppendUint16(b, o.size)
	b = append(b, o.ext, o.version)
	b = binary.BigEndian.AppendUint16(b, o.flags)
	b = binary.BigEndian.AppendUint16(b, uint16(len(data))+o.extra)
	return append(b, data...)
}

// subnet returns a correct client subnet option for a masked prefix: as many
// address octets as the source length needs, and scope 0 (RFC 7871 §6).
func subnet(p netip.Prefix) option {
	family := uint16(1)
	if p.Addr().Is6() {
		family = 2
	}
	return rawSubnet(family, uint8(p.Bits()), 0, p.Masked().Addr().AsSlice()[:(p.Bits()+7)/8]...)
}

// rawSubnet returns a client subnet option with exactly these fields.
func rawSubnet(family uint16, source, scope uint8, addr ...byte) option {
	data := binary.BigEndian.AppendUint16(nil, family)
	data = append(data, source, scope)
	return option{optECS, append(data, addr...)}
}
