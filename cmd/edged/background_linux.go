package main

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// backgroundNice is how far work behind the query path stands back: on a
// processor that it shares with a busy worker it gets about a quarter of the time.
const backgroundNice = 5

// inBackground runs f and waits for it. f runs on a thread of low priority, so
// that answers do not wait for it where there are few processors. A thread may
// not raise its priority again, so this one ends with f.
func inBackground(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), backgroundNice) // without it, f is only less polite
		f()
	}()
	<-done
}
