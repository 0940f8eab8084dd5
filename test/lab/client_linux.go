package lab

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"edged/test/netns"
)

// Client is the host behind the router.
type Client struct{ *netns.Host }

// Rate is what a client asks.
type Rate struct {
	VIP netip.Addr
	UDP int // queries a second, each from a new port
	TCP int // connections a second, each with one query
	Bad int // of so many UDP queries one asks for Bad, the others for Good; 0: none does
}

// patience is how long a client waits for an answer. It is longer than LateAfter
// to tell what is lost from what a busy machine holds up.
const patience = 3 * time.Second

// Load is a client that is asking.
type Load struct {
	stop    context.CancelFunc
	senders sync.WaitGroup
	waiters sync.WaitGroup

	mu  sync.Mutex // guards the rest
	udp Record
	tcp Record
	err error // why a sender could not go on
}

// Load begins to ask, until it is stopped.
func (c *Client) Load(r Rate) *Load {
	ctx, stop := context.WithCancel(context.Background())
	l := &Load{stop: stop}
	at := netip.AddrPortFrom(r.VIP, 53).String()
	send := func(rate int, one func(i int)) {
		if rate == 0 {
			return
		}
		l.senders.Go(func() {
			err := c.Enter(func() error {
				pace(ctx, rate, one)
				return nil
			})
			if err != nil {
				l.mu.Lock()
				defer l.mu.Unlock()
				l.err = err
			}
		})
	}
	send(r.UDP, func(i int) {
		name := Good
		if r.Bad > 0 && i%r.Bad == 0 {
			name = Bad
		}
		l.ask(at, name, uint16(i))
	})
	send(r.TCP, func(i int) {
		l.waiters.Go(func() {
			q := Query{Sent: time.Now(), Name: Good}
			err := c.Enter(func() error { return q.overTCP(at, uint16(i)) })
			if q.Took == 0 {
				q.Err = err
			}
			l.note(&l.tcp, q)
		})
	})
	return l
}

// pace calls f rate times a second, in bursts when it is held up.
func pace(ctx context.Context, rate int, f func(i int)) {
	begun := time.Now()
	for i := 0; ; i++ {
		next := begun.Add(time.Duration(i) * time.Second / time.Duration(rate))
		if wait := time.Until(next); wait > 0 {
			time.Sleep(wait)
		}
		if ctx.Err() != nil {
			return
		}
		f(i)
	}
}

// Sent counts the UDP queries so far whose answer came or was given up.
func (l *Load) Sent() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.udp)
}

// Stop ends the asking, waits for the last answers, and returns what was asked
// over UDP and over TCP.
func (l *Load) Stop() (udp, tcp Record, err error) {
	l.stop()
	l.senders.Wait()
	l.waiters.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range []Record{l.udp, l.tcp} {
		slices.SortFunc(r, func(a, b Query) int { return a.Sent.Compare(b.Sent) })
	}
	return l.udp, l.tcp, l.err
}

func (l *Load) note(r *Record, q Query) {
	l.mu.Lock()
	defer l.mu.Unlock()
	*r = append(*r, q)
}

// ask sends one query over UDP from a new port, and leaves the answer to another
// goroutine. It runs on a thread in the namespace, where the socket is opened.
func (l *Load) ask(at, name string, id uint16) {
	q := Query{Sent: time.Now(), Name: name}
	conn, err := net.Dial("udp", at)
	if err != nil {
		q.Err = err
		l.note(&l.udp, q)
		return
	}
	if err := send(conn, name, id); err != nil {
		conn.Close()
		q.Err = err
		l.note(&l.udp, q)
		return
	}
	l.waiters.Go(func() {
		defer conn.Close()
		buffer := make([]byte, dns.MinMsgSize*3)
		for {
			n, err := conn.Read(buffer)
			if err != nil {
				q.Err = err
				break
			}
			if q.read(buffer[:n], id) {
				break
			}
		}
		l.note(&l.udp, q)
	})
}

func send(conn net.Conn, name string, id uint16) error {
	packet, err := question(name, id)
	if err != nil {
		return err
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, ok := conn.(*net.TCPConn); ok {
		packet = append([]byte{byte(len(packet) >> 8), byte(len(packet))}, packet...)
	}
	_, err = conn.Write(packet)
	return err
}

func question(name string, id uint16) ([]byte, error) {
	m := new(dns.Msg)
	m.SetQuestion(name, dns.TypeA)
	if name == Bad {
		m.SetQuestion(name, dns.TypeTXT)
	}
	m.Id = id
	m.SetEdns0(1232, false)
	m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_NSID{Code: dns.EDNS0NSID}}
	return m.Pack()
}

// overTCP asks over a new connection.
func (q *Query) overTCP(at string, id uint16) error {
	conn, err := net.DialTimeout("tcp", at, patience)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := send(conn, q.Name, id); err != nil {
		return err
	}
	reader := dns.Conn{Conn: conn}
	packet, err := reader.ReadMsgHeader(nil)
	if err != nil {
		return err
	}
	if !q.read(packet, id) {
		return errors.New("an answer to something else")
	}
	return nil
}

// read takes the answer from a packet, and returns false when it holds none.
func (q *Query) read(packet []byte, id uint16) bool {
	m := new(dns.Msg)
	if m.Unpack(packet) != nil || m.Id != id || !m.Response {
		return false
	}
	q.Took, q.Code = time.Since(q.Sent), m.Rcode
	if opt := m.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if n, ok := o.(*dns.EDNS0_NSID); ok {
				text, _ := hex.DecodeString(n.Nsid) // the package has made it
				q.Node, _, _ = strings.Cut(string(text), " ")
			}
		}
	}
	return true
}

// Ask asks once over UDP, for the address of Good.
func (c *Client) Ask(vip netip.Addr) (q Query, err error) {
	var conn net.Conn
	if err := c.Do(func() (err error) {
		conn, err = net.Dial("udp", netip.AddrPortFrom(vip, 53).String())
		return err
	}); err != nil {
		return q, err
	}
	defer conn.Close()
	q = Query{Sent: time.Now(), Name: Good}
	if err := send(conn, Good, 1); err != nil {
		return q, err
	}
	buffer := make([]byte, dns.MinMsgSize*3)
	n, err := conn.Read(buffer)
	if err == nil && !q.read(buffer[:n], 1) {
		err = fmt.Errorf("an answer to something else from %s", vip)
	}
	return q, err
}
