package health

import (
	"cmp"
	"fmt"
	"slices"

	"edged/edge"
)

// decision is what the fleet says of one target, before it is compared with
// what it said earlier.
type decision struct {
	kept    bool // there is too little to go by: the last verdict stays
	verdict edge.Verdict
	reason  string
	decided string
}

func keep(format string, args ...any) decision {
	return decision{kept: true, decided: "kept: " + fmt.Sprintf(format, args...)}
}

// agree counts the votes on one target: n of them, fresh and believed. The
// target is down when a majority of the n, and at least q.MinObservers, say so
// from q.MinPoPs PoPs or more. Else it is up when anybody says so, for then the
// proof that it is down is missing.
//
// With fewer than q.MinObservers votes, or with votes from too few PoPs, the
// last verdict is kept, and likewise when nobody says up and too few say down.
func agree(votes []Vote, q Quorum) decision {
	counted := make([]*Vote, 0, len(votes))
	up, down := make([]*Vote, 0, len(votes)), make([]*Vote, 0, len(votes))
	for i := range votes {
		v := &votes[i]
		if !v.counts() {
			continue
		}
		counted = append(counted, v)
		switch {
		case isUp(v.Verdict):
			up = append(up, v)
		case isDown(v.Verdict):
			down = append(down, v)
		}
	}
	n := len(counted)
	least := max(1, q.MinObservers)
	need := max(least, n/2+1)
	switch {
	case n < least:
		return keep("%d of %d observers count, want %d", n, len(votes), least)
	case pops(counted) < q.MinPoPs:
		return keep("PoPs that count: %d, want %d", pops(counted), q.MinPoPs)
	case len(down) >= need && pops(down) >= q.MinPoPs:
		return win(down, edge.Failing, edge.Dead, n)
	case len(up) > 0:
		return win(up, edge.OK, edge.Degraded, n)
	case len(down) > 0:
		return keep("%d of %d observers say down, want %d; PoPs: %d, want %d", len(down), n, need, pops(down), max(1, q.MinPoPs))
	}
	return keep("none of %d observers knows", n)
}

// stated goes by what observers tell of themselves, whatever they are worth as
// observers of others. When none of them is heard, the last verdict is kept.
func stated(votes []Vote) decision {
	fresh := make([]*Vote, 0, len(votes))
	for i := range votes {
		if v := &votes[i]; v.Fresh && v.Verdict != edge.Unknown {
			fresh = append(fresh, v)
		}
	}
	if len(fresh) == 0 {
		return keep("no node there is heard")
	}
	best := slices.MinFunc(fresh, func(a, b *Vote) int { return cmp.Compare(a.Verdict, b.Verdict) })
	d := decision{verdict: best.Verdict, reason: best.Reason}
	same := 0
	for _, v := range fresh {
		if v.Verdict == best.Verdict {
			same++
		}
	}
	d.decided = fmt.Sprintf("%d of %d nodes there", same, len(fresh))
	return d
}

// win returns the verdict of the side that won: the worse of its two needs a
// majority within the side.
func win(side []*Vote, better, worse edge.Verdict, n int) decision {
	worst := 0
	for _, v := range side {
		if v.Verdict == worse {
			worst++
		}
	}
	d := decision{verdict: better, decided: fmt.Sprintf("%d of %d observers", len(side), n)}
	if 2*worst > len(side) {
		d.verdict = worse
	}
	d.reason = commonReason(side, d.verdict)
	return d
}

// commonReason returns the reason most often given with a verdict, and of those
// given equally often the first in byte order.
func commonReason(side []*Vote, verdict edge.Verdict) string {
	var reasons []string
	for _, v := range side {
		if v.Verdict == verdict {
			reasons = append(reasons, v.Reason)
		}
	}
	slices.Sort(reasons)
	var common string
	most, run := 0, 0
	for i, reason := range reasons {
		if i == 0 || reason != reasons[i-1] {
			run = 0
		}
		run++
		if run > most {
			most, common = run, reason
		}
	}
	return common
}

// own goes by what one observer says alone, fresh or not.
func own(votes []Vote, self, how string) decision {
	for i := range votes {
		if v := &votes[i]; v.Observer == self && v.Verdict != edge.Unknown {
			return decision{verdict: v.Verdict, reason: v.Reason, decided: how}
		}
	}
	return keep("this node has not checked it")
}

// counts says whether a vote is one of those that decide.
func (v *Vote) counts() bool { return v.Fresh && v.Suspect == "" }

// pops counts the PoPs that votes come from.
func pops(votes []*Vote) int {
	var seen []string
	for _, v := range votes {
		if !slices.Contains(seen, v.PoP) {
			seen = append(seen, v.PoP)
		}
	}
	return len(seen)
}

// suspects returns, by name, why observers are not believed: what they declared
// themselves, or that at least two and more than half of the targets they know
// are down to them while most others that look see them up. Then it is the
// observer's uplink that is down. In an outage the others see it too, and nobody
// is suspect.
func suspects(observers []Observer) map[string]string {
	why := make(map[string]string) // by name
	type sides struct{ up, down int32 }
	seen := make(map[TargetID]sides)
	for _, o := range observers {
		if o.Suspect != "" {
			why[o.Name] = o.Suspect
		}
		if !o.Fresh || o.Suspect != "" {
			continue
		}
		for t, obs := range o.Observations {
			s := seen[t]
			switch {
			case isUp(obs.Verdict):
				s.up++
			case isDown(obs.Verdict):
				s.down++
			default:
				continue
			}
			seen[t] = s
		}
	}
	for _, o := range observers {
		if !o.Fresh || o.Suspect != "" {
			continue
		}
		known, alone := 0, 0
		for t, obs := range o.Observations {
			switch s := seen[t]; {
			case isUp(obs.Verdict):
				known++
			case isDown(obs.Verdict):
				known++
				if others := s.up + s.down - 1; 2*s.up > others {
					alone++
				}
			}
		}
		if alone >= 2 && 2*alone > known {
			why[o.Name] = fmt.Sprintf("says down to %d of %d targets that others see up", alone, known)
		}
	}
	return why
}
