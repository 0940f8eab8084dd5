package dnsserver

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	batch       = 64
	slotSize    = 8192                  // a query, and the reply built in its place
	slotStride  = slotSize + 64         // so that slots do not share cache sets
	receiveWait = 50 * time.Millisecond // how long a receive blocks, and so what a shutdown or a scrape waits
	socketBytes = 4 << 20               // receive buffer: some 5 ms of packets at full rate
	fitsAnyPath = 1232                  // UDP payload within the IPv6 minimum MTU of 1280
)

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
	_   [4]byte
}

// udpWorker serves one socket (of a SO_REUSEPORT group, if there are more
// workers) on a thread of its own.
//
// The socket is never handed to package net: Go's poller would be woken by every
// packet sent. Receives are raw system calls that block in the kernel without
// the scheduler knowing, so that its monitor thread can sleep. Two rules make
// that safe for the garbage collector: the receive time-out bounds the wait and
// makes the runtime's preemption signal interrupt it, and turn, the body of the
// loop, is never inlined, so that its prologue lets the thread be stopped. A
// worker occupies a processor of GOMAXPROCS, which Server.serve allows for.
type udpWorker struct {
	udpSocket
	server    *Server
	responder *responder

	slots   []byte
	in      [batch]mmsghdr
	inIO    [batch]unix.Iovec
	out     departures
	names   [batch]unix.RawSockaddrInet6
	control [batch][controlLen]byte
	queries [batch]query
	states  [batch]parsed
	sources [batch]netip.AddrPort
	batches uint

	coalescing coalescing

	asked  atomic.Bool   // a scrape waits for the counters
	handed chan struct{} // answers it
}

// udpSocket is a socket and what is known of it.
type udpSocket struct {
	fd       int
	listener *listener
	local    []netip.AddrPort // the one address it is bound to
	pktinfo  bool             // bound to a wildcard: replies go out from the address asked
	trains   bool             // the kernel takes several replies to one peer as one message
}

// controlLen has room for one IPV6_PKTINFO or IP_PKTINFO message.
const controlLen = 40

func (s *Server) openUDP(l *listener) ([]worker, error) {
	var workers []worker
	for range s.cfg.Threads {
		w, err := s.newUDPWorker(l)
		if err != nil {
			for _, w := range workers {
				w.close()
			}
			return nil, err
		}
		workers = append(workers, w)
	}
	return workers, nil
}

func (s *Server) newUDPWorker(l *listener) (*udpWorker, error) {
	socket, err := newUDPSocket(l, s.cfg)
	if err != nil {
		return nil, err
	}
	w := s.newUDPAnswerer()
	w.udpSocket = socket
	w.responder.stats.queries = &l.queriesUDP
	for i := range batch {
		w.resetReceive(i)
	}
	return w, nil
}

// newUDPSocket opens a socket of a listener.
func newUDPSocket(l *listener, cfg Config) (udpSocket, error) {
	fd, err := openUDPSocket(l.addr, cfg)
	if err != nil {
		return udpSocket{}, err
	}
	return udpSocket{
		fd: fd, listener: l, local: []netip.AddrPort{l.addr}, pktinfo: l.addr.Addr().IsUnspecified(),
		trains: unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_SEGMENT, 0) == nil,
	}, nil
}

// newUDPAnswerer returns a worker that has no socket yet.
func (s *Server) newUDPAnswerer() *udpWorker {
	w := &udpWorker{
		server: s, responder: s.newResponder("udp"), slots: make([]byte, batch*slotStride), handed: make(chan struct{}, 1),
	}
	for i := range batch {
		w.inIO[i] = unix.Iovec{Base: &w.slots[i*slotStride]}
		w.inIO[i].SetLen(maxUDPQuery)
		w.in[i].hdr = unix.Msghdr{Iov: &w.inIO[i], Iovlen: 1, Name: (*byte)(unsafe.Pointer(&w.names[i]))}
		w.resetReceive(i)
	}
	return w
}

// resetReceive restores what a receive overwrites.
func (w *udpWorker) resetReceive(i int) {
	w.in[i].hdr.Namelen = unix.SizeofSockaddrInet6
	if w.pktinfo {
		w.in[i].hdr.Control = &w.control[i][0]
		w.in[i].hdr.SetControllen(controlLen)
	}
}

func openUDPSocket(addr netip.AddrPort, cfg Config) (fd int, err error) {
	domain := unix.AF_INET
	if addr.Addr().Is6() {
		domain = unix.AF_INET6
	}
	if fd, err = unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.IPPROTO_UDP); err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	set := func(what string, e error) {
		if err == nil && e != nil {
			err = fmt.Errorf("socket option %s: %w", what, e)
		}
	}
	if cfg.Threads > 1 {
		set("SO_REUSEPORT", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
	}
	wait := unix.NsecToTimeval(int64(receiveWait))
	set("SO_RCVTIMEO", unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait))
	// The privileged form passes the system's limit; without the right the
	// other one gets as much as the limit allows.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, socketBytes) != nil {
		set("SO_RCVBUF", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, socketBytes))
	}
	if domain == unix.AF_INET6 {
		set("IPV6_V6ONLY", unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1))
		set("IPV6_MTU_DISCOVER", unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_OMIT))
	} else {
		// Path MTU messages can be forged, so they are not listened to. Replies
		// that fit any path go out with "don't fragment" (RFC 9715); it also
		// spares the kernel an identification for each.
		mode := unix.IP_PMTUDISC_PROBE
		if cfg.MaxUDP > fitsAnyPath {
			mode = unix.IP_PMTUDISC_OMIT
		}
		set("IP_MTU_DISCOVER", unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, mode))
	}
	if addr.Addr().IsUnspecified() {
		if domain == unix.AF_INET6 {
			set("IPV6_RECVPKTINFO", unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1))
		} else {
			set("IP_PKTINFO", unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1))
		}
	}
	if err == nil {
		err = os.NewSyscallError("bind", unix.Bind(fd, sockaddr(addr)))
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func sockaddr(addr netip.AddrPort) unix.Sockaddr {
	if addr.Addr().Is6() {
		return &unix.SockaddrInet6{Port: int(addr.Port()), Addr: addr.Addr().As16()}
	}
	return &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}
}

// stop has nothing to do: a receive that waits ends soon by itself.
func (w *udpWorker) stop() {}

func (w *udpWorker) close() { unix.Close(w.fd) }

func (w *udpWorker) threads() int { return 1 }

func (w *udpWorker) serve() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	tuneThread()
	for !w.listener.stop.Load() {
		w.turn()
	}
	w.drain()
	w.responder.stats.flush()
	unix.Close(w.fd)
}

// drain answers what is queued, for unlistenWait at most.
func (w *udpWorker) drain() {
	wait := unix.NsecToTimeval(int64(time.Millisecond))
	if unix.SetsockoptTimeval(w.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait) != nil {
		return
	}
	for end := time.Now().Add(unlistenWait); time.Now().Before(end); {
		if w.turn() == unix.EAGAIN {
			return
		}
	}
}

func (w *udpWorker) collect() {
	select {
	case <-w.handed: // too late for the one who asked before
	default:
	}
	w.asked.Store(true)
	select {
	case <-w.handed:
	case <-time.After(4 * receiveWait):
	}
}

// turn receives one batch, answers it and sends the replies. The error is that
// of the receive, EAGAIN when nothing came. It must stay a call with a prologue:
// see udpWorker.
//
//go:noinline
func (w *udpWorker) turn() unix.Errno {
	n, errno := receive(w.fd, &w.in, unix.MSG_WAITFORONE)
	if w.asked.Load() {
		w.handOver()
	}
	if errno != 0 {
		w.failed(errno)
		w.begin(time.Now())
		return errno
	}
	now := time.Now()
	w.process(now, n)
	sleep(w.coalescing.took(now, n, w.server.yielding.Load() > 0))
	return 0
}

// handOver gives the counters to the scrape that waits for them.
func (w *udpWorker) handOver() {
	w.responder.stats.flush()
	w.asked.Store(false)
	select {
	case w.handed <- struct{}{}:
	default:
	}
}

// failed says so when a receive failed otherwise than by nothing being there.
func (w *udpWorker) failed(errno unix.Errno) {
	if errno != unix.EAGAIN && errno != unix.EINTR {
		w.server.log.Error("udp receive failed", "address", w.local[0], "error", errno)
		time.Sleep(receiveWait) // not in a loop at full speed
	}
}

// process answers a batch that was received, and sends the replies.
func (w *udpWorker) process(now time.Time, n int) {
	v := w.begin(now)
	w.answer(v, n)
	runtime.KeepAlive(v) // the tables of its covers are not the collector's
	w.send()
	if w.batches++; w.batches%64 == 0 {
		w.responder.stats.took(time.Since(now), n)
	}
}

// begin takes the current view, and lets go of the one before, idle or not.
func (w *udpWorker) begin(now time.Time) *View {
	v := w.server.view.Load()
	if w.responder.begin(w.server, v, now) {
		for i := range w.queries {
			w.queries[i].node = nil
		}
	}
	return v
}

// receive takes what is there. With MSG_WAITFORONE it blocks until there is a
// packet, or for receiveWait.
func receive(fd int, msgs *[batch]mmsghdr, flags uintptr) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(msgs)), batch, flags, 0, 0)
	return int(n), errno
}

// answer answers the first n packets received and returns how many replies
// there are to send. It takes all of them one step at a time, so that the memory
// each one needs is on its way meanwhile.
func (w *udpWorker) answer(v *View, n int) (replies int) {
	r := w.responder
	r.stats.events[eventReceived] += uint64(n)
	for i := range n {
		w.sources[i] = sourceOf(&w.names[i])
		q := &w.queries[i]
		w.states[i] = q.parse(w.slot(i)[:w.in[i].n])
		if w.in[i].hdr.Flags&unix.MSG_TRUNC != 0 || w.sources[i].Port() == 0 {
			w.states[i] = drop
		}
		v.touchName(q)
	}
	for i := range n {
		r.client.Resolver, r.client.ECS = w.sources[i].Addr(), w.queries[i].subnet
		v.locate(&w.queries[i], &r.client)
	}
	for i := range n {
		r.client.Resolver, r.client.ECS = w.sources[i].Addr(), w.queries[i].subnet
		v.touchMap(&w.queries[i], &r.client)
	}
	w.out.reset()
	for i := range n {
		if size := w.respond(v, i); size > 0 {
			w.depart(i, size)
			replies++
		}
		w.resetReceive(i)
	}
	return replies
}

// respond answers packet i in its slot.
func (w *udpWorker) respond(v *View, i int) (size int) {
	if w.states[i] == drop {
		w.responder.stats.event(eventDropped)
		return 0
	}
	tap, src, msg := w.server.cfg.Tap, w.sources[i], w.slot(i)
	tapped := tap.query(msg[:w.in[i].n], src, w.local, overUDP)
	size = w.responder.respond(v, msg, &w.queries[i], w.states[i], src, overUDP)
	if tapped {
		tap.response(msg[:size], src, w.local, overUDP)
	}
	return size
}

func (w *udpWorker) slot(i int) []byte { return w.slots[i*slotStride:][:slotSize:slotSize] }

// depart plans the reply in slot i, back to where the query came from.
func (w *udpWorker) depart(i, size int) {
	hdr := &w.in[i].hdr
	reply := departure{base: &w.slots[i*slotStride], size: uint32(size), to: w.sources[i], name: hdr.Name, namelen: hdr.Namelen}
	if w.pktinfo {
		fixControl(&w.control[i])
		reply.control, reply.controlLen = hdr.Control, int(hdr.Controllen)
	}
	w.out.add(reply, w.trains && !w.pktinfo)
}

// fixControl turns the control message that told where a packet arrived into
// one that makes the reply leave from there. The interface is left to routing,
// but for link-local addresses.
func fixControl(c *[controlLen]byte) {
	h := (*unix.Cmsghdr)(unsafe.Pointer(c))
	data := c[unix.SizeofCmsghdr:]
	switch {
	case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO:
		info := (*unix.Inet4Pktinfo)(unsafe.Pointer(&data[0]))
		info.Ifindex, info.Spec_dst = 0, info.Addr
	case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO:
		info := (*unix.Inet6Pktinfo)(unsafe.Pointer(&data[0]))
		if info.Addr[0] != 0xfe || info.Addr[1]&0xc0 != 0x80 {
			info.Ifindex = 0
		}
	}
}

// send sends what was planned. A message that the kernel refuses is skipped; a
// refused train goes again as single messages, and no train is made any more.
func (w *udpWorker) send() {
	messages := w.out.messages()
	for len(messages) > 0 {
		sent, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(w.fd), uintptr(unsafe.Pointer(&messages[0])), uintptr(len(messages)), 0, 0, 0)
		switch {
		case errno == unix.EINTR:
		case errno != 0 && messages[0].hdr.Iovlen > 1:
			w.trains = false
			w.sendSingly(&messages[0].hdr)
			messages = messages[1:]
		case errno != 0:
			w.responder.stats.event(eventSendFailed)
			messages = messages[1:]
		default:
			messages = messages[sent:]
		}
	}
}

// sendSingly sends each part of a train as a message of its own.
func (w *udpWorker) sendSingly(train *unix.Msghdr) {
	for _, part := range unsafe.Slice(train.Iov, train.Iovlen) {
		one := unix.Msghdr{Name: train.Name, Namelen: train.Namelen, Iov: &part, Iovlen: 1}
		if _, _, errno := unix.RawSyscall(unix.SYS_SENDMSG, uintptr(w.fd), uintptr(unsafe.Pointer(&one)), 0); errno != 0 {
			w.responder.stats.event(eventSendFailed)
		}
	}
}

// sourceOf reads a socket address, whose port is in network order.
func sourceOf(name *unix.RawSockaddrInet6) netip.AddrPort {
	port := name.Port<<8 | name.Port>>8
	if name.Family == unix.AF_INET {
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
		return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16(name.Addr), port)
}
