package estimate

import "slices"

// A change pays when it gains more than this.
const (
	leastGain  = 3.0 // ms
	leastShare = 0.1 // of the round trip now
)

// Settle keeps what is in force first unless another PoP is clearly better: by
// more than 3 ms and more than a tenth. Small gains are mostly noise, and
// every change costs caches. The list is best first, and is changed.
func Settle(list []Estimate, now uint16) []Estimate {
	at := slices.IndexFunc(list, func(e Estimate) bool { return e.PoP == now })
	if at <= 0 {
		return list
	}
	kept := list[at]
	if kept.RTT-list[0].RTT > max(leastGain, leastShare*kept.RTT) {
		return list
	}
	copy(list[1:at+1], list[:at])
	list[0] = kept
	return list
}
