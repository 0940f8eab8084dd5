package dnsserver

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// departures are the replies of one batch on their way out. Replies of one
// length to one peer, which asks from one port with many queries in flight as a
// load balancer in front of us does, leave as a train: one message that the
// kernel cuts up (UDP_SEGMENT, Linux 4.18), so that the way through its stack is
// gone once and not for each. The last one of a train may be shorter. Peers that
// ask from a new port each time are not held up: nothing waits for a train.
type departures struct {
	replies [batch]departure
	n       int
	trains  [batch]train
	count   int // of trains; a single reply is a train of one

	out     [batch]mmsghdr
	iov     [batch]unix.Iovec
	control [batch][segmentControlLen]byte
}

// departure is one reply.
type departure struct {
	base       *byte
	size       uint32
	next       int32 // of its train, -1 for the last
	to         netip.AddrPort
	name       *byte
	namelen    uint32
	control    *byte
	controlLen int
}

type train struct {
	key         uint64 // of the peer
	first, last int32
	segments    int32
	size        uint32 // of each segment but the last
	open        bool   // takes more
}

const (
	lookback     = 8     // a reply joins one of this many last trains, or starts a new one
	maxTrain     = 65000 // octets, less than a UDP datagram can hold
	maxSegments  = 64    // of Linux before 6.9
	maxSegmented = fitsAnyPath

	segmentControlLen = 24 // CMSG_SPACE of a uint16
)

func (d *departures) reset() { d.n, d.count = 0, 0 }

// add plans a reply, on a train where that is allowed and one fits.
func (d *departures) add(r departure, trains bool) {
	r.next = -1
	i := int32(d.n)
	d.replies[i] = r
	d.n++
	joins := trains && r.size <= maxSegmented
	key := peerKey(r.to)
	if joins {
		for k := d.count - 1; k >= 0 && k >= d.count-lookback; k-- {
			if t := &d.trains[k]; t.key == key && t.open && r.size <= t.size && d.replies[t.first].to == r.to {
				d.join(t, i)
				return
			}
		}
	}
	d.trains[d.count] = train{key: key, first: i, last: i, segments: 1, size: r.size, open: joins}
	d.count++
}

// peerKey tells most peers apart.
func peerKey(a netip.AddrPort) uint64 {
	if a.Addr().Is4() {
		ip := a.Addr().As4()
		return uint64(binary.BigEndian.Uint32(ip[:]))<<16 | uint64(a.Port())
	}
	ip := a.Addr().As16()
	return binary.BigEndian.Uint64(ip[8:]) ^ binary.BigEndian.Uint64(ip[:8])<<16 ^ uint64(a.Port())
}

func (d *departures) join(t *train, i int32) {
	d.replies[t.last].next = i
	t.last = i
	t.segments++
	t.open = d.replies[i].size == t.size && t.segments < maxSegments && uint32(t.segments+1)*t.size <= maxTrain
}

// messages lays out what was planned for sendmmsg.
func (d *departures) messages() []mmsghdr {
	at := 0
	for k := range d.count {
		t := &d.trains[k]
		first := &d.replies[t.first]
		hdr := &d.out[k].hdr
		*hdr = unix.Msghdr{Name: first.name, Namelen: first.namelen, Iov: &d.iov[at], Control: first.control}
		hdr.SetControllen(first.controlLen)
		hdr.SetIovlen(int(t.segments))
		for i := t.first; i >= 0; i = d.replies[i].next {
			d.iov[at].Base = d.replies[i].base
			d.iov[at].SetLen(int(d.replies[i].size))
			at++
		}
		if t.segments > 1 {
			hdr.Control = putSegmentSize(&d.control[k], uint16(t.size))
			hdr.SetControllen(segmentControlLen)
		}
	}
	return d.out[:d.count]
}

// putSegmentSize makes the control message that says where to cut.
func putSegmentSize(c *[segmentControlLen]byte, size uint16) *byte {
	h := (*unix.Cmsghdr)(unsafe.Pointer(c))
	h.Level, h.Type = unix.IPPROTO_UDP, unix.UDP_SEGMENT
	h.SetLen(unix.SizeofCmsghdr + 2)
	*(*uint16)(unsafe.Pointer(&c[unix.SizeofCmsghdr])) = size
	return &c[0]
}
