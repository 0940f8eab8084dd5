//go:build linux

package main

import (
	"fmt"
	"net/netip"
	"time"

	"edged/bgp"
	"edged/test/lab"
)

const patience = 10 * time.Second // for anything that takes milliseconds

// the two families of the VIP that every lab has.
var families = map[string]netip.Prefix{
	"IPv4": lab.DefaultVIPs[0].Prefixes[0],
	"IPv6": lab.DefaultVIPs[0].Prefixes[1],
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// routes times a route's way into the router's kernel, and out of it.
func (b *bench) routes(kind lab.Kind) error {
	limits := []limit{most95(10 + gathers(kind)), most(100 + gathers(kind))}
	l, err := b.lab(lab.Config{Edges: 1, PoPs: 1, Router: kind})
	if err != nil {
		return err
	}
	defer l.Close()
	var all []netip.Prefix
	for _, f := range []string{"IPv4", "IPv6"} {
		all = append(all, families[f])
	}
	a, err := l.Announce(l.Edges[0], all...)
	if err != nil {
		return err
	}
	for _, f := range []string{"IPv4", "IPv6"} {
		var up, down []float64
		for range b.rounds {
			if err := b.ctx.Err(); err != nil {
				return err
			}
			took, err := flip(l, a, families[f], bgp.Route{Prefix: families[f]})
			if err != nil {
				return err
			}
			up = append(up, ms(took))
			if took, err = flip(l, a, families[f]); err != nil {
				return err
			}
			down = append(down, ms(took))
		}
		b.add(fmt.Sprintf("%s, %s: announced, to the FIB", kind, f), "ms", up, limits...)
		b.add(fmt.Sprintf("%s, %s: withdrawn, to the FIB", kind, f), "ms", down, limits...)
	}
	return nil
}

// gathers returns for how many ms a router lets changes gather before it acts on
// them: FRR 8.4 for 50 in bgpd, by a constant of its main queue, and for 10 in zebra.
func gathers(kind lab.Kind) float64 {
	if kind == lab.FRR {
		return 60
	}
	return 0
}

// flip applies routes, and returns how long it takes until the prefix goes to the
// edge, or nowhere when there are no routes.
func flip(l *lab.Lab, a *lab.Announcer, prefix netip.Prefix, routes ...bgp.Route) (time.Duration, error) {
	applied, err := a.Apply(routes...)
	if err != nil {
		return 0, err
	}
	var edges []string
	if len(routes) > 0 {
		edges = []string{l.Edges[0].Name}
	}
	at, err := l.FIB.Wait(patience, prefix, edges...)
	return at.Sub(applied.Begun), err
}

// thousand announces and withdraws a thousand VIPs at once.
func (b *bench) thousand() error {
	l, err := b.lab(lab.Config{Edges: 1, PoPs: 1})
	if err != nil {
		return err
	}
	defer l.Close()
	var prefixes []netip.Prefix
	var routes []bgp.Route
	for i := range 1000 {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18, byte(i / 250), byte(1 + i%250)}), 32)
		prefixes, routes = append(prefixes, p), append(routes, bgp.Route{Prefix: p})
	}
	a, err := l.Announce(l.Edges[0], prefixes...)
	if err != nil {
		return err
	}
	idle, err := a.Apply()
	if err != nil {
		return err
	}
	var up, down, growth []float64
	for range max(1, b.rounds/40) {
		applied, err := a.Apply(routes...)
		if err != nil {
			return err
		}
		at, err := l.FIB.WaitAll(patience, prefixes, l.Edges[0].Name)
		if err != nil {
			return err
		}
		up = append(up, ms(at.Sub(applied.Begun)))
		growth = append(growth, float64(applied.RSS-idle.RSS)/1e6)
		if applied, err = a.Apply(); err != nil {
			return err
		}
		if at, err = l.FIB.WaitAll(patience, prefixes); err != nil {
			return err
		}
		down = append(down, ms(at.Sub(applied.Begun)))
	}
	b.add("1,000 VIPs announced, last in the FIB", "ms", up, most(500))
	b.add("1,000 VIPs withdrawn, last out of the FIB", "ms", down, most(500))
	b.add("memory for 1,000 VIPs", "MB", growth, most(12))
	return nil
}

// preferences makes one of two edges less preferred, in each way, while clients ask.
func (b *bench) preferences() error {
	l, err := b.lab(lab.Config{Edges: 2})
	if err != nil {
		return err
	}
	defer l.Close()
	vip := families["IPv4"]
	var all []*lab.Announcer
	for _, e := range l.Edges {
		a, err := l.Announce(e, vip)
		if err != nil {
			return err
		}
		if _, err := a.Apply(bgp.Route{Prefix: vip}); err != nil {
			return err
		}
		all = append(all, a)
	}
	ways := []struct {
		name string
		a    bgp.Attributes
	}{
		{"graceful shutdown", bgp.Attributes{Communities: []bgp.Community{bgp.GracefulShutdown}}},
		{"MED 1000", bgp.Attributes{MED: 1000}},
		{"prepended 3 times", bgp.Attributes{Prepend: 3}},
	}
	var lost []float64
	for _, way := range ways {
		var stayed []float64
		for range max(1, b.rounds/40) {
			if err := l.Reach(patience, vip, l.Edges...); err != nil {
				return err
			}
			var applied lab.Applied
			o, err := l.Under(lab.Rate{VIP: vip.Addr(), UDP: queries}, func() (err error) {
				if applied, err = all[0].Apply(bgp.Route{Prefix: vip, Attributes: way.a}); err != nil {
					return err
				}
				return l.Reach(patience, vip, l.Edges[1])
			})
			if err != nil {
				return err
			}
			after := o.UDP.Between(applied.Begun.Add(50*time.Millisecond), time.Now())
			stayed = append(stayed, 100*float64(after.By()[l.Edges[0].Name])/float64(len(after)))
			lost = append(lost, float64(len(o.UDP.Lost())))
			if _, err := all[0].Apply(bgp.Route{Prefix: vip}); err != nil {
				return err
			}
		}
		b.add(way.name+": queries that stay after 50 ms", "%", stayed, most(1))
	}
	b.add("queries lost meanwhile", "queries", lost, most(0))
	return nil
}

// What clients ask in a second.
const (
	queries     = 400
	connections = 20
)

func (b *bench) otherRouters() error {
	for _, kind := range []lab.Kind{lab.FRR, lab.ExaBGP} {
		if err := b.routes(kind); err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
		if err := b.drained(kind); err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
		if err := b.killed(kind); err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
	}
	return nil
}
