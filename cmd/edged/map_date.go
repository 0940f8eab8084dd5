package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"edged/geo/place"
)

// dateFlag says of when a map is.
type dateFlag struct{ text string }

func (f *dateFlag) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.text, "date", "", "the `DATE` of the map, as 2026-06-17 or 2026-06-17T19:00:00Z (default: $SOURCE_DATE_EPOCH, else the newest date that an input says of itself)")
}

// epochVariable is what other tools that build the same octets again take their
// date from, in seconds since 1970.
const epochVariable = "SOURCE_DATE_EPOCH"

// given returns the date that somebody gave, and whether anybody did.
func (f *dateFlag) given() (at time.Time, ok bool, err error) {
	if f.text != "" {
		for _, layout := range []string{time.DateOnly, time.RFC3339} {
			if at, err := time.Parse(layout, f.text); err == nil {
				return at.UTC(), true, nil
			}
		}
		return at, false, fmt.Errorf("bad date %q: want one like 2026-06-17 or 2026-06-17T19:00:00Z", f.text)
	}
	text := os.Getenv(epochVariable)
	if text == "" {
		return at, false, nil
	}
	seconds, err := strconv.ParseUint(text, 10, 40)
	if err != nil {
		return at, false, fmt.Errorf("bad $%s %q: want seconds since 1970", epochVariable, text)
	}
	return time.Unix(int64(seconds), 0).UTC(), true, nil
}

// builtAt returns when the newest of some place data was built, as they say
// themselves; 1970 when none does. Times of files are not asked: a copy has others.
func builtAt(places *place.DB) time.Time {
	at := time.Unix(0, 0).UTC()
	for _, s := range places.Sources() {
		at = later(at, s.Built)
	}
	return at
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
