package dnsserver

import (
	"maps"
	"math/bits"
	"sync"
	"time"

	"edged/geo"
)

// Totals are the counters of a server since it started.
type Totals struct {
	Replies   map[ReplyKey]uint64
	Decisions map[DecisionKey]uint64
	Scopes    [129]uint64 // replies with ECS by scope prefix length
	Events    map[string]uint64
	Latency   [LatencyBuckets]uint64 // see LatencyBound
	LatencyNs uint64                 // sum over the replies in Latency
}

// ReplyKey says which replies a counter of Totals counts.
type ReplyKey struct {
	Zone      string // origin; empty when no zone matched
	Type      string // one of the common types, or "other"
	Rcode     string
	Transport string // udp or tcp
}

// DecisionKey says which decisions a counter of Totals counts.
type DecisionKey struct{ Pool, PoP, Source string }

// LatencyBuckets is the number of buckets in Totals.Latency.
const LatencyBuckets = 24

// LatencyBound is the upper bound of a latency bucket: 1 µs for the first,
// twice as much for each one after. The last bucket has no bound.
func LatencyBound(bucket int) time.Duration { return time.Microsecond << bucket }

type event int

const (
	eventReceived event = iota
	eventDropped
	eventRateDropped
	eventRateSlipped
	eventTruncated
	eventSendFailed
	eventTCPAccepted
	eventTCPRefused
	eventTCPClosedIdle
	events
)

var eventNames = [events]string{
	"received", "dropped_not_a_query", "rate_limit_dropped", "rate_limit_slipped", "truncated", "send_failed",
	"tcp_accepted", "tcp_refused", "tcp_closed_idle",
}

// Types and rcodes with counters of their own.
var (
	typeNames  = [...]string{"other", "A", "AAAA", "HTTPS", "SVCB", "NS", "SOA", "MX", "TXT", "CNAME", "SRV", "CAA", "DS", "DNSKEY", "PTR", "ANY"}
	typeCodes  = [...]uint16{0, 1, 28, 65, 64, 2, 6, 15, 16, 5, 33, 257, 43, 48, 12, 255}
	rcodeNames = [...]string{"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "other", "BADVERS"}
)

const (
	typeClasses  = len(typeNames)
	rcodeClasses = len(rcodeNames)
)

// typeClass maps types up to 257 to their place in typeNames.
var typeClass = func() (class [258]uint8) {
	for i, code := range typeCodes {
		class[code] = uint8(i)
	}
	return class
}()

func rcodeClass(rcode uint16) int {
	switch {
	case rcode <= 6:
		return int(rcode)
	case rcode == rcodeBadVers:
		return 8
	}
	return 7
}

// stats are one worker's counters: plain numbers that only their owner
// touches. A scrape asks the owner, who adds them to the sum and clears them.
type stats struct {
	sum       *sum
	queries   *uint64 // those received on the worker's listener; nil: counted elsewhere
	transport string
	view      *View // that zone and pool indexes refer to
	pops      int
	replies   []uint64 // zone+1, type, rcode
	decisions []uint64 // pool, pop+1, source
	scopes    [129]uint64
	events    [events]uint64
	latency   [LatencyBuckets]uint64
	latencyNs uint64
}

// use makes the counters refer to a view, and says whether that is another one
// than before. Owners call it before each batch.
func (s *stats) use(v *View) (changed bool) {
	if s.view == v {
		return false
	}
	if s.view != nil && s.view.shapedLike(v) {
		s.view = v
		return true
	}
	s.flush()
	s.view = v
	s.replies = make([]uint64, (len(v.zones)+1)*typeClasses*rcodeClasses)
	if v.geo != nil {
		s.pops = len(v.geo.PoPs()) + 1
		s.decisions = make([]uint64, v.geo.Pools()*s.pops*int(geo.Sources))
	}
	return true
}

func (s *stats) event(e event) { s.events[e]++ }

func (s *stats) replied(v *View, q *query, rep *reply, via transport) {
	class := 0
	if int(q.qtype) < len(typeClass) {
		class = int(typeClass[q.qtype])
	}
	s.replies[((rep.zone+1)*typeClasses+class)*rcodeClasses+rcodeClass(rep.rcode)]++
	if q.ecs {
		s.scopes[rep.scope]++
	}
	if rep.truncated {
		s.events[eventTruncated]++
	}
}

func (s *stats) decided(pool int, d *geo.Decision) {
	pop := int(d.PoP) + 1
	if pop >= s.pops {
		pop = 0
	}
	s.decisions[(pool*s.pops+pop)*int(geo.Sources)+int(d.Source)]++
}

func (s *stats) took(d time.Duration, replies int) {
	bucket := min(bits.Len64(uint64(d/time.Microsecond)), LatencyBuckets-1)
	s.latency[bucket] += uint64(replies)
	s.latencyNs += uint64(d) * uint64(replies)
}

// flush adds the counters to the sum and clears them.
func (s *stats) flush() {
	s.sum.mu.Lock()
	defer s.sum.mu.Unlock()
	t := &s.sum.totals
	for i, n := range s.replies {
		if n > 0 {
			t.Replies[s.replyKey(i)] += n
		}
	}
	for i, n := range s.decisions {
		if n > 0 {
			t.Decisions[s.decisionKey(i)] += n
		}
	}
	for i, n := range s.scopes {
		t.Scopes[i] += n
	}
	for i, n := range s.events {
		t.Events[eventNames[i]] += n
	}
	for i, n := range s.latency {
		t.Latency[i] += n
	}
	t.LatencyNs += s.latencyNs
	if s.queries != nil {
		*s.queries += s.events[eventReceived]
	}
	clear(s.replies)
	clear(s.decisions)
	s.scopes, s.events, s.latency, s.latencyNs = [129]uint64{}, [events]uint64{}, [LatencyBuckets]uint64{}, 0
}

func (s *stats) replyKey(i int) ReplyKey {
	zone := ""
	if z := i/(typeClasses*rcodeClasses) - 1; z >= 0 {
		zone = s.view.zones[z].zone.Origin()
	}
	return ReplyKey{
		Zone: zone, Type: typeNames[i/rcodeClasses%typeClasses], Rcode: rcodeNames[i%rcodeClasses], Transport: s.transport,
	}
}

func (s *stats) decisionKey(i int) DecisionKey {
	source := geo.Source(i % int(geo.Sources))
	i /= int(geo.Sources)
	pop := ""
	if p := i%s.pops - 1; p >= 0 {
		pop = s.view.geo.PoPs()[p].Name
	}
	return DecisionKey{Pool: s.view.geo.Pool(i / s.pops).Name, PoP: pop, Source: source.String()}
}

// sum collects the counters of all workers.
type sum struct {
	mu     sync.Mutex
	totals Totals // guarded by mu
}

func newSum() *sum {
	return &sum{totals: Totals{
		Replies: map[ReplyKey]uint64{}, Decisions: map[DecisionKey]uint64{}, Events: map[string]uint64{},
	}}
}

// read returns a copy.
func (s *sum) read() Totals {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.totals
	t.Replies, t.Decisions, t.Events = maps.Clone(t.Replies), maps.Clone(t.Decisions), maps.Clone(t.Events)
	return t
}
