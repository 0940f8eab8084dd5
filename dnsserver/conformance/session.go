package conformance

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"time"
)

// session is one run against one server. It is used by one goroutine.
type session struct {
	Options
	nextID uint16
	scopes *scopeFacts // what the client subnet checks share; nil until asked for
}

// udp sends the packet from a new socket and waits for a reply with its id, for
// Timeout, twice. It returns ErrNoAnswer when none comes.
func (s *session) udp(p packet) (*reply, error) {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(s.Server))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	buf := make([]byte, 65535)
	for range 2 {
		if _, err := conn.Write(p.bytes()); err != nil {
			return nil, err
		}
		conn.SetReadDeadline(time.Now().Add(s.Timeout))
		for {
			n, err := conn.Read(buf)
			if errors.Is(err, io.EOF) || isTimeout(err) {
				break
			}
			if err != nil {
				return nil, ErrNoAnswer // refused by the host: nobody listens
			}
			if n < 2 || binary.BigEndian.Uint16(buf) != p.id {
				continue
			}
			return parseReply(append([]byte{}, buf[:n]...))
		}
	}
	return nil, ErrNoAnswer
}

// tcp sends the packet over a new connection and reads one message.
func (s *session) tcp(p packet) (*reply, error) {
	conn, err := s.dialTCP()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if _, err := conn.Write(frame(p.bytes())); err != nil {
		return nil, err
	}
	return readFrame(conn)
}

// dialTCP connects and bounds everything on the connection by 5 timeouts.
func (s *session) dialTCP() (net.Conn, error) {
	conn, err := net.DialTimeout("tcp", s.Server.String(), s.Timeout)
	if err != nil {
		return nil, err
	}
	return conn, conn.SetDeadline(time.Now().Add(5 * s.Timeout))
}

// frame puts the two length octets of RFC 1035 §4.2.2 before a message.
func frame(msg []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...)
}

// readFrame reads one message from a stream.
func readFrame(r io.Reader) (*reply, error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	msg := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(r, msg); err != nil {
		return nil, err
	}
	return parseReply(msg)
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// alive tells whether a plain question is still answered.
func (s *session) alive() bool {
	r, err := s.udp(s.query(s.Name, 1))
	return err == nil && r.rcode == 0
}
