package shed

import (
	"cmp"
	"slices"
)

// Site is what maps say of one PoP.
type Site struct {
	Name       string
	Curve      Curve
	Soft, Hard float64 // requests/s; 0: no limit
}

// Said is what one node said of a PoP last.
type Said struct {
	PoP, Node string
	Report
}

// Standing is the price of a PoP in an epoch, and what it follows from.
type Standing struct {
	PoP        string
	Price      Price
	Soft, Hard float64 // requests/s; 0: no limit
	Report             // what its nodes said together; Epoch 0: nothing
	Fresh      bool    // that is of the epoch that counts, and has a load
}

// Share returns the load as a share of the soft limit; 0 when either is not known.
func (s Standing) Share() float64 {
	if s.Soft <= 0 || !s.Known {
		return 0
	}
	return s.Load / s.Soft
}

// lag is how many epochs before one the loads are of that decide its prices: one
// for what is said at its end to reach all nodes.
const lag = 2

// keep is how many reports of a node are held, and ahead by how many epochs its
// clock may be ahead: newer ones must not displace the one that counts.
const (
	keep  = 4
	ahead = 2
)

// Book is what one node has heard of the PoPs' loads, and the prices that follow.
// Prices of an epoch are worked out from what the PoPs' own nodes said of the
// epoch two before, load and price both, so that nodes that have heard the same
// agree, whatever each has missed before. A Book reads no clock; it is for one
// goroutine. The zero value has heard nothing.
type Book struct {
	heard  map[[2]string][]Report // by PoP and node, by epoch
	prices map[string]Price       // in force
}

// Turn takes what all nodes said last, once for each, and returns how the sites stand in an epoch,
// in their order. What a node said earlier is known still; a node that is not
// among them any more is forgotten.
func (b *Book) Turn(epoch uint64, all []Said, sites []Site) []Standing {
	b.hear(epoch, all)
	was := b.prices
	b.prices = make(map[string]Price, len(sites))
	standings := make([]Standing, 0, len(sites))
	for _, site := range sites {
		s := Standing{PoP: site.Name, Soft: site.Soft, Hard: site.Hard}
		var ok bool
		if s.Report, ok = b.of(site.Name, epoch-min(lag, epoch)); ok {
			s.Fresh = s.Known && s.Epoch+lag == epoch
			s.Price = Next(s.Report.Price, site.Curve, Load{Now: s.Load, Target: site.Soft, Known: s.Known})
		} else if early, begun := b.of(site.Name, epoch-min(1, epoch)); begun {
			s.Price, ok = early.Price, true // its nodes have just begun to tell, or this one to hear
		}
		if before, known := was[site.Name]; known {
			s.Price = min(before+maxMove, max(before-maxMove, s.Price))
		}
		if ok || s.Price > 0 {
			b.prices[site.Name] = s.Price
		}
		standings = append(standings, s)
	}
	return standings
}

// hear notes reports and forgets nodes.
func (b *Book) hear(epoch uint64, all []Said) {
	heard := make(map[[2]string][]Report, len(all))
	for _, said := range all {
		key := [2]string{said.PoP, said.Node}
		reports := b.heard[key]
		if n := len(reports); said.Epoch <= epoch+ahead && (n == 0 || reports[n-1].Epoch < said.Epoch) {
			reports = append(slices.Clone(reports), said.Report)
		}
		heard[key] = reports[max(0, len(reports)-keep):]
	}
	b.heard = heard
}

// of returns what the nodes of a PoP said together of the last epoch up to one of
// which any did: the upper median of their loads and of their prices.
func (b *Book) of(pop string, epoch uint64) (joint Report, ok bool) {
	var same []Report
	for key, reports := range b.heard {
		if key[0] != pop {
			continue
		}
		for _, r := range reports {
			switch {
			case r.Epoch > epoch:
			case len(same) == 0 || r.Epoch > same[0].Epoch:
				same = append(same[:0], r)
			case r.Epoch == same[0].Epoch:
				same = append(same, r)
			}
		}
	}
	if len(same) == 0 {
		return Report{}, false
	}
	joint.Epoch = same[0].Epoch
	slices.SortFunc(same, func(x, y Report) int { return cmp.Compare(x.Price, y.Price) })
	joint.Price = same[len(same)/2].Price
	same = slices.DeleteFunc(same, func(r Report) bool { return !r.Known })
	if len(same) > 0 {
		slices.SortFunc(same, func(x, y Report) int { return cmp.Compare(x.Load, y.Load) })
		joint.Load, joint.Known = same[len(same)/2].Load, true
	}
	return joint, true
}
