package dnsserver

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"strings"
	"time"

	"github.com/miekg/dns"

	"edged/edge"
	"edged/geo"
)

// Explanation says what one client gets for one question, and why. Its records
// come from the code that answers queries; its decision from the code that
// decides.
type Explanation struct {
	Name     string     `json:"name"`
	Type     string     `json:"type"`
	Zone     string     `json:"zone,omitempty"`
	Serial   uint32     `json:"serial,omitempty"`
	Match    string     `json:"match"`           // how the name was found
	Owner    string     `json:"owner,omitempty"` // the name in the zone that answers
	Pool     string     `json:"pool,omitempty"`
	Rcode    string     `json:"rcode"`
	Records  []string   `json:"records"` // answer and authority sections
	ECSScope *uint8     `json:"ecs_scope,omitempty"`
	Decision *geo.Trace `json:"decision,omitempty"`
}

// Explain answers a question as if it came from a resolver, with a client
// subnet if ecs is valid, and tells how the answer came about.
func (v *View) Explain(name string, qtype uint16, resolver netip.Addr, ecs netip.Prefix) (*Explanation, error) {
	name = dns.Fqdn(name)
	asked := new(dns.Msg)
	asked.SetQuestion(name, qtype)
	asked.SetEdns0(1232, false)
	if ecs.IsValid() {
		opt := asked.IsEdns0()
		opt.Option = append(opt.Option, subnetOption(ecs))
	}
	pkt, err := asked.Pack()
	if err != nil {
		return nil, fmt.Errorf("question %q: %w", name, err)
	}
	if !resolver.IsValid() {
		resolver = netip.IPv6Unspecified()
	}
	const seed = 1
	now := time.Now()
	var reply dns.Msg
	if err := reply.Unpack(v.reply(pkt, netip.AddrPortFrom(resolver, 53), true, now, seed)); err != nil {
		return nil, fmt.Errorf("the reply to %q does not parse: %w", name, err)
	}
	e := &Explanation{Name: name, Type: dns.TypeToString[qtype], Rcode: dns.RcodeToString[reply.Rcode], Records: []string{}}
	for _, rr := range append(reply.Answer, reply.Ns...) {
		e.Records = append(e.Records, strings.ReplaceAll(rr.String(), "\t", " "))
	}
	if opt := reply.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if subnet, ok := o.(*dns.EDNS0_SUBNET); ok {
				e.ECSScope = &subnet.SourceScope
			}
		}
	}
	var q query
	q.parse(pkt)
	n := e.match(v, &q)
	if n != nil && n.dynamic != nil {
		family := edge.IPv4
		if qtype == typeAAAA {
			family = edge.IPv6
		}
		e.Pool = v.geo.Pool(n.dynamic.pool).Name
		client := &geo.Client{Resolver: resolver, ECS: ecs, Now: uint64(now.Unix()), Rand: rand.NewPCG(seed, seed).Uint64()}
		_, e.Decision = v.geo.Explain(n.dynamic.pool, client, family)
		runtime.KeepAlive(v)
	}
	return e, nil
}

// match finds the name like responder.answer does, and says how.
func (e *Explanation) match(v *View, q *query) *node {
	v.locate(q, &geo.Client{})
	n, exact := q.node, q.exact
	if n == nil {
		e.Match = "no zone served here holds the name"
		return nil
	}
	e.Zone, e.Serial = n.zone.zone.Origin(), n.zone.zone.Serial()
	switch {
	case n.kind == cutNode:
		e.Match = "delegated"
	case exact:
		e.Match = "exact"
	case n.kind == dnameNode:
		e.Match = "below a DNAME"
	case n.wild != nil:
		e.Match, n = "wildcard", n.wild
	default:
		e.Match = "no such name"
		e.Owner = presentation(n.name)
		return nil
	}
	e.Owner = presentation(n.name)
	return n
}

func presentation(wire string) string {
	name, _, err := dns.UnpackDomainName([]byte(wire), 0)
	if err != nil {
		return fmt.Sprintf("%q", wire)
	}
	return name
}

func subnetOption(p netip.Prefix) *dns.EDNS0_SUBNET {
	family := uint16(1)
	if p.Addr().Is6() {
		family = 2
	}
	return &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: family, SourceNetmask: uint8(p.Bits()), Address: p.Masked().Addr().AsSlice()}
}

// Reply answers one query packet as the server would, but for rate limits. It
// is for explanations and tests; it allocates. It returns nil when the server
// would not reply.
func (v *View) Reply(pkt []byte, src netip.AddrPort, tcp bool) []byte {
	return v.reply(pkt, src, tcp, time.Now(), rand.Uint64())
}

func (v *View) reply(pkt []byte, src netip.AddrPort, tcp bool, now time.Time, seed uint64) []byte {
	r := &responder{
		cfg:     &Config{MaxUDP: 1232, TCPIdle: 10 * time.Second},
		stats:   &stats{sum: newSum()},
		cookies: newCookieJar(nil),
		now:     now.Unix(),
	}
	r.random.Seed(seed, seed)
	r.stats.use(v)
	room, via := maxUDPQuery, overUDP
	if tcp {
		room, via = maxMessage, overTCP
	}
	msg := make([]byte, max(room, len(pkt)))
	copy(msg, pkt)
	var q query
	state := q.parse(msg[:len(pkt)])
	if state == drop {
		return nil
	}
	v.locate(&q, &r.client)
	n := r.respond(v, msg, &q, state, src, via)
	runtime.KeepAlive(v)
	return msg[:n]
}
