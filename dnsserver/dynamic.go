package dnsserver

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/miekg/dns"

	"edged/edge"
	"edged/geo"
	"edged/zone"
)

// dynamic is what a name that a pool answers has beyond its static answers.
type dynamic struct {
	pool     int
	alias    bool        // the pool holds CNAME targets: they answer every type
	fallback []byte      // the fallback CNAME record, TTL 0; nil when there is none
	services [2][]hinted // HTTPS and SVCB records, to be given hints
}

// hinted is an HTTPS or SVCB record whose address hints come from the decision
// (RFC 9460 section 7.3). Hints stand among the other parameters by key.
type hinted struct {
	ttl    uint32 // the zone's; an answer lives no longer than its decision
	before []byte // priority, target, parameters below key 4
	middle []byte // key 5
	after  []byte // above key 6
	hints  bool   // false in alias mode, and for targets that are not this name
}

const (
	svcMandatory = 0
	svcIPv4Hint  = 4
	svcIPv6Hint  = 6
)

// endpointRecord is one endpoint as it stands in answers, TTL 0. The record of
// an address is kept in place, so that an answer finds it in one cache line.
type endpointRecord struct {
	record []byte // owner pointer, type, class, TTL, length, data
	inline [dataOffset + 16]byte
	_      [12]byte
}

const (
	ttlOffset  = 6 // of a record whose owner is a pointer
	dataOffset = 12
)

// addr is the address of the endpoint, 4 or 16 octets.
func (e *endpointRecord) addr() []byte { return e.record[dataOffset:] }

func packEndpoints(v *geo.View) ([]endpointRecord, error) {
	if v == nil {
		return nil, nil
	}
	packed := make([]endpointRecord, len(v.Endpoints()))
	for i, e := range v.Endpoints() {
		if e.CNAME != "" {
			record, err := cnameRecord(e.CNAME)
			if err != nil {
				return nil, err
			}
			packed[i].record = record
			continue
		}
		p := &packed[i]
		p.record = p.inline[:copy(p.inline[:], record(addressType(e.Address), e.Address.AsSlice()))]
	}
	return packed, nil
}

func addressType(a netip.Addr) uint16 {
	if a.Is4() {
		return typeA
	}
	return typeAAAA
}

func record(rrtype uint16, data []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, toOwner)
	b = binary.BigEndian.AppendUint16(b, rrtype)
	b = binary.BigEndian.AppendUint16(b, classIN)
	b = binary.BigEndian.AppendUint32(b, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
	return append(b, data...)
}

func cnameRecord(target string) ([]byte, error) {
	wire, err := wireName(target)
	if err != nil {
		return nil, err
	}
	return record(typeCNAME, wire), nil
}

func newDynamic(v *geo.View, pool int, z *zone.Zone, zn zone.Node) (*dynamic, error) {
	d := &dynamic{pool: pool, alias: v.Aliases(pool)}
	if target := v.Pool(pool).FallbackCNAME; target != "" {
		var err error
		if d.fallback, err = cnameRecord(target); err != nil {
			return nil, err
		}
	}
	for i, qtype := range [...]uint16{typeHTTPS, typeSVCB} {
		for _, rr := range z.Lookup(zn.Name, qtype).Answer {
			h, err := newHinted(rr, zn.Name)
			if err != nil {
				return nil, err
			}
			d.services[i] = append(d.services[i], h)
		}
	}
	return d, nil
}

func newHinted(rr dns.RR, owner string) (hinted, error) {
	var s *dns.SVCB
	switch rr := rr.(type) {
	case *dns.HTTPS:
		s = &rr.SVCB
	case *dns.SVCB:
		s = rr
	default:
		return hinted{}, fmt.Errorf("%s: not an HTTPS or SVCB record", rr.Header().Name)
	}
	target, err := wireName(s.Target)
	if err != nil {
		return hinted{}, err
	}
	h := hinted{ttl: s.Hdr.Ttl}
	h.hints = s.Priority > 0 && (s.Target == "." || dns.CanonicalName(s.Target) == owner)
	h.before = append(binary.BigEndian.AppendUint16(nil, s.Priority), target...)
	params, err := svcParams(rr, len(h.before))
	if err != nil {
		return hinted{}, err
	}
	for len(params) >= 4 {
		key, n := binary.BigEndian.Uint16(params), 4+int(binary.BigEndian.Uint16(params[2:]))
		switch {
		case h.hints && key == svcMandatory:
			h.before = append(h.before, withoutHints(params[4:n])...)
		case h.hints && (key == svcIPv4Hint || key == svcIPv6Hint):
		case key < svcIPv4Hint:
			h.before = append(h.before, params[:n]...)
		case key < svcIPv6Hint:
			h.middle = append(h.middle, params[:n]...)
		default:
			h.after = append(h.after, params[:n]...)
		}
		params = params[n:]
	}
	return h, nil
}

// withoutHints makes the parameter "mandatory" without the keys of hints, which
// an answer may lack: a family without endpoints has none.
func withoutHints(keys []byte) []byte {
	var kept []byte
	for ; len(keys) >= 2; keys = keys[2:] {
		if key := binary.BigEndian.Uint16(keys); key != svcIPv4Hint && key != svcIPv6Hint {
			kept = append(kept, keys[:2]...)
		}
	}
	if kept == nil {
		return nil
	}
	param := binary.BigEndian.AppendUint16(nil, svcMandatory)
	return append(binary.BigEndian.AppendUint16(param, uint16(len(kept))), kept...)
}

// svcParams returns a record's parameters in wire format, which RFC 9460
// section 2.2 orders by key.
func svcParams(rr dns.RR, skip int) ([]byte, error) {
	buf := make([]byte, maxMessage)
	end, err := dns.PackRR(rr, buf, 0, nil, false)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", rr.Header().Name, err)
	}
	return buf[len(nameIn(buf))+10+skip : end], nil
}

// answerDynamic appends what a pool answers to a question at msg[:pos]. It
// returns done false when the zone's own data answers instead.
func (r *responder) answerDynamic(v *View, n *node, q *query, msg []byte, pos int, rep *reply) (done bool) {
	d := n.dynamic
	switch {
	case d.alias:
		r.decide(v, d, edge.IPv4, rep)
	case q.qtype == typeA:
		r.decide(v, d, edge.IPv4, rep)
	case q.qtype == typeAAAA:
		r.decide(v, d, edge.IPv6, rep)
	case q.qtype == typeHTTPS && d.services[0] != nil:
		r.answerService(v, d, d.services[0], typeHTTPS, msg, pos, rep)
		return true
	case q.qtype == typeSVCB && d.services[1] != nil:
		r.answerService(v, d, d.services[1], typeSVCB, msg, pos, rep)
		return true
	default:
		if d.fallback == nil {
			return false
		}
		// Once the fallback CNAME answers for addresses it must answer for all
		// types: a CNAME tolerates no other data beside it.
		if r.decide(v, d, edge.IPv4, rep); r.decision.Outcome != geo.Fallback {
			rep.scope = 0
			return false
		}
	}
	r.putDecision(v, n, q, msg, pos, rep)
	return true
}

func (r *responder) decide(v *View, d *dynamic, family edge.Family, rep *reply) {
	v.geo.Decide(d.pool, &r.client, family, &r.decision)
	rep.scope = max(rep.scope, r.decision.Scope)
}

func (r *responder) putDecision(v *View, n *node, q *query, msg []byte, pos int, rep *reply) {
	d, dec := n.dynamic, &r.decision
	rep.authority = true
	r.stats.decided(d.pool, dec)
	switch dec.Outcome {
	case geo.NoData:
		rep.scope = 0 // RFC 7871 section 7.4
		if rep.put(n.zone.nodata, msg, pos, q.nameLen); !rep.truncated {
			limitSOA(msg[pos:rep.end], n.zone.apexLen, dec.TTL)
		}
	case geo.Fallback:
		if pos+len(d.fallback) > rep.limit {
			rep.truncate()
			return
		}
		rep.end = pos + copy(msg[pos:], d.fallback)
		binary.BigEndian.PutUint32(msg[pos+ttlOffset:], dec.TTL)
		rep.an = 1
	default:
		for _, id := range dec.Endpoints[:dec.N] {
			record := v.endpoints[id].record
			if pos+len(record) > rep.limit {
				rep.truncate()
				return
			}
			copy(msg[pos:], record)
			binary.BigEndian.PutUint32(msg[pos+ttlOffset:], dec.TTL)
			pos += len(record)
			rep.an++
		}
		rep.end = pos
	}
	rep.degraded = rep.degraded || dec.Source == geo.SourcePlace
}

// limitSOA bounds the TTL and the minimum of the SOA that a prepacked NODATA
// answer consists of: it is to live no longer than an answer with addresses.
func limitSOA(answer []byte, apexLen int, ttl uint32) {
	owner := 2 // a pointer; the root has none
	if apexLen == 1 {
		owner = 1
	}
	for _, field := range [...][]byte{answer[owner+4:], answer[len(answer)-4:]} {
		binary.BigEndian.PutUint32(field, min(binary.BigEndian.Uint32(field), ttl))
	}
}

// answerService appends HTTPS or SVCB records with the hints of the decision:
// the addresses that A and AAAA give to the same client.
func (r *responder) answerService(v *View, d *dynamic, records []hinted, rrtype uint16, msg []byte, pos int, rep *reply) {
	var hints [2][geo.MaxAnswers][]byte
	var counts [2]int
	var shown geo.Decision // the first that gives addresses, for the counters
	ttl := uint32(1<<31 - 1)
	for f, family := range families {
		r.decide(v, d, family, rep)
		ttl = min(ttl, r.decision.TTL)
		rep.degraded = rep.degraded || r.decision.Source == geo.SourcePlace
		if r.decision.Outcome != geo.Addresses {
			continue
		}
		if counts[0] == 0 {
			shown = r.decision
		}
		for _, id := range r.decision.Endpoints[:r.decision.N] {
			hints[f][counts[f]] = v.endpoints[id].addr()
			counts[f]++
		}
	}
	if counts[0]+counts[1] == 0 {
		shown = r.decision
	}
	r.stats.decided(d.pool, &shown)
	rep.authority = true
	for i := range records {
		h := &records[i]
		need := 12 + len(h.before) + len(h.middle) + len(h.after)
		if h.hints {
			need += 8 + 4*counts[0] + 16*counts[1]
		}
		if pos+need > rep.limit {
			rep.truncate()
			return
		}
		pos = h.put(msg, pos, rrtype, min(h.ttl, ttl), &hints, counts)
		rep.an++
	}
	rep.end = pos
}

func (h *hinted) put(msg []byte, pos int, rrtype uint16, ttl uint32, hints *[2][geo.MaxAnswers][]byte, counts [2]int) int {
	binary.BigEndian.PutUint16(msg[pos:], toOwner)
	binary.BigEndian.PutUint16(msg[pos+2:], rrtype)
	binary.BigEndian.PutUint16(msg[pos+4:], classIN)
	binary.BigEndian.PutUint32(msg[pos+ttlOffset:], ttl)
	start := pos + 12
	pos = start + copy(msg[start:], h.before)
	if h.hints {
		pos = putHints(msg, pos, svcIPv4Hint, hints[0][:counts[0]])
	}
	pos += copy(msg[pos:], h.middle)
	if h.hints {
		pos = putHints(msg, pos, svcIPv6Hint, hints[1][:counts[1]])
	}
	pos += copy(msg[pos:], h.after)
	binary.BigEndian.PutUint16(msg[start-2:], uint16(pos-start))
	return pos
}

func putHints(msg []byte, pos int, key uint16, addrs [][]byte) int {
	if len(addrs) == 0 {
		return pos
	}
	binary.BigEndian.PutUint16(msg[pos:], key)
	binary.BigEndian.PutUint16(msg[pos+2:], uint16(len(addrs)*len(addrs[0])))
	pos += 4
	for _, a := range addrs {
		pos += copy(msg[pos:], a)
	}
	return pos
}
