package page

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// MaxReport is how large a report may be, in octets, and maxPoPs how many PoPs it
// may be about.
const (
	MaxReport = 2048
	maxPoPs   = 16
)

// Report is what a page reports (docs/format/beacon-token.md).
type Report struct {
	Token string
	PoPs  []string  // all of the session, in its order
	MS    []float64 // the time of each; 0: it was not measured; Failed: no answer came
}

// Failed stands for the time of a PoP that did not answer.
const Failed = -1

// ParseReport reads a report.
func ParseReport(text string) (Report, error) {
	if len(text) > MaxReport {
		return Report{}, fmt.Errorf("report: %d octets are too many", len(text))
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	r := Report{Token: lines[0]}
	if len(lines)-1 < 1 || len(lines)-1 > maxPoPs {
		return Report{}, fmt.Errorf("report: want a token and 1 to %d pops, got %d lines", maxPoPs, len(lines))
	}
	for _, line := range lines[1:] {
		pop, value, _ := strings.Cut(line, " ")
		if !isLabel(pop) {
			return Report{}, fmt.Errorf("report: %q is no name of a pop", pop)
		}
		ms, err := parseMS(value)
		if err != nil {
			return Report{}, fmt.Errorf("report: pop %q: %w", pop, err)
		}
		r.PoPs, r.MS = append(r.PoPs, pop), append(r.MS, ms)
	}
	return r, nil
}

// parseMS reads a time in plain decimals, or "-" or "failed".
func parseMS(text string) (float64, error) {
	if text == "-" {
		return 0, nil
	}
	if text == "failed" {
		return Failed, nil
	}
	if text == "" || len(text) > 10 || strings.Trim(text, "0123456789.") != "" {
		return 0, fmt.Errorf("%q is no time in milliseconds", text)
	}
	ms, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(ms, 0) {
		return 0, errors.New("no time in milliseconds")
	}
	return ms, nil
}

// isLabel says whether a text can be the name of a PoP.
func isLabel(s string) bool {
	return s != "" && len(s) <= 63 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}
