package main

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// laterNice is how far work that nobody waits for stands back. On a processor that
// it shares with a busy worker it gets a quarter. Building a view that answers
// will come from gets half: that answers come soon all the same is by the worker's
// short time slices.
const laterNice = 5

// inBackground runs f and waits for it. f runs on a thread of its own, whose
// priority standBack may lower. A thread may not raise its priority again, so this
// one ends with f.
func inBackground(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		f()
	}()
	<-done
}

// standBack makes the rest of what inBackground runs wait for all else.
func standBack() { setNice(laterNice) }

// setNice lowers the priority of the calling thread; without it, work is only less
// polite.
func setNice(nice int) { _ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), nice) }
