package speaker

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/osrg/gobgp/v4/pkg/apiutil"

	"edged/bgp"
)

// Diff says what a call of Apply changed, in the order of prefixes.
type Diff struct {
	Announced []netip.Prefix `json:"announced,omitempty"`
	Changed   []netip.Prefix `json:"changed,omitempty"` // in their attributes or groups
	Withdrawn []netip.Prefix `json:"withdrawn,omitempty"`
}

// Empty says that nothing changed.
func (d Diff) Empty() bool { return len(d.Announced)+len(d.Changed)+len(d.Withdrawn) == 0 }

// Apply makes routes the whole set of what is announced. New and changed ones go
// out first, a change as one UPDATE without a gap; then the rest is withdrawn.
//
// It errs before anything changed when a route is not allowed or not possible,
// and half way when ctx ends: the Diff is then what was meant, and the next call
// does the rest.
func (s *Speaker) Apply(ctx context.Context, routes []bgp.Route) (Diff, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return Diff{}, errClosed
	}
	if err := s.checkRoutes(routes); err != nil {
		return Diff{}, err
	}
	have, err := s.table()
	if err != nil {
		return Diff{}, err
	}
	routes = slices.Clone(routes)
	bgp.SortRoutes(routes)
	d, moved := s.compare(have, routes)
	if len(moved) > 0 {
		before := maps.Clone(s.groups)
		maps.Copy(s.groups, moved)
		if err := s.setPolicy(ctx, have); err != nil {
			s.groups = before
			return Diff{}, err
		}
	}
	if !d.Empty() {
		defer s.sessions.signal()
		defer func() { s.changed = time.Now() }()
	}

	var add, remove []*apiutil.Path
	for _, r := range routes {
		if a, ok := have[r.Prefix]; !ok || !a.Equal(r.Attributes) {
			add = append(add, encode(s.asn, r))
		}
	}
	for _, p := range d.Withdrawn {
		remove = append(remove, encode(s.asn, bgp.Route{Prefix: p}))
	}
	err = inBatches(ctx, add, func(paths []*apiutil.Path) error {
		_, err := s.server.AddPath(apiutil.AddPathRequest{Paths: paths})
		return err
	})
	if err != nil {
		return d, fmt.Errorf("cannot announce all of %d routes: %w", len(add), err)
	}
	err = inBatches(ctx, remove, func(paths []*apiutil.Path) error {
		return s.server.DeletePath(apiutil.DeletePathRequest{Paths: paths})
	})
	if err != nil {
		return d, fmt.Errorf("cannot withdraw all of %d routes: %w", len(remove), err)
	}
	return d, nil
}

// compare says what routes, in the order of prefixes, change in what is
// announced, and which are for other groups than before.
func (s *Speaker) compare(have map[netip.Prefix]bgp.Attributes, routes []bgp.Route) (d Diff, moved map[netip.Prefix]groups) {
	moved = map[netip.Prefix]groups{}
	wanted := prefixes{}
	for _, r := range routes {
		wanted[r.Prefix] = true
		if g := newGroups(r.Groups); !slices.Equal(g, s.groups[r.Prefix]) {
			moved[r.Prefix] = g
		}
		_, other := moved[r.Prefix]
		a, known := have[r.Prefix]
		switch {
		case !known:
			d.Announced = append(d.Announced, r.Prefix)
		case other || !a.Equal(r.Attributes):
			d.Changed = append(d.Changed, r.Prefix)
		}
	}
	for p := range have {
		if !wanted[p] {
			d.Withdrawn = append(d.Withdrawn, p)
		}
	}
	slices.SortFunc(d.Withdrawn, netip.Prefix.Compare)
	return d, moved
}

// batch is how many paths GoBGP gets with one call. It holds its lock meanwhile.
const batch = 256

func inBatches(ctx context.Context, paths []*apiutil.Path, do func([]*apiutil.Path) error) error {
	for len(paths) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(batch, len(paths))
		if err := do(paths[:n]); err != nil {
			return err
		}
		paths = paths[n:]
	}
	return nil
}

// checkRoutes errs on the first route that must not be announced.
func (s *Speaker) checkRoutes(routes []bgp.Route) error {
	seen := prefixes{}
	for _, r := range routes {
		switch a := r.Attributes; {
		case !s.allowed[r.Prefix]:
			return fmt.Errorf("route %s is not one of the %d VIP prefixes that may be announced", r.Prefix, len(s.allowed))
		case seen[r.Prefix]:
			return fmt.Errorf("route %s is given twice", r.Prefix)
		case a.Prepend < 0 || a.Prepend > maxPrepend:
			return fmt.Errorf("route %s: AS prepended %d times: want at most %d", r.Prefix, a.Prepend, maxPrepend)
		}
		seen[r.Prefix] = true
	}
	return nil
}
