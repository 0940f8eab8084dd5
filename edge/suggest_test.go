package edge

import (
	"strings"
	"testing"
)

func TestDistance(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"", "abc", 3},
		{"min", "mn", 1},
		{"closest", "closets", 1},
		{"kitten", "sitting", 3},
		{"ca", "abc", 3},
		{strings.Repeat("a", 65), "a", 66},
	} {
		if got := distance(tc.a, tc.b); got != tc.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tc.a, tc.b, got, tc.want)
		}
		if got := distance(tc.b, tc.a); got != tc.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tc.b, tc.a, got, tc.want)
		}
	}
}

func TestSuggest(t *testing.T) {
	known := []string{"fra", "ams", "nyc"}
	for word, want := range map[string]string{
		"frb": `did you mean "fra"?`, "FRA": `did you mean "fra"?`, "frankfurt": "known here: ams, fra, nyc",
	} {
		if got := Suggest(word, known); got != want {
			t.Errorf("Suggest(%q) = %q, want %q", word, got, want)
		}
	}
	if got := Suggest("fra", nil); got != "there are none" {
		t.Errorf("of none: %q", got)
	}
	if got := Suggest("x", make([]string, 21)); got != "there are 21 others" {
		t.Errorf("of many: %q", got)
	}
}
