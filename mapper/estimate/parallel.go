package estimate

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// inParallel has each number below n done, on all processors, some at once in
// ascending order. Each processor has a function of its own, which may have memory
// of its own; what it writes besides must be of the number alone.
func inParallel(n, atOnce int, worker func() func(i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), (n+atOnce-1)/atOnce) {
		wg.Go(func() {
			do := worker()
			for {
				from := int(next.Add(int64(atOnce))) - atOnce
				if from >= n {
					return
				}
				for i := from; i < min(n, from+atOnce); i++ {
					do(i)
				}
			}
		})
	}
	wg.Wait()
}

// unitsAtOnce is how many units a processor takes at a time.
const unitsAtOnce = 512
