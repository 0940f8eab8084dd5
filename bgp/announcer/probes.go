package announcer

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"sync"

	"edged/bgp"
)

const (
	probesAtOnce = 16 // of an address in a second
	probedAtOnce = 8  // VIPs
)

// inquiry asks a member to ask through VIPs.
type inquiry struct {
	VIPs []bgp.VIP `json:"vips"`
}

// sights is who answered, by prefix and name.
type sights = map[netip.Prefix]map[string]uint64

// probe asks through prefixes of VIPs that this node does not have itself: those it would
// answer. One call at a time: nobody shall make it ask more.
func (a *Announcer) probe(ctx context.Context, q inquiry) (sights, error) {
	if len(q.VIPs) > probedAtOnce {
		return nil, fmt.Errorf("%d VIPs to probe, want at most %d", len(q.VIPs), probedAtOnce)
	}
	for _, v := range q.VIPs {
		if err := v.Check(); err != nil {
			return nil, err
		}
	}
	if !a.probing.TryLock() {
		return nil, fmt.Errorf("%s is probing already", a.cfg.Self.Name)
	}
	defer a.probing.Unlock()
	var mu sync.Mutex
	all := sights{}
	var probes sync.WaitGroup
	for _, v := range q.VIPs {
		if v.Prefixes = absent(v.Prefixes, a.held()); len(v.Prefixes) == 0 {
			continue
		}
		probes.Go(func() {
			seen := a.cfg.Probe(ctx, v, probesAtOnce)
			mu.Lock()
			defer mu.Unlock()
			maps.Copy(all, seen)
		})
	}
	probes.Wait()
	return all, nil
}

// held returns the prefixes that the node has itself, or may just have, for whatever VIP.
func (a *Announcer) held() (all []netip.Prefix) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, v := range a.every() {
		if all = append(all, hostRoutes(v.have)...); v.wish.Address {
			all = append(all, v.spec.Prefixes...)
		}
	}
	return all
}

// Probe has a member ask through VIPs.
func (c calls) Probe(ctx context.Context, q bgp.Probed) (sights, error) {
	vips := inquiry{q.VIPs[:min(len(q.VIPs), probedAtOnce)]}
	if q.Node == c.cfg.Self.Name {
		return c.probe(ctx, vips)
	}
	var seen sights
	err := c.cfg.Fleet.Call(ctx, q.Node, pathProbe, vips, &seen)
	return seen, err
}
