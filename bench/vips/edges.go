//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"edged/test/lab"
)

const (
	upWithin   = 40 * time.Second // until an edge is announced after a start, damped or not
	downWithin = 15 * time.Second // until a router has given an edge up
)

// rate is what clients ask while something happens to an edge.
func rate() lab.Rate {
	return lab.Rate{VIP: families["IPv4"].Addr(), UDP: queries, TCP: connections}
}

// rounds is the number of rounds of an experiment of which each takes many seconds.
func (b *bench) slowRounds() int { return max(1, b.rounds/40) }

// edges makes a lab and starts edged on all edges.
func (b *bench) edges(c lab.Config) (*lab.Lab, error) {
	if b.program == "" {
		var err error
		if b.program, err = lab.Build(b.ctx, b.dir); err != nil {
			return nil, err
		}
	}
	l, err := b.lab(c)
	if err != nil {
		return nil, err
	}
	if err := l.Start(upWithin, l.Edges...); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// loss is what a series of rounds cost the clients.
type loss struct {
	lost, window, reset, took, healed []float64
	outcomes                          []lab.Outcome
}

func (s *loss) note(o lab.Outcome, took time.Duration) {
	s.lost = append(s.lost, float64(len(o.UDP.Lost())))
	s.window = append(s.window, ms(o.UDP.Window()))
	s.reset = append(s.reset, float64(len(o.TCP.Lost())))
	s.took = append(s.took, ms(took))
	s.outcomes = append(s.outcomes, o)
}

// perLab is how often each edge is down in one lab. Damping keeps a VIP down that
// comes and goes more often (bgp.Damping), which is not what is measured here.
const perLab = 2

// eachEdge does something to one edge after another under load. The edge must
// leave the FIB, and be back in it after mend.
func (b *bench) eachEdge(c lab.Config, do, mend func(*lab.Lab, *lab.Edge) error) (s loss, err error) {
	for rounds := b.slowRounds(); rounds > 0; {
		l, err := b.edges(c)
		if err != nil {
			return s, err
		}
		n := min(rounds, perLab*len(l.Edges))
		err = s.inLab(b.ctx, l, n, do, mend)
		l.Close()
		if err != nil {
			return s, err
		}
		rounds -= n
	}
	return s, nil
}

// inLab does the rounds of one lab.
func (s *loss) inLab(ctx context.Context, l *lab.Lab, rounds int, do, mend func(*lab.Lab, *lab.Edge) error) error {
	vip := families["IPv4"]
	for i := range rounds {
		if err := ctx.Err(); err != nil {
			return err
		}
		victim := l.Edges[i%len(l.Edges)]
		var took time.Duration
		o, err := l.Under(rate(), func() error {
			begun := time.Now()
			if err := do(l, victim); err != nil {
				return err
			}
			at, err := l.ReachAt(downWithin, vip, l.But(victim)...)
			took = at.Sub(begun)
			return err
		})
		if err != nil {
			return fmt.Errorf("%s: %w", victim.Name, err)
		}
		s.note(o, took)
		begun := time.Now()
		if err := mend(l, victim); err != nil {
			return err
		}
		if err := l.Reach(upWithin, vip, l.Edges...); err != nil {
			return fmt.Errorf("%w: %s", err, said(victim))
		}
		s.healed = append(s.healed, time.Since(begun).Seconds())
		if err := l.Settled(upWithin); err != nil {
			return err
		}
	}
	return nil
}

// said is what an edge has to say about its VIPs and peers, for a failure.
func said(e *lab.Edge) string {
	s, err := e.Status()
	if err != nil {
		return fmt.Sprintf("%s says nothing: %v", e.Name, err)
	}
	return fmt.Sprintf("%s says %+v", e.Name, s)
}

// drained drains edges, and stops them when they have no address of the VIP any
// more.
func (b *bench) drained(kind lab.Kind) error {
	vip := families["IPv4"]
	var late []float64
	config := lab.Config{Router: kind, Edges: 4, PoPs: 3} // any of them may go
	s, err := b.eachEdge(config, func(l *lab.Lab, e *lab.Edge) error {
		if err := operate(e, "drain"); err != nil {
			return err
		}
		return errors.Join(
			l.Withdrawn(downWithin, vip, e),
			e.Without(downWithin, vip.Addr()),
			stopped(e))
	}, func(_ *lab.Lab, e *lab.Edge) error {
		if err := e.Start(); err != nil {
			return err
		}
		return lab.Until(upWithin, func() error { return operate(e, "undrain") })
	})
	if err != nil {
		return err
	}
	for i, o := range s.outcomes {
		held := o.TCP.Between(o.Begun.Add(time.Duration(s.took[i])*time.Millisecond+drainHold), time.Now())
		late = append(late, float64(len(held.Lost())))
	}
	b.add(fmt.Sprintf("%s: drained, then stopped: lost at %d q/s", kind, queries), "queries", s.lost, most(0))
	b.add(fmt.Sprintf("%s: drained, then stopped: broken at %d a second, after drain.hold", kind, connections), "connections", late, most(0))
	return nil
}

// drainHold is that of the lab's VIP.
const drainHold = 2 * time.Second

func start(_ *lab.Lab, e *lab.Edge) error { return e.Start() }

func stopped(e *lab.Edge) error {
	_, err := e.Stop(10 * time.Second)
	return err
}

// operate has an edge drain itself, or end that.
func operate(e *lab.Edge, what string) error {
	out, errOut, err := e.Edged("vip", what, "node/"+e.Name, "--reason", "bench")
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s%s", what, e.Name, err, out, errOut)
	}
	return nil
}

// killed kills edges with SIGKILL. What FRR itself takes, as it does when BIRD is
// killed in an edge's place, is no bar to edged: what is lost after that is.
func (b *bench) killed(kind lab.Kind) error {
	var own time.Duration
	if kind == lab.FRR {
		took, err := b.rivalKilled(kind)
		if err != nil {
			return fmt.Errorf("BIRD: %w", err)
		}
		b.add(fmt.Sprintf("%s: kill -9 of BIRD: out of the FIB", kind), "ms", took)
		own = time.Duration(quantile(took, 0.5) * float64(time.Millisecond))
	}
	s, err := b.eachEdge(lab.Config{Router: kind}, func(_ *lab.Lab, e *lab.Edge) error { e.Kill(); return nil }, start)
	if err != nil {
		return err
	}
	limits := []limit{most(2)}
	if own > 0 {
		limits = nil
		var late []float64
		for _, o := range s.outcomes {
			late = append(late, float64(len(o.UDP.Between(o.Begun.Add(own), time.Now()).Lost())))
		}
		b.add(fmt.Sprintf("%s: kill -9: lost after the time that BIRD's end takes", kind), "queries", late, most(2))
	}
	b.add(fmt.Sprintf("%s: kill -9: lost at %d q/s", kind, queries), "queries", s.lost, limits...)
	b.add(fmt.Sprintf("%s: kill -9: window", kind), "ms", s.window, most(20+ms(own)))
	b.add(fmt.Sprintf("%s: kill -9: out of the FIB", kind), "ms", s.took)
	b.add(fmt.Sprintf("%s: kill -9: connections broken at %d a second", kind, connections), "connections", s.reset)
	return nil
}

// rivalKilled kills BIRD in an edge's place, beside two others, ten times, and returns
// how long each took until the router sent nothing there, in ms.
func (b *bench) rivalKilled(kind lab.Kind) (took []float64, err error) {
	l, err := b.lab(lab.Config{Router: kind})
	if err != nil {
		return nil, err
	}
	defer l.Close()
	vip := families["IPv4"]
	start := func(e *lab.Edge) (*lab.Rival, error) {
		r, err := l.Rival(e, vip)
		if err != nil {
			return nil, err
		}
		_, err = r.Announce(vip, true)
		return r, err
	}
	for _, e := range l.Edges[1:] {
		if _, err := start(e); err != nil {
			return nil, err
		}
	}
	for range 10 {
		victim, err := start(l.Edges[0])
		if err != nil {
			return nil, err
		}
		if err := errors.Join(b.ctx.Err(), l.Reach(upWithin, vip, l.Edges...)); err != nil {
			return nil, err
		}
		begun := time.Now()
		victim.Kill()
		at, err := l.ReachAt(downWithin, vip, l.Edges[1:]...)
		if err != nil {
			return nil, err
		}
		took = append(took, ms(at.Sub(begun)))
	}
	return took, nil
}

// silent stops edges, and cuts them off, without a word to the router.
func (b *bench) silent() error {
	for _, c := range []struct {
		name  string
		hold  time.Duration
		bfd   time.Duration
		limit float64 // ms
	}{
		{"BFD 300 ms", 9 * time.Second, 300 * time.Millisecond, 1000},
		{"hold 3 s, no BFD", 3 * time.Second, -1, 3200},
	} {
		if err := b.silently(lab.Config{Hold: c.hold, BFD: c.bfd}, c.name, c.limit); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) silently(c lab.Config, how string, limit float64) error {
	s, err := b.eachEdge(c,
		func(_ *lab.Lab, e *lab.Edge) error { return e.Pause() },
		func(_ *lab.Lab, e *lab.Edge) error { return e.Resume() })
	if err != nil {
		return err
	}
	b.add(how+": SIGSTOP: window", "ms", s.window, most(limit))
	b.add(fmt.Sprintf("%s: SIGSTOP: lost at %d q/s", how, queries), "queries", s.lost)
	s, err = b.eachEdge(c,
		func(_ *lab.Lab, e *lab.Edge) error { return e.Cut(lab.Fabric) },
		func(_ *lab.Lab, e *lab.Edge) error { return e.Join(lab.Fabric) })
	if err != nil {
		return err
	}
	b.add(how+": silent path loss: window", "ms", s.window, most(limit))
	b.add(fmt.Sprintf("%s: silent path loss: lost at %d q/s", how, queries), "queries", s.lost)
	if c.BFD > 0 {
		b.id = "B7"
		b.add("link healed, back in the FIB", "s", s.healed, most(10))
		b.id = "B6"
	}
	return nil
}

// restarted restarts the router.
func (b *bench) restarted() error {
	l, err := b.edges(lab.Config{})
	if err != nil {
		return err
	}
	defer l.Close()
	var back []float64
	for range b.slowRounds() {
		if err := l.Router.Stop(); err != nil {
			return err
		}
		for _, p := range families {
			if err := l.Reach(downWithin, p); err != nil {
				return err
			}
		}
		if err := l.Router.Start(); err != nil {
			return err
		}
		begun := time.Now()
		for _, p := range families {
			if err := l.Reach(upWithin, p, l.Edges...); err != nil {
				return err
			}
		}
		back = append(back, time.Since(begun).Seconds())
	}
	b.add("router restarted, all edges back in the FIB", "s", back, most(8))
	return nil
}

// terminated ends edges by SIGTERM.
func (b *bench) terminated() error {
	var ended []float64
	s, err := b.eachEdge(lab.Config{}, func(_ *lab.Lab, e *lab.Edge) error {
		took, err := e.Stop(10 * time.Second)
		ended = append(ended, took.Seconds())
		return err
	}, start)
	if err != nil {
		return err
	}
	b.add(fmt.Sprintf("SIGTERM: lost at %d q/s", queries), "queries", s.lost, most(0))
	b.add(fmt.Sprintf("SIGTERM: connections broken at %d a second", connections), "connections", s.reset)
	b.add("SIGTERM: until the process ends", "s", ended, most(5))
	return nil
}
