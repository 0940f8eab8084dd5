//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// swapResult is what a change of the map under load looked like from outside.
type swapResult struct {
	Rate      int     `json:"rate_qps"`
	Answered  int     `json:"answered"`
	Lost      int     `json:"lost"`
	Wrong     int     `json:"wrong"`           // neither the old map's address nor the new one's
	WorstMs   float64 `json:"worst_ms"`        // slowest answer in swapWindow after SIGHUP
	QuietMs   float64 `json:"quiet_ms"`        // slowest answer in swapWindow before, for comparison
	StallMs   float64 `json:"stall_ms"`        // longest that the loader itself was kept from running
	AwayMs    float64 `json:"away_ms"`         // longest in swapWindow after SIGHUP that nobody could run on the server's processor
	OwnWorst  float64 `json:"own_worst_ms"`    // WorstMs without such times
	OwnReload float64 `json:"own_reload_ms"`   // ReloadMs + MixedMs without such times
	ReloadMs  float64 `json:"reload_ms"`       // SIGHUP to the first answer of the new map
	MixedMs   float64 `json:"mixed_ms"`        // first answer of the new map to the last of the old
	BackAgain int     `json:"back_again"`      // answers of the old map to questions sent after a new one came
	First     string  `json:"first,omitempty"` // the first wrong answer
}

// stall is how long the loader may have been kept from running without leaving
// out the questions that were due, which would come as a burst.
const stall = 2 * time.Millisecond

// swapWindow is for how long before and after SIGHUP answers are timed: it holds the
// change, and what a node does after it.
const swapWindow = 500 * time.Millisecond

// notable is the time from which on answers are noted one by one.
const notable = time.Millisecond

// swap loads edged at a steady rate over one socket, sends it SIGHUP half-way,
// and times every answer from before it is sent to its arrival, as the kernel
// stamped it. The map file must have been replaced before; next is its data. w,
// which may be nil, is released shortly before SIGHUP.
func swap(p *process, list []query, rate int, length time.Duration, old, next *data, w *warm) (swapResult, error) {
	r, err := newRing(p.addr)
	if err != nil {
		return swapResult{}, err
	}
	defer unix.Close(r.fd)
	if err := r.stamp(); err != nil {
		return swapResult{}, fmt.Errorf("arrival times: %w", err)
	}
	res := swapResult{Rate: rate}
	var sentAt [65536]time.Duration
	var pending [65536]bool
	var firstNew, lastOld, hup time.Duration
	var answers []span // that took notable time
	watcher, err := newAway()
	if err != nil {
		fmt.Fprintln(os.Stderr, "answers:", err, "- nothing is taken off for pauses")
	} else {
		defer watcher.end()
	}
	sent, begin, beginAt := 0, time.Now(), monotonic()
	var skipped, before time.Duration
	for {
		now := time.Since(begin)
		if gap := now - before; gap > stall {
			skipped += gap // we were not running: leave out what was due meanwhile
			res.StallMs = max(res.StallMs, ms(gap))
		}
		before = now
		if w != nil && now > length/2-beforeHup {
			w.release()
			w = nil
		}
		if hup == 0 && now > length/2 {
			hup = time.Since(begin)
			if err := syscall.Kill(p.cmd.Process.Pid, syscall.SIGHUP); err != nil {
				return res, err
			}
		}
		if due := int((now-skipped).Seconds()*float64(rate)) - sent; due > 0 && now < length {
			at := sent % len(list)
			n := r.send(list[at:min(at+due, len(list))])
			from := now
			if after := time.Since(begin); after-now > stall {
				from = after // we were not running, and cannot tell when they went out
			}
			for i := range n {
				id := (sent + i) & 0xffff
				if pending[id] {
					res.Lost++
				}
				pending[id], sentAt[id] = true, from
			}
			sent += n
		}
		n := r.receive()
		for i := range n {
			b := r.reply(i)
			now := r.arrival(i).Sub(begin)
			if len(b) < 12 {
				continue
			}
			id := int(b[0])<<8 | int(b[1])
			if !pending[id] {
				continue
			}
			pending[id] = false
			res.Answered++
			if now-sentAt[id] > notable {
				answers = append(answers, span{sentAt[id], now})
			}
			q := list[((sent-1)-((sent-1-id)&0xffff))%len(list)]
			// The one answer stands right behind the question: a compressed
			// owner, type, class, TTL, length, and the address.
			at := len(q.wire) - 22 + 12
			if !q.ecs || len(b) < at+4 {
				continue
			}
			pop := int(b[at+3]) - 1
			switch {
			case pop == int(next.world[q.block])-1:
				if firstNew == 0 {
					firstNew = now
				}
			case pop == int(old.world[q.block])-1:
				lastOld = now
				if firstNew != 0 && sentAt[id] > firstNew {
					res.BackAgain++
				}
			default:
				if res.Wrong++; res.Wrong == 1 {
					res.First = fmt.Sprintf("%s got % x", blockAddr(q.block), b[at:at+4])
				}
			}
		}
		if now > length+lossWait {
			break
		}
	}
	for _, p := range pending {
		if p {
			res.Lost++
		}
	}
	if firstNew == 0 {
		return res, errors.New("no answer of the new map came: did the reload fail?")
	}
	var away []span
	if watcher != nil {
		if away, err = watcher.end(); err != nil {
			return res, err
		}
	}
	for i := range away { // to the loader's clock
		away[i].from -= beginAt
		away[i].to -= beginAt
	}
	quiet, busy := span{hup - swapWindow, hup}, span{hup, hup + swapWindow}
	res.ReloadMs, res.MixedMs = ms(firstNew-hup), ms(max(0, lastOld-firstNew))
	res.OwnReload = ms(own(span{hup, max(firstNew, lastOld)}, away))
	res.QuietMs, res.WorstMs = ms(longest(answers, quiet, nil)), ms(longest(answers, busy, nil))
	res.OwnWorst = ms(longest(answers, busy, away))
	res.AwayMs = ms(longest(away, busy, nil))
	return res, nil
}

// longest returns the longest of spans that touch the window, each without what of it
// lies in away.
func longest(spans []span, window span, away []span) (most time.Duration) {
	for _, s := range spans {
		if s.to >= window.from && s.from < window.to {
			most = max(most, own(s, away))
		}
	}
	return most
}

// own returns the length of s without what of it lies in away, whose spans do not
// overlap.
func own(s span, away []span) time.Duration {
	rest := s.to - s.from
	for _, a := range away {
		rest -= max(0, min(s.to, a.to)-max(s.from, a.from))
	}
	return rest
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// rotated is d with every net moved to the next PoP, so that any answer tells
// which of the two maps it came from.
func rotated(d *data) *data {
	next := &data{nets: make([]net24, len(d.nets)), world: make([]uint8, len(d.world)), asked: d.asked, pops: d.pops}
	for i, n := range d.nets {
		n.pop = (n.pop + 1) % popCount
		next.nets[i] = n
	}
	for i, w := range d.world {
		if w > 0 {
			next.world[i] = w%popCount + 1
		}
	}
	return next
}
