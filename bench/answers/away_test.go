//go:build linux

package main

import (
	"testing"
	"time"
)

func TestPausesAreTakenOff(t *testing.T) {
	away := []span{{10, 14}, {20, 21}, {40, 50}}
	answers := []span{{0, 9}, {8, 13}, {9, 22}, {41, 49}, {60, 90}}
	for _, tt := range []struct {
		window         span
		longest, owned time.Duration
	}{
		{span{0, 100}, 30, 30},
		{span{0, 30}, 13, 9},  // of {0, 9} nothing is off, of {9, 22} 5
		{span{30, 55}, 8, 0},  // nobody could run meanwhile
		{span{10, 12}, 13, 8}, // {8, 13} and {9, 22} touch it
		{span{91, 95}, 0, 0},
	} {
		if got := longest(answers, tt.window, nil); got != tt.longest {
			t.Errorf("%v: longest is %v, want %v", tt.window, got, tt.longest)
		}
		if got := longest(answers, tt.window, away); got != tt.owned {
			t.Errorf("%v: longest without pauses is %v, want %v", tt.window, got, tt.owned)
		}
	}
}
