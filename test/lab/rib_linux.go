package lab

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// rib is the routes that a router has heard, by prefix and neighbour, with what
// an operator's import filter makes of them: VIPs only, and those with
// GRACEFUL_SHUTDOWN as the last choice.
type rib map[netip.Prefix]map[netip.Addr]Path

// note takes in a line that ExaBGP writes about a neighbour in its JSON, and
// returns the prefixes whose routes changed.
func (r rib) note(line []byte) ([]netip.Prefix, error) {
	var said struct {
		Type     string
		Neighbor struct {
			Address struct{ Peer netip.Addr }
			State   string
			Message struct {
				Update struct {
					Attribute struct {
						ASPath    []any `json:"as-path"`
						MED       uint32
						Community [][2]uint16
					}
					Announce map[string]map[string][]struct{ NLRI netip.Prefix }
					Withdraw map[string][]struct{ NLRI netip.Prefix }
				}
			}
		}
	}
	if err := json.Unmarshal(line, &said); err != nil {
		return nil, fmt.Errorf("ExaBGP says %.200q: %w", line, err)
	}
	from, update := said.Neighbor.Address.Peer, &said.Neighbor.Message.Update
	var changed []netip.Prefix
	remove := func(p netip.Prefix) {
		if _, ok := r[p][from]; ok {
			delete(r[p], from)
			changed = append(changed, p)
		}
	}
	if said.Type == "state" && said.Neighbor.State == "down" {
		for p := range r {
			remove(p)
		}
	}
	for _, list := range update.Withdraw {
		for _, w := range list {
			remove(w.NLRI)
		}
	}
	path := Path{ASPath: len(update.Attribute.ASPath), MED: update.Attribute.MED, LocalPref: 100}
	for _, c := range update.Attribute.Community {
		path.Communities = append(path.Communities, fmt.Sprintf("%d:%d", c[0], c[1]))
	}
	slices.Sort(path.Communities)
	if slices.Contains(path.Communities, GracefulShutdown) {
		path.LocalPref = 0
	}
	for _, hops := range update.Announce {
		for _, list := range hops {
			for _, a := range list {
				if !a.NLRI.IsSingleIP() || !slices.ContainsFunc(VIPs, a.NLRI.Overlaps) {
					continue
				}
				if r[a.NLRI] == nil {
					r[a.NLRI] = map[netip.Addr]Path{}
				}
				r[a.NLRI][from] = path
				changed = append(changed, a.NLRI)
			}
		}
	}
	return changed, nil
}

// best returns the neighbours whose paths are equally good, and better than all
// others (RFC 4271, section 9.1.2.2, as far as one AS of neighbours needs it).
func (r rib) best(p netip.Prefix) (best []netip.Addr) {
	rank := func(a netip.Addr) [3]int {
		path := r[p][a]
		return [3]int{-int(path.LocalPref), path.ASPath, int(path.MED)}
	}
	all := slices.SortedFunc(maps.Keys(r[p]), func(a, b netip.Addr) int {
		x, y := rank(a), rank(b)
		return cmp.Or(slices.Compare(x[:], y[:]), a.Compare(b))
	})
	for _, a := range all {
		if rank(a) == rank(all[0]) {
			best = append(best, a)
		}
	}
	return best
}
