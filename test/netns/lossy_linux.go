package netns

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Lossy is a switch that carries frames between hosts as the kernel's do, but
// loses a share of the UDP packets, each on its own. What TCP sends passes: it
// would be sent again, and streams that stand still are another test's matter. It
// stands in for tc's netem, which not every kernel has.
type Lossy struct {
	share        float64
	ports        []*os.File
	done         sync.WaitGroup
	passed, lost atomic.Uint64

	mu sync.Mutex
	at map[[6]byte]int // the port that a host was last heard on; guarded by mu
}

// Lose takes a link of hosts out of its switch and joins them by one that loses
// a share of the UDP packets, 0 to 1, until the network is closed.
func (n *Network) Lose(link string, share float64, hosts ...*Host) (*Lossy, error) {
	l := &Lossy{share: share, at: map[[6]byte]int{}}
	n.lossy = append(n.lossy, l)
	for _, h := range hosts {
		if err := h.Cut(link); err != nil {
			return nil, err
		}
		err := n.switches.Do(func() error {
			p, err := openPort(h.port(link))
			if err == nil {
				l.ports = append(l.ports, p)
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("port %s: %w", h.port(link), err)
		}
	}
	for i := range l.ports {
		l.done.Go(func() { l.carry(i) })
	}
	return l, nil
}

// Stats returns how many UDP packets passed, and how many were lost on purpose.
func (l *Lossy) Stats() (passed, lost uint64) { return l.passed.Load(), l.lost.Load() }

// packetIgnoreOutgoing has a packet socket not see what goes out by it (Linux
// 4.20); the package unix does not name it.
const packetIgnoreOutgoing = 23

// vnetHeader is what stands before each frame: what the sender left for its
// network card to do (struct virtio_net_hdr). It is handed on with the frame, so
// checksums that nobody made yet are not missed.
const vnetHeader = 10

func openPort(name string) (*os.File, error) {
	device, err := net.InterfaceByName(name)
	if err != nil {
		return nil, err
	}
	const all = unix.ETH_P_ALL<<8 | unix.ETH_P_ALL>>8 // in network order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1),
		unix.SetsockoptInt(fd, unix.SOL_PACKET, packetIgnoreOutgoing, 1),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: device.Index}))
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// carry hands on what comes in by a port until the switch is closed.
func (l *Lossy) carry(in int) {
	frame := make([]byte, vnetHeader+1<<16)
	for {
		n, err := l.ports[in].Read(frame)
		if err != nil {
			return
		}
		if n < vnetHeader+14 {
			continue
		}
		udp := isUDP(frame[vnetHeader:n])
		for _, out := range l.route(in, [6]byte(frame[vnetHeader:]), [6]byte(frame[vnetHeader+6:])) {
			if udp && rand.Float64() < l.share {
				l.lost.Add(1)
				continue
			}
			if udp {
				l.passed.Add(1)
			}
			_, _ = l.ports[out].Write(frame[:n]) // what does not go out is lost too
		}
	}
}

// isUDP says whether an Ethernet frame holds UDP over IPv4 or IPv6.
func isUDP(frame []byte) bool {
	const header = 14
	if len(frame) < header+20 {
		return false
	}
	switch kind, ip := binary.BigEndian.Uint16(frame[12:]), frame[header:]; kind {
	case unix.ETH_P_IP:
		return ip[9] == unix.IPPROTO_UDP
	case unix.ETH_P_IPV6:
		return ip[6] == unix.IPPROTO_UDP
	}
	return false
}

// route returns the ports that a frame goes out by, and learns whence it came.
func (l *Lossy) route(in int, to, from [6]byte) (out []int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at[from] = in
	if p, known := l.at[to]; known && to[0]&1 == 0 { // else it is for all
		return []int{p}
	}
	for i := range l.ports {
		if i != in {
			out = append(out, i)
		}
	}
	return out
}

func (l *Lossy) close() {
	for _, p := range l.ports {
		p.Close()
	}
	l.done.Wait()
}
