package announcer

import (
	"net/netip"
	"time"

	"edged/bgp"
)

// meter says whether hardly a query comes to a VIP any more, compared with what
// came while it was announced. The zero value has seen nothing.
type meter struct {
	at       time.Duration
	total    uint64
	started  bool
	rate     float64 // queries per second, smoothed over some seconds
	baseline float64 // the rate when it was announced last
	silent   time.Duration
	seen     []counted // of the last minute, the oldest first, and one before

	sockets map[netip.AddrPort]uint64 // what each had counted last
	arrived uint64                    // on all of them, also those that are gone
}

// counted is how many queries there were at a time.
type counted struct {
	at    time.Duration
	total uint64
}

const (
	quietShare = 0.01            // of the baseline
	quietFor   = 3 * time.Second // without a query
)

// add takes what sockets have counted since they were opened, and returns how many
// queries arrived at the VIP. A socket that came or went makes no jump.
func (m *meter) add(counts map[netip.AddrPort]uint64) uint64 {
	if m.sockets == nil {
		m.sockets = map[netip.AddrPort]uint64{}
	}
	for s, n := range counts {
		if n < m.sockets[s] {
			m.sockets[s] = 0 // it was opened anew
		}
		m.arrived += n - m.sockets[s]
		m.sockets[s] = n
	}
	return m.arrived
}

// note takes the count of queries so far; busy says that the VIP is announced.
func (m *meter) note(now time.Duration, total uint64, busy bool) {
	passed := now - m.at
	if m.started && passed < time.Second {
		return
	}
	switch {
	case !m.started:
		m.silent = now
	default:
		total = max(total, m.total) // our own checks are counted before they arrive
		rate := float64(total-m.total) / passed.Seconds()
		m.rate += (rate - m.rate) / 3
		if total > m.total {
			m.silent = now
		}
	}
	if busy {
		m.baseline = m.rate
	}
	m.at, m.total, m.started = now, total, true
	m.seen = append(m.seen, counted{now, total})
	for len(m.seen) > 1 && m.seen[1].at <= now-time.Minute {
		m.seen = m.seen[1:]
	}
}

// traffic is what was counted.
func (m *meter) traffic() bgp.Traffic {
	return bgp.Traffic{Total: m.total, Minute: m.total - m.seen[0].total}
}

func (m *meter) quiet(now time.Duration) bool {
	return m.started && (now-m.silent >= quietFor || m.rate < quietShare*m.baseline)
}
