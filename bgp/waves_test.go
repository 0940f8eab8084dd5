package bgp

import (
	"slices"
	"strings"
	"testing"
)

// stepsOf reads nodes as "NODE +VIP -VIP …": a VIP that comes or leaves. A node
// without either changes attributes.
func stepsOf(text string) (p FleetPlan) {
	for part := range strings.SplitSeq(text, ",") {
		words := strings.Fields(part)
		s := NodeStep{Plan: planOf(words[0], 2)}
		kinds := []ChangeKind{AltersRoute}
		for _, w := range words[1:] {
			if vip, ok := strings.CutPrefix(w, "-"); ok {
				s.Prior.VIPs, kinds = append(s.Prior.VIPs, vipNamed(vip)), append(kinds, DropsRoute)
			} else {
				s.Plan.VIPs, kinds = append(s.Plan.VIPs, vipNamed(w[1:])), append(kinds, AddsRoute)
			}
		}
		s.Adds, s.Drops = comeAndGo(s.Prior, s.Plan, nil)
		p.Steps = append(p.Steps, s)
		for _, k := range kinds {
			p.Changes = append(p.Changes, Change{Node: words[0], Kind: k})
		}
	}
	return p
}

func wavesText(waves [][]string) string {
	var parts []string
	for _, w := range waves {
		parts = append(parts, strings.Join(w, " "))
	}
	return strings.Join(parts, " | ")
}

func TestWaves(t *testing.T) {
	for _, tc := range []struct{ plan, want string }{
		{"fra1", "fra1"},
		{"fra1, fra2, fra3", "fra1 | fra2 fra3"},
		{"ams1, fra1, lhr1, lhr2, waw1", "ams1 | fra1 | lhr1 lhr2 waw1"},
		{"ams1, ams2, ams3, fra1, fra2, lhr1, lhr2, waw1", "ams1 | ams2 ams3 | fra1 fra2 | lhr1 lhr2 waw1"},
		{"fra1 -ns1, fra2 -ns1, fra3 -ns1", "fra1 | fra2 | fra3"},
		{"fra1 -ns1, fra2 -ns1, fra3 -ns2, fra4 -ns2", "fra1 | fra2 fra3 | fra4"},
		{"fra1 -ns1, fra2 +ns1", "fra2 | fra1"},                        // what replaces it comes first
		{"ams1, fra1 +ns1, fra2 +ns1", "fra1 | fra2 | ams1"},           // the first stands for most of the change
		{"ams1 -ns1, fra1 +ns1, lhr1 -ns1 +ns2", "fra1 | lhr1 | ams1"}, // more ways first
	} {
		if got := wavesText(Waves(stepsOf(tc.plan))); got != tc.want {
			t.Errorf("%s: waves %q, want %q", tc.plan, got, tc.want)
		}
	}
	for _, tc := range []struct{ plan, quiet, want string }{
		{"fra1 +ns1, fra2, lhr1 +ns1, waw1", "fra1", "lhr1 | fra2 | waw1 | fra1"},
		{"fra1, fra2, lhr1, waw1", "fra2", "fra1 | lhr1 | waw1 | fra2"},
		{"ams1, bru1, cph1, dub1, fra1, gva1, lhr1, mad1, osl1", "ams1 bru1 dub1 gva1", "cph1 | fra1 | lhr1 mad1 osl1 | ams1 bru1 dub1 gva1"},
		{"fra1, fra2", "fra1 fra2", "fra1 | fra2"},
	} {
		p := stepsOf(tc.plan)
		p.Quiet = strings.Fields(tc.quiet)
		if got := wavesText(Waves(p)); got != tc.want {
			t.Errorf("%s, drained %s: waves %q, want %q", tc.plan, tc.quiet, got, tc.want)
		}
	}
	if got := Waves(FleetPlan{}); got != nil {
		t.Errorf("waves of nothing: %q", got)
	}
}

// FuzzWaves holds what Waves promises, for any plan of up to eight nodes in
// three PoPs that lose up to three VIPs.
func FuzzWaves(f *testing.F) {
	f.Add([]byte{0, 1, 2, 0x11, 0x22, 0x33})
	f.Add([]byte{0x10, 0x10, 0x10, 0x10, 0x21, 0x12})
	f.Fuzz(func(t *testing.T, data []byte) {
		var texts, all []string
		for i, b := range data[:min(len(data), 8)] {
			node := []string{"ams", "fra", "lhr"}[b%3] + string(rune('1'+i))
			all = append(all, node)
			for v, name := range []string{" -ns1", " -ns2", " +ns3"} {
				if b>>4&(1<<v) != 0 {
					node += name
				}
			}
			texts = append(texts, node)
		}
		if texts == nil {
			return
		}
		p := stepsOf(strings.Join(texts, ","))
		waves := Waves(p)
		got := slices.Concat(waves...)
		slices.Sort(got)
		slices.Sort(all)
		if !slices.Equal(got, all) {
			t.Fatalf("waves %q, want each of %q once", waves, all)
		}
		if len(waves[0]) != 1 {
			t.Errorf("the first wave is %q", waves[0])
		}
		for i, w := range waves {
			if len(w) == 0 {
				t.Errorf("wave %d of %q is empty", i, waves)
			}
			if i >= len(waves)-2 {
				continue
			}
			leaving := map[string]bool{}
			for _, node := range w {
				s, _ := p.Step(node)
				if first, _ := p.Step(w[0]); s.Plan.PoP != first.Plan.PoP {
					t.Errorf("wave %d of %q holds nodes of two PoPs", i, waves)
				}
				for _, vip := range s.Leaves() {
					if leaving[vip] {
						t.Errorf("%s leaves two nodes in wave %d of %q", vip, i, waves)
					}
					leaving[vip] = true
				}
			}
		}
	})
}
