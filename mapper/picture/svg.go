package picture

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// SVG writes the picture as Scalable Vector Graphics 1.1.
func (p *Picture) SVG(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n", width, height, width, height)
	fmt.Fprintf(&b, "<title>%s</title>\n", escaped(p.Title))
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", width, height)
	for _, l := range p.lines {
		colour := lightLine
		if l.strong {
			colour = strongLine
		}
		fmt.Fprintf(&b, `<line x1="%.0f" y1="%.0f" x2="%.0f" y2="%.0f" stroke="%s"/>`+"\n", l.x1, l.y1, l.x2, l.y2, colour)
	}
	for _, d := range p.discs {
		fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="%.1f" fill="%s" fill-opacity="0.7"><title>%s</title></circle>`+"\n", d.x, d.y, d.r, toneColours[d.tone], escaped(d.text))
	}
	for _, q := range p.pops {
		at, anchor := q.x+7, "start"
		if q.atEdge() {
			at, anchor = q.x-7, "end"
		}
		fmt.Fprintf(&b, `<path d="M%.1f %.1fl-5 -9h10z" fill="%s"/><text x="%.1f" y="%.1f" text-anchor="%s">%s</text>`+"\n", q.x, q.y, ink, at, q.y-2, anchor, escaped(q.name))
	}
	fmt.Fprintf(&b, `<text x="14" y="%d">%s</text>`+"\n", planeEnd+18, escaped(p.Title))
	for _, d := range p.key {
		fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="%.1f" fill="%s"/><text x="%.1f" y="%.1f">%s</text>`+"\n", d.x, d.y, d.r, toneColours[d.tone], d.x+12, d.y+4, escaped(d.text))
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

const (
	lightLine  = "#e4e4e4"
	strongLine = "#bdbdbd"
	ink        = "#1a1a1a"
)

// escaped makes a text fit for content of an element. What XML cannot hold becomes
// the replacement character.
func escaped(text string) string {
	var b strings.Builder
	xml.EscapeText(&b, []byte(text))
	return b.String()
}
