package probe

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"edged/health"
)

// echo checks that an address answers to ICMP echo (RFC 792; RFC 4443,
// section 4). It uses Linux's ping sockets, which need no privilege but a
// group in net.ipv4.ping_group_range. The socket is connected, so that the
// system passes on only what answers it, and tells of unreachable addresses.
type echo struct {
	address  netip.Addr
	sequence uint16
}

func newEcho(t health.Target) way { return &echo{address: t.Address} }

func (e *echo) attempt(ctx context.Context) error {
	conn, err := e.open()
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
		return skipped("no permission for icmp: widen net.ipv4.ping_group_range")
	}
	if err != nil {
		return connectError{err}
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(past) })()
	e.sequence++
	request, want := e.request()
	if _, err := conn.Write(request); err != nil {
		return err
	}
	var b [128]byte
	for {
		n, err := conn.Read(b[:])
		if err != nil {
			return err
		}
		if isReply(b[:n], want) {
			return nil
		}
	}
}

// open returns a ping socket that is connected to the address.
func (e *echo) open() (net.Conn, error) {
	var (
		family, protocol int
		to               unix.Sockaddr
	)
	if e.address.Is4() {
		family, protocol, to = unix.AF_INET, unix.IPPROTO_ICMP, &unix.SockaddrInet4{Addr: e.address.As4()}
	} else {
		family, protocol, to = unix.AF_INET6, unix.IPPROTO_ICMPV6, &unix.SockaddrInet6{Addr: e.address.As16()}
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "icmp")
	defer f.Close()
	if err := unix.Connect(fd, to); err != nil {
		return nil, err
	}
	return net.FileConn(f)
}

// request returns an echo request and the reply that answers it but for the
// checksum and the identifier, both of which the system fills in.
func (e *echo) request() (request, want []byte) {
	m := make([]byte, 16)
	m[0], want = 8, make([]byte, 16)
	if e.address.Is6() {
		m[0], want[0] = 128, 129
	}
	binary.BigEndian.PutUint16(m[6:], e.sequence)
	binary.BigEndian.PutUint64(m[8:], rand.Uint64())
	copy(want[1:], m[1:])
	return m, want
}

// isReply compares all but the checksum and the identifier.
func isReply(got, want []byte) bool {
	return len(got) == len(want) && bytes.Equal(got[:2], want[:2]) && bytes.Equal(got[6:], want[6:])
}

func (e *echo) close() {}
