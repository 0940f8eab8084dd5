package mapper

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// inParallel calls do for each number below n, on all processors. What do writes
// must be of its number alone.
func inParallel(n int, do func(i int)) {
	const chunk = 256
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), (n+chunk-1)/chunk) {
		wg.Go(func() {
			for {
				from := int(next.Add(chunk)) - chunk
				if from >= n {
					return
				}
				for i := from; i < min(n, from+chunk); i++ {
					do(i)
				}
			}
		})
	}
	wg.Wait()
}
