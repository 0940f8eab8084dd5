package mapper

import "edged/mapper/compress"

// asMeasured marks the PoPs of clients who measured: what measured and what did not
// is not merged.
const asMeasured = 1 << 14

// leafKind says which PoPs other than its own a leaf may go to.
type leafKind uint8

const (
	free   leafKind = iota // those that are good enough
	loaded                 // of them, those that have room
	alone                  // none
)

// goodPoPs makes the sets of PoPs that are good enough for leaves, each once: they
// are the same in all rounds.
type goodPoPs struct {
	b      *builder
	sets   compress.Sets
	common []goodSet // by outlook: what was asked first, which mostly is all that is
	others map[goodKey]compress.Set
	pops   []uint16
	leaves []compress.Leaf // of the round before, whose memory serves again
}

type goodKey struct {
	outlook uint32
	choice  uint8
	kind    leafKind
}

type goodSet struct {
	made   bool
	choice uint8
	kind   leafKind
	set    compress.Set
}

func (b *builder) newGoodPoPs() *goodPoPs {
	return &goodPoPs{b: b, common: make([]goodSet, len(b.outlooks)), others: map[goodKey]compress.Set{}}
}

// of returns a leaf's PoP and the set of those that are good enough, which have
// asMeasured when it measured.
func (g *goodPoPs) of(l leaf, kind leafKind, pop uint16) (best uint16, good compress.Set) {
	mark := uint16(0)
	if g.b.outlooks[l.outlook].measured {
		mark, kind = asMeasured, alone
	}
	first := &g.common[l.outlook]
	switch {
	case !first.made:
		*first = goodSet{true, l.choice, kind, g.make(l, kind, pop, mark)}
		return pop | mark, first.set
	case first.choice == l.choice && first.kind == kind:
		return pop | mark, first.set
	}
	k := goodKey{l.outlook, l.choice, kind}
	good, ok := g.others[k]
	if !ok {
		good = g.make(l, kind, pop, mark)
		g.others[k] = good
	}
	return pop | mark, good
}

func (g *goodPoPs) make(l leaf, kind leafKind, pop, mark uint16) compress.Set {
	g.pops = append(g.pops[:0], pop)
	if kind != alone {
		g.pops = g.b.tolerable(l, kind == loaded, g.pops)
	}
	for i := range g.pops {
		g.pops[i] |= mark
	}
	return g.sets.Of(g.pops...)
}
