package mapper

import "testing"

// One session in twenty is held back, whether numbers are hashes or just follow
// each other.
func TestHeldBackIsATwentieth(t *testing.T) {
	for name, number := range map[string]func(i uint64) uint64{
		"in order": func(i uint64) uint64 { return i },
		"by 20":    func(i uint64) uint64 { return 20 * i },
		"high":     func(i uint64) uint64 { return i << 40 },
	} {
		n := 0
		for i := range uint64(100_000) {
			if HeldBack(number(i)) {
				n++
			}
		}
		if n < 4800 || n > 5200 {
			t.Errorf("%s: %d of 100000 held back, want about 5000", name, n)
		}
	}
}
