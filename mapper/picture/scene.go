package picture

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"edged/edge"
	"edged/mapper/compare"
)

// The plane, in pixels: four for a degree, and a band for the caption below.
const (
	perDegree = 4
	width     = 360 * perDegree
	planeEnd  = 180 * perDegree
	height    = planeEnd + band
	band      = 44
)

// Picture is all marks, in the order in which they are drawn.
type Picture struct {
	Title string
	lines []line
	discs []disc
	pops  []pop
	key   []disc // of the caption, each with its words
}

// line is one of the graticule.
type line struct {
	x1, y1, x2, y2 float64
	strong         bool
}

// disc is a place with demand that moves.
type disc struct {
	x, y, r float64
	tone    tone
	text    string
}

// pop is a PoP; it points down at its place.
type pop struct {
	x, y float64
	name string
}

// atEdge reports whether there is no room for a name at its right.
func (q pop) atEdge() bool { return q.x > width-80 }

// tone is what becomes of round trips.
type tone uint8

const (
	muchShorter tone = iota
	shorter
	same // or not known
	longer
	muchLonger
)

// Steps between tones, ms.
const (
	little = 0.5
	much   = 10.0
)

var toneColours = [...]string{"#00703c", "#5fb97f", "#8a8a8a", "#ee8a62", "#b2182b"}

var toneWords = [...]string{"10 ms shorter or more", "shorter", "the same or not known", "longer", "10 ms longer or more"}

func toneOf(c compare.Change) tone {
	if c.Known == 0 {
		return same
	}
	switch change := c.After - c.Before; {
	case change <= -much:
		return muchShorter
	case change <= -little:
		return shorter
	case change < little:
		return same
	case change < much:
		return longer
	}
	return muchLonger
}

// Radii of discs, pixels.
const (
	leastRadius = 1.5
	mostRadius  = 16
)

// New lays out a comparison. The PoPs are those of the new map.
func New(c *compare.Result, pops []edge.PoP, title string) *Picture {
	p := &Picture{Title: title}
	for lon := -180; lon <= 180; lon += 30 {
		x := xOf(float64(lon))
		p.lines = append(p.lines, line{x, 0, x, planeEnd, lon == 0})
	}
	for lat := 90; lat >= -90; lat -= 30 {
		y := yOf(float64(lat))
		p.lines = append(p.lines, line{0, y, width, y, lat == 0})
	}
	most := 0.0
	for _, s := range c.Spots {
		most = max(most, s.Demand)
	}
	for _, s := range c.Spots {
		d := disc{
			x: xOf(s.Lon), y: yOf(s.Lat), r: leastRadius + (mostRadius-leastRadius)*math.Sqrt(s.Demand/most), tone: toneOf(s.RTT),
			text: fmt.Sprintf("%.2f, %.2f: %.1f %s", s.Lat, s.Lon, s.Demand, c.Unit),
		}
		if s.RTT.Known > 0 {
			d.text += fmt.Sprintf(", %.1f ms in place of %.1f", s.RTT.After, s.RTT.Before)
		}
		p.discs = append(p.discs, d)
	}
	slices.SortStableFunc(p.discs, func(a, b disc) int { return cmp.Compare(b.r, a.r) }) // small ones on top
	for _, q := range pops {
		p.pops = append(p.pops, pop{xOf(q.Lon), yOf(q.Lat), q.Name})
	}
	for t, words := range toneWords {
		p.key = append(p.key, disc{x: 20 + 270*float64(t), y: planeEnd + band - 14, r: 6, tone: tone(t), text: words})
	}
	return p
}

func xOf(lon float64) float64 { return (lon + 180) * perDegree }

func yOf(lat float64) float64 { return (90 - lat) * perDegree }
