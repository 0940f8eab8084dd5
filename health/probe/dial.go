package probe

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"time"

	"edged/health"
)

// past is a deadline that ends all reading and writing at once.
var past = time.Unix(1, 0)

// peer is what is connected to: an address, by TLS when tls is set.
type peer struct {
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
	address string
	tls     *tls.Config
}

// link is a connection to a peer.
type link struct {
	net.Conn          // with TLS, if the peer has it
	raw      net.Conn // below it
}

// connect opens a connection, with its TLS handshake done, before ctx ends.
func (p *peer) connect(ctx context.Context) (*link, error) {
	raw, err := p.dial(ctx, "tcp", p.address)
	if err != nil {
		return nil, connectError{err}
	}
	l := &link{Conn: raw, raw: raw}
	if p.tls == nil {
		return l, nil
	}
	secure := tls.Client(raw, p.tls)
	if err := secure.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, err
	}
	l.Conn = secure
	return l, nil
}

// until lets a connection fail at the end of ctx. Its result lifts that again,
// and is false when it came too late: the connection is of no use then.
func (l *link) until(ctx context.Context) (lift func() bool) {
	return context.AfterFunc(ctx, func() { l.raw.SetDeadline(past) })
}

// drop closes the connection at once. TLS's last words could block.
func (l *link) drop() { l.raw.Close() }

// protocol returns what was agreed on by ALPN (RFC 7301), if anything.
func (l *link) protocol() string {
	if secure, ok := l.Conn.(*tls.Conn); ok {
		return secure.ConnectionState().NegotiatedProtocol
	}
	return ""
}

// tlsConfig returns how to speak TLS to a target, offering protocols.
func tlsConfig(t health.Target, o Options, protocols ...string) *tls.Config {
	name := t.Check.SNI
	if name == "" {
		name = hostOnly(t.Check.Host)
	}
	if name == "" {
		name = t.Address.String()
	}
	return &tls.Config{
		ServerName:         name,
		InsecureSkipVerify: !t.Check.Verify,
		RootCAs:            o.Roots,
		NextProtos:         protocols,
	}
}

// hostOnly strips the port of a host.
func hostOnly(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return host
}

// endpoint returns the address and port of a target for dialing.
func endpoint(t health.Target) string {
	return netip.AddrPortFrom(t.Address, t.Check.Port).String()
}
