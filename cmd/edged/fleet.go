package main

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"edged/config"
	"edged/edge"
	"edged/geo"
	"edged/geo/pricer"
	"edged/health"
	"edged/health/fleet"
	"edged/health/gossip"
	"edged/health/override"
)

// watched says which target tells the health of which endpoints.
type watched map[endpoint]health.TargetID

// endpoint is what an answer may name, in a pool.
type endpoint struct {
	pool    string
	address netip.Addr
	cname   string
}

// readFleet reads what the configuration's health needs beside it: the gossip
// keys and the members' public keys.
func (b *builder) readFleet(fault func(key string, err error)) {
	f := b.config.Fleet
	b.plan.Observers = f.Observers
	b.watch()
	b.world()
	if f.Name == "" {
		return
	}
	keys, err := gossip.ReadKeys(string(f.KeyFile))
	if err != nil {
		fault("fleet.key_file", err)
	}
	b.plan.GossipKeys = keys
	for i, m := range f.Members {
		key, err := gossip.ParseNodeKey(m.Key)
		if err != nil {
			fault(fmt.Sprintf("fleet.members[%d].key", i), err)
			continue
		}
		b.plan.Members = append(b.plan.Members, health.Member{Name: m.Name, PoP: m.PoP, Key: key})
	}
	if len(f.Members) == 0 {
		b.warnf("fleet.members", "not given: every node that has the gossip key belongs to the fleet, and is believed with the first key that is seen")
	}
	b.ownKey(f, fault)
}

// ownKey holds this node's key, if there is one yet, to the one that the others
// are told to expect.
func (b *builder) ownKey(f config.Fleet, fault func(key string, err error)) {
	key, err := gossip.ReadNodeKey(nodeKeyFile(b.config))
	if errors.Is(err, fs.ErrNotExist) {
		return // made at the start
	}
	if err != nil {
		fault("fleet.node_key_file", err)
		return
	}
	for i, m := range b.plan.Members {
		if m.Name == b.config.Node.Name && !m.Key.Equal(key.Public()) {
			fault(fmt.Sprintf("fleet.members[%d].key", i),
				fmt.Errorf("is not the key of this node, which has %s", gossip.FormatNodeKey(key.Public().(ed25519.PublicKey))))
		}
	}
}

// nodeKey returns this node's key. It is made when there is none yet; a node
// without a fleet, to whom nobody listens, keeps none.
func nodeKey(c *config.Config) (ed25519.PrivateKey, error) {
	if c.Fleet.Name == "" {
		_, key, err := ed25519.GenerateKey(nil)
		return key, err
	}
	path := nodeKeyFile(c)
	key, err := gossip.ReadNodeKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(filepath.Dir(path), 0o750); err == nil {
			key, err = gossip.MakeNodeKey(path)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("fleet.node_key_file: %w", err)
	}
	return key, nil
}

// signingKey is nodeKey for a node that starts, apart from its fleet if need be: whom nobody hears
// goes on with a key of the moment where its own cannot be read.
func signingKey(c *config.Config, apart bool) (ed25519.PrivateKey, error) {
	key, err := nodeKey(c)
	if err != nil && apart {
		_, key, err = ed25519.GenerateKey(nil)
	}
	return key, err
}

func nodeKeyFile(c *config.Config) string {
	if c.Fleet.NodeKeyFile != "" {
		return string(c.Fleet.NodeKeyFile)
	}
	return filepath.Join(string(c.DataDir), "node.ed25519")
}

// watch makes the targets of all endpoints that are checked.
func (b *builder) watch() {
	b.watched = watched{}
	b.watchVIPs()
	for _, name := range sortedKeys(b.config.Pools) {
		p := b.config.Pools[name]
		partition, _ := health.ParsePartition(p.Quorum.Partition) // the configuration has checked the word
		quorum := health.Quorum{MinObservers: p.Quorum.MinObservers, MinPoPs: p.Quorum.MinPoPs, Partition: partition}
		for _, e := range p.Endpoints {
			if e.Pool != "" || e.Check.Kind == config.KindNone {
				continue
			}
			t := health.NewTarget(healthCheck(e.Check), e.Address)
			b.watched[endpoint{name, e.Address.Unmap(), e.CNAME}] = t.ID
			b.plan.Targets = append(b.plan.Targets, fleet.Target{Target: t, Quorum: quorum})
		}
	}
}

// world makes what overrides are about, and the rules that they keep to.
func (b *builder) world() {
	w := &b.plan.World
	b.standing, b.plan.Watched = map[endpoint]string{}, map[override.Endpoint]health.TargetID{}
	w.PoPs = b.config.PoPs
	for _, m := range b.config.Fleet.Members {
		w.Nodes = append(w.Nodes, override.Node{Name: m.Name, PoP: m.PoP})
	}
	for _, name := range sortedKeys(b.config.Pools) {
		for _, e := range b.config.Pools[name].Endpoints {
			if e.Node != "" {
				b.standing[endpoint{name, e.Address.Unmap(), e.CNAME}] = e.Node
			}
			if e.Address.IsValid() {
				o := override.Endpoint{Pool: name, PoP: e.PoP, Node: e.Node, Address: e.Address}
				w.Endpoints = append(w.Endpoints, o)
				if id, checked := b.watched[endpoint{name, e.Address.Unmap(), e.CNAME}]; checked {
					b.plan.Watched[o] = id
				}
			}
		}
	}
	for i, r := range b.config.Rules {
		rule, err := override.ParseRule(r.AtLeast, r.DrainedAtMost, r.Of, r.Per)
		if err != nil {
			b.errorf(fmt.Sprintf("rules[%d]", i), "%v", err)
			continue
		}
		b.plan.Rules = append(b.plan.Rules, rule)
	}
}

// healthCheck turns a check of the configuration, which is in order, into one
// of package health.
func healthCheck(c config.Check) health.Check {
	out := health.Check{
		Kind: health.Kind(c.Kind), Interval: c.Interval, Timeout: c.Timeout, Fall: c.Fall, Rise: c.Rise,
	}
	out.Target, _ = netip.ParseAddr(c.Target)
	inTLS := func() { out.SNI, out.Verify = c.SNI, c.Verify }
	switch out.Kind {
	case health.HTTP, health.HTTPS:
		out.Port, out.Path, out.Host, out.Headers = uint16(c.Port), c.Path, c.Host, c.Headers
		out.Status, out.Body = slices.Sorted(slices.Values(c.Status)), c.Body
		if out.Kind == health.HTTPS {
			inTLS()
		}
	case health.TCP:
		out.Port, out.TLS, out.Host, out.Send, out.Expect = uint16(c.Port), c.TLS, c.Host, c.Send, c.Expect
		inTLS()
	case health.GRPC:
		out.Port, out.TLS, out.Host, out.Service = uint16(c.Port), c.TLS, c.Host, c.Service
		inTLS()
	case health.DNS:
		out.Port, out.Name, out.Type, out.Rcode, out.Data = uint16(c.Port), c.Name, c.Type, c.Rcode, c.Data
	case health.Exec:
		out.Command, out.Target = c.Command, netip.Addr{}
	case health.External:
		out.Source, out.Target = c.Source, netip.Addr{}
	}
	return out
}

// startFleet starts the health of a node: with its fleet, or alone.
func startFleet(l *loaded, log *slog.Logger, answer func(string) string, alone bool) (*fleet.Fleet, error) {
	c := l.config
	cfg := fleet.Config{
		Self: health.Member{Name: c.Node.Name, PoP: c.Node.PoP},
		Dir:  filepath.Join(string(c.DataDir), "health"),
		Log:  log,
		Plan: l.plan, Answer: answer,
	}
	var err error
	if cfg.Key, err = signingKey(c, alone); err != nil {
		return nil, err
	}
	cfg.Self.Key = cfg.Key.Public().(ed25519.PublicKey)
	if !alone && c.Fleet.Name != "" {
		cfg.Name = c.Fleet.Name
		cfg.Gossip = gossip.Config{
			Name: c.Node.Name, PoP: c.Node.PoP, Fleet: c.Fleet.Name,
			Bind: c.Fleet.Bind, Advertise: c.Fleet.Advertise, Join: c.Fleet.Join, Log: log,
		}
		if c.BGP.ASN > 0 {
			cfg.Gossip.Link = c.Fleet.Link.Port()
		}
	}
	f, err := fleet.Start(cfg)
	if err != nil {
		return nil, fmt.Errorf("fleet: %w", err)
	}
	f.Settle()
	return f, nil
}

// follow brings what the fleet says, and prices, into force whenever they change,
// until the node leaves. The alarm tells of the faults given.
func (n *node) follow(faults []string) {
	frozen, prices := "", n.pricer.Prices()
	for {
		select {
		case <-n.leave:
			return
		case <-n.pricer.Updates():
			prices = n.followLoad(prices)
			continue
		case <-n.fleet.Updates():
		}
		n.viewing.Lock()
		n.serve(n.serving())
		n.viewing.Unlock()
		if now := n.fleet.View().Frozen; now != frozen {
			n.alarm(alarmFrozen, "verdicts are frozen", now)
			frozen = now
		}
		if now := n.fleet.Faults(); !slices.Equal(now, faults) {
			n.healthFaults(now)
			faults = now
		}
	}
}

// healthFaults raises the alarm about what health keeps, or clears it when there is nothing.
func (n *node) healthFaults(faults []string) {
	if len(faults) == 0 {
		n.clear(alarmHealth)
		return
	}
	n.raise(alarmHealth, "what is kept of verdicts and overrides could not be used, or be written", faults)
}

// alarm raises an alarm with a detail, or clears it when there is none.
func (n *node) alarm(reason, what, detail string) {
	if detail == "" {
		n.clear(reason)
		return
	}
	n.raise(reason, what, []string{detail})
}

// serve answers from l with the verdicts of the moment. The caller holds
// viewing.
func (n *node) serve(l *loaded) {
	l, err := l.judged(n.fleet, n.pricer.Prices(), n.log)
	if err != nil {
		n.log.Error("verdicts cannot be brought into force", "error", err) // not reached: l was built from the same
		return
	}
	n.server.Swap(l.view)
	n.nowServing(l)
}

// judged returns l as it is answered with the verdicts and prices of the moment.
func (l *loaded) judged(f *fleet.Fleet, p *pricer.Prices, log *slog.Logger) (*loaded, error) {
	var pins []geo.Pin
	for _, p := range f.Overrides().Pins() {
		pins = append(pins, geo.Pin{Prefix: p.Prefix, PoP: p.PoP, ID: p.ID.String()})
	}
	states, prices := l.states(f), l.prices(p)
	g, err := l.view.Geo().With(states, pins, prices)
	if err != nil && len(pins) > 0 {
		// A pin that cannot be must not keep verdicts from coming into force.
		log.Error("pins are left out", "error", err)
		g, err = l.view.Geo().With(states, nil, prices)
	}
	if err != nil {
		return nil, err
	}
	judged := *l
	judged.view, err = l.view.WithGeo(g)
	return &judged, err
}

// states tells the state of each member of a pool: what the checks say, and
// what operators say instead.
func (l *loaded) states(f *fleet.Fleet) geo.Verdicts {
	checks, overrides := l.checks(f), f.Overrides()
	return func(pool string, m geo.Member) geo.State {
		s := checks(pool, m)
		if m.Pool != "" && m.PoP == "" {
			return s // its endpoints are asked about one by one
		}
		if vip := l.config.Pools[pool].RequiresVIP; vip != "" {
			s = withVIP(s, f.View().Targets[l.vips[vipAt{vip, m.PoP}]], vip)
		}
		node := l.standing[endpoint{pool, m.Address, m.CNAME}]
		e := overrides.Effective(override.Endpoint{Pool: pool, PoP: m.PoP, Node: node, Address: m.Address})
		if m.Pool != "" && e.Verdict == edge.OK {
			return s // forced up or weighed are its endpoints, not the pool as such
		}
		if e.Weighted {
			s.Weight = &e.Weight
		}
		if e.Forced {
			s.Verdict, s.TTL, s.Why = e.Verdict, 0, e.Text
		} else if e.Text != "" {
			s.Why += "; " + e.Text
		}
		return s
	}
}

// checks tells what the checks say of each member of a pool.
func (l *loaded) checks(f *fleet.Fleet) geo.Verdicts {
	view, targets := f.View(), f.Targets()
	return func(pool string, m geo.Member) geo.State {
		id, checked := l.watched[endpoint{pool, m.Address, m.CNAME}]
		if !checked {
			return geo.State{Why: "not checked"}
		}
		t := view.Targets[id]
		if t.Verdict == edge.Unknown && f.Starting() {
			return geo.State{TTL: 1, Why: "not known yet, as this node has just started"}
		}
		s := geo.State{Verdict: t.Verdict, TTL: soonest(t.Next, targets[id].Check.Interval), LastOK: t.LastOK, Why: t.Decided}
		if t.Reason != "" {
			s.Why = t.Reason + "; " + t.Decided
		}
		return s
	}
}

// soonest is how long an answer of now holds for certain, in seconds: the next
// of the results that it takes may come at once, and the others a tenth early.
func soonest(next, interval time.Duration) uint32 {
	return uint32(max(time.Second, (next-interval)*9/10).Seconds())
}
