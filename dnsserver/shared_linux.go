package dnsserver

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sharedWorker answers on one socket of each address that Listen opened, all on one
// thread: however many addresses there are, they take as many threads as one of
// Config.Listen, and one set of buffers for each. It waits for all of its sockets by
// epoll, takes a batch from each that has packets, and then looks at all again, so
// that a flood on one address costs the others no more than their part.
//
// Its system calls are raw like those of udpWorker, and the same rules make that safe.
type sharedWorker struct {
	*udpWorker // its socket is the one that a batch is taken from
	epoll      int
	events     [maxReady]unix.EpollEvent
	sockets    map[int32]*sharedSocket // by descriptor; of the worker alone
	leaving    []*sharedSocket         // of stopped listeners; of the worker alone

	changed atomic.Bool // joining is not empty, or a listener has stopped
	mu      sync.Mutex
	joining []*sharedSocket // guarded by mu
	ending  atomic.Bool
}

// maxReady is how many sockets are looked at in one turn.
const maxReady = 64

// sharedSocket is a socket that a sharedWorker serves.
type sharedSocket struct {
	udpSocket
	worker *sharedWorker
	until  time.Time // it is closed at the latest, once its listener has stopped
	ended  chan struct{}
}

func (s *Server) newSharedWorker() (*sharedWorker, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	return &sharedWorker{udpWorker: s.newUDPAnswerer(), epoll: epoll, sockets: map[int32]*sharedSocket{}}, nil
}

// openFurtherUDP opens the sockets of an address beside those of Config.Listen, one
// for each shared worker. The unspecified address has workers of its own.
func (s *Server) openFurtherUDP(l *listener) ([]worker, error) {
	if l.addr.Addr().IsUnspecified() {
		return s.openUDP(l)
	}
	for len(s.shared) < s.cfg.Threads {
		w, err := s.newSharedWorker()
		if err != nil {
			return nil, err
		}
		s.shared = append(s.shared, w)
	}
	var sockets []worker
	for _, w := range s.shared {
		socket, err := newUDPSocket(l, s.cfg)
		if err != nil {
			for _, s := range sockets {
				s.close()
			}
			return nil, err
		}
		sockets = append(sockets, &sharedSocket{udpSocket: socket, worker: w.(*sharedWorker), ended: make(chan struct{})})
	}
	return sockets, nil
}

// serve hands the socket to its worker, and waits until that has closed it.
func (s *sharedSocket) serve() {
	w := s.worker
	w.mu.Lock()
	w.joining = append(w.joining, s)
	w.mu.Unlock()
	w.changed.Store(true)
	<-s.ended
}

func (s *sharedSocket) stop()        { s.worker.changed.Store(true) }
func (s *sharedSocket) close()       { unix.Close(s.fd) }
func (s *sharedSocket) threads() int { return 0 }

// collect has nothing to do: what arrives is counted at once, and the rest is the
// worker's.
func (s *sharedSocket) collect() {}

func (w *sharedWorker) stop()        { w.ending.Store(true) }
func (w *sharedWorker) close()       { unix.Close(w.epoll) }
func (w *sharedWorker) threads() int { return 1 }

func (w *sharedWorker) serve() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	tuneThread()
	for !w.ending.Load() || len(w.sockets)+len(w.leaving) > 0 {
		w.turn()
	}
	w.responder.stats.flush()
	unix.Close(w.epoll)
}

// turn waits for packets, and takes a batch from each socket that has some. It must
// stay a call with a prologue: see udpWorker.
//
//go:noinline
func (w *sharedWorker) turn() {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(w.epoll), uintptr(unsafe.Pointer(&w.events[0])), maxReady, uintptr(receiveWait.Milliseconds()), 0, 0)
	if w.asked.Load() {
		w.handOver()
	}
	now, all := time.Now(), 0
	if errno == 0 {
		for _, e := range w.events[:n] {
			if s := w.sockets[e.Fd]; s != nil {
				all += w.takeFrom(s, now)
			}
		}
	}
	if all == 0 {
		w.begin(now)
	}
	if w.changed.Swap(false) {
		w.change()
	}
	if len(w.leaving) > 0 {
		w.leave(time.Now())
	}
	sleep(w.coalescing.took(now, all, w.server.yielding.Load() > 0))
}

// takeFrom answers a batch from a socket, and returns how many packets that were.
func (w *sharedWorker) takeFrom(s *sharedSocket, now time.Time) int {
	n, errno := receive(s.fd, &w.in, unix.MSG_DONTWAIT)
	w.udpSocket = s.udpSocket
	if errno != 0 {
		w.failed(errno)
		return 0
	}
	s.listener.queriesNow.Add(uint64(n))
	w.process(now, n)
	s.trains = w.trains
	return n
}

// change takes new sockets in, and lets go of those whose listeners have stopped.
func (w *sharedWorker) change() {
	w.mu.Lock()
	joining := w.joining
	w.joining = nil
	w.mu.Unlock()
	for _, s := range joining {
		w.sockets[int32(s.fd)] = s
		err := unix.EpollCtl(w.epoll, unix.EPOLL_CTL_ADD, s.fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(s.fd)})
		if err != nil { // out of memory
			w.server.log.Error("udp socket cannot be waited for", "address", s.local[0], "error", err)
		}
	}
	for fd, s := range w.sockets {
		if s.listener.stop.Load() {
			s.until = time.Now().Add(unlistenWait)
			delete(w.sockets, fd)
			w.leaving = append(w.leaving, s)
		}
	}
}

// leave answers what is queued on sockets whose listeners have stopped, a batch in each
// turn, and closes them when nothing is left, or in the end.
func (w *sharedWorker) leave(now time.Time) {
	w.leaving = slices.DeleteFunc(w.leaving, func(s *sharedSocket) bool {
		if w.takeFrom(s, now) > 0 && now.Before(s.until) {
			return false
		}
		unix.Close(s.fd)
		close(s.ended)
		return true
	})
}
