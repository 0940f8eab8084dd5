package mapper

import (
	"edged/maps"
)

// Report says what a map came to hold, and what it does to clients and PoPs.
type Report struct {
	Nets     int `json:"nets"`     // measured networks
	Orders   int `json:"orders"`   // different great-circle orders
	Rankings int `json:"rankings"` // different rankings
	Leaves4  int `json:"leaves4"`  // ranges of the client table before neighbours were merged
	Leaves6  int `json:"leaves6"`
	Ranges4  int `json:"ranges4"` // of the client table, cuts at /16 included
	Ranges6  int `json:"ranges6"` // of the client table, exceptions within a /64 not counted

	Unit     DemandUnit `json:"unit"`     // of demand and loads
	Demand   float64    `json:"demand"`   // of all clients
	Assumed  float64    `json:"assumed"`  // of it, what no line says and sessions let expect
	Nowhere  float64    `json:"nowhere"`  // of it, that of clients of which nothing is known
	Measured float64    `json:"measured"` // of it, that of clients who measured
	InForce  float64    `json:"in_force"` // of it, that of clients with a first choice in the map in force
	Moved    float64    `json:"moved"`    // of that, what has another first choice now
	// Ranked is how many IPv4 /24 blocks have a first choice, and Uncounted how many of
	// them have no demand: what they ask for is in no load.
	Ranked    float64 `json:"ranked_blocks"`
	Uncounted float64 `json:"uncounted_blocks"`
	// Nearest and Mean are the round trips in ms to the nearest PoP and to that of
	// the map, by the demand of clients for whom both are known, which is Timed.
	Nearest float64 `json:"nearest_ms"`
	Mean    float64 `json:"mean_ms"`
	Timed   float64 `json:"timed"`

	// Limited says that capacities were kept, or as nearly as the shortages let.
	Limited   bool       `json:"limited"`
	PoPs      []PoPLoad  `json:"pops"`
	Shortages []Shortage `json:"shortages"`
	// Split are ranges whose clients were too many for one PoP and have several now,
	// the first MaxSplits by demand; SplitDemand is that of all of them.
	Split       []Split `json:"split"`
	SplitDemand float64 `json:"split_demand"`
	// Resolvers are those whose clients an answer for all of them serves worst, the
	// first MaxResolvers.
	Resolvers []ResolverNeed `json:"resolvers"`
	// Above is how much more the assignment costs than any could at least, as a
	// share of that. It says nothing where a PoP is above its hard limit.
	Above float64 `json:"above_bound"`
}

// PoPLoad is what a PoP is given. Limits are 0 where there is none.
type PoPLoad struct {
	Name     string  `json:"name"`
	Load     float64 `json:"load"`
	Capacity float64 `json:"capacity,omitempty"`
	Soft     float64 `json:"soft,omitempty"` // what it should have at most
	Hard     float64 `json:"hard,omitempty"` // what it can have at most
	Held     float64 `json:"held,omitempty"` // what it was held to: Soft, or more in a shortage
	Price    float64 `json:"price_ms"`
}

// Shortage is a set of PoPs whose soft limits are less than the demand that has
// nowhere else to go. Short is what is above the hard limits together.
type Shortage struct {
	PoPs   []string `json:"pops"`
	Demand float64  `json:"demand"`
	Soft   float64  `json:"soft"`
	Hard   float64  `json:"hard"`
	Short  float64  `json:"short"`
}

func (b *builder) report(c *maps.Contents) Report {
	r := Report{
		Nets: b.nets, Orders: len(c.Orders), Rankings: len(c.Rankings),
		Leaves4: len(b.clients[0].leaves), Leaves6: len(b.clients[1].leaves),
		Ranges4: c.ECS.V4.Len(), Ranges6: c.ECS.V6.Len(),
		Unit: b.unit, Assumed: b.assumed, Limited: b.shares.limited, Shortages: []Shortage{},
	}
	for pop, p := range b.in.PoPs {
		l := b.shares.limits[pop]
		r.PoPs = append(r.PoPs, PoPLoad{
			Name: p.Name, Capacity: l.capacity, Soft: l.soft, Hard: l.hard, Held: l.held,
			Price: float64(b.shares.prices[pop]) / 1000,
		})
	}
	r.Split, r.SplitDemand = b.splits()
	r.Resolvers = needs(b.resolverScores, b.in.PoPs, MaxResolvers)
	for _, s := range b.clients {
		for v, run := range s.goes() {
			r.add(v, run.pop, &b.outlooks[s.leaves[v.leaf].outlook])
		}
	}
	r.Ranked, r.Uncounted = b.counted(b.clients[0])
	if r.Timed > 0 {
		r.Nearest /= r.Timed
		r.Mean /= r.Timed
	}
	if result := b.shares.result; result != nil {
		if result.Bound > 0 {
			r.Above = (result.Cost - result.Bound) / result.Bound
		}
		for _, short := range result.Shortages {
			s := Shortage{
				Demand: float64(short.Demand) / b.shares.scale, Soft: float64(short.Soft) / b.shares.scale,
				Hard: float64(short.Hard) / b.shares.scale, Short: float64(short.Short()) / b.shares.scale,
			}
			for _, pop := range short.PoPs {
				s.PoPs = append(s.PoPs, b.in.PoPs[pop].Name)
			}
			r.Shortages = append(r.Shortages, s)
		}
	}
	return r
}

// add counts the demand of one leaf.
func (r *Report) add(v served, pop uint16, o *outlook) {
	r.Demand += v.demand
	if o.measured {
		r.Measured += v.demand
	}
	if v.now != noPoP {
		r.InForce += v.demand
		if v.now != pop {
			r.Moved += v.demand
		}
	}
	if pop == noPoP {
		r.Nowhere += v.demand
		return
	}
	r.PoPs[pop].Load += v.demand
	for _, h := range o.hops[:o.timed] {
		if h.PoP == pop {
			r.Timed += v.demand
			r.Nearest += v.demand * float64(o.hops[0].RTT) / 2
			r.Mean += v.demand * float64(h.RTT) / 2
		}
	}
}

// counted returns how many /24 blocks of IPv4 have a first choice, and how many of
// these no demand.
func (b *builder) counted(s *space) (ranked, without float64) {
	next := 0
	for i, l := range s.leaves {
		served := next < len(s.served) && s.served[next].leaf == i
		if served {
			next++
		}
		if b.first(l) == noPoP {
			continue
		}
		end, more := s.end(i)
		blocks := sizeOf(l.start, end, more, s.bits) / 256
		ranked += blocks
		if !served {
			without += blocks
		}
	}
	return ranked, without
}
