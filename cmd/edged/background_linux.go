package main

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// How far work behind the query path stands back. On a processor that it shares
// with a busy worker, building a view that answers will come from gets nearly half
// of the time; that answers come soon all the same is by the worker's short time
// slices, and not by this. What nobody waits for gets a quarter.
const (
	buildNice = 1
	laterNice = 5
)

// inBackground runs f and waits for it. f runs on a thread of low priority, so
// that answers do not wait for it where there are few processors. A thread may
// not raise its priority again, so this one ends with f.
func inBackground(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		setNice(buildNice)
		f()
	}()
	<-done
}

// standBack makes the rest of what inBackground runs wait for all else.
func standBack() { setNice(laterNice) }

// setNice lowers the priority of the calling thread; without it, work is only less
// polite.
func setNice(nice int) { _ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), nice) }
