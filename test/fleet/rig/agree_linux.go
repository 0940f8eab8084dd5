package rig

import (
	"fmt"
	"slices"
	"time"

	"edged/edge"
)

// Agreed errs unless nodes are alike, and hear each other and believe each
// other.
func (f *Fleet) Agreed(nodes []*Node, dead ...*Server) error {
	for _, n := range nodes {
		h, err := n.Health()
		if err != nil {
			return err
		}
		for _, m := range nodes {
			if o := h.Observer(m.Name); !o.Fresh || o.Suspect != "" || o.Targets != len(f.Servers) {
				return fmt.Errorf("%s sees %+v, want it fresh with %d targets", n.Name, o, len(f.Servers))
			}
		}
	}
	return f.Alike(nodes, dead...)
}

// Alike errs unless nodes have the same view, are not frozen, and say that all
// servers are up but the dead ones.
func (f *Fleet) Alike(nodes []*Node, dead ...*Server) error {
	down := map[string]bool{}
	for _, s := range dead {
		down[s.PoP] = true
	}
	hash := ""
	for _, n := range nodes {
		h, err := n.Health()
		if err != nil {
			return err
		}
		if h.Frozen != "" {
			return fmt.Errorf("%s is frozen: %s", n.Name, h.Frozen)
		}
		for _, s := range f.Servers {
			v, err := h.Verdict(s)
			if err != nil {
				return err
			}
			if isDown := v == edge.Failing || v == edge.Dead; isDown != down[s.PoP] || v == edge.Unknown {
				return fmt.Errorf("%s says that the server of %s is %s", n.Name, s.PoP, v)
			}
		}
		if hash == "" {
			hash = h.Hash
		}
		if h.Hash != hash {
			return fmt.Errorf("%s has view %s, %s has %s", n.Name, h.Hash, nodes[0].Name, hash)
		}
	}
	return nil
}

// Answered errs unless each client of a pool was last answered, by each node
// that is watched, with its own PoP's server, or that of the PoP that stands for
// it in want.
func (f *Fleet) Answered(watches []*Watch, pool string, want map[string]string) error {
	for _, w := range watches {
		for i, q := range Questions(pool) {
			pop := Sites[i].PoP
			if other, ok := want[pop]; ok {
				pop = other
			}
			if got, ok := w.Now(q); !ok || got.Address != f.Server(pop).Address {
				return fmt.Errorf("%s, %s: %v, want the server of %s, %s", w.Node().Name, q, got, pop, f.Server(pop).Address)
			}
		}
	}
	return nil
}

// Server returns the one of a PoP, which must be one of Sites.
func (f *Fleet) Server(pop string) *Server {
	i := slices.IndexFunc(f.Servers, func(s *Server) bool { return s.PoP == pop })
	return f.Servers[i]
}

// Until waits until done returns nil. It errs when that takes too long.
func Until(limit time.Duration, done func() error) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(limit); ; <-tick.C {
		err := done()
		if err == nil {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("not within %v: %w", limit, err)
		}
	}
}
