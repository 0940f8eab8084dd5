package rig

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Question is what a client asks: the address of a pool's name.
type Question struct {
	Pool   string
	Client netip.Prefix
}

// String gives the question in words.
func (q Question) String() string { return fmt.Sprintf("%s for %s", q.Pool, q.Client) }

// Answer is what comes back, but for the TTL.
type Answer struct {
	Lost    bool // nothing came within lostAfter
	Rcode   int
	Address netip.Addr // the first one; invalid: none
	Scope   uint8
}

// lostAfter is how long a client waits. It is long because the machine may be
// busy: what is looked for is an answer that is lost, not one that is late.
const lostAfter = 10 * time.Second

// String gives the answer in words.
func (a Answer) String() string {
	if a.Lost {
		return "lost"
	}
	return fmt.Sprintf("%s %v scope /%d", dns.RcodeToString[a.Rcode], a.Address, a.Scope)
}

// Span is a time in which a question had one answer.
type Span struct {
	Answer         Answer
	First, Last    time.Time // when the answer arrived, or was given up
	Count          int
	MinTTL, MaxTTL uint32 // of the addresses, in seconds
}

// String gives the span in words.
func (s Span) String() string {
	return fmt.Sprintf("%d x %v over %v", s.Count, s.Answer, s.Last.Sub(s.First))
}

// Watch asks a node questions, again and again.
type Watch struct {
	node *Node
	stop chan struct{}
	done sync.WaitGroup

	mu    sync.Mutex
	spans map[Question][]Span // guarded by mu
}

// Watch starts to ask the node each question, every so often, from inside its
// namespace, until the Watch is stopped. The node may come and go meanwhile.
func (n *Node) Watch(every time.Duration, questions ...Question) (*Watch, error) {
	w := &Watch{node: n, stop: make(chan struct{}), spans: map[Question][]Span{}}
	for i, q := range questions {
		var conn net.Conn
		err := n.inside.Do(func() (err error) {
			conn, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(n.Address, 53)))
			return err
		})
		if err != nil {
			w.Stop()
			return nil, err
		}
		w.done.Go(func() { w.ask(conn, every, q, uint16(i)<<12) })
	}
	return w, nil
}

// Questions are all clients' for some pools.
func Questions(pools ...string) []Question {
	var all []Question
	for _, p := range pools {
		for _, s := range Sites {
			all = append(all, Question{Pool: p, Client: s.Client})
		}
	}
	return all
}

// Stop ends the asking.
func (w *Watch) Stop() {
	select {
	case <-w.stop:
	default:
		close(w.stop)
	}
	w.done.Wait()
}

// Node returns whom it asks.
func (w *Watch) Node() *Node { return w.node }

// Spans returns the answers to a question so far, in order.
func (w *Watch) Spans(q Question) []Span {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.spans[q])
}

// Now returns the last answer to a question, and false before there is one.
func (w *Watch) Now(q Question) (Answer, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.spans[q]
	if len(s) == 0 {
		return Answer{}, false
	}
	return s[len(s)-1].Answer, true
}

// LastNamed returns when an answer to any question last named an address; zero:
// none did.
func (w *Watch) LastNamed(a netip.Addr) time.Time {
	return w.LastNamedBefore(a, time.Now())
}

// LastNamedBefore returns the same of the spans that began before a time.
func (w *Watch) LastNamedBefore(a netip.Addr, limit time.Time) (last time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, spans := range w.spans {
		for _, s := range spans {
			if s.Answer.Address == a && s.First.Before(limit) && s.Last.After(last) {
				last = s.Last
			}
		}
	}
	return last
}

// FirstNamed returns when an answer to any question first named an address at or
// after a time; zero: none did. Spans that had begun before do not count.
func (w *Watch) FirstNamed(a netip.Addr, since time.Time) (first time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, spans := range w.spans {
		for _, s := range spans {
			if s.Answer.Address == a && !s.First.Before(since) && (first.IsZero() || s.First.Before(first)) {
				first = s.First
			}
		}
	}
	return first
}

// Bad lists the answers that are none: lost ones, other codes than NOERROR, and
// those without an address.
func (w *Watch) Bad() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var bad []string
	for q, spans := range w.spans {
		for _, s := range spans {
			if a := s.Answer; a.Lost || a.Rcode != dns.RcodeSuccess || !a.Address.IsValid() {
				bad = append(bad, fmt.Sprintf("%s, %s: %v", w.node.Name, q, s))
			}
		}
	}
	slices.Sort(bad)
	return bad
}

func (w *Watch) ask(conn net.Conn, every time.Duration, q Question, id uint16) {
	defer conn.Close()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		id++
		answer, ttl := exchange(conn, q, id)
		w.note(q, answer, ttl, time.Now())
		select {
		case <-w.stop:
			return
		case <-tick.C:
		}
	}
}

func (w *Watch) note(q Question, a Answer, ttl uint32, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	spans := w.spans[q]
	if last := len(spans) - 1; last >= 0 && spans[last].Answer == a {
		s := &spans[last]
		s.Last, s.MinTTL, s.MaxTTL = now, min(s.MinTTL, ttl), max(s.MaxTTL, ttl)
		s.Count++
		return
	}
	w.spans[q] = append(spans, Span{Answer: a, First: now, Last: now, Count: 1, MinTTL: ttl, MaxTTL: ttl})
}

// exchange asks once. A refused connection is a lost answer, known early.
func exchange(conn net.Conn, q Question, id uint16) (Answer, uint32) {
	m := new(dns.Msg)
	m.SetQuestion(q.Pool+"."+Zone, dns.TypeA)
	m.Id = id
	m.SetEdns0(1232, false)
	m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_SUBNET{
		Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: uint8(q.Client.Bits()), Address: q.Client.Addr().AsSlice(),
	})
	lost := Answer{Lost: true}
	packet, err := m.Pack()
	if err != nil {
		return lost, 0
	}
	if _, err := conn.Write(packet); err != nil {
		return lost, 0
	}
	_ = conn.SetReadDeadline(time.Now().Add(lostAfter)) // the socket is open
	buffer := make([]byte, dns.MaxMsgSize)
	for {
		size, err := conn.Read(buffer)
		if err != nil {
			return lost, 0
		}
		reply := new(dns.Msg)
		if reply.Unpack(buffer[:size]) == nil && reply.Id == id && reply.Response {
			return read(reply)
		}
	}
}

// read takes from a reply what is looked at.
func read(m *dns.Msg) (a Answer, ttl uint32) {
	a.Rcode = m.Rcode
	for _, rr := range m.Answer {
		if r, ok := rr.(*dns.A); ok && !a.Address.IsValid() {
			a.Address, _ = netip.AddrFromSlice(r.A.To4())
			ttl = r.Hdr.Ttl
		}
	}
	if opt := m.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if s, ok := o.(*dns.EDNS0_SUBNET); ok {
				a.Scope = s.SourceScope
			}
		}
	}
	return a, ttl
}
