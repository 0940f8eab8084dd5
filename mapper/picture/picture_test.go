package picture

import (
	"bytes"
	"encoding/xml"
	"errors"
	"image/color"
	"image/png"
	"io"
	"slices"
	"strings"
	"testing"

	"edged/edge"
	"edged/mapper/compare"
)

func sample() *Picture {
	return New(
		&compare.Result{
			Unit: "requests/s",
			Spots: []compare.Spot{
				{Lat: -33.75, Lon: 151.25, Demand: 1},
				{Lat: 42.25, Lon: -71.25, Demand: 4, RTT: compare.Change{Known: 4, Before: 5, After: 9}},
				{Lat: 52.75, Lon: 13.25, Demand: 16, RTT: compare.Change{Known: 2, Before: 25, After: 12}},
			},
		},
		[]edge.PoP{{Name: "fra", Lat: 50, Lon: 8.5}, {Name: `<a&"b">`, Lat: -90, Lon: 180}},
		"from 1 to <2>",
	)
}

// elements reads a document whole, and returns its elements with their attributes
// and texts.
func elements(t *testing.T, b []byte) (list []string) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(b))
	d.Strict = true
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		switch e := token.(type) {
		case xml.StartElement:
			text := e.Name.Local
			for _, a := range e.Attr {
				text += " " + a.Name.Local + "=" + a.Value
			}
			list = append(list, text)
		case xml.CharData:
			if s := strings.TrimSpace(string(e)); s != "" {
				list = append(list, "text "+s)
			}
		}
	}
}

func TestSVG(t *testing.T) {
	var b, again bytes.Buffer
	if err := sample().SVG(&b); err != nil {
		t.Fatal(err)
	}
	if err := sample().SVG(&again); err != nil || !bytes.Equal(b.Bytes(), again.Bytes()) {
		t.Errorf("the same picture has other bytes (error %v)", err)
	}
	got := elements(t, b.Bytes())
	marks := slices.DeleteFunc(slices.Clone(got), func(s string) bool { return strings.HasPrefix(s, "line ") })
	if n := len(got) - len(marks); n != 13+7 {
		t.Errorf("%d lines, want 13 meridians and 7 parallels", n)
	}
	want := []string{
		"svg xmlns=http://www.w3.org/2000/svg viewBox=0 0 1440 764 width=1440 height=764 font-family=sans-serif font-size=12",
		"title", "text from 1 to <2>",
		"rect width=1440 height=764 fill=#ffffff",
		// The largest first; areas go by demand, from a radius of 1.5 on.
		"circle cx=773.0 cy=149.0 r=16.0 fill=#00703c fill-opacity=0.7", "title", "text 52.75, 13.25: 16.0 requests/s, 12.0 ms in place of 25.0",
		"circle cx=435.0 cy=191.0 r=8.8 fill=#ee8a62 fill-opacity=0.7", "title", "text 42.25, -71.25: 4.0 requests/s, 9.0 ms in place of 5.0",
		"circle cx=1325.0 cy=495.0 r=5.1 fill=#8a8a8a fill-opacity=0.7", "title", "text -33.75, 151.25: 1.0 requests/s",
		"path d=M754.0 160.0l-5 -9h10z fill=#1a1a1a", "text x=761.0 y=158.0 text-anchor=start", "text fra",
		"path d=M1440.0 720.0l-5 -9h10z fill=#1a1a1a", "text x=1433.0 y=718.0 text-anchor=end", `text <a&"b">`,
		"text x=14 y=738", "text from 1 to <2>",
	}
	if len(marks) < len(want) || !slices.Equal(marks[:len(want)], want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(marks, "\n"), strings.Join(want, "\n"))
	}
	if n := len(marks) - len(want); n != 5*3 {
		t.Errorf("the key has %d elements and texts, want five circles with words", n)
	}
}

func TestTones(t *testing.T) {
	for _, tt := range []struct {
		c    compare.Change
		want tone
	}{
		{compare.Change{}, same},
		{compare.Change{Known: 1, Before: 20, After: 10}, muchShorter},
		{compare.Change{Known: 1, Before: 20, After: 10.1}, shorter},
		{compare.Change{Known: 1, Before: 20, After: 19.5}, shorter},
		{compare.Change{Known: 1, Before: 20, After: 19.6}, same},
		{compare.Change{Known: 1, Before: 20, After: 20.4}, same},
		{compare.Change{Known: 1, Before: 20, After: 20.5}, longer},
		{compare.Change{Known: 1, Before: 20, After: 30}, muchLonger},
	} {
		if got := toneOf(tt.c); got != tt.want {
			t.Errorf("%+v: %s, want %s", tt.c, toneWords[got], toneWords[tt.want])
		}
	}
}

func TestPNG(t *testing.T) {
	var b, again bytes.Buffer
	if err := sample().PNG(&b); err != nil {
		t.Fatal(err)
	}
	if err := sample().PNG(&again); err != nil || !bytes.Equal(b.Bytes(), again.Bytes()) {
		t.Errorf("the same picture has other bytes (error %v)", err)
	}
	m, err := png.Decode(&b)
	if err != nil {
		t.Fatal(err)
	}
	if m.Bounds().Dx() != width || m.Bounds().Dy() != height {
		t.Errorf("size %v", m.Bounds())
	}
	for _, tt := range []struct {
		what string
		x, y int
		want color.RGBA
	}{
		{"the sea", 5, 5, color.RGBA{255, 255, 255, 255}},
		{"a parallel", 5, 120, rgb(lightLine)},
		{"the equator", 5, 360, rgb(strongLine)},
		{"seven tenths of green over white", 773, 149, color.RGBA{77, 155, 119, 255}},
		{"the edge of that disc", 773 + 15, 149, color.RGBA{77, 155, 119, 255}},
		{"beyond it", 773 + 17, 149, color.RGBA{255, 255, 255, 255}},
		{"the tip of fra", 754, 160, rgb(ink)},
		{"above its middle", 754, 155, rgb(ink)},
		{"the stem of the f", 761, 149, rgb(ink)},
		{"the last key", 20 + 4*270, height - 14, rgb(toneColours[muchLonger])},
	} {
		if got := color.RGBAModel.Convert(m.At(tt.x, tt.y)); got != tt.want {
			t.Errorf("%s, at %d, %d: %v, want %v", tt.what, tt.x, tt.y, got, tt.want)
		}
	}
}

func TestGlyphsAreWhole(t *testing.T) {
	for r, g := range glyphs {
		if len(g) != 15 || strings.Trim(g, ".#") != "" {
			t.Errorf("letter %q is %q, want 15 of . and #", r, g)
		}
	}
}
