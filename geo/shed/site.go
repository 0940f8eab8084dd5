package shed

import (
	"maps"
	"slices"

	edmaps "edged/maps"
)

// Sites returns what maps say of the PoPs named, in that order. A PoP's demand is
// that of all maps together; of limits the lowest counts.
func Sites(names []string, all []*edmaps.Map) []Site {
	sites := make([]Site, 0, len(names))
	for _, name := range names {
		site := Site{Name: name}
		joint := edmaps.Pricing{}
		leaving := map[uint32]float64{}
		for _, m := range all {
			p, ok := pricingOf(m, name)
			if !ok {
				continue
			}
			site.Soft, site.Hard = lower(site.Soft, p.Soft), lower(site.Hard, p.Hard)
			joint.Demand += p.Demand
			for _, l := range p.Leaving {
				leaving[l.Steps] += l.Demand
			}
		}
		for _, steps := range slices.Sorted(maps.Keys(leaving)) {
			joint.Leaving = append(joint.Leaving, edmaps.Leaving{Steps: steps, Demand: leaving[steps]})
		}
		site.Curve = CurveOf(joint)
		sites = append(sites, site)
	}
	return sites
}

func pricingOf(m *edmaps.Map, name string) (edmaps.Pricing, bool) {
	if m.Prices() == nil {
		return edmaps.Pricing{}, false
	}
	for i, p := range m.PoPs() {
		if p.Name == name {
			return m.Prices()[i], true
		}
	}
	return edmaps.Pricing{}, false
}

// lower returns the lower of two limits, of which 0 is none.
func lower(a, b float64) float64 {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}
