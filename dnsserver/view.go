package dnsserver

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/miekg/dns"

	"edged/edge"
	"edged/geo"
	"edged/zone"
)

// ViewConfig is what a view is compiled from.
type ViewConfig struct {
	Zones []*zone.Zone
	Geo   *geo.View
	// Names says which pool answers for a name. Names are absolute and lower
	// case, and may be wildcards; each was given to its zone as dynamic.
	Names map[string]string
	// NSID names node, PoP and map version, for RFC 5001 and id.server.
	NSID string
	// Version is answered to version.bind; empty: it is refused.
	Version string
	// Watch is the wildcard below which the server's Watch notes who asks;
	// empty: none.
	Watch string
}

// View is everything that answers depend on. It is immutable and safe for
// concurrent use.
type View struct {
	zones     []*zoneData
	geo       *geo.View
	names     nameTable
	endpoints []endpointRecord // by geo's endpoint index
	nsid      []byte
	chaos     []chaosAnswer
	created   time.Time
}

// zoneData is a zone as the query path uses it.
type zoneData struct {
	zone     *zone.Zone
	index    int
	apexLen  int   // octets of the origin on the wire
	nxdomain *blob // for a question at the apex, moved as needed
	nodata   *blob
}

// BuildView compiles a view. Zones may lie within one another. It fails on a
// name whose pool or zone does not exist, and on answers that no message can
// hold.
func BuildView(cfg ViewConfig) (*View, error) {
	v := &View{geo: cfg.Geo, nsid: []byte(cfg.NSID), created: time.Now()}
	b := &viewBuilder{view: v, names: cfg.Names, nodes: map[string]*node{}}
	zones := slices.Clone(cfg.Zones)
	sort.SliceStable(zones, func(i, j int) bool { return dns.CountLabel(zones[i].Origin()) < dns.CountLabel(zones[j].Origin()) })
	for _, z := range zones {
		b.origins = append(b.origins, z.Origin())
	}
	for i, z := range zones {
		if err := b.zone(i, z); err != nil {
			return nil, fmt.Errorf("zone %s: %w", z.Origin(), err)
		}
	}
	for name := range cfg.Names {
		if wire, err := wireName(name); err != nil || b.nodes[string(wire)] == nil {
			return nil, fmt.Errorf("name %q: it is in no zone", name)
		}
	}
	for wire, n := range b.nodes {
		if strings.HasPrefix(wire, "\x01*") {
			if above := b.nodes[wire[2:]]; above != nil {
				above.wild = n
			}
		}
	}
	if cfg.Watch != "" {
		wire, err := wireName(cfg.Watch)
		if err != nil || b.nodes[string(wire)] == nil || !strings.HasPrefix(cfg.Watch, "*.") {
			return nil, fmt.Errorf("watched name %q: it is no wildcard of a zone", cfg.Watch)
		}
		b.nodes[string(wire)].watched = true
	}
	v.names = newNameTable(b.nodes)
	var err error
	if v.endpoints, err = packEndpoints(cfg.Geo); err != nil {
		return nil, err
	}
	v.chaos = chaosAnswers(cfg)
	return v, nil
}

type viewBuilder struct {
	view  *View
	names map[string]string
	nodes map[string]*node // by wire name

	origins []string // of all zones
}

// hidden says whether a name of a zone lies below the origin of another zone
// within it: that zone alone answers there. The origin itself is not hidden,
// since its DS is in the zone above.
func (b *viewBuilder) hidden(z *zone.Zone, name string) bool {
	return slices.ContainsFunc(b.origins, func(o string) bool {
		return o != z.Origin() && o != name && dns.IsSubDomain(z.Origin(), o) && dns.IsSubDomain(o, name)
	})
}

func (b *viewBuilder) zone(i int, z *zone.Zone) error {
	data := &zoneData{zone: z, index: i}
	apex, err := wireName(z.Origin())
	if err != nil {
		return err
	}
	data.apexLen = len(apex)
	soa := negativeSOA(z)
	if data.nxdomain, err = newBlob(z.Origin(), false, sections{rcode: rcodeNXDomain, authoritative: true, authority: soa}); err != nil {
		return err
	}
	if data.nodata, err = newBlob(z.Origin(), false, sections{authoritative: true, authority: soa}); err != nil {
		return err
	}
	b.view.zones = append(b.view.zones, data)
	var dnames []string
	for zn := range z.Nodes() {
		below := slices.ContainsFunc(dnames, func(d string) bool { return dns.IsSubDomain(d, zn.Name) })
		if zn.Kind == zone.Occluded || below || b.hidden(z, zn.Name) {
			continue
		}
		if zn.Kind == zone.DNAME {
			dnames = append(dnames, zn.Name)
		}
		if err := b.node(data, zn); err != nil {
			return fmt.Errorf("%s: %w", zn.Name, err)
		}
	}
	return nil
}

func (b *viewBuilder) node(data *zoneData, zn zone.Node) error {
	wire, err := wireName(zn.Name)
	if err != nil {
		return err
	}
	key := lowerASCII(wire)
	n := &node{name: key, zone: data, parent: b.nodes[key], id: nameID(key)}
	b.nodes[key] = n
	c := compiler{data: data, name: zn.Name, wildcard: strings.HasPrefix(zn.Name, "*."), node: n}
	switch zn.Kind {
	case zone.Cut:
		n.kind = cutNode
		err = errors.Join(c.add(dns.TypeDS), c.fallback(dns.TypeNS))
	case zone.Empty:
		n.other = data.nodata
	default:
		if zn.Kind == zone.DNAME {
			n.kind = dnameNode
		}
		err = c.plain(zn.Types)
	}
	if err != nil || !zn.Dynamic {
		return err
	}
	pool, ok := b.view.geo.PoolIndex(b.names[zn.Name])
	if !ok {
		return fmt.Errorf("unknown pool %q", b.names[zn.Name])
	}
	n.dynamic, err = newDynamic(b.view.geo, pool, data.zone, zn)
	return err
}

// compiler packs the answers of one node.
type compiler struct {
	data     *zoneData
	name     string
	wildcard bool
	node     *node
}

// plain packs the answer for each type that the node, or the end of its CNAME
// chain, has, and the one for all others.
func (c *compiler) plain(types []uint16) error {
	if slices.Contains(types, dns.TypeCNAME) {
		types = append(c.chainTypes(), dns.TypeANY) // ANY gets the CNAME itself
	}
	for _, t := range types {
		if err := c.add(t); err != nil {
			return err
		}
	}
	return c.fallback(unassigned)
}

// unassigned is type 0, which is reserved and which no record can have; its
// answer is that to every type without records.
const unassigned = 0

// chainTypes returns the types found along a CNAME chain.
func (c *compiler) chainTypes() []uint16 {
	types := []uint16{dns.TypeCNAME}
	for _, rr := range c.data.zone.Lookup(c.name, unassigned).Answer {
		if cname, ok := rr.(*dns.CNAME); ok {
			types = append(types, c.data.zone.TypesAt(cname.Target)...)
		}
	}
	slices.Sort(types)
	return slices.Compact(types)
}

func (c *compiler) add(qtype uint16) error {
	b, err := c.pack(qtype)
	if err == nil {
		c.node.answers = append(c.node.answers, typedAnswer{qtype, b})
	}
	return err
}

func (c *compiler) fallback(qtype uint16) (err error) {
	c.node.other, err = c.pack(qtype)
	return err
}

func (c *compiler) pack(qtype uint16) (*blob, error) {
	r := c.data.zone.Lookup(c.name, qtype)
	negative := len(r.Answer) == 0 && r.Authoritative && r.Rcode == rcodeNoError
	if negative {
		return c.data.nodata, nil
	}
	return newBlob(c.name, c.wildcard, sections{
		rcode: r.Rcode, authoritative: r.Authoritative,
		answer: r.Answer, authority: r.Ns, additional: r.Extra,
		glue: len(r.Ns) > 0 && !r.Authoritative,
	})
}

// negativeSOA returns the SOA as negative answers have it (RFC 2308 section 3).
func negativeSOA(z *zone.Zone) []dns.RR {
	soa := dns.Copy(z.SOA()).(*dns.SOA)
	soa.Hdr.Ttl = min(soa.Hdr.Ttl, soa.Minttl)
	return []dns.RR{soa}
}

// WithGeo returns a view that differs from v in its geo view only, which must be
// alike ([geo.View.Alike]): it was made from v.Geo() with other verdicts or pins.
// It shares all that was packed, so that a verdict changes for the cost of its
// geo view.
func (v *View) WithGeo(g *geo.View) (*View, error) {
	if v.geo == nil || g == nil || !v.geo.Alike(g) {
		return nil, errors.New("the geo view has other PoPs or pools than the view: build the view anew")
	}
	next := *v
	next.geo = g
	return &next, nil
}

// shapedLike says whether counters by index mean the same for both views.
func (v *View) shapedLike(w *View) bool {
	return len(v.zones) > 0 && len(w.zones) > 0 && &v.zones[0] == &w.zones[0] // WithGeo shares them
}

// Geo returns the geo view that names of pools are answered from.
func (v *View) Geo() *geo.View { return v.geo }

// Zones returns the zones, a zone before those within it.
func (v *View) Zones() []*zone.Zone {
	zones := make([]*zone.Zone, len(v.zones))
	for i, z := range v.zones {
		zones[i] = z.zone
	}
	return zones
}

// Created returns when the view was compiled.
func (v *View) Created() time.Time { return v.created }

var families = [2]edge.Family{edge.IPv4, edge.IPv6}
