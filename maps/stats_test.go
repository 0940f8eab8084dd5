package maps

import "testing"

func TestStats(t *testing.T) {
	c := sample()
	t4 := parseTrie(32, map[string]uint32{"10.0.0.0/8": 1, "10.64.0.0/10": 2, "10.64.0.0/16": 1})
	for p, row := range t4.rows {
		t4.rows[p] = MakeRow(row.Ranking(), row.Ranking() == 2) // only ranking 2 is measured
	}
	t4.rows[lowest4] = MakeRow(0, false)
	c.ECS.V4 = t4.ranges4()
	m, err := Parse(encode(t, c))
	if err != nil {
		t.Fatal(err)
	}
	v4, v6 := m.Stats(m.ECS())
	// 10.65.0.0 to 10.127.255.255 is 63 * 2^16 addresses of 2^32.
	if want := (SpaceStats{Ranges: 5, MeasuredRanges: 1, Measured: 63.0 / 65536, Unknown: 255.0 / 256}); v4 != want {
		t.Errorf("v4 %+v, want %+v", v4, want)
	}
	if v6.Ranges != 6 || v6.MeasuredRanges != 6 || v6.Measured != 1 {
		t.Errorf("v6 %+v, want 6 ranges, all measured", v6)
	}
}
