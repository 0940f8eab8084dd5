package mapper

import (
	"math"
	"net/netip"

	"edged/edge"
	"edged/mapper/beacon"
	"edged/mapper/simulate"
	"edged/maps"
)

// ResolverNeed is a ResolverScore for people: what client subnets in a resolver's
// queries would gain.
type ResolverNeed struct {
	Resolver netip.Addr `json:"resolver"`
	PoP      string     `json:"pop"`      // the one answer
	Units    int        `json:"units"`    // client units behind it
	Sessions float64    `json:"sessions"` //
	Demand   float64    `json:"demand"`   // requests/s, or sessions when no demand is known
	RTT      float64    `json:"rtt_ms"`   // mean of the clients
	Regret   float64    `json:"regret_ms"`
	Hurt     float64    `json:"hurt"` // share of the demand that loses more than 20 ms, 0 to 1
	Needed   bool       `json:"ecs_needed"`
}

// MaxResolvers is how many resolvers a Report lists.
const MaxResolvers = 20

// needs returns the first resolvers whose clients lose anything.
func needs(scores []ResolverScore, pops []edge.PoP, most int) []ResolverNeed {
	list := []ResolverNeed{}
	for _, s := range scores {
		if len(list) == most || s.Score() == 0 {
			break
		}
		list = append(list, ResolverNeed{s.Resolver, pops[s.PoP].Name, s.Units, s.Sessions, s.Demand, s.RTT, s.Regret, s.Hurt, s.NeedsECS()})
	}
	return list
}

// Resolvers returns the resolvers whose clients lose most by having one answer,
// as many as wanted, and how many there are in all. Without demand, sessions
// count.
func (e *Estimates) Resolvers(demand []simulate.Demand, most int) (list []ResolverNeed, all int) {
	demand, _ = Complete(demand, e.units)
	_, scores := e.rankResolvers(e.nets(func(netip.Addr) uint16 { return noPoP }), demand)
	return needs(scores, e.pops, most), len(scores)
}

// rankResolvers ranks the resolvers that clients asked. The client table's rankings
// of units with resolvers are taken out of the resolver table.
func (e *Estimates) rankResolvers(units []Net, demand []simulate.Demand) ([]Net, []ResolverScore) {
	in := ResolverInput{
		Resolvers: e.resolvers, Units: make([]beacon.Unit, len(e.units)),
		Hops: func(i int) []maps.Hop { return units[i].Hops },
		RTT: func() func(int, uint16) float64 {
			r := e.model.NewRanker()
			return func(i int, pop uint16) float64 {
				rtt := r.Between(i, pop).RTT
				if f := e.units[i].failing(pop); f != nil {
					rtt += float64(f.Share * failedMs)
				}
				return rtt
			}
		},
		Place: func(resolver netip.Addr) []maps.Hop {
			hops, _ := e.at(e.locate(resolver))
			return hops
		},
		PlaceRTT: func(resolver netip.Addr, pop uint16) float64 {
			p := e.locate(resolver)
			if !p.HasCoord {
				return math.Inf(1)
			}
			return e.model.BetweenPlace(p, pop).RTT
		},
	}
	at := map[beacon.Unit]int{}
	for i, u := range e.units {
		in.Units[i] = u.Unit
		at[u.Unit] = i
	}
	if demand != nil {
		asked := UnitDemand(demand)
		in.Demand = func(i int) float64 { return asked(e.units[i].Unit) / float64(e.units[i].Sessions) }
	}
	nets, scores := RankResolvers(in)
	for _, n := range nets {
		if i, ok := at[beacon.UnitOf(n.Prefix.Addr())]; ok && n.Prefix == units[i].Prefix {
			units[i].Tables = ECS
		}
	}
	return nets, scores
}
