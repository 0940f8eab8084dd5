package shed

// The bounds of an epoch, and how hard the controller pulls.
const (
	maxMove Price = 2000     // µs
	maxLeft       = 0.15 / 6 // share of a PoP's demand: 15 % in a minute
	// gain is the share of an overload that an epoch takes away. An answer lives
	// for up to six epochs, and a controller that acts on what it sees must not do
	// in that time what it has done already.
	gain = 0.12
	// rest is how far below its target a load must be for clients to come back.
	rest = 0.05
)

// Load is what a PoP has, in any one unit.
type Load struct {
	Now    float64
	Target float64 // what it should have at most; 0: there is no target
	Known  bool    // Now is fresh
}

// Next returns the price, above the map's, that follows a price in an epoch at a
// load.
func Next(price Price, c Curve, l Load) Price {
	switch {
	case !l.Known:
		return price
	case l.Target <= 0:
		return max(0, price-maxMove) // the target was taken back
	}
	over := l.Now/l.Target - 1
	if over <= 0 && over > -rest {
		return price
	}
	change := min(maxLeft, max(-maxLeft, gain*over))
	share := max(0, c.Left(price)+change)
	wanted := c.priceFor(share)
	if over > 0 {
		// Nobody leaves for more than this; it would only be the longer way back.
		wanted = min(wanted, max(price, c.last()))
	}
	if over < 0 {
		switch {
		case c.Left(price) == 0:
			wanted = 0 // nobody left for this price
		case c.Left(wanted) < share:
			wanted++ // the lowest price at which no smaller share leaves
		}
		wanted = min(wanted, price)
	}
	return min(price+maxMove, max(price-maxMove, wanted))
}
