package picture

import (
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"io"
	"math"
	"strconv"
	"unicode/utf8"
)

// PNG writes the picture as pixels. All letters are capitals.
func (p *Picture) PNG(w io.Writer) error {
	c := canvas{image.NewRGBA(image.Rect(0, 0, width, height))}
	draw.Draw(c.RGBA, c.Bounds(), image.White, image.Point{}, draw.Src)
	for _, l := range p.lines {
		colour := rgb(lightLine)
		if l.strong {
			colour = rgb(strongLine)
		}
		c.box(l.x1, l.y1, l.x2, l.y2, colour)
	}
	for _, d := range p.discs {
		c.disc(d, 0.7)
	}
	for _, q := range p.pops {
		for dy := range 10 {
			half := float64(dy) * 5 / 9
			c.box(q.x-half, q.y-float64(dy), q.x+half, q.y-float64(dy), rgb(ink))
		}
		at := q.x + 7
		if q.atEdge() {
			at = q.x - 7 - letter*float64(utf8.RuneCountInString(q.name))
		}
		c.text(at, q.y-11, q.name)
	}
	c.text(14, planeEnd+8, p.Title)
	for _, d := range p.key {
		c.disc(d, 1)
		c.text(d.x+12, d.y-5, d.text)
	}
	return png.Encode(w, c.RGBA)
}

type canvas struct{ *image.RGBA }

// rgb reads #rrggbb.
func rgb(text string) color.RGBA {
	n, _ := strconv.ParseUint(text[1:], 16, 24)
	return color.RGBA{uint8(n >> 16), uint8(n >> 8), uint8(n), 255}
}

// box fills the pixels from one corner to the other, both included.
func (c canvas) box(x1, y1, x2, y2 float64, colour color.RGBA) {
	area := image.Rect(int(math.Round(x1)), int(math.Round(y1)), int(math.Round(x2))+1, int(math.Round(y2))+1)
	draw.Draw(c.RGBA, area, image.NewUniform(colour), image.Point{}, draw.Src)
}

// disc mixes its colour into all pixels whose middle is in it.
func (c canvas) disc(d disc, opacity float64) {
	colour := rgb(toneColours[d.tone])
	mixed := func(under, over uint8) uint8 {
		return uint8(math.Round(float64(float64(under)*(1-opacity)) + float64(float64(over)*opacity)))
	}
	for y := int(d.y - d.r); y <= int(d.y+d.r); y++ {
		for x := int(d.x - d.r); x <= int(d.x+d.r); x++ {
			dx, dy := float64(x)-d.x, float64(y)-d.y
			if float64(dx*dx)+float64(dy*dy) > d.r*d.r || !(image.Point{X: x, Y: y}).In(c.Bounds()) {
				continue
			}
			u := c.RGBAAt(x, y)
			c.SetRGBA(x, y, color.RGBA{mixed(u.R, colour.R), mixed(u.G, colour.G), mixed(u.B, colour.B), 255})
		}
	}
}

// Letters are of 3 by 5 squares of two pixels, and apart by one square.
const (
	square = 2
	letter = 4 * square
)

func (c canvas) text(x, y float64, text string) {
	for _, r := range text {
		for i, bit := range glyph(r) {
			if bit == '#' {
				left, top := x+float64(i%3*square), y+float64(i/3*square)
				c.box(left, top, left+square-1, top+square-1, rgb(ink))
			}
		}
		x += letter
	}
}
