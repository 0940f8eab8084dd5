package beacon

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
)

// TestByUnitMatchesPlain: every unit comes once, with the sessions that a
// sequential reading finds, in its order, however few rows are held at a time.
func TestByUnitMatchesPlain(t *testing.T) {
	rng := rand.New(rand.NewPCG(17, 18))
	dir := t.TempDir()
	w := writer(t, dir)
	for _, id := range []string{"a", "b", "c"} {
		appendRows(t, w, id, fleet, random(rng, 3000, 7))
	}
	set, err := OpenAll(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	want := map[Unit][]Session{}
	for s, err := range set.Sessions() {
		if err != nil {
			t.Fatal(err)
		}
		u := UnitOf(s.Rows[0].Client)
		want[u] = append(want[u], s)
	}
	same := func(a, b Session) bool {
		return a.ID == b.ID && slices.Equal(a.PoPs, b.PoPs) && slices.Equal(a.Rows, b.Rows)
	}
	for _, atOnce := range []int{1 << 20, 1000, 100} {
		var mu sync.Mutex
		got := map[Unit]int{}
		err := set.byUnit(t.Context(), 3, atOnce, func(u Unit, sessions []Session) error {
			mu.Lock()
			defer mu.Unlock()
			got[u]++
			if !slices.EqualFunc(sessions, want[u], same) {
				t.Errorf("%v: %d sessions, want %d, or others", u, len(sessions), len(want[u]))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for u := range want {
			if got[u] != 1 {
				t.Errorf("%d at once: %v came %d times", atOnce, u, got[u])
			}
		}
		if len(got) != len(want) || len(want) < 30 {
			t.Errorf("%d at once: %d units, want %d and at least 30", atOnce, len(got), len(want))
		}
	}
}

// TestTurnsAreEven: neither neighbouring units nor those of IPv6 are all taken up
// in one turn.
func TestTurnsAreEven(t *testing.T) {
	const units, turns = 10_000, 5
	for _, first := range []Unit{0, 1 << 23, unit6 | 0x2a00_0000_0000, unit6 | 0x2a00_0000_0000<<8} {
		var count [turns]int
		for i := range units {
			count[(first+Unit(i)).turn(turns)]++
		}
		for _, n := range count {
			if n < units/turns*9/10 || n > units/turns*11/10 {
				t.Errorf("from %v: turns take %v units", first, count)
				break
			}
		}
	}
}

func TestByUnitEnds(t *testing.T) {
	dir := t.TempDir()
	appendRows(t, writer(t, dir), "a", fleet, random(rand.New(rand.NewPCG(1, 2)), 2000, 5))
	set, err := OpenAll(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	full := errors.New("full")
	if err := set.ByUnit(t.Context(), 2, func(Unit, []Session) error { return full }); err != full {
		t.Errorf("error %v, want that of the callee", err)
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	if err := set.ByUnit(stopped, 2, func(Unit, []Session) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of its context: %v", err)
	}
}
