//go:build !linux

package dnsserver

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync/atomic"
	"time"
)

const receiveWait = 50 * time.Millisecond

// socketWorker serves one socket of package net, one packet at a time.
type socketWorker struct {
	server    *Server
	listener  *listener
	responder *responder
	conn      *net.UDPConn
	local     []netip.AddrPort // the one address it is bound to
	query     query
	buf       [8192]byte
	asked     atomic.Bool
	handed    chan struct{}
}

// openUDP opens one socket: without SO_REUSEPORT's spreading, more would not
// share the load.
func (s *Server) openUDP(l *listener) ([]worker, error) {
	network := "udp4"
	if l.addr.Addr().Is6() {
		network = "udp6"
	}
	conn, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(l.addr))
	if err != nil {
		return nil, err
	}
	w := &socketWorker{server: s, listener: l, responder: s.newResponder("udp"), conn: conn, local: []netip.AddrPort{l.addr}, handed: make(chan struct{}, 1)}
	w.responder.stats.queries = &l.queriesUDP
	return []worker{w}, nil
}

// openFurtherUDP does the same for an address beside those of Config.Listen.
func (s *Server) openFurtherUDP(l *listener) ([]worker, error) { return s.openUDP(l) }

func (w *socketWorker) threads() int { return 1 }

// stop leaves time for what is queued.
func (w *socketWorker) stop() { w.conn.SetReadDeadline(time.Now().Add(unlistenWait)) }

func (w *socketWorker) close() { w.conn.Close() }

func (w *socketWorker) collect() {
	select {
	case <-w.handed: // too late for the one who asked before
	default:
	}
	w.asked.Store(true)
	w.conn.SetReadDeadline(time.Now())
	select {
	case <-w.handed:
	case <-time.After(4 * receiveWait):
	}
}

func (w *socketWorker) serve() {
	defer w.conn.Close()
	for {
		n, src, err := w.conn.ReadFromUDPAddrPort(w.buf[:maxUDPQuery])
		if w.asked.Swap(false) {
			w.responder.stats.flush()
			w.conn.SetReadDeadline(time.Time{})
			if w.listener.stop.Load() { // that deadline was not ours to lift
				w.stop()
			}
			select {
			case w.handed <- struct{}{}:
			default:
			}
			if err != nil {
				continue
			}
		}
		switch {
		case err == nil:
			w.answer(n, netip.AddrPortFrom(src.Addr().Unmap(), src.Port()))
		case w.listener.stop.Load() && errors.Is(err, os.ErrDeadlineExceeded):
			w.responder.stats.flush()
			return
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
	tapped := w.server.cfg.Tap.query(w.buf[:n], src, w.local, overUDP)
	size := r.respond(v, w.buf[:], &w.query, state, src, overUDP)
	runtime.KeepAlive(v) // the tables of its covers are not the collector's
	if tapped {
		w.server.cfg.Tap.response(w.buf[:size], src, w.local, overUDP)
	}
	if size > 0 {
		if _, err := w.conn.WriteToUDPAddrPort(w.buf[:size], src); err != nil {
			r.stats.event(eventSendFailed)
		}
	}
}
