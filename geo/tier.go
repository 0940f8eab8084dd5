package geo

import (
	"time"

	"edged/edge"
)

// tier ranks verdicts as answers use them: a smaller tier is preferred.
type tier uint8

// The tiers. Failing and dead share one, for both are a check's word, unless
// the pool fails open to those that were ok last.
const (
	tierOK tier = iota
	tierDegraded
	tierUnknown
	tierFailing
	tierFailingLonger
	tierDrained
	tierNone tier = 255 // nothing that may be answered
)

// tierWords name each tier in explanations.
var tierWords = [...]string{"ok", "degraded", "unknown", "failing or dead", "failing or dead for longer", "drained"}

func (t tier) String() string {
	if int(t) < len(tierWords) {
		return tierWords[t]
	}
	return "none"
}

// fellTogether is how far apart endpoints of a pool may have been ok last and
// still count as having failed together: what one fault takes down goes within
// a few checks, and nodes of the fleet need not agree to the second.
const fellTogether = time.Minute

// tierOf ranks the state of an endpoint of p. latest is when any of the failing
// ones of its slot was ok last.
func (p *pool) tierOf(s *State, latest time.Time) tier {
	switch s.Verdict {
	case edge.OK:
		return tierOK
	case edge.Degraded:
		return tierDegraded
	case edge.Unknown:
		return tierUnknown
	case edge.Failing, edge.Dead:
		if p.FailOpen.Order == LastKnown && latest.Sub(s.LastOK) > fellTogether {
			return tierFailingLonger
		}
		return tierFailing
	case edge.Drained:
		if p.FailOpen.Drained {
			return tierDrained
		}
	}
	return tierNone
}

// rank fills in what the states of the members decide: the tiers, the usable
// endpoints, the PoPs that are open, and whether the fallback answers.
func (p *pool) rank(v *View) {
	var latest [slotAny]time.Time
	for s := range slotAny {
		p.best[s] = tierNone
		latest[s] = p.latest(v, s)
	}
	p.best[slotAny] = tierNone
	for i := range p.cands {
		c := &p.cands[i]
		if c.pool != noPool {
			c.rankNested(p, v.pools[c.pool].best)
		} else {
			p.rankCandidate(v, c, &latest)
		}
		for s := range slots {
			p.best[s] = min(p.best[s], c.tier[s])
		}
	}
	atMost := tierDrained // the worst tier that comes before the fallback
	if p.FailOpen.Order == ToFallback {
		atMost = tierUnknown
	}
	p.fallsBack = p.FallbackCNAME != "" && p.best[slotAny] > atMost
	for s := range slots {
		p.serves[s] = p.best[s] != tierNone && !p.fallsBack
	}
}

// latest returns when any failing endpoint of a slot was ok last.
func (p *pool) latest(v *View, s slot) (latest time.Time) {
	for i := range p.cands {
		for _, id := range p.cands[i].all[s] {
			state := &v.states[id]
			if (state.Verdict == edge.Failing || state.Verdict == edge.Dead) && state.LastOK.After(latest) {
				latest = state.LastOK
			}
		}
	}
	return latest
}

// rankNested gives a nested pool the tiers of the best in it, but none better
// than what the operator says of it as a member of p.
func (c *candidate) rankNested(p *pool, inner [slots]tier) {
	c.tier = inner
	if c.state.Verdict < edge.Drained {
		return
	}
	for s := range slots {
		c.tier[s] = max(c.tier[s], p.tierOf(c.state, time.Time{}))
	}
}

// rankCandidate ranks a PoP or an endpoint of p.
func (p *pool) rankCandidate(v *View, c *candidate, latest *[slotAny]time.Time) {
	c.tier[slotAny] = tierNone
	for s := range slotAny {
		c.tier[s], c.sole[s] = tierNone, several
		for _, id := range c.all[s] {
			c.tier[s] = min(c.tier[s], p.tierOf(&v.states[id], latest[s]))
		}
		if c.tier[s] == tierNone {
			continue
		}
		c.usable[s] = p.usable(v, c.all[s], c.tier[s], latest[s])
		if len(c.usable[s]) == 1 {
			c.sole[s] = c.usable[s][0]
		}
		if ok, all := p.share(v, c.pop, s); c.tier[s] == tierOK && p.thin(ok, all) {
			c.tier[s] = tierDegraded
		}
		c.tier[slotAny] = min(c.tier[slotAny], c.tier[s])
	}
}

// usable lists the endpoints of a tier, less those without weight unless there
// are no others.
func (p *pool) usable(v *View, ids []uint16, t tier, latest time.Time) (usable []uint16) {
	weighted := false
	for _, id := range ids {
		weighted = weighted || v.endpoints[id].Weight > 0 && p.tierOf(&v.states[id], latest) == t
	}
	for _, id := range ids {
		if p.tierOf(&v.states[id], latest) == t && (v.endpoints[id].Weight > 0 || !weighted) {
			usable = append(usable, id)
		}
	}
	return usable
}

// share counts the pool's endpoints of a slot in a PoP, and those of them that
// are ok.
func (p *pool) share(v *View, pop uint16, s slot) (ok, all int) {
	if p.UpFraction == 0 || pop == noPoP {
		return 0, 0
	}
	for i := range p.cands {
		if p.cands[i].pop != pop {
			continue
		}
		for _, id := range p.cands[i].all[s] {
			all++
			if v.endpoints[id].Verdict == edge.OK {
				ok++
			}
		}
	}
	return ok, all
}

// thin says whether so many ok endpoints of all are too few for a PoP to count
// as up.
func (p *pool) thin(ok, all int) bool { return all > 0 && float64(ok)/float64(all) < p.UpFraction }

// openPoPs fills in open.
func (p *pool) openPoPs() {
	for s := range p.open {
		p.open[s] = make([]int32, len(p.byPoP))
		for pop, cands := range p.byPoP {
			p.open[s][pop] = -1
			for i := len(cands) - 1; i >= 0; i-- {
				if p.cands[cands[i]].tier[s] == p.best[s] {
					p.open[s][pop] = cands[i]
				}
			}
		}
	}
}
