package page

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"edged/mapper/beacon"
)

const (
	roundEvery = time.Second // rows are made durable so often
	maxRound   = 1 << 17     // rows that wait for it; some 12 MB
)

// keeper makes rows durable in rounds: all reports of a round wait for one write.
type keeper struct {
	writer *beacon.Writer
	prefix string // of the ids of batches: no other node or run has it
	log    *slog.Logger
	count  *counters
	wake   chan struct{} // holds one when a round has begun
	leave  chan struct{} // closed to end
	done   sync.WaitGroup
	number int  // of the last round, for run
	failed bool // whether it was not kept, for run

	mu    sync.Mutex
	round *round // the one that reports join; guarded by mu, as is the next
	ended bool
}

// round is reports that are made durable together.
type round struct {
	pops  []string
	index map[string]uint16
	rows  []beacon.Row
	short bool // there was no room for a report

	over chan struct{} // closed when the rows are on disk, or lost
	err  error         // set before: not all that was good is on disk
}

// Why a round may fail before anything is written.
var (
	errFull    = errors.New("too many reports at a time")
	errStopped = errors.New("the server has stopped")
)

func newRound() *round { return &round{index: map[string]uint16{}, over: make(chan struct{})} }

func newKeeper(w *beacon.Writer, node string, log *slog.Logger, count *counters) *keeper {
	run := make([]byte, 6)
	rand.Read(run) // never fails
	name := sha256.Sum256([]byte(node))
	return &keeper{
		writer: w, prefix: fmt.Sprintf("page-%x-%x", name[:4], run), log: log, count: count,
		wake: make(chan struct{}, 1), leave: make(chan struct{}), round: newRound(),
	}
}

// join adds rows, whose PoPs index pops, to the round. ok is false when there is
// no room for them, or was none before; then the round fails for all. A report
// that has no rows joins too, to wait for as long as others.
func (k *keeper) join(rows []beacon.Row, pops []string, room bool) (r *round, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	r = k.round
	if k.ended {
		r = newRound()
		r.err = errStopped
		close(r.over)
		return r, false
	}
	if ok = room && len(r.rows)+len(rows) <= maxRound; !ok {
		r.short = true
	} else {
		for _, row := range rows {
			name := pops[row.PoP]
			at, known := r.index[name]
			if !known {
				at = uint16(len(r.pops))
				r.pops, r.index[name] = append(r.pops, name), at
			}
			row.PoP = at
			r.rows = append(r.rows, row)
		}
	}
	select {
	case k.wake <- struct{}{}:
	default:
	}
	return r, ok
}

// start begins rounds.
func (k *keeper) start() { k.done.Go(k.run) }

func (k *keeper) run() {
	pause := time.NewTimer(0)
	for {
		select {
		case <-k.wake:
		case <-k.leave:
			k.commit()
			return
		}
		pause.Reset(roundEvery)
		select {
		case <-pause.C:
		case <-k.leave: // and once more above
		}
		k.commit()
	}
}

// stop ends the rounds; what has joined is on disk when it returns.
func (k *keeper) stop() {
	k.mu.Lock()
	if !k.ended {
		k.ended = true
		close(k.leave)
	}
	k.mu.Unlock()
	k.done.Wait()
}

// commit makes the round durable and begins another.
func (k *keeper) commit() {
	k.mu.Lock()
	r := k.round
	k.round = newRound()
	k.mu.Unlock()
	defer close(r.over)
	if r.short {
		r.err = errFull
	}
	if len(r.rows) == 0 {
		return
	}
	k.number++
	rows := uint64(len(r.rows))
	_, err := k.writer.Append(beacon.Batch{ID: fmt.Sprintf("%s-%d", k.prefix, k.number), PoPs: r.pops, Rows: r.rows})
	if err != nil {
		r.err = err
		k.count.whats[rowsLost].Add(rows)
		k.log.Error("what beacons measured cannot be kept", "rows", rows, "error", err)
	} else {
		k.count.whats[rowsKept].Add(rows)
		if k.failed {
			k.log.Info("what beacons measure is kept again")
		}
	}
	k.failed = err != nil
}
