package shed

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"edged/maps"
)

// Report is what a node says of its PoP when an epoch has ended.
type Report struct {
	Epoch uint64
	Load  float64 // requests/s of the PoP, in tenths; 0 unless Known
	Known bool
	Price Price // of the PoP, in force in the epoch after
}

// String returns the report as nodes tell it, for example "epoch 178012345 load
// 1120.5 price 4000"; "load ?" when it is not known. It is at most 64 octets long.
func (r Report) String() string {
	load := "?"
	if r.Known {
		load = strconv.FormatFloat(min(max(r.Load, 0), maps.MaxRequests), 'f', 1, 64)
	}
	return fmt.Sprintf("epoch %d load %s price %d", r.Epoch, load, r.Price)
}

// ParseReport is the inverse of String. It errs on any other text.
func ParseReport(s string) (Report, error) {
	malformed := func(why string) (Report, error) {
		return Report{}, fmt.Errorf("load report %q: %s: want for example %q", s, why, Report{Epoch: 178012345, Load: 1120.5, Known: true, Price: 4000})
	}
	words := strings.Split(s, " ")
	if len(words) != 6 || words[0] != "epoch" || words[2] != "load" || words[4] != "price" {
		return malformed("other words")
	}
	epoch, err := strconv.ParseUint(words[1], 10, 64)
	if err != nil {
		return malformed("no epoch")
	}
	r := Report{Epoch: epoch}
	if words[3] != "?" {
		r.Known = true
		if r.Load, err = strconv.ParseFloat(words[3], 64); err != nil || !(r.Load >= 0 && r.Load <= maps.MaxRequests) || math.Signbit(r.Load) {
			return malformed("no load")
		}
	}
	price, err := strconv.ParseInt(words[5], 10, 32)
	if err != nil || price < 0 || Price(price) > MaxPrice {
		return malformed("no price")
	}
	if r.Price = Price(price); r.String() != s {
		return malformed("other digits than needed")
	}
	return r, nil
}
