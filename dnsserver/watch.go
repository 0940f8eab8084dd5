package dnsserver

import (
	"net/netip"
	"sync/atomic"
)

// Watch hands out who asked for names right below the wildcard that a view
// watches (ViewConfig.Watch). The query path never waits for it: what finds it
// full is lost and counted. A nil Watch does nothing.
type Watch struct {
	shortest int
	queue    chan Asked
	lost     atomic.Uint64
}

// Asked is one question for a name below a watched wildcard.
type Asked struct {
	Resolver netip.Addr // never an IPv4-mapped one
	Time     int64      // Unix seconds
	length   uint8
	label    [63]byte
}

// Label returns the label right below the wildcard's parent, in lower case.
func (a *Asked) Label() string { return string(a.label[:a.length]) }

// NewWatch returns a watch that holds so many questions, of names whose label has
// so many octets or more.
func NewWatch(size, shortest int) *Watch {
	return &Watch{shortest: shortest, queue: make(chan Asked, size)}
}

// Next takes a question out. ok is false when there is none now.
func (w *Watch) Next() (a Asked, ok bool) {
	select {
	case a := <-w.queue:
		return a, true
	default:
		return Asked{}, false
	}
}

// Lost returns how many questions found the watch full.
func (w *Watch) Lost() uint64 { return w.lost.Load() }

// note queues a question that the wildcard wild answers.
func (w *Watch) note(q *query, wild *node, resolver netip.Addr, now int64) {
	n := int(q.lower[0])
	if w == nil || n < w.shortest || 1+n+len(wild.name)-2 != q.nameLen { // deeper names have more labels
		return
	}
	a := Asked{Resolver: resolver.Unmap(), Time: now, length: uint8(n)}
	copy(a.label[:], q.lower[1:1+n])
	select {
	case w.queue <- a:
	default:
		w.lost.Add(1)
	}
}
