package estimate

import (
	"cmp"
	"math"
	"slices"
)

// priors are the choices of m: a group's words of weight w are believed to w/(w+m).
var priors = [...]float64{0.25, 0.5, 1, 2, 4, 8, 16}

// noPrior is the prior where nothing tells it.
const noPrior = 1

// learn makes a rung of what hearings bring: evidence that is sorted, of which the
// columns of a group and the groups are in order. Each processor hears some of them
// with a function of its own, and needs what that returns until the next one.
// Those units judge how far the rung is to be trusted.
func learn(groups, hearings int, hear func() func(h int) []evidence, judges func(unit int) bool) *rung {
	r := &rung{rows: make([][]correction, groups)}
	results := make([]lesson, hearings)
	inParallel(hearings, 1, func() func(int) {
		evidence := hear()
		var s student
		return func(h int) { results[h] = s.learn(evidence(h), judges) }
	})
	var foretold []foretold
	for _, l := range results {
		foretold = append(foretold, l.foretold...)
		for i := 0; i < len(l.rows); {
			j, g := i, l.groups[i]
			for j < len(l.rows) && l.groups[j] == g {
				j++
			}
			if r.rows[g] == nil {
				r.rows[g] = l.rows[i:j:j]
			} else {
				r.rows[g] = append(r.rows[g], l.rows[i:j]...)
			}
			i = j
		}
	}
	r.prior = judge(foretold)
	for _, row := range r.rows {
		for i := range row {
			c := &row[i]
			c.add = c.mean * c.weight / (c.weight + r.prior)
		}
	}
	return r
}

// lesson is what comes of one hearing.
type lesson struct {
	rows     []correction
	groups   []int32 // of each of the rows
	foretold []foretold
}

// foretold is a judge's word and what the others of the group say.
type foretold struct {
	word, heard    float64 // the judge's own weight
	value, foretel float64
}

// student has the memory of one processor.
type student struct {
	medians
	values []weighted
	order  []int
	words  []word // room for more
}

func (s *student) learn(all []evidence, judges func(unit int) bool) (l lesson) {
	n := 0
	for i := range all {
		if i == 0 || all[i].group != all[i-1].group || all[i].column != all[i-1].column {
			n++
		}
	}
	l.rows, l.groups = make([]correction, 0, n), make([]int32, 0, n)
	for i := 0; i < len(all); {
		j := i
		c := correction{column: all[i].column}
		s.values = s.values[:0]
		for ; j < len(all) && all[j].group == all[i].group && all[j].column == all[i].column; j++ {
			s.values = append(s.values, weighted{all[j].residual, all[j].weight * all[j].size})
			c.weight += all[j].weight
		}
		if c.units = j - i; c.units <= fewUnits {
			c.words = s.wordsOf(all, i, j)
		}
		c.mean = s.middle(s.values)
		for k := i; k < j; k++ {
			if e := &all[k]; judges(e.unit) {
				if said, weight, units := c.without(e.unit); units > 0 {
					l.foretold = append(l.foretold, foretold{e.weight, weight, e.apart, said})
				}
			}
		}
		l.rows, l.groups = append(l.rows, c), append(l.groups, all[i].group)
		i = j
	}
	return l
}

// wordsOf keeps the words of evidence i up to j by value.
func (s *student) wordsOf(all []evidence, i, j int) []word {
	s.order = s.order[:0]
	for k := i; k < j; k++ {
		s.order = append(s.order, k)
	}
	slices.SortFunc(s.order, func(a, b int) int {
		return cmp.Or(cmp.Compare(all[a].residual, all[b].residual), cmp.Compare(a, b))
	})
	const slab = 1 << 12
	if cap(s.words)-len(s.words) < len(s.order) {
		s.words = make([]word, 0, slab)
	}
	from := len(s.words)
	for _, k := range s.order {
		e := &all[k]
		s.words = append(s.words, word{e.residual, float32(e.weight), float32(e.weight * e.size), int32(e.unit)})
	}
	return s.words[from:len(s.words):len(s.words)]
}

// judge returns the prior with which the judges' words are foretold best, by the
// others of their groups: the sum of distances, times 1+|log2 m|/n so that few
// words do not move it far from 1.
func judge(all []foretold) float64 {
	var loss [len(priors)]float64
	for _, f := range all {
		for p, m := range priors {
			loss[p] += f.word * math.Abs(f.value-f.foretel*f.heard/(f.heard+m))
		}
	}
	best, least := noPrior*1.0, math.Inf(1)
	for p, m := range priors {
		if l := loss[p] * (1 + math.Abs(math.Log2(m))/float64(len(all))); len(all) > 0 && l < least {
			best, least = m, l
		}
	}
	return best
}
