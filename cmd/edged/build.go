package main

import (
	"cmp"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"edged/admin"
	"edged/bgp/announcer"
	"edged/config"
	"edged/dnsserver"
	"edged/edge"
	"edged/geo"
	"edged/geo/place"
	"edged/health"
	"edged/health/fleet"
	"edged/maps"
	"edged/zone"
)

// loaded is a configuration with all that it names: read, checked and compiled.
type loaded struct {
	config *config.Config
	text   [sha256.Size]byte // digest of the file that config was read from, or zeros
	zones  []*zone.Zone      // in the configuration's order
	maps   map[string]*maps.Map
	tokens *admin.Tokens

	adminCertificate *tls.Certificate // nil: the API is served without TLS
	cookies          []dnsserver.CookieSecret
	plan             fleet.Plan
	watched          watched
	standing         map[endpoint]string       // on which node an endpoint stands, if on one
	vips             map[vipAt]health.TargetID // that pools require
	announce         announcer.File
	page             *pageFiles      // of the beacon; nil: there is none, or they are bad
	view             *dnsserver.View // all endpoints ok; see judged
	warnings         config.Problems
}

// load reads the configuration file at path and builds what it says. The Config
// is returned with an error too, when it is not at fault itself.
func load(path string) (*loaded, *config.Config, error) { return loadAfter(nil, path) }

// loadAfter is load for a node that has loaded the file before: while the file's
// text is the same, last's Config goes on, which spares parsing it. It leaves the maps'
// hashes to keep, for answers wait while it reads.
func loadAfter(last *loaded, path string) (*loaded, *config.Config, error) {
	text, ok := digest(path)
	if ok && last != nil && last.text == text {
		l, err := build(last.config, maps.OpenUnhashed)
		if l != nil {
			l.text = text
		}
		return l, last.config, err
	}
	c, err := config.Load(path)
	if err != nil {
		return nil, nil, withFiles(c, err)
	}
	open := maps.Open
	if last != nil {
		open = maps.OpenUnhashed
	}
	l, err := build(c, open)
	if again, _ := digest(path); ok && l != nil && again == text { // it did not change between two reads
		l.text = text
	}
	return l, c, err
}

// digest returns the hash of a file, if that can be read.
func digest(path string) (sum [sha256.Size]byte, ok bool) {
	f, err := edge.OpenRegular(path)
	if err != nil {
		return sum, false
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return [sha256.Size]byte(h.Sum(nil)), err == nil
}

// withFiles adds to the faults of a configuration those of the files that it
// names, as far as it was understood, so that one check shows them all.
func withFiles(c *config.Config, err error) error {
	problems, ok := err.(config.Problems)
	if !ok || c == nil {
		return err
	}
	b := newBuilder(c)
	for i, z := range c.Zones {
		if z.Name == "" || z.File == "" {
			continue
		}
		if _, err := zone.ParseFile(z.Name, string(z.File), zone.Options{}); err != nil {
			b.fault(fmt.Sprintf("zones[%d].file", i), err)
		}
	}
	for _, name := range sortedKeys(c.Maps) {
		if file := c.Maps[name].File; file != "" {
			if _, err := maps.Open(string(file)); err != nil {
				b.fault("maps."+name+".file", err)
			}
		}
	}
	b.readSecrets(b.fault)
	b.readFleet(b.fault)
	b.readVIPs(b.fault)
	b.readPage(b.fault)
	b.checkPlaces()
	return append(problems, b.problems...)
}

// build reads everything that a configuration names, and compiles it. Its error
// is a config.Problems with all that is wrong. It starts and changes nothing.
func build(c *config.Config, open openMap) (*loaded, error) {
	b := newBuilder(c)
	b.readZones()
	b.readMaps(open)
	b.readSecrets(b.fault)
	b.readFleet(b.fault)
	b.readVIPs(b.fault)
	b.readPage(b.fault)
	b.checkPlaces()
	return b.finish()
}

// buildKept is build for the last good state, of which secrets are no part:
// without them the node still answers, so what is wrong with them is a warning. Passwords of BGP
// sessions are those that the sessions had then.
func buildKept(c *config.Config) (*loaded, error) {
	b := newBuilder(c)
	b.passwordOf = func(peer netip.Addr) string { return announcer.PasswordOf(vipsDir(c.DataDir), peer) }
	b.readZones()
	b.readMaps(maps.Open)
	warn := func(key string, err error) { b.warnf(key, "%v", err) }
	b.readSecrets(warn)
	b.readFleet(warn)
	b.readVIPs(warn)
	b.readPage(warn)
	return b.finish()
}

func newBuilder(c *config.Config) *builder {
	return &builder{
		loaded:     &loaded{config: c, maps: map[string]*maps.Map{}, warnings: c.Warnings()},
		passwordOf: func(netip.Addr) string { return "" },
	}
}

// finish compiles what was read, unless something is wrong with it.
func (b *builder) finish() (*loaded, error) {
	if len(b.problems) == 0 {
		b.compile()
	}
	if err := b.problems.Err(); err != nil {
		return nil, err
	}
	return b.loaded, nil
}

type builder struct {
	*loaded
	problems   config.Problems
	passwordOf func(peer netip.Addr) string // for when its file cannot be read
}

func (b *builder) errorf(key, format string, args ...any) {
	b.problems = append(b.problems, b.config.Problem(key, format, args...))
}

func (b *builder) warnf(key, format string, args ...any) {
	b.warnings = append(b.warnings, b.config.Problem(key, format, args...))
}

// fault reports an error that may hold many.
func (b *builder) fault(key string, err error) {
	for line := range strings.Lines(err.Error()) {
		b.errorf(key, "%s", strings.TrimSpace(line))
	}
}

func (b *builder) readZones() {
	dynamic := map[string][]string{} // by origin
	for _, name := range sortedKeys(b.config.Names) {
		if origin := b.config.ZoneOf(name); origin != "" {
			dynamic[origin] = append(dynamic[origin], name)
		}
	}
	for i, zc := range b.config.Zones {
		key := fmt.Sprintf("zones[%d].file", i)
		z, err := zone.ParseFile(zc.Name, string(zc.File), zone.Options{Dynamic: dynamic[zc.Name]})
		if err != nil {
			b.fault(key, err)
			continue
		}
		b.zones = append(b.zones, z)
		for _, w := range z.Warnings() {
			b.warnf(key, "%s", w)
		}
		for _, name := range dynamic[zc.Name] {
			b.checkTargets(z, name)
		}
	}
	for i, z := range b.zones {
		b.warnHidden(fmt.Sprintf("zones[%d]", i), z)
	}
}

// warnHidden warns of a zone's names that lie in another zone served here: they
// are never answered. Glue for the cut to that zone is no such case.
func (b *builder) warnHidden(key string, z *zone.Zone) {
	for _, inner := range b.zones {
		if inner == z || !dns.IsSubDomain(z.Origin(), inner.Origin()) {
			continue
		}
		for n := range z.Nodes() {
			if n.Kind != zone.Occluded && n.Name != inner.Origin() && dns.IsSubDomain(inner.Origin(), n.Name) {
				b.warnf(key, "zone %q has %s, which is never answered: zone %q is served here too, and holds it", z.Origin(), n.Name, inner.Origin())
				break
			}
		}
	}
}

// checkTargets holds that a name which may be answered with a CNAME has no
// other data (RFC 1034 section 3.6.2).
func (b *builder) checkTargets(z *zone.Zone, name string) {
	pool := b.config.Names[name].Pool
	targets, types := b.config.Targets(pool), z.TypesAt(name)
	if len(targets) == 0 || len(types) == 0 {
		return
	}
	words := make([]string, len(types))
	for i, t := range types {
		words[i] = dns.Type(t).String()
	}
	b.errorf(config.NameKey(name), "pool %q holds the CNAME target %q, but zone %q has other data at the name (%s), which a CNAME cannot stand beside (RFC 1034 section 3.6.2)",
		pool, targets[0], z.Origin(), strings.Join(words, ", "))
}

// openMap is maps.Open or maps.OpenUnhashed.
type openMap func(path string) (*maps.Map, error)

func (b *builder) readMaps(open openMap) {
	for _, name := range sortedKeys(b.config.Maps) {
		m, err := open(string(b.config.Maps[name].File))
		if err != nil {
			b.fault("maps."+name+".file", err)
			continue
		}
		b.maps[name] = m
		for _, p := range m.PoPs() {
			if !b.hasPoP(p.Name) {
				b.warnf("maps."+name, "it ranks the pop %q, which pops does not list", p.Name)
			}
		}
	}
	for _, name := range sortedKeys(b.config.Pools) {
		p := b.config.Pools[name]
		if m := b.maps[p.Map]; m != nil && p.Policy == geo.Closest.String() {
			b.checkCovered("pools."+name+".map", name, m)
		}
	}
}

func (b *builder) hasPoP(name string) bool {
	for _, p := range b.config.PoPs {
		if p.Name == name {
			return true
		}
	}
	return false
}

// checkCovered holds that a map ranks every PoP that a pool may choose.
func (b *builder) checkCovered(key, pool string, m *maps.Map) {
	ranked := map[string]bool{}
	for _, p := range m.PoPs() {
		ranked[p.Name] = true
	}
	for _, pop := range b.config.PoPsOf(pool) {
		if !ranked[pop] {
			b.errorf(key, "map %q does not rank the pop %q; build it again with the present pops", b.config.Pools[pool].Map, pop)
		}
	}
}

// readSecrets reads the files that only the node may read.
func (b *builder) readSecrets(fault func(key string, err error)) {
	if path := b.config.Admin.TokensFile; path != "" {
		var err error
		if b.tokens, err = admin.ReadTokens(string(path)); err != nil {
			fault("admin.tokens_file", err)
		}
	}
	if a := b.config.Admin; a.CertFile != "" && a.KeyFile != "" {
		c, err := tls.LoadX509KeyPair(string(a.CertFile), string(a.KeyFile))
		if err != nil {
			fault("admin.cert_file", fmt.Errorf("certificate %q with key %q: %w", a.CertFile, a.KeyFile, err))
		} else {
			b.adminCertificate = &c
		}
	}
	if path := b.config.Cookies.SecretFile; path != "" {
		var err error
		if b.cookies, err = readCookieSecrets(string(path)); err != nil {
			fault("cookies.secret_file", err)
		}
	}
}

// readCookieSecrets reads secrets of 32 hex digits, one a line; "#" starts a
// comment line. Errors name the line, never a secret.
func readCookieSecrets(path string) ([]dnsserver.CookieSecret, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("cookie secrets %q: mode %04o lets others use it; chmod 600", path, mode)
	}
	data, err := edge.ReadRegular(path)
	if err != nil {
		return nil, err
	}
	var out []dnsserver.CookieSecret
	var errs []error
	for i, line := range strings.Split(string(data), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		var s dnsserver.CookieSecret
		if n, err := hex.Decode(s[:], []byte(line[:min(len(line), 2*len(s))])); err != nil || n != len(s) || len(line) != 2*n {
			errs = append(errs, fmt.Errorf("%s:%d: want %d hex digits; make them with: openssl rand -hex %d", path, i+1, 2*len(s), len(s)))
			continue
		}
		out = append(out, s)
	}
	if len(out) == 0 && len(errs) == 0 {
		errs = append(errs, fmt.Errorf("cookie secrets %q: there is none", path))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return out, nil
}

// checkPlaces opens the databases that maps are built from. Serving does not
// need them, but a file that is named should be one.
func (b *builder) checkPlaces() {
	g := b.config.Geo
	for _, f := range []struct {
		key                  string
		city, asn, overrides config.Path
	}{
		{key: "geo.city", city: g.City},
		{key: "geo.asn", asn: g.ASN},
		{key: "geo.overrides", overrides: g.Overrides},
	} {
		if f.city+f.asn+f.overrides == "" {
			continue
		}
		if _, err := place.OpenWith(string(f.city), string(f.asn), string(f.overrides)); err != nil {
			b.fault(f.key, err)
		}
	}
}

// compile makes the view. What it can refuse was checked before, with a key.
func (b *builder) compile() {
	sources := map[string]geo.MapSource{}
	for name, m := range b.maps {
		sources[name] = geo.MapSource{Map: m}
	}
	g, err := geo.Build(geo.Config{
		Node:  b.config.Node.Name,
		PoP:   b.config.Node.PoP,
		PoPs:  b.config.PoPs,
		Pools: geoPools(b.config),
		Maps:  sources,
	})
	if err != nil {
		b.fault("pools", err)
		return
	}
	names := map[string]string{}
	for name, n := range b.config.Names {
		names[name] = n.Pool
	}
	b.view, err = dnsserver.BuildView(dnsserver.ViewConfig{
		Zones:   b.zones,
		Geo:     g,
		Names:   names,
		NSID:    b.nsid(),
		Version: "edged " + version(),
		Watch:   b.watchedName(),
	})
	if err != nil {
		b.fault("zones", err)
	}
}

// watchedName is the name whose questions are noted; empty: none.
func (b *builder) watchedName() string {
	if b.page == nil {
		return ""
	}
	return b.config.Beacon.Wildcard()
}

// nsid names node, PoP and the maps in use.
func (l *loaded) nsid() string {
	words := []string{l.config.Node.Name, l.config.Node.PoP}
	for _, name := range sortedKeys(l.maps) {
		words = append(words, name+"="+l.maps[name].Version())
	}
	return strings.Join(words, " ")
}

// geoPools turns the configuration's pools into those of package geo.
func geoPools(c *config.Config) []geo.Pool {
	var out []geo.Pool
	for _, name := range sortedKeys(c.Pools) {
		p := c.Pools[name]
		policy, _ := geo.ParsePolicy(p.Policy) // the configuration has checked the words
		order, _ := geo.ParseFailOpenOrder(p.FailOpen.Order)
		pool := geo.Pool{
			Name:          name,
			Policy:        policy,
			Map:           p.Map,
			TTLMin:        uint32(p.TTL.Min.Seconds()),
			TTLMax:        uint32(p.TTL.Max.Seconds()),
			Answers:       p.Answers,
			FallbackCNAME: p.Fallback.CNAME,
			UpFraction:    p.UpFraction,
			FailOpen:      geo.FailOpen{Order: order, Drained: p.FailOpen.Drained},
		}
		for _, e := range p.Endpoints {
			pool.Members = append(pool.Members, geo.Member{
				PoP: e.PoP, Address: e.Address, CNAME: e.CNAME, Pool: e.Pool, Weight: uint32(e.Weight),
			})
		}
		out = append(out, pool)
	}
	return out
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
