package bgp

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// The bounds of a plan, which comes from a file or another member.
const (
	MaxVIPs        = 4096 // of a node
	MaxPrefixes    = 16   // of a VIP, as the next two
	MaxCommunities = 32
	MaxRungs       = 16 // of the ladder
)

const (
	maxPrepend    = 10
	maxNameOctets = 63
	maxHold       = time.Hour
)

// Check says what is wrong with a plan: names that cannot be, prefixes that are
// no host routes or that two VIPs share, numbers out of range. It returns the
// first fault of each VIP, all joined.
func (p NodePlan) Check() error {
	var faults []error
	for what, name := range map[string]string{"node": p.Node, "PoP": p.PoP} {
		if !validName(name) {
			faults = append(faults, fmt.Errorf("plan of %q: %q cannot be the name of a %s", p.Node, name, what))
		}
	}
	if len(p.VIPs) > MaxVIPs || len(p.Without) > MaxVIPs {
		return fmt.Errorf("plan of %q has %d VIPs and leaves out %d, want at most %d of each", p.Node, len(p.VIPs), len(p.Without), MaxVIPs)
	}
	if len(p.GiveUp) > MaxVIPs*MaxPrefixes || !slices.IsSortedFunc(p.GiveUp, netip.Prefix.Compare) {
		return fmt.Errorf("plan of %q gives up %d prefixes, want at most %d, sorted", p.Node, len(p.GiveUp), MaxVIPs*MaxPrefixes)
	}
	owner := map[netip.Prefix]string{}
	for i, v := range p.VIPs {
		if i > 0 && p.VIPs[i-1].Name >= v.Name {
			faults = append(faults, fmt.Errorf("plan of %q: VIP %q stands behind %q: want each once, by name", p.Node, v.Name, p.VIPs[i-1].Name))
		}
		if err := v.Check(); err != nil {
			faults = append(faults, fmt.Errorf("plan of %q: %w", p.Node, err))
		}
		for _, prefix := range v.Prefixes {
			if other, ok := owner[prefix]; ok {
				faults = append(faults, fmt.Errorf("plan of %q: prefix %s is in VIP %q and in %q", p.Node, prefix, other, v.Name))
			}
			owner[prefix] = v.Name
		}
	}
	for _, name := range p.Without {
		if _, ok := p.VIP(name); ok || !validName(name) {
			faults = append(faults, fmt.Errorf("plan of %q: leaves out %q: want the name of a VIP that is not in it", p.Node, name))
		}
	}
	return errors.Join(faults...)
}

// Check says what is wrong with a VIP.
func (v VIP) Check() error {
	fault := func(format string, args ...any) error {
		return fmt.Errorf("VIP %q: "+format, append([]any{v.Name}, args...)...)
	}
	switch {
	case !validName(v.Name):
		return fault("want a name of 1 to %d of a-z, 0-9 and hyphens between", maxNameOctets)
	case len(v.Prefixes) == 0 || len(v.Prefixes) > MaxPrefixes:
		return fault("%d prefixes, want 1 to %d", len(v.Prefixes), MaxPrefixes)
	case v.Port == 0:
		return fault("port 0: want 1 to 65535")
	case v.MinAnnouncers < 1:
		return fault("min_announcers %d: want at least 1", v.MinAnnouncers)
	case v.MinPoPs < 1 || v.MinPoPs > v.MinAnnouncers:
		return fault("min_pops %d: want 1 to min_announcers, which is %d", v.MinPoPs, v.MinAnnouncers)
	case v.Hold < 0 || v.Hold > maxHold:
		return fault("hold %s: want 0 to %s", v.Hold, maxHold)
	case v.Linger < 0 || v.Linger > maxHold:
		return fault("linger %s: want 0 to %s", v.Linger, maxHold)
	case len(v.Communities) > MaxCommunities:
		return fault("%d communities, want at most %d", len(v.Communities), MaxCommunities)
	case len(v.Ladder) > MaxRungs:
		return fault("a ladder of %d rungs, want at most %d", len(v.Ladder), MaxRungs)
	}
	for i, p := range v.Prefixes {
		a := p.Addr()
		switch {
		case !p.IsValid() || !p.IsSingleIP() || a.Is4In6():
			return fault("prefix %s is no host route: want /32 or /128", p)
		case a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() || a.IsLinkLocalUnicast():
			return fault("prefix %s: no other node can reach that address", p)
		case slices.Contains(v.Prefixes[:i], p):
			return fault("prefix %s is there twice", p)
		}
	}
	for _, c := range v.Communities {
		if !c.ours() {
			return fault("community %s is a well-known or reserved one", c)
		}
	}
	for _, g := range v.Groups {
		if !validName(g) {
			return fault("%q cannot be the name of a group of peers", g)
		}
	}
	for i, r := range v.Ladder {
		switch {
		case r.Kind == Withdraw && i < len(v.Ladder)-1:
			return fault("rung %d of the ladder withdraws: nothing can come after it", i+1)
		case r.Kind == Prepend && (r.Value < 1 || r.Value > maxPrepend):
			return fault("rung %d of the ladder prepends %d times: want 1 to %d", i+1, r.Value, maxPrepend)
		case (r.Kind == Withdraw || r.Kind == Gshut) && r.Value != 0, (r.Kind == SetMED || r.Kind == AddCommunity) && r.Value == 0:
			return fault("rung %d of the ladder: %s with the value %d", i+1, ladderWords([]Rung{r}), r.Value)
		case r.Kind == AddCommunity && !Community(r.Value).ours():
			return fault("rung %d of the ladder: %s is a well-known or reserved community", i+1, Community(r.Value))
		case !slices.Contains([]RungKind{Withdraw, Gshut, Prepend, SetMED, AddCommunity}, r.Kind):
			return fault("rung %d of the ladder: unknown kind %q", i+1, r.Kind)
		}
	}
	return nil
}

// validName says whether s can be a label of a domain name, in lower case.
func validName(s string) bool {
	if s == "" || len(s) > maxNameOctets || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-'
	})
}

// ours says whether a community is one that edged may give by plan: the
// well-known ones (RFC 1997) say something to every router.
func (c Community) ours() bool { return c>>16 != 0 && c>>16 != 0xFFFF }
