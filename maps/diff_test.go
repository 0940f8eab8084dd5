package maps

import (
	"fmt"
	"math"
	"slices"
	"testing"
)

func TestDiff(t *testing.T) {
	before := sample()
	after := sample()
	// By first choice: 0 none, 1 sin, 2 nyc, 3 sin.
	after.ECS.V4 = parseTrie(32, map[string]uint32{
		"0.0.0.0/0": 0, "10.0.0.0/8": 2, "10.1.0.0/16": 2, "10.1.2.128/25": 1, "203.0.113.0/24": 1,
	}).ranges4()
	after.ECS.V6 = parseTrie(128, map[string]uint32{
		"::/0": 0, "2001:db8::/32": 1, "2001:db8:ffff::/48": 2, "2001:db8::1:0/112": 0, "ffff::/16": 2,
	}).ranges6()
	after.PoPs = slices.Clone(after.PoPs)
	after.PoPs[1].Name = "ewr" // took the place of nyc
	a, err := Parse(encode(t, before))
	if err != nil {
		t.Fatal(err)
	}
	b, err := Parse(encode(t, after))
	if err != nil {
		t.Fatal(err)
	}

	d := Diff(a, b)
	text := func(d SpaceDifference) (list []string) {
		for _, m := range d.Moves {
			list = append(list, fmt.Sprintf("%s>%s %v", m.From, m.To, m.Blocks))
		}
		for _, r := range d.Ranges {
			list = append(list, fmt.Sprintf("%s-%s %s>%s %v", r.First, r.Last, r.From, r.To, r.Blocks))
		}
		return list
	}
	want4 := []string{
		"sin>ewr 65280", "nyc>ewr 255.5", ">sin 1",
		"10.2.0.0-10.255.255.255 sin>ewr 65024",
		"10.0.0.0-10.0.255.255 sin>ewr 256",
		"10.1.3.0-10.1.255.255 nyc>ewr 253",
		"10.1.0.0-10.1.2.127 nyc>ewr 2.5",
		"203.0.113.0-203.0.113.255 >sin 1",
	}
	if got := text(d.ECS.V4); !slices.Equal(got, want4) || d.ECS.V4.Known != 65537 || d.ECS.V4.Moved != 65536.5 {
		t.Errorf("v4: %v of %v, %q, want 65536.5 of 65537, %q", d.ECS.V4.Moved, d.ECS.V4.Known, got, want4)
	}
	// ffff::/16 moved too, but lies outside of what is counted.
	want6 := []string{
		"sin>ewr 1", fmt.Sprint("nyc> ", math.Pow(2, -64)),
		"2001:db8:ffff::-2001:db8:ffff:ffff:ffff:ffff:ffff:ffff sin>ewr 1",
		fmt.Sprint("2001:db8::1:0-2001:db8::1:ffff nyc> ", math.Pow(2, -64)),
		"ffff::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff sin>ewr 0",
	}
	if got := text(d.ECS.V6); !slices.Equal(got, want6) || d.ECS.V6.Known != 65536 || d.ECS.V6.Share() != (1+math.Pow(2, -64))/65536 {
		t.Errorf("v6: share %v of %v, %q, want %q", d.ECS.V6.Share(), d.ECS.V6.Known, got, want6)
	}
	if got := text(d.Resolver.V4); len(got) != 2 || got[1] != "192.0.2.1-192.0.2.1 nyc>ewr 0.00390625" {
		t.Errorf("resolver v4: %q", got)
	}
}

func TestDiffOfSameMap(t *testing.T) {
	c := sample()
	c.Resolver = c.ECS
	m, err := Parse(encode(t, c))
	if err != nil {
		t.Fatal(err)
	}
	d := Diff(m, m)
	if d.ECS.V4.Moved != 0 || d.ECS.V4.Share() != 0 || len(d.ECS.V6.Moves) != 0 || d.Resolver.V4.Known != 65536 {
		t.Errorf("difference %+v", d)
	}
	if empty := (SpaceDifference{}); empty.Share() != 0 {
		t.Errorf("share of nothing is %v, want 0", empty.Share())
	}
}
