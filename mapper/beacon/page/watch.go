package page

import (
	"fmt"
	"net/netip"
	"time"

	"edged/edge"
	"edged/mapper/beacon"
	"edged/mapper/beacon/token"
)

// Asked is one question for a name below the beacon's wildcard.
type Asked struct {
	Label    string
	Resolver netip.Addr
	Time     int64 // Unix seconds
}

const (
	askedEvery   = 250 * time.Millisecond // how often questions are taken from the DNS side
	maxAsked     = 8192                   // of them at a time: a flood costs no more than that
	seenEvery    = 10 * time.Second       // how often sightings are made durable
	maxSightings = 1 << 17                // that wait for it; some 10 MB
)

// watcher keeps who asked for the names of sessions.
type watcher struct {
	*Server
	seen   map[seenKey]int64 // the first time
	number int
}

type seenKey struct {
	session  uint64
	resolver netip.Addr
}

// run takes questions until the server stops.
func (w *watcher) run() {
	tick := time.NewTicker(askedEvery)
	defer tick.Stop()
	for next := time.Now().Add(seenEvery); ; {
		select {
		case <-w.stopping:
			w.take()
			w.write()
			return
		case now := <-tick.C:
			w.take()
			if !now.Before(next) {
				w.write()
				next = now.Add(seenEvery)
			}
		}
	}
}

// take judges what was asked since the last time.
func (w *watcher) take() {
	site := w.site.Load()
	for range maxAsked {
		a, ok := w.config.Asked()
		if !ok {
			return
		}
		w.counters.asked[w.judge(a, site)].Add(1)
	}
}

// judge notes a question for a token's name.
func (w *watcher) judge(a Asked, site *Site) outcome {
	t, err := token.Parse(a.Label, site.Keys)
	switch {
	case err != nil:
		return outcomeOf(err)
	case !t.Live(time.Unix(a.Time, 0)):
		return expired
	case !site.AllowPrivate && !public(a.Resolver):
		return private
	case len(w.seen) >= maxSightings:
		return full
	}
	// A browser asks for A, AAAA and HTTPS; the first time counts.
	key := seenKey{t.Session, a.Resolver}
	if _, known := w.seen[key]; known {
		return used
	}
	w.seen[key] = a.Time
	return kept
}

// write makes the sightings durable.
func (w *watcher) write() {
	if len(w.seen) == 0 {
		return
	}
	list := make([]beacon.Sighting, 0, len(w.seen))
	for key, at := range w.seen {
		list = append(list, beacon.Sighting{Session: key.session, Time: at, Resolver: key.resolver})
	}
	clear(w.seen)
	w.number++
	if err := w.keeper.writer.AppendSightings(fmt.Sprintf("%s-%d", w.keeper.prefix, w.number), list); err != nil {
		w.counters.whats[sightingsLost].Add(uint64(len(list)))
		w.config.Log.Error("who asked for beacons' names cannot be kept", "sightings", len(list), "error", err)
	}
}

// public says whether an address can be one of the Internet's.
func public(a netip.Addr) bool {
	return a.IsValid() && edge.Routable(netip.PrefixFrom(a, a.BitLen()))
}
