//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	loaderSockets = 4
	loaderWindow  = 256 // questions in flight per socket
	loaderBatch   = 64  // packets per system call
	lossWait      = 200 * time.Millisecond
	sampleEvery   = 512 // of the replies are kept to be decoded
)

// loadResult is what a load saw.
type loadResult struct {
	Answered int
	Lost     int
	Failed   int // replies that are no NOERROR answer, at a glance
	Took     time.Duration
	samples  []sample
}

// sample is a reply kept for later, with the question that it answers.
type sample struct {
	q     query
	reply []byte
}

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
	_   [4]byte
}

// ring is one connected socket with the arrays that its system calls use.
type ring struct {
	fd       int
	out, in  [loaderBatch]mmsghdr
	outIov   [loaderBatch]unix.Iovec
	inIov    [loaderBatch]unix.Iovec
	buf      [loaderBatch][1024]byte
	stamps   [loaderBatch][64]byte // control messages, when arrival times are wanted
	stamped  bool
	inflight int
}

func newRing(addr netip.AddrPort) (*ring, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<20)
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 4<<20)
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("connect to %s: %w", addr, err)
	}
	r := &ring{fd: fd}
	for i := range r.in {
		r.inIov[i].Base = &r.buf[i][0]
		r.inIov[i].SetLen(len(r.buf[i]))
		r.in[i].hdr.Iov, r.out[i].hdr.Iov = &r.inIov[i], &r.outIov[i]
		r.in[i].hdr.SetIovlen(1)
		r.out[i].hdr.SetIovlen(1)
	}
	return r, nil
}

// send sends up to len(list) questions and returns how many went out.
func (r *ring) send(list []query) int {
	list = list[:min(len(list), loaderBatch)]
	for i := range list {
		r.outIov[i].Base = unsafe.SliceData(list[i].wire)
		r.outIov[i].SetLen(len(list[i].wire))
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(r.fd), uintptr(unsafe.Pointer(&r.out)), uintptr(len(list)), 0, 0, 0)
	if errno != 0 {
		return 0
	}
	r.inflight += int(n)
	return int(n)
}

// stamp asks the kernel for the time at which each packet came in, so that a
// loader that was not running then does not take its own delay for the server's.
func (r *ring) stamp() error {
	r.stamped = true
	for i := range r.in {
		r.in[i].hdr.Control = &r.stamps[i][0]
	}
	return unix.SetsockoptInt(r.fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
}

// arrival returns when the i-th packet of the last receive came in, by the
// real-time clock; zero when the kernel did not say.
func (r *ring) arrival(i int) time.Time {
	data := r.stamps[i][:r.in[i].hdr.Controllen]
	if len(data) < unix.CmsgSpace(16) {
		return time.Time{}
	}
	at := (*unix.Timespec)(unsafe.Pointer(&data[unix.CmsgLen(0)]))
	return time.Unix(at.Unix())
}

// receive takes what is there, without waiting.
func (r *ring) receive() int {
	if r.stamped {
		for i := range r.in {
			r.in[i].hdr.SetControllen(len(r.stamps[i]))
		}
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(r.fd), uintptr(unsafe.Pointer(&r.in)), loaderBatch, unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0
	}
	r.inflight = max(0, r.inflight-int(n))
	return int(n)
}

// reply returns the i-th packet of the last receive; it is valid until the next.
func (r *ring) reply(i int) []byte { return r.buf[i][:r.in[i].n] }

// blast loads a server as hard as it can for some time: up to 1024 questions in
// flight over 4 sockets, sent and received in batches. The list's length must be
// a multiple of 65536, so that an id says which question it was. The echo
// answers anything, so only its packets are not looked at.
func blast(addr netip.AddrPort, list []query, length time.Duration, echo bool) (loadResult, error) {
	if len(list)%65536 != 0 {
		return loadResult{}, fmt.Errorf("%d questions: want a multiple of 65536", len(list))
	}
	var rings [loaderSockets]*ring
	var fds [loaderSockets]unix.PollFd
	for i := range rings {
		r, err := newRing(addr)
		if err != nil {
			return loadResult{}, err
		}
		defer unix.Close(r.fd)
		rings[i], fds[i] = r, unix.PollFd{Fd: int32(r.fd), Events: unix.POLLIN}
	}
	var res loadResult
	next, begin := 0, time.Now()
	for {
		got, flying := 0, 0
		stop := time.Since(begin) >= length
		for _, r := range rings {
			if room := loaderWindow - r.inflight; room >= loaderBatch/2 && !stop {
				at := next % len(list)
				next += r.send(list[at:min(at+room, len(list))])
			}
			n := r.receive()
			got += n
			flying += r.inflight
			for i := range n {
				b := r.reply(i)
				if len(b) < 12 || b[2]&0x80 == 0 || b[3]&15 != 0 || b[7] == 0 && !echo {
					res.Failed++
					continue
				}
				if res.Answered++; res.Answered%sampleEvery == 0 {
					id := int(b[0])<<8 | int(b[1])
					last := next - 1
					res.samples = append(res.samples, sample{list[(last-(last-id)&0xffff)%len(list)], bytes.Clone(b)})
				}
			}
		}
		if stop && flying == 0 {
			break
		}
		if got > 0 || flying < loaderSockets*loaderBatch && !stop {
			continue
		}
		wait := unix.NsecToTimespec(int64(lossWait)) // the kernel writes into it
		if n, err := unix.Ppoll(fds[:], &wait, nil); err != nil && !errors.Is(err, unix.EINTR) {
			return res, fmt.Errorf("poll: %w", err)
		} else if n == 0 {
			for _, r := range rings {
				res.Lost += r.inflight
				r.inflight = 0
			}
		}
	}
	res.Took = time.Since(begin)
	return res, nil
}
