//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"edged/test/fleet/rig"
)

const (
	nodes    = 5
	askEvery = 10 * time.Millisecond // each of the five clients at each node
	interval = 2 * time.Second       // of the checks, by default
	settle   = time.Minute           // until all nodes agree, at most
)

// measure runs the fleet and the rounds, and fills in what they show.
func (r *report) measure(ctx context.Context, dir string, rounds int) (err error) {
	program, err := rig.Build(dir)
	if err != nil {
		return err
	}
	f, err := rig.New(rig.Config{Program: program, Dir: dir, Nodes: nodes, Pools: map[string]string{"www": ""}})
	if err != nil {
		return err
	}
	defer f.Close()
	var watches []*rig.Watch
	for _, n := range f.Nodes {
		if err := n.Start(); err != nil {
			return err
		}
	}
	if err := rig.Until(settle, func() error { return errors.Join(ctx.Err(), f.Agreed(f.Nodes)) }); err != nil {
		return err
	}
	for _, n := range f.Nodes {
		w, err := n.Watch(askEvery, rig.Questions("www")...)
		if err != nil {
			return err
		}
		defer w.Stop()
		watches = append(watches, w)
		r.Nodes = append(r.Nodes, &row{Node: n.Name, PoP: n.PoP})
	}
	for i := range rounds {
		victim := f.Servers[i%len(f.Servers)]
		if err := r.round(ctx, f, watches, victim); err != nil {
			return fmt.Errorf("round %d, the server of %s: %w", i+1, victim.PoP, err)
		}
	}
	for i, w := range watches {
		w.Stop()
		r.Nodes[i].Bad = w.Bad()
		for _, q := range rig.Questions("www") {
			for _, s := range w.Spans(q) {
				r.Nodes[i].Questions += s.Count
			}
		}
	}
	return nil
}

// round kills a server and starts it again.
func (r *report) round(ctx context.Context, f *rig.Fleet, watches []*rig.Watch, victim *rig.Server) error {
	until := func(done func() error) error {
		return rig.Until(settle, func() error { return errors.Join(ctx.Err(), done()) })
	}
	if err := until(func() error { return f.Answered(watches, "www", nil) }); err != nil {
		return err
	}
	select {
	case <-time.After(rand.N(interval)): // into whatever the checks are at
	case <-ctx.Done():
		return ctx.Err()
	}
	killed := time.Now()
	victim.Kill()
	if err := until(func() error { return f.Agreed(f.Nodes, victim) }); err != nil {
		return err
	}
	started := time.Now()
	if err := victim.Start(); err != nil {
		return err
	}
	err := until(func() error {
		return errors.Join(f.Agreed(f.Nodes), f.Answered(watches, "www", nil))
	})
	if err != nil {
		return err
	}
	for i, w := range watches {
		gone, back := w.LastNamedBefore(victim.Address, started), w.FirstNamed(victim.Address, started)
		if back.IsZero() || gone.IsZero() {
			return fmt.Errorf("%s did not leave the server and come back to it", w.Node().Name)
		}
		r.Nodes[i].Gone = append(r.Nodes[i].Gone, max(0, gone.Sub(killed)).Seconds())
		r.Nodes[i].Back = append(r.Nodes[i].Back, back.Sub(started).Seconds())
	}
	return nil
}
