package conformance

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sort"
	"strings"

	"github.com/miekg/dns"
)

// reply is a message from the server: the header and the OPT record walked by
// hand, the rest as miekg/dns reads it.
type reply struct {
	raw   []byte
	id    uint16
	flags uint16
	rcode int  // with the upper eight bits from OPT, when there is one
	opt   *opt // nil when there is none
	msg   *dns.Msg
}

// ecs is a client subnet option as it came back.
type ecs struct {
	family        uint16
	source, scope uint8
	addr          []byte
}

func (e ecs) String() string {
	return fmt.Sprintf("family %d source /%d scope /%d address % x", e.family, e.source, e.scope, e.addr)
}

var errShort = errors.New("message ends inside a record")

// parseReply reads a message. It errs on one that does not hold what its counts
// say, or that has octets after its last record.
func parseReply(raw []byte) (*reply, error) {
	if len(raw) < 12 {
		return nil, fmt.Errorf("message of %d octets is shorter than a header", len(raw))
	}
	r := &reply{raw: raw, id: binary.BigEndian.Uint16(raw), flags: binary.BigEndian.Uint16(raw[2:])}
	r.rcode = int(r.flags & 15)
	counts := [4]int{}
	for i := range counts {
		counts[i] = int(binary.BigEndian.Uint16(raw[4+2*i:]))
	}
	off := 12
	for range counts[0] {
		end, err := skipName(raw, off)
		if err != nil {
			return nil, err
		}
		if off = end + 4; off > len(raw) {
			return nil, errShort
		}
	}
	rest := raw
	for i := range counts[1] + counts[2] + counts[3] {
		end, err := skipName(raw, off)
		if err != nil {
			return nil, err
		}
		if end+10 > len(raw) {
			return nil, errShort
		}
		next := end + 10 + int(binary.BigEndian.Uint16(raw[end+8:]))
		if next > len(raw) {
			return nil, errShort
		}
		if binary.BigEndian.Uint16(raw[end:]) == dns.TypeOPT {
			if r.opt != nil || i < counts[1]+counts[2] || raw[off] != 0 {
				return nil, errors.New("a second OPT record, or one out of place or not at the root (RFC 6891 §6.1.1)")
			}
			if r.opt, err = parseOPT(raw[end+2 : next]); err != nil {
				return nil, err
			}
			r.rcode |= int(r.opt.ext) << 4
			rest = append(append([]byte{}, raw[:off]...), raw[next:]...)
			binary.BigEndian.PutUint16(rest[10:], uint16(counts[3]-1))
		}
		off = next
	}
	if off != len(raw) {
		return nil, fmt.Errorf("%d octets after the last record", len(raw)-off)
	}
	r.msg = new(dns.Msg)
	if err := r.msg.Unpack(rest); err != nil {
		return nil, fmt.Errorf("message does not parse: %w", err)
	}
	return r, nil
}

// skipName returns the offset after the name at off.
func skipName(b []byte, off int) (int, error) {
	for off < len(b) {
		switch n := int(b[off]); {
		case n == 0:
			return off + 1, nil
		case n >= 0xc0:
			if off+2 > len(b) {
				return 0, errShort
			}
			return off + 2, nil
		case n >= 0x40:
			return 0, fmt.Errorf("label type 0x%02x at octet %d is not known", n, off)
		default:
			off += 1 + n
		}
	}
	return 0, errShort
}

// parseOPT reads an OPT record from its class on.
func parseOPT(b []byte) (*opt, error) {
	o := &opt{size: binary.BigEndian.Uint16(b), ext: b[2], version: b[3], flags: binary.BigEndian.Uint16(b[4:])}
	for b = b[8:]; len(b) > 0; {
		if len(b) < 4 || len(b) < 4+int(binary.BigEndian.Uint16(b[2:])) {
			return nil, errors.New("an EDNS option runs past its OPT record")
		}
		n := 4 + int(binary.BigEndian.Uint16(b[2:]))
		o.options = append(o.options, option{binary.BigEndian.Uint16(b), b[4:n]})
		b = b[n:]
	}
	return o, nil
}

// option returns the data of the first option with the code, and whether the
// reply has one.
func (r *reply) option(code uint16) ([]byte, bool) {
	if r.opt == nil {
		return nil, false
	}
	for _, o := range r.opt.options {
		if o.code == code {
			return o.data, true
		}
	}
	return nil, false
}

// ecs returns the client subnet option; ok is false when there is none, or one
// too short to read.
func (r *reply) ecs() (e ecs, ok bool) {
	data, ok := r.option(optECS)
	if !ok || len(data) < 4 {
		return ecs{}, false
	}
	return ecs{binary.BigEndian.Uint16(data), data[2], data[3], data[4:]}, true
}

// answer returns the answer section as sorted text without TTLs and owner
// case, so that two answers can be compared.
func (r *reply) answer() string {
	var rrs []string
	for _, rr := range r.msg.Answer {
		rr = dns.Copy(rr)
		rr.Header().Ttl = 0
		rr.Header().Name = strings.ToLower(rr.Header().Name)
		rrs = append(rrs, strings.TrimPrefix(rr.String(), rr.Header().String()))
	}
	sort.Strings(rrs)
	return strings.Join(rrs, ", ")
}

// summary says in a few words what the reply is.
func (r *reply) summary() string {
	s := rcodeText(r.rcode)
	if n := len(r.msg.Answer); n > 0 {
		s += fmt.Sprintf(", %d answer%s", n, plural(n))
	}
	if r.flags&flagTC != 0 {
		s += ", TC"
	}
	if r.opt == nil {
		return s + ", no OPT"
	}
	if e, ok := r.ecs(); ok {
		s += fmt.Sprintf(", scope /%d", e.scope)
	}
	return s
}

func plural(n int) string {
	if n == 1 {
		return ""
	}
	return "s"
}

// rcodeText names an rcode; BADVERS and BADSIG share 16, and here it is BADVERS.
func rcodeText(rcode int) string {
	if rcode == dns.RcodeBadVers {
		return "BADVERS"
	}
	if s, ok := dns.RcodeToString[rcode]; ok {
		return s
	}
	return fmt.Sprintf("RCODE%d", rcode)
}

// block returns the part of the address space that a scope says the answer to
// a question for p holds for.
func block(p netip.Prefix, scope uint8) netip.Prefix {
	return netip.PrefixFrom(p.Addr(), min(int(scope), p.Bits())).Masked()
}
