//go:build linux

package main

import (
	"errors"
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

// routes times a route's way into the router's kernel, and out of it, when edged's
// speaker announces it and, in turn, when BIRD does.
func (b *bench) routes(kind lab.Kind) error {
	l, err := b.lab(lab.Config{Edges: 2, Router: kind})
	if err != nil {
		return err
	}
	defer l.Close()
	all := []netip.Prefix{families["IPv4"], families["IPv6"]}
	a, err := l.Announce(l.Edges[0], all...)
	if err != nil {
		return err
	}
	rival, err := l.Rival(l.Edges[1], all...)
	if err != nil {
		return err
	}
	for _, f := range []string{"IPv4", "IPv6"} {
		ours := flips{edge: l.Edges[0].Name, prefix: families[f], announce: func(announced bool) (time.Time, error) {
			var routes []bgp.Route
			if announced {
				routes = []bgp.Route{{Prefix: families[f]}}
			}
			applied, err := a.Apply(routes...)
			return applied.Begun, err
		}}
		theirs := flips{edge: l.Edges[1].Name, prefix: families[f], announce: func(announced bool) (time.Time, error) {
			return rival.Announce(families[f], announced)
		}}
		if err := theirs.flip(l); err != nil { // its session is up
			return fmt.Errorf("BIRD: %w", err)
		}
		theirs.up, theirs.down = nil, nil
		for range b.rounds {
			if err := errors.Join(b.ctx.Err(), ours.flip(l), theirs.flip(l)); err != nil {
				return err
			}
		}
		for _, way := range []struct {
			name         string
			ours, theirs []float64
		}{{"announced", ours.up, theirs.up}, {"withdrawn", ours.down, theirs.down}} {
			own := 0.0 // of the router
			if kind == lab.FRR {
				own = quantile(way.theirs, 0.5)
			}
			b.add(fmt.Sprintf("%s, %s: %s, to the FIB", kind, f, way.name), "ms", way.ours, most95(10+own), most(100+own))
			b.add(fmt.Sprintf("%s, %s: %s by BIRD, to the FIB", kind, f, way.name), "ms", way.theirs)
		}
	}
	return nil
}

// flips are the times that a prefix takes into the router's FIB and out of it, in ms,
// when one edge alone announces and withdraws it.
type flips struct {
	edge     string
	prefix   netip.Prefix
	announce func(bool) (begun time.Time, err error)
	up, down []float64
}

// flip announces the prefix and withdraws it, and notes the times.
func (f *flips) flip(l *lab.Lab) error {
	for _, to := range []struct {
		announced bool
		edges     []string
		times     *[]float64
	}{{true, []string{f.edge}, &f.up}, {false, nil, &f.down}} {
		begun, err := f.announce(to.announced)
		if err != nil {
			return err
		}
		at, err := l.FIB.Wait(patience, f.prefix, to.edges...)
		if err != nil {
			return err
		}
		*to.times = append(*to.times, ms(at.Sub(begun)))
	}
	return nil
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
