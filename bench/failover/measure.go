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

// way is a way to die, and back.
type way struct {
	name      string
	die, back func(*rig.Server) error
}

var ways = []way{
	{"killed", func(s *rig.Server) error { s.Kill(); return nil }, (*rig.Server).Start},
	{"stopped", (*rig.Server).Pause, (*rig.Server).Resume},
}

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
	}
	deaths := 0
	for _, way := range ways {
		for range rounds {
			victim := f.Servers[deaths%len(f.Servers)]
			if err := r.round(ctx, f, watches, way, victim); err != nil {
				return fmt.Errorf("the server of %s, %s: %w", victim.PoP, way.name, err)
			}
			deaths++
		}
	}
	for _, w := range watches {
		w.Stop()
		r.Bad = append(r.Bad, w.Bad()...)
		for _, q := range rig.Questions("www") {
			for _, s := range w.Spans(q) {
				r.Answers += s.Count
			}
		}
	}
	return nil
}

// round has a server die and come back.
func (r *report) round(ctx context.Context, f *rig.Fleet, watches []*rig.Watch, way way, victim *rig.Server) error {
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
	died := time.Now()
	if err := way.die(victim); err != nil {
		return err
	}
	if err := until(func() error { return f.Agreed(f.Nodes, victim) }); err != nil {
		return err
	}
	returned := time.Now()
	if err := way.back(victim); err != nil {
		return err
	}
	err := until(func() error { return errors.Join(f.Agreed(f.Nodes), f.Answered(watches, "www", nil)) })
	if err != nil {
		return err
	}
	for _, w := range watches {
		gone, back := w.LastNamedBefore(victim.Address, returned), w.FirstNamed(victim.Address, returned)
		if gone.IsZero() || back.IsZero() {
			return fmt.Errorf("%s did not leave the server and come back to it", w.Node().Name)
		}
		row := r.row(way.name, w.Node().Name, w.Node().PoP)
		row.Gone = append(row.Gone, max(0, gone.Sub(died)).Seconds())
		row.Back = append(row.Back, back.Sub(returned).Seconds())
	}
	return nil
}
