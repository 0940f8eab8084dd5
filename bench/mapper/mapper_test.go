package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestSmall runs what needs no files on a small instance.
func TestSmall(t *testing.T) {
	var out strings.Builder
	if err := run(options{parts: []string{"assign"}, units: 100_000, json: true}, &out); err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal([]byte(out.String()), &r); err != nil {
		t.Fatal(err)
	}
	bars := 0
	for _, f := range r.Figures {
		if f.Bar != nil {
			bars++
		}
	}
	if bars != 8 {
		t.Errorf("%d bars, want 8: %s", bars, out.String())
	}
}

func TestErrors(t *testing.T) {
	for want, o := range map[string]options{
		`unknown part "x": want assign`: {parts: []string{"x"}},
		"places: no database: give one": {parts: []string{"places"}},
		"build: no database: give one":  {parts: []string{"build"}},
	} {
		if err := run(o, new(strings.Builder)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

func TestReport(t *testing.T) {
	r := newReport()
	r.part = "a"
	r.most("x", 3, "s", 2)
	r.least("y", 3, "rows/s", 2)
	r.add("z", 0.12345, "")
	var out strings.Builder
	if err := r.write(&out, false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<= 2: missed", ">= 2: met", "0.1235"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("report lacks %q:\n%s", want, out.String())
		}
	}
	if m := r.missed(); len(m) != 1 || m[0] != "a: x" {
		t.Errorf("missed %q, want a: x", m)
	}
}
