package dnsserver

import (
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	dnstap "github.com/dnstap/golang-dnstap"
	"google.golang.org/protobuf/proto"
)

// Tap writes a sample of queries and replies as dnstap (dnstap.info) to a
// socket or file. A message that cannot be queued at once is dropped and
// counted: the query path never waits. A nil Tap does nothing.
type Tap struct {
	every   uint64 // one of this many queries
	node    []byte
	output  dnstap.Output
	queue   chan []byte
	seen    atomic.Uint64
	dropped atomic.Uint64
}

// NewTap starts a tap of one query in every, on a Frame Streams socket ("unix"
// path) or a file. Close it after the server that uses it has ended.
func NewTap(socket, file, node string, every uint64) (*Tap, error) {
	t := &Tap{every: max(every, 1), node: []byte(node)}
	var err error
	if socket != "" {
		t.output, err = dnstap.NewFrameStreamSockOutput(&net.UnixAddr{Name: socket, Net: "unix"})
	} else {
		t.output, err = dnstap.NewFrameStreamOutputFromFilename(file)
	}
	if err != nil {
		return nil, err
	}
	t.queue = t.output.GetOutputChannel()
	go t.output.RunOutputLoop()
	return t, nil
}

// Close writes out what is queued.
func (t *Tap) Close() { t.output.Close() }

// Dropped returns how many messages were lost because the reader was slow.
func (t *Tap) Dropped() uint64 { return t.dropped.Load() }

// query queues a query if it is its turn, and says whether it was.
func (t *Tap) query(msg []byte, src netip.AddrPort, local []netip.AddrPort, via transport) bool {
	if t == nil || t.seen.Add(1)%t.every != 0 {
		return false
	}
	t.message(dnstap.Message_AUTH_QUERY, msg, src, local, via)
	return true
}

func (t *Tap) response(msg []byte, src netip.AddrPort, local []netip.AddrPort, via transport) {
	if len(msg) > 0 {
		t.message(dnstap.Message_AUTH_RESPONSE, msg, src, local, via)
	}
}

func (t *Tap) message(kind dnstap.Message_Type, msg []byte, src netip.AddrPort, local []netip.AddrPort, via transport) {
	family, protocol := dnstap.SocketFamily_INET, dnstap.SocketProtocol_UDP
	if src.Addr().Is6() {
		family = dnstap.SocketFamily_INET6
	}
	if via == overTCP {
		protocol = dnstap.SocketProtocol_TCP
	}
	now := time.Now()
	sec, nsec := uint64(now.Unix()), uint32(now.Nanosecond())
	port := uint32(src.Port())
	m := &dnstap.Message{
		Type: &kind, SocketFamily: &family, SocketProtocol: &protocol,
		QueryAddress: src.Addr().AsSlice(), QueryPort: &port,
	}
	if len(local) == 1 && !local[0].Addr().IsUnspecified() {
		at := uint32(local[0].Port())
		m.ResponseAddress, m.ResponsePort = local[0].Addr().AsSlice(), &at
	}
	if kind == dnstap.Message_AUTH_QUERY {
		m.QueryTimeSec, m.QueryTimeNsec, m.QueryMessage = &sec, &nsec, msg
	} else {
		m.ResponseTimeSec, m.ResponseTimeNsec, m.ResponseMessage = &sec, &nsec, msg
	}
	t.enqueue(m)
}

func (t *Tap) enqueue(m *dnstap.Message) {
	kind := dnstap.Dnstap_MESSAGE
	frame, err := proto.Marshal(&dnstap.Dnstap{Type: &kind, Identity: t.node, Version: []byte("edged"), Message: m})
	if err != nil {
		t.dropped.Add(1)
		return
	}
	select {
	case t.queue <- frame:
	default:
		t.dropped.Add(1)
	}
}
