package shed

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"edged/maps"
)

// loop is clients of three PoPs that come by a new answer some epochs later, and
// the nodes that answer them. A client asks one node, always the same.
type loop struct {
	hops  [][]maps.Hop
	at    []int // the PoP of each
	ttl   int   // epochs
	sites []Site
	books []*Book
	now   uint64
	said  []Said // by PoP, of the one node there that tells
	lost  func(book int, s Said) bool
	heard [][]Said // by book
	loads []float64
	// disagreed counts the epochs in which two books had different prices.
	disagreed int
}

func newLoop(clients, ttl, books int, soft float64) *loop {
	rng := rand.New(rand.NewPCG(2, 1))
	l := &loop{ttl: ttl, now: 1000, heard: make([][]Said, books), lost: func(int, Said) bool { return false }}
	c := NewCurves(3)
	for i := range clients {
		first := uint16(i % 3)
		l.hops = append(l.hops, []maps.Hop{
			{PoP: first, RTT: 20}, {PoP: (first + 1) % 3, RTT: 20 + uint16(rng.ExpFloat64()*8)}, {PoP: (first + 2) % 3, RTT: 60},
		})
		l.at = append(l.at, int(first))
		c.Add(l.hops[i], nil, 1)
	}
	for pop := range 3 {
		l.sites = append(l.sites, Site{Name: fmt.Sprint("p", pop), Curve: c.Curve(pop), Soft: soft})
	}
	for range books {
		l.books = append(l.books, new(Book))
	}
	return l
}

// epoch lets an epoch pass with this demand for each client of PoP 0, and 1 for
// others; it returns which share of PoP 0's clients it has lost.
func (l *loop) epoch(hot float64) (left float64) {
	l.now++
	var all [][]Price
	for i, b := range l.books {
		for _, s := range l.said {
			if l.lost(i, s) {
				continue
			}
			l.heard[i] = append(slices.DeleteFunc(l.heard[i], func(h Said) bool { return h.PoP == s.PoP }), s)
		}
		var prices []Price
		for _, s := range b.Turn(l.now, l.heard[i], l.sites) {
			prices = append(prices, s.Price)
		}
		all = append(all, prices)
	}
	if slices.ContainsFunc(all, func(prices []Price) bool { return !slices.Equal(prices, all[0]) }) {
		l.disagreed++
	}
	// Each PoP's node tells of the epoch before; the first book is theirs.
	l.said = nil
	for pop, load := range l.loads {
		l.said = append(l.said, Said{l.sites[pop].Name, "n", Report{l.now - 1, load, true, all[0][pop]}})
	}
	l.loads = make([]float64, 3)
	mine, gone := 0, 0
	for i, hops := range l.hops {
		if uint64(i%l.ttl) == l.now%uint64(l.ttl) { // its answer has run out
			prices := all[i/3%len(all)]
			l.at[i] = int(hops[Choose(hops, prices, uint64(i), l.now)].PoP)
		}
		demand := 1.0
		if hops[0].PoP == 0 {
			demand = hot
			mine++
			if l.at[i] != 0 {
				gone++
			}
		}
		l.loads[l.at[i]] += demand
	}
	return float64(gone) / float64(mine)
}

// prices are those of the first book.
func (l *loop) prices() (list []Price) {
	for _, site := range l.sites {
		list = append(list, l.books[0].prices[site.Name])
	}
	return list
}

// TestFlashCrowd closes the loop: demand near one PoP rises by two fifths in one
// step, and falls again. The overload goes away, slowly, and so does the price:
// no more leave than must, to a bound that is stated, the neighbours are not
// overrun, and nothing swings.
func TestFlashCrowd(t *testing.T) {
	const clients = 9000
	soft := 1.2 * clients / 3
	for _, ttl := range []int{1, 2, 6} {
		l := newLoop(clients, ttl, 1, soft)
		var left []float64
		peak, turns, rising := 0.0, 0, true
		for e := range 240 {
			gone := l.epoch(1.4)
			left = append(left, gone)
			n := len(left)
			if n > 6 && left[n-1]-left[n-7] > 0.15+0.02 {
				t.Errorf("ttl %d: %.3f of the demand left within a minute", ttl, left[n-1]-left[n-7])
			}
			peak = max(peak, gone)
			if e > 60 && l.loads[0] > 1.03*soft {
				t.Errorf("ttl %d: the load is %.2f of the target after %d epochs", ttl, l.loads[0]/soft, e)
				break
			}
			if l.loads[1] > 1.05*soft || l.loads[2] > 1.05*soft {
				t.Errorf("ttl %d: loads are %v", ttl, l.loads)
			}
			if n > 1 && left[n-1] != left[n-2] && left[n-1] > left[n-2] != rising {
				rising = !rising
				turns++
			}
		}
		// 1 − 1.2/1.4 of them must leave. So many more do at most, and there is at
		// most one way back.
		must, settled := 1-1.2/1.4, left[len(left)-1]
		t.Logf("ttl %d: %.3f must leave; at most %.3f left, %.3f in the end; %d turns; prices %v", ttl, must, peak, settled, turns, l.prices())
		if over := peak - must; over > 0.02 {
			t.Errorf("ttl %d: %.3f of the demand leaves beyond what must", ttl, over)
		}
		if turns > 1 {
			t.Errorf("ttl %d: the share that left turned %d times: it swings", ttl, turns)
		}
		for range 160 {
			l.epoch(1)
		}
		if !slices.Equal(l.prices(), make([]Price, 3)) {
			t.Errorf("ttl %d: prices %v are left when all is over", ttl, l.prices())
		}
	}
}

// TestLeastRegretFirst holds that nobody who loses more by it leaves before all
// who lose a step less have left.
func TestLeastRegretFirst(t *testing.T) {
	l := newLoop(9000, 1, 1, 3600)
	for e := range 60 {
		l.epoch(1.3)
		if p := l.prices(); p[1]+p[2] > 0 {
			t.Fatal("a neighbour has a price: the test is too hard")
		}
		most, least := -1, 1000 // lost by those who left, and by those who stay
		for i, hops := range l.hops {
			if hops[0].PoP != 0 {
				continue
			}
			lost := int(hops[1].RTT) - int(hops[0].RTT)
			if l.at[i] != 0 {
				most = max(most, lost)
			} else {
				least = min(least, lost)
			}
		}
		if most > least {
			t.Fatalf("epoch %d: somebody left for %d steps, somebody stays for %d", e, most, least)
		}
	}
}

// TestNodesAgree holds that nodes that miss messages have the same prices again
// one epoch after the next one arrives, and never are further apart than what
// epochs without a word can move.
func TestNodesAgree(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	l := newLoop(3000, 2, 3, 1200)
	l.lost = func(book int, s Said) bool { return book > 0 && l.now > 1020 && l.now < 1060 && rng.IntN(2) == 0 }
	deaf := 0
	for range 200 {
		before := l.disagreed
		l.epoch(1.6)
		if l.disagreed > before && (l.now < 1020 || l.now > 1063) {
			t.Errorf("epoch %d: prices differ, and all has been heard", l.now)
		}
		for i, b := range l.books {
			for _, site := range l.sites {
				if d := b.prices[site.Name] - l.books[0].prices[site.Name]; max(d, -d) > 2000 {
					t.Fatalf("epoch %d: book %d has %d µs for %s, the first %d", l.now, i, b.prices[site.Name], site.Name, b.prices[site.Name]-d)
				}
			}
		}
		deaf = l.disagreed
	}
	if deaf < 5 {
		t.Errorf("prices differed in %d epochs only: the test is too easy", deaf)
	}
	if l.prices()[0] == 0 {
		t.Error("no price was raised: the test is too easy")
	}
}
