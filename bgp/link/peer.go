package link

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// peer is a member that this one calls, by one connection.
type peer struct {
	link *Link
	name string
	key  ed25519.PublicKey // the connection for another is closed

	calls chan struct{} // has room for as many calls as the member takes at once

	// turn holds a token that is needed for what follows, since a dial in it
	// must end with the context of the call that waits.
	turn   chan struct{}
	addr   netip.AddrPort
	conn   *http.ClientConn // nil: none yet
	closed bool
}

// roundTrip sends a request once there are not too many calls, and has the answer
// read before the next may take its place.
func (p *peer) roundTrip(request *http.Request, addr netip.AddrPort, read func(*http.Response) error) error {
	ctx := request.Context()
	select {
	case p.calls <- struct{}{}:
		defer func() { <-p.calls }()
	case <-ctx.Done():
		return ctx.Err()
	}
	conn, err := p.connection(ctx, addr)
	if err != nil {
		return err
	}
	answer, err := conn.RoundTrip(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	return read(answer)
}

// connection returns the connection to an address of the member, which it makes
// if there is none.
func (p *peer) connection(ctx context.Context, addr netip.AddrPort) (conn *http.ClientConn, err error) {
	select {
	case <-p.turn:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { p.turn <- struct{}{} }()
	if p.closed {
		return nil, errors.New("the link is closed, or the member's key has changed")
	}
	if p.conn != nil && p.addr == addr && usable(p.conn) {
		return p.conn, nil
	}
	p.drop()
	if p.conn, err = p.connect(ctx, addr); err != nil {
		return nil, err
	}
	p.addr = addr
	return p.conn, nil
}

// usable says whether a connection takes calls, perhaps after others have ended.
func usable(c *http.ClientConn) bool {
	return c.Err() == nil && (c.Available() > 0 || c.InFlight() > 0)
}

// peer returns the member for the key that it has now.
func (l *Link) peer(member string) (*peer, error) {
	key, known := l.cfg.KeyOf(member)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, errors.New("the link is closed")
	}
	p := l.peers[member]
	if p != nil && known && p.key.Equal(key) {
		return p, nil
	}
	if p != nil {
		delete(l.peers, member)
		l.closing.Go(p.close)
	}
	if !known {
		return nil, errors.New("no member of this name is known")
	}
	p = &peer{
		link: l, name: member, key: bytes.Clone(key),
		calls: make(chan struct{}, l.limits.concurrent), turn: make(chan struct{}, 1),
	}
	p.turn <- struct{}{}
	l.peers[member] = p
	return p, nil
}

// connect connects, and shakes hands until the member has said its first word of
// HTTP/2. For in TLS 1.3 a caller is done before the callee has looked at it, and
// only now would hear of a refusal.
func (p *peer) connect(ctx context.Context, addr netip.AddrPort) (*http.ClientConn, error) {
	limits := &p.link.limits
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true) // as far as package http is to know
	transport := &http.Transport{
		Protocols: &protocols, DisableCompression: true, MaxResponseHeaderBytes: 16 << 10,
		IdleConnTimeout: limits.idle * 3 / 4, // before the callee does it
		HTTP2:           &http.HTTP2Config{SendPingTimeout: 5 * time.Second, PingTimeout: 3 * time.Second},
		DialContext: func(ctx context.Context, network, where string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, limits.handshake)
			defer cancel()
			raw, err := new(net.Dialer).DialContext(ctx, network, where)
			if err != nil {
				return nil, err
			}
			stop := context.AfterFunc(ctx, func() { raw.Close() })
			c := &heard{Conn: tls.Client(raw, p.link.clientTLS(p.name, p.key))}
			if err = c.HandshakeContext(ctx); err == nil {
				err = c.hear()
			}
			if !stop() && err == nil {
				err = ctx.Err()
			}
			if err != nil {
				raw.Close()
				return nil, err
			}
			return c, nil
		},
	}
	return transport.NewClientConn(ctx, "http", addr.String())
}

// heard is a connection of which the first octet has been read.
type heard struct {
	*tls.Conn
	first []byte
}

func (h *heard) hear() error {
	h.first = make([]byte, 1)
	_, err := h.Conn.Read(h.first)
	return err
}

// Read reads the first octet again, then the rest.
func (h *heard) Read(p []byte) (int, error) {
	if len(h.first) > 0 {
		n := copy(p, h.first)
		h.first = h.first[n:]
		return n, nil
	}
	return h.Conn.Read(p)
}

// drop closes the connection. The caller holds the turn.
func (p *peer) drop() {
	if p.conn != nil {
		p.conn.Close()
		p.conn = nil
	}
}

// close closes the connection, used or not, for good. It waits for a dial.
func (p *peer) close() {
	<-p.turn
	p.closed = true
	p.drop()
	p.turn <- struct{}{}
}
