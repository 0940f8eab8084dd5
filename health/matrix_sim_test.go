package health

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"edged/edge"
)

// simNode is a node with what a plain twin remembers of it: the registers after
// each of its batches.
type simNode struct {
	journal *Journal
	matrix  *Matrix
	history map[[2]uint64]registers // by incarnation and sequence
	mail    [][]byte                // on its way here
}

// Messages are lost, doubled, delayed and overtaken, nodes restart and tell each
// other what they hold. At any time each holds what the observer once said,
// under the numbers it said it with; in the end all hold the same.
func TestMatrixLikeHistory(t *testing.T) {
	for seed := range uint64(8) {
		rng := rand.New(rand.NewPCG(seed, 3))
		nodes := make([]*simNode, 4)
		for i := range nodes {
			nodes[i] = &simNode{
				journal: newJournal(fmt.Sprintf("n%d", i), 1),
				matrix:  NewMatrix("prod", ownKeys),
				history: map[[2]uint64]registers{},
			}
		}
		now := started
		send := func(from *simNode, msg []byte) {
			apply(t, from.matrix, now, msg)
			for _, to := range nodes {
				if to != from && rng.IntN(10) >= 3 {
					to.mail = append(to.mail, msg)
				}
			}
		}
		write := func(n *simNode, changes int) {
			var changed []Observation
			var gone []TargetID
			for range changes {
				target := TargetID(rng.IntN(60))
				if rng.IntN(4) == 0 {
					gone = append(gone, target)
				} else {
					changed = append(changed, Observation{Target: target, Verdict: edge.Verdict(rng.IntN(5)), Reason: "no answer within 1s"[:rng.IntN(20)]})
				}
			}
			// One batch at a time, so that the twin sees each sequence.
			for _, o := range changed {
				for _, msg := range set(t, n.journal, []Observation{o}) {
					n.history[[2]uint64{n.journal.incarnation, n.journal.sequence}] = maps.Clone(n.journal.registers)
					send(n, msg)
				}
			}
			for _, target := range gone {
				for _, msg := range set(t, n.journal, nil, target) {
					n.history[[2]uint64{n.journal.incarnation, n.journal.sequence}] = maps.Clone(n.journal.registers)
					send(n, msg)
				}
			}
		}
		for range 400 {
			now = now.Add(time.Duration(rng.IntN(1000)) * time.Millisecond)
			n := nodes[rng.IntN(len(nodes))]
			switch rng.IntN(12) {
			case 0:
				write(n, 1+rng.IntN(8))
			case 1:
				send(n, n.journal.Digest([]string{"", "own uplink"}[rng.IntN(2)]))
			case 2:
				if rng.IntN(10) == 0 {
					n.journal = newJournal(n.journal.self.Name, n.journal.incarnation+1)
				}
			case 3:
				from := nodes[rng.IntN(len(nodes))]
				apply(t, from.matrix, now, from.journal.Snapshot())
				merge(t, n.matrix, from.matrix.State(now), now)
			default:
				if len(n.mail) == 0 {
					break
				}
				k := rng.IntN(len(n.mail))
				if _, err := n.matrix.Apply(n.mail[k], now); err != nil && !errors.Is(err, ErrReplayed) {
					t.Fatal(err)
				}
				if rng.IntN(5) > 0 {
					n.mail = append(n.mail[:k], n.mail[k+1:]...)
				}
			}
			inBounds(t, n.matrix)
			for _, o := range n.matrix.Observers(now) {
				want := nodes[o.Name[1]-'0'].history[[2]uint64{o.Incarnation, o.Sequence}]
				if !maps.Equal(registers(o.Observations), want) {
					t.Fatalf("seed %d: %s at %d.%d: held %v, it said %v", seed, o.Name, o.Incarnation, o.Sequence, o.Observations, want)
				}
			}
		}
		for range 2 {
			for _, from := range nodes {
				apply(t, from.matrix, now, from.journal.Digest(""), from.journal.Snapshot())
				for _, to := range nodes {
					merge(t, to.matrix, from.matrix.State(now), now)
				}
			}
		}
		for i, n := range nodes {
			for k, o := range n.matrix.Observers(now) {
				if !maps.Equal(registers(o.Observations), nodes[k].journal.registers) || !o.Fresh || n.matrix.sources[o.Name].behind() {
					t.Errorf("seed %d: node %d is behind on %s: %v, want %v", seed, i, o.Name, o.Observations, nodes[k].journal.registers)
				}
			}
			if n.matrix.early != 0 {
				t.Errorf("seed %d: node %d still waits for batches", seed, i)
			}
		}
	}
}

// An observer whose snapshots never come costs no more with each batch, and one
// snapshot makes it whole again for those that it is handed to.
func TestTrailsDoNotGrow(t *testing.T) {
	j := newJournal("a", 1)
	m := NewMatrix("prod", ownKeys)
	most := 0
	for i := range maxBatches + 100 {
		apply(t, m, started, set(t, j, []Observation{sees(1, edge.Verdict(i%2), "")})...)
		most = max(most, m.trails)
	}
	inBounds(t, m)
	if s := m.sources["a"]; !s.trail.broken || m.trails != 0 || most > maxTrail {
		t.Errorf("the trail has %d octets, at most it had %d", m.trails, most)
	}
	d := j.Digest("")
	if a := apply(t, m, started, d); a.Behind {
		t.Errorf("%+v", a)
	}
	other := NewMatrix("prod", ownKeys)
	merge(t, other, m.State(started), started)
	if got := said(other, "a"); got != "0.0 " {
		t.Errorf("without a trail the other says %s", got)
	}
	apply(t, m, started, j.Snapshot())
	merge(t, other, m.State(started), started)
	if got := said(other, "a"); got != "1.4196 1 degraded" {
		t.Errorf("after the snapshot the other says %s", got)
	}

	// With snapshots now and then it stays short.
	most = 0
	for i := range 200 {
		apply(t, m, started, set(t, j, []Observation{sees(1, edge.Verdict(i%2), "")})...)
		apply(t, m, started, j.Snapshot())
		most = max(most, len(m.State(started)))
		inBounds(t, m)
	}
	if most > 4000 {
		t.Errorf("the state grew to %d octets", most)
	}
}

// A snapshot that is older than what is held takes the place of the batches
// before it, and no others.
func TestSnapshotShortensTrail(t *testing.T) {
	j := newJournal("a", 1)
	m := NewMatrix("prod", ownKeys)
	var snapshot []byte
	for i := range 30 {
		apply(t, m, started, set(t, j, []Observation{sees(TargetID(i), edge.OK, "")})...)
		if i == 19 {
			snapshot = bytes.Clone(j.Snapshot())
		}
	}
	before := said(m, "a")
	if a := apply(t, m, started, snapshot); a.Changed || a.News || a.Behind {
		t.Errorf("%+v", a)
	}
	inBounds(t, m)
	if s := m.sources["a"].trail; s.base != 20 || len(s.batches) != 10 || said(m, "a") != before {
		t.Errorf("it goes on from %d with %d batches, and says %s", s.base, len(s.batches), said(m, "a"))
	}
	other := NewMatrix("prod", ownKeys)
	merge(t, other, m.State(started), started)
	if got := said(other, "a"); got != before {
		t.Errorf("handed on it says %s, want %s", got, before)
	}
}
