//go:build !linux

package dnsserver

import (
	"errors"
	"net"
	"net/netip"
	"runtime"
	"sync/atomic"
	"time"
)

const receiveWait = 50 * time.Millisecond

// socketWorker serves one socket of package net, one packet at a time.
type socketWorker struct {
	server    *Server
	responder *responder
	conn      *net.UDPConn
	query     query
	buf       [8192]byte
	asked     atomic.Bool
	handed    chan struct{}
}

// openUDP opens one socket: without SO_REUSEPORT's spreading, more would not
// share the load.
func (s *Server) openUDP(addr netip.AddrPort) ([]part, error) {
	network := "udp4"
	if addr.Addr().Is6() {
		network = "udp6"
	}
	conn, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return nil, err
	}
	return []part{&socketWorker{server: s, responder: s.newResponder("udp"), conn: conn, handed: make(chan struct{}, 1)}}, nil
}

func (w *socketWorker) close() { w.conn.Close() }

func (w *socketWorker) collect() {
	w.asked.Store(true)
	w.conn.SetReadDeadline(time.Now())
	select {
	case <-w.handed:
	case <-time.After(4 * receiveWait):
	}
}

func (w *socketWorker) serve() {
	for {
		n, src, err := w.conn.ReadFromUDPAddrPort(w.buf[:maxUDPQuery])
		if w.asked.Swap(false) {
			w.responder.stats.flush()
			w.conn.SetReadDeadline(time.Time{})
			select {
			case w.handed <- struct{}{}:
			default:
			}
		}
		switch {
		case errors.Is(err, net.ErrClosed):
			w.responder.stats.flush()
			return
		case err == nil:
			w.answer(n, netip.AddrPortFrom(src.Addr().Unmap(), src.Port()))
		}
	}
}

func (w *socketWorker) answer(n int, src netip.AddrPort) {
	v, r := w.server.view.Load(), w.responder
	r.begin(w.server, v, time.Now())
	r.stats.event(eventReceived)
	state := w.query.parse(w.buf[:n])
	if state == drop || src.Port() == 0 {
		r.stats.event(eventDropped)
		return
	}
	v.locate(&w.query, &r.client)
	tapped := w.server.cfg.Tap.query(w.buf[:n], src, w.server.addrs, overUDP)
	size := r.respond(v, w.buf[:], &w.query, state, src, overUDP)
	runtime.KeepAlive(v) // the tables of its covers are not the collector's
	if tapped {
		w.server.cfg.Tap.response(w.buf[:size], src, w.server.addrs, overUDP)
	}
	if size > 0 {
		if _, err := w.conn.WriteToUDPAddrPort(w.buf[:size], src); err != nil {
			r.stats.event(eventSendFailed)
		}
	}
}
