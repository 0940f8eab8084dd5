package probe

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"

	"github.com/miekg/dns"

	"edged/health"
)

// maxDatagram bounds a DNS answer over UDP; more is not asked for, and is cut.
const maxDatagram = 1232

// query checks a DNS server over UDP. Each probe has its own socket, whose port
// the system picks at random, and a random ID; what comes from another address
// the system drops, and what does not answer the question is passed over (RFC
// 5452, section 9.1). Nothing is sent twice: the damper is there for losses.
type query struct {
	dial     func(ctx context.Context, network, address string) (net.Conn, error)
	address  string
	question dns.Question
	rcode    int    // wanted; -1: any but SERVFAIL and REFUSED
	data     dns.RR // wanted in the answer; nil: nothing is
	text     string // of data, as the check has it
}

func newQuery(t health.Target, o Options) (way, error) {
	c := t.Check
	qtype, ok := dns.StringToType[c.Type]
	if !ok {
		return nil, fmt.Errorf("type %q: want a mnemonic such as \"A\"", c.Type)
	}
	if _, ok := dns.IsDomainName(c.Name); !ok || !dns.IsFqdn(c.Name) {
		return nil, fmt.Errorf("name %q: want an absolute one such as \"www.example.com.\"", c.Name)
	}
	q := &query{
		dial: o.Dial, address: endpoint(t), text: c.Data,
		question: dns.Question{Name: c.Name, Qtype: qtype, Qclass: dns.ClassINET},
	}
	if c.Data != "" {
		q.rcode = -1
		rr, err := dns.NewRR(fmt.Sprintf(". 0 IN %s %s", c.Type, c.Data))
		if err != nil || rr == nil {
			return nil, fmt.Errorf("data %q: not the data of a record of type %s", c.Data, c.Type)
		}
		q.data = rr
	}
	if c.Rcode != "" {
		if q.rcode, ok = dns.StringToRcode[c.Rcode]; !ok {
			return nil, fmt.Errorf("rcode %q: want a mnemonic such as \"NOERROR\"", c.Rcode)
		}
	}
	return q, nil
}

var datagrams = sync.Pool{New: func() any { return new([maxDatagram]byte) }}

func (q *query) attempt(ctx context.Context) error {
	id := uint16(rand.Uint32())
	msg, err := q.pack(id)
	if err != nil {
		return err
	}
	conn, err := q.dial(ctx, "udp", q.address)
	if err != nil {
		return connectError{err}
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(past) })()
	if _, err := conn.Write(msg); err != nil {
		return err
	}
	b := datagrams.Get().(*[maxDatagram]byte)
	defer datagrams.Put(b)
	for {
		n, err := conn.Read(b[:])
		if err != nil {
			return err
		}
		if answer, ours := q.parse(b[:n], id); ours {
			return q.judge(answer)
		}
	}
}

func (q *query) pack(id uint16) ([]byte, error) {
	m := dns.Msg{Question: []dns.Question{q.question}}
	m.Id = id
	m.RecursionDesired = true
	m.SetEdns0(maxDatagram, false)
	return m.Pack()
}

// parse reads a datagram. It is ours when it answers the question; answer is
// nil when the rest of it is malformed.
func (q *query) parse(b []byte, id uint16) (answer *dns.Msg, ours bool) {
	var m dns.Msg
	err := m.Unpack(b)
	if len(b) < 12 || m.Id != id || !m.Response {
		return nil, false
	}
	switch len(m.Question) {
	case 0: // a server that could not read the question, or would not
		if err == nil && m.Rcode == dns.RcodeSuccess {
			return nil, false
		}
	case 1:
		got := m.Question[0]
		if !strings.EqualFold(got.Name, q.question.Name) || got.Qtype != q.question.Qtype || got.Qclass != q.question.Qclass {
			return nil, false
		}
	default:
		return nil, false
	}
	if err != nil {
		return nil, true
	}
	return &m, true
}

var errMalformed = errors.New("malformed answer")

// judge says what is wrong with an answer.
func (q *query) judge(m *dns.Msg) error {
	switch {
	case m == nil:
		return errMalformed
	case q.rcode >= 0 && m.Rcode != q.rcode:
		return wrong("rcode %s, want %s", rcodeText(m.Rcode), rcodeText(q.rcode))
	case q.rcode < 0 && (m.Rcode == dns.RcodeServerFailure || m.Rcode == dns.RcodeRefused):
		return wrong("rcode %s", rcodeText(m.Rcode))
	case q.data == nil:
		return nil
	}
	for _, rr := range m.Answer {
		if h := rr.Header(); h.Rrtype == q.question.Qtype && h.Class == dns.ClassINET {
			h.Name = q.data.Header().Name // any owner: it may come after a CNAME
			if dns.IsDuplicate(rr, q.data) {
				return nil
			}
		}
	}
	if m.Truncated {
		return wrong("answer is truncated and lacks %s %s", dns.TypeToString[q.question.Qtype], q.text)
	}
	return wrong("answer lacks %s %s", dns.TypeToString[q.question.Qtype], q.text)
}

func rcodeText(rcode int) string {
	if s, ok := dns.RcodeToString[rcode]; ok {
		return s
	}
	return fmt.Sprintf("RCODE%d", rcode)
}

func (q *query) close() {}
