package health

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// testMembers returns n members over so many PoPs.
func testMembers(n, pops int) []Member {
	members := make([]Member, n)
	for i := range members {
		members[i] = Member{Name: fmt.Sprintf("n%02d", i), PoP: fmt.Sprintf("p%d", i%pops)}
	}
	return members
}

func popsOf(names []string, members []Member) int {
	seen := make(map[string]bool)
	for _, m := range members {
		if slices.Contains(names, m.Name) {
			seen[m.PoP] = true
		}
	}
	return len(seen)
}

// slowAssign picks one member at a time, the best that is allowed.
func slowAssign(t TargetID, members []Member, observers, minPoPs int) []string {
	if observers == 0 {
		observers = len(members)
	}
	var chosen []Member
	for len(chosen) < min(observers, len(members)) {
		best := -1
		for spread := len(chosen) < minPoPs; best < 0; spread = false {
			for i, m := range members {
				if slices.ContainsFunc(chosen, func(c Member) bool { return c.Name == m.Name || spread && c.PoP == m.PoP }) {
					continue
				}
				if best < 0 || score(t, m.Name) > score(t, members[best].Name) {
					best = i
				}
			}
		}
		chosen = append(chosen, members[best])
	}
	slices.SortFunc(chosen, func(a, b Member) int {
		if score(t, a.Name) > score(t, b.Name) {
			return -1
		}
		return 1
	})
	names := make([]string, len(chosen))
	for i, m := range chosen {
		names[i] = m.Name
	}
	return names
}

func TestAssignLikeSlow(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for range 3000 {
		members := testMembers(rng.IntN(12), 1+rng.IntN(5))
		rng.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
		id, observers, minPoPs := TargetID(rng.Uint64()), rng.IntN(8), rng.IntN(5)
		got, want := Assign(id, members, observers, minPoPs), slowAssign(id, members, observers, minPoPs)
		if !slices.Equal(got, want) {
			t.Fatalf("%v of %d members, %d observers in %d PoPs: %v, want %v", id, len(members), observers, minPoPs, got, want)
		}
		if len(got) > 0 {
			pops := popsOf(names(members), members)
			if spread := popsOf(got, members); spread < min(minPoPs, pops, len(got)) {
				t.Fatalf("%v are of %d PoPs, want %d of %d", got, spread, minPoPs, pops)
			}
		}
	}
}

func names(members []Member) []string {
	all := make([]string, len(members))
	for i, m := range members {
		all[i] = m.Name
	}
	return all
}

// TestAssignStable holds that a member that leaves moves no target but its own,
// and of those no other observer.
func TestAssignStable(t *testing.T) {
	const targets, observers, minPoPs = 500, 5, 3
	members := testMembers(20, 6)
	for gone := range members {
		left := slices.Delete(slices.Clone(members), gone, gone+1)
		for id := range TargetID(targets) {
			before, after := Assign(id, members, observers, minPoPs), Assign(id, left, observers, minPoPs)
			kept := 0
			for _, name := range before {
				if name != members[gone].Name && slices.Contains(after, name) {
					kept++
				}
			}
			want := observers
			if slices.Contains(before, members[gone].Name) {
				want--
			}
			if kept != want {
				t.Fatalf("%v without %s: %v became %v", id, members[gone].Name, before, after)
			}
		}
	}
}

// TestAssignEven holds that work spreads evenly: over 20,000 targets each of 20
// members gets 5,000, within six standard deviations of a binomial draw.
func TestAssignEven(t *testing.T) {
	const targets = 20_000
	members := testMembers(20, 5)
	count := make(map[string]int)
	first := make(map[string]int)
	for id := range TargetID(targets) {
		chosen := Assign(id, members, 5, 2)
		first[chosen[0]]++
		for _, name := range chosen {
			count[name]++
		}
	}
	for _, m := range members {
		for what, p := range map[string]struct {
			got   int
			share float64
		}{"checks": {count[m.Name], 5. / 20}, "first places": {first[m.Name], 1. / 20}} {
			want := targets * p.share
			if off := math.Abs(float64(p.got) - want); off > 6*math.Sqrt(want*(1-p.share)) {
				t.Errorf("%s has %d %s, want about %.0f", m.Name, p.got, what, want)
			}
		}
	}
}

// TestAssignFixed holds the hash itself: nodes of different versions must agree
// on who checks what.
func TestAssignFixed(t *testing.T) {
	members := testMembers(9, 3)
	for id, want := range map[TargetID][]string{
		0:                  {"n03", "n07", "n02"},
		1:                  {"n04", "n00", "n02"},
		0xfedcba9876543210: {"n00", "n01", "n05"},
	} {
		if got := Assign(id, members, 3, 2); !slices.Equal(got, want) {
			t.Errorf("%v: %q, want %q", id, got, want)
		}
	}
}
