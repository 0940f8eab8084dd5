package health

import (
	"cmp"
	"hash/fnv"
	"slices"
)

// Assign returns the names of the members that check a target, by rendezvous
// hashing: every member has a score for every target, and the highest scores
// win. The best members of minPoPs different PoPs come in first, so far as there
// are so many, the rest by score alone; up to observers in all, or every member
// when that is 0. The names are in order of score.
//
// Every node that knows the same members gets the same answer, and a member
// that comes or goes moves no check but those it takes or leaves behind.
func Assign(t TargetID, members []Member, observers, minPoPs int) []string {
	if observers <= 0 || observers > len(members) {
		observers = len(members)
	}
	type candidate struct {
		score  uint64
		member Member
		chosen bool
	}
	ranked := make([]candidate, len(members))
	for i, m := range members {
		ranked[i] = candidate{score: score(t, m.Name), member: m}
	}
	slices.SortFunc(ranked, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.member.Name, b.member.Name))
	})

	chosen := 0
	pops := make(map[string]bool, minPoPs)
	for i := range ranked {
		if chosen == observers || chosen >= minPoPs {
			break
		}
		if c := &ranked[i]; !pops[c.member.PoP] {
			pops[c.member.PoP], c.chosen = true, true
			chosen++
		}
	}
	for i := range ranked {
		if chosen == observers {
			break
		}
		if c := &ranked[i]; !c.chosen {
			c.chosen = true
			chosen++
		}
	}
	names := make([]string, 0, observers)
	for _, c := range ranked {
		if c.chosen {
			names = append(names, c.member.Name)
		}
	}
	return names
}

// score is part of what members agree on: to change it is to move every check.
func score(t TargetID, member string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(member))
	return mix(h.Sum64() ^ mix(uint64(t)))
}

// mix spreads each bit of x over all of them (the finalizer of SplitMix64).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
