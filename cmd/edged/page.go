package main

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"edged/config"
	"edged/dnsserver"
	"edged/edge"
	"edged/geo"
	"edged/mapper"
	"edged/mapper/beacon/page"
	"edged/mapper/beacon/token"
	"edged/mapper/estimate"
	"edged/maps"
)

// pageFiles is what the beacon of a configuration needs of its files.
type pageFiles struct {
	certificate *tls.Certificate
	keys        []token.Key
	measurable  []string // PoPs that have a name in the zone
}

// readPage reads the beacon's files. Without them it stays nil.
func (b *builder) readPage(fault func(key string, err error)) {
	c := b.config.Beacon
	if c.Zone == "" || c.CertFile == "" || c.KeyFile == "" || c.TokenKeyFile == "" {
		return
	}
	certificate, err := tls.LoadX509KeyPair(string(c.CertFile), string(c.KeyFile))
	if err != nil {
		fault("beacon.cert_file", fmt.Errorf("certificate %q with key %q: %w", c.CertFile, c.KeyFile, err))
	}
	keys, keysErr := readTokenKeys(string(c.TokenKeyFile))
	if keysErr != nil {
		fault("beacon.token_key_file", keysErr)
	}
	if err == nil && keysErr == nil {
		b.page = &pageFiles{certificate: &certificate, keys: keys}
		b.findMeasurable(fault)
	}
}

// findMeasurable finds the PoPs that have a name of their own in the beacon's zone.
func (b *builder) findMeasurable(fault func(key string, err error)) {
	zone := b.config.Beacon.Zone
	var missing []string
	for _, z := range b.zones {
		if z.Origin() != zone {
			continue
		}
		for _, p := range b.config.PoPs {
			name := p.Name + "." + zone
			types := z.TypesAt(name)
			_, bound := b.config.Names[name]
			if bound || slices.Contains(types, dns.TypeA) || slices.Contains(types, dns.TypeAAAA) || slices.Contains(types, dns.TypeCNAME) {
				b.page.measurable = append(b.page.measurable, p.Name)
			} else {
				missing = append(missing, p.Name)
			}
		}
		switch {
		case len(b.page.measurable) == 0:
			fault("beacon.zone", fmt.Errorf("zone %q has no name of a pop, so there is nothing to measure; give it the addresses of each pop, such as %s.%s A", zone, b.config.PoPs[0].Name, zone))
		case len(missing) > 0:
			b.warnf("beacon.zone", "zone %q has no addresses for %s: not measured", zone, strings.Join(missing, ", "))
		}
	}
}

// readTokenKeys reads keys of 64 hex digits, one a line; "#" starts a comment
// line. Errors name the line, never a key.
func readTokenKeys(path string) ([]token.Key, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("token keys %q: mode %04o lets others use them; chmod 600", path, mode)
	}
	data, err := edge.ReadRegular(path)
	if err != nil {
		return nil, err
	}
	var keys []token.Key
	var errs []error
	for i, line := range strings.Split(string(data), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		var k token.Key
		if b, err := hex.DecodeString(line); err != nil || copy(k[:], b) != len(k) || len(b) != len(k) {
			errs = append(errs, fmt.Errorf("%s:%d: want %d hex digits; make them with: openssl rand -hex %d", path, i+1, 2*len(k), len(k)))
			continue
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 && len(errs) == 0 {
		errs = append(errs, fmt.Errorf("token keys %q: there is none", path))
	}
	return keys, errors.Join(errs...)
}

// watchSize is how many questions for tokens' names wait to be looked at; beyond
// that they are lost and counted.
const watchSize = 1 << 14

// watch returns what notes who asks for the beacon's names; nil: nobody asks.
func (l *loaded) watch() *dnsserver.Watch {
	if l.page == nil {
		return nil
	}
	return dnsserver.NewWatch(watchSize, min(token.Length4, token.Length6))
}

// beaconDir is where a node keeps what beacons measured.
func beaconDir(dataDir config.Path) string { return filepath.Join(string(dataDir), "beacons") }

// startPage starts the beacon's server, if there is one.
func (n *node) startPage(l *loaded) error {
	c := l.config
	if c.Beacon.Zone == "" {
		return nil
	}
	if l.page == nil {
		return errors.New("beacon: its files cannot be read")
	}
	server, err := page.New(page.Config{
		Listen: c.Beacon.Listen, Dir: beaconDir(c.DataDir), Node: c.Node.Name, Log: n.log,
		Asked: func() (page.Asked, bool) {
			a, ok := n.watch.Next()
			return page.Asked{Label: a.Label(), Resolver: a.Resolver, Time: a.Time}, ok
		},
	}, n.site(l))
	if err != nil {
		return fmt.Errorf("beacon.listen: %w", err)
	}
	n.page.Store(server)
	server.Start()
	n.log.Info("beacon", "zone", c.Beacon.Zone, "https", server.Addrs())
	return nil
}

// usePage makes the beacon serve from what was loaded.
func (n *node) usePage(l *loaded) {
	if server := n.page.Load(); server != nil && l.page != nil {
		server.Use(n.site(l))
	}
}

// site is what the beacon serves from l.
func (n *node) site(l *loaded) *page.Site {
	return &page.Site{
		Certificate: l.page.certificate, Keys: l.page.keys, Origins: l.config.Beacon.Origins, AllowPrivate: l.config.Beacon.AllowPrivate,
		Candidates: func(client netip.Addr) ([]page.Candidate, int) {
			return n.serving().candidates(client, uint64(time.Now().Unix()))
		},
	}
}

// candidates returns the PoPs that a client may measure, in the order of the map
// for its block, and which of them its name is answered with now. Those that are
// known not to answer are left out, unless no other is left.
func (l *loaded) candidates(client netip.Addr, now uint64) (list []page.Candidate, inForce int) {
	if l.page == nil {
		return nil, 0
	}
	name := l.config.Names[l.config.Beacon.Wildcard()]
	if m := l.maps[l.config.Pools[name.Pool].Map]; m != nil {
		list = ranked(m, client)
	}
	measurable := func(pop string) bool { return slices.Contains(l.page.measurable, pop) }
	list = slices.DeleteFunc(list, func(c page.Candidate) bool { return !measurable(c.PoP) })
	for _, pop := range l.page.measurable { // those that the map does not know
		if !slices.ContainsFunc(list, func(c page.Candidate) bool { return c.PoP == pop }) {
			list = append(list, page.Candidate{PoP: pop})
		}
	}
	pool, ok := l.view.Geo().PoolIndex(name.Pool)
	if !ok {
		return list, 0
	}
	gone := l.gone(pool)
	if alive := slices.DeleteFunc(slices.Clone(list), func(c page.Candidate) bool { return gone[c.PoP] }); len(alive) > 0 {
		list = alive
	}
	var d geo.Decision
	l.view.Geo().Decide(pool, &geo.Client{Resolver: client, ECS: token.Block(client), Now: now, Rand: rand.Uint64()}, edge.FamilyOf(client), &d)
	if pops := l.view.Geo().PoPs(); int(d.PoP) < len(pops) {
		inForce = max(0, slices.IndexFunc(list, func(c page.Candidate) bool { return c.PoP == pops[d.PoP].Name }))
	}
	return list, inForce
}

// gone returns the PoPs of which no endpoint, in a pool and those nested in it, may
// be asked: all are dead, or disabled or drained by an operator.
func (l *loaded) gone(pool int) map[string]bool {
	view := l.view.Geo()
	within := map[int]bool{}
	var enter func(pool int)
	enter = func(pool int) {
		if within[pool] {
			return
		}
		within[pool] = true
		for _, m := range view.Pool(pool).Members {
			if nested, ok := view.PoolIndex(m.Pool); ok {
				enter(nested)
			}
		}
	}
	enter(pool)
	gone := map[string]bool{}
	for _, e := range view.Endpoints() {
		if pops := view.PoPs(); within[e.Pool] && int(e.PoP) < len(pops) {
			name := pops[e.PoP].Name
			all, known := gone[name]
			gone[name] = (all || !known) && e.Verdict >= edge.Dead
		}
	}
	return gone
}

// ranked returns the PoPs that a map ranks for a client: those with a time first,
// then all others by distance.
func ranked(m *maps.Map, client netip.Addr) []page.Candidate {
	row, _, _ := m.ECS().Lookup(client)
	ranking, origins := m.Ranking(row.Ranking()), m.HopOrigins(row.Ranking())
	var list []page.Candidate
	seen := map[uint16]bool{}
	for i, h := range ranking.Hops {
		seen[h.PoP] = true
		c := page.Candidate{PoP: m.PoPs()[h.PoP].Name, RTT: float64(h.RTT) / 2}
		if origins != nil {
			c.Samples = ownSamples(origins[i])
		}
		list = append(list, c)
	}
	if ranking.Order == maps.NoOrder {
		return list
	}
	for _, pop := range m.Order(ranking.Order) {
		if !seen[pop] {
			list = append(list, page.Candidate{PoP: m.PoPs()[pop].Name})
		}
	}
	return list
}

// ownSamples returns how many samples a hop's number has of the block itself; 0 when
// it comes from others.
func ownSamples(o maps.Origin) int {
	if level, ok := mapper.LevelOf(o); ok && level == estimate.Own {
		return o.Samples()
	}
	return 0
}

// stopPage ends the beacon's server; what it has taken is on disk then.
func (n *node) stopPage(ctx context.Context) error {
	if server := n.page.Load(); server != nil {
		return server.Shutdown(ctx)
	}
	return nil
}
