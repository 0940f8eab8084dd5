package estimate

import "edged/mapper/beacon"

// networkShare is the most that the units of one network together weigh in what a
// country says of a PoP: whoever holds a network must not speak for a country.
const networkShare = 0.5

// limitNetworks lowers the weights of networks that have more than their share in
// a group. The evidence is sorted by group and PoP. It returns the networks.
func limitNetworks(all []evidence, asn func(unit int) uint32) (limited map[uint32]bool) {
	limited = map[uint32]bool{}
	for i := 0; i < len(all); {
		j := i
		var weights []float64
		at := map[uint32]int{} // networks in weights
		for ; j < len(all) && all[j].group == all[i].group && all[j].column == all[i].column; j++ {
			n := asn(all[j].unit)
			k, ok := at[n]
			if !ok {
				k = len(weights)
				at[n], weights = k, append(weights, 0)
			}
			weights[k] += all[j].weight
		}
		if len(weights) > 1 {
			allowed := beacon.LimitShares(weights, networkShare)
			for e := i; e < j; e++ {
				n := asn(all[e].unit)
				if k := at[n]; allowed[k] < weights[k] {
					all[e].weight *= allowed[k] / weights[k]
					limited[n] = true
				}
			}
		}
		i = j
	}
	return limited
}

// Limited returns how many networks had more than half of the weight in what a
// country says of a PoP, and were limited to that.
func (m *Model) Limited() int { return m.limited }
