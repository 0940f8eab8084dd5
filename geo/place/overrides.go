package place

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"edged/edge"
	"edged/geo/place/internal/country"
)

// overrides is the layer of what the operator knows better: for each range of
// addresses the longest of the file's prefixes that holds it.
type overrides struct {
	start []netip.Addr // ascending; the first of each family is its lowest address
	place []Place      // the zero Place where no prefix holds
	hash  [sha256.Size]byte
}

// override is one line of the file.
type override struct {
	prefix netip.Prefix
	place  Place
	line   int
}

func openOverrides(name string) (overrides, error) {
	b, err := edge.ReadRegular(name)
	if err != nil {
		return overrides{}, fmt.Errorf("%q: %w", name, errors.Unwrap(err))
	}
	return parseOverrides(b, name)
}

// maxFaults is how many faults of a file are listed.
const maxFaults = 50

// parseOverrides reads lines of prefix,country,lat,lon,asn. All but the prefix
// may be empty or, from the end, left out. All faults are listed, each beginning
// with name:line.
func parseOverrides(b []byte, name string) (overrides, error) {
	var list []override
	var errs []error
	line := 0
	for text := range strings.Lines(string(b)) {
		line++
		text, _, _ = strings.Cut(text, "#")
		if text = strings.TrimSpace(text); text == "" || line == 1 && strings.HasPrefix(text, "prefix") {
			continue
		}
		o, err := parseOverride(text)
		if err != nil {
			if errs = append(errs, fmt.Errorf("%s:%d: %w", name, line, err)); len(errs) == maxFaults {
				break
			}
			continue
		}
		o.line = line
		list = append(list, o)
	}
	slices.SortStableFunc(list, func(a, b override) int {
		return cmp.Or(a.prefix.Addr().Compare(b.prefix.Addr()), cmp.Compare(a.prefix.Bits(), b.prefix.Bits()))
	})
	for i := 1; i < len(list); i++ {
		if a, b := list[i-1], list[i]; a.prefix == b.prefix {
			errs = append(errs, fmt.Errorf("%s:%d: %s was given on line %d already", name, b.line, b.prefix, a.line))
		}
	}
	if len(errs) > 0 {
		return overrides{}, errors.Join(errs...)
	}
	o := flatten(list)
	o.hash = sha256.Sum256(b)
	return o, nil
}

func parseOverride(text string) (override, error) {
	fields := strings.Split(text, ",")
	if len(fields) > 5 {
		return override{}, fmt.Errorf("%d columns, want at most 5: prefix,country,lat,lon,asn", len(fields))
	}
	fields = append(fields, "", "", "", "")
	for i := range fields {
		fields[i] = strings.TrimSpace(fields[i])
	}
	prefix, err := overridePrefix(fields[0])
	if err != nil {
		return override{}, err
	}
	at, err := overridePoint(fields[2], fields[3])
	if err != nil {
		return override{}, err
	}
	var p Place
	if code := fields[1]; code != "" {
		if _, ok := country.Of(code); !ok {
			return override{}, fmt.Errorf("country %q is not known: want an ISO 3166-1 code of two capital letters", code)
		}
		p = located(code, "", "", at)
	} else if at.known {
		p = Place{Lat: at.lat, Lon: at.lon, HasCoord: true}
	}
	if number := fields[4]; number != "" {
		asn, err := strconv.ParseUint(strings.TrimPrefix(number, "AS"), 10, 32)
		if err != nil || asn == 0 {
			return override{}, fmt.Errorf("AS number %q: want 1 to 4294967295", number)
		}
		p.ASN = uint32(asn)
	}
	if p == (Place{}) {
		return override{}, fmt.Errorf("%s has no country, coordinates or AS number", prefix)
	}
	return override{prefix: prefix, place: p}, nil
}

func overridePrefix(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, fmt.Errorf("prefix %q: want the form 192.0.2.0/24 or 2001:db8::/32", s)
	}
	if p != p.Masked() {
		return p, fmt.Errorf("prefix %q has bits set behind its length: did you mean %s?", s, p.Masked())
	}
	if v4 := UnwrapPrefix(p); v4 != p {
		return p, fmt.Errorf("prefix %q is looked up as the IPv4 addresses in it: give %s", s, v4)
	}
	if neverLookedUp(p) {
		return p, fmt.Errorf("prefix %q is never looked up: its addresses stand for IPv4 ones, or for none", s)
	}
	return p, nil
}

func overridePoint(lat, lon string) (point, error) {
	if lat == "" && lon == "" {
		return point{}, nil
	}
	var at point
	var errLat, errLon error
	at.lat, errLat = strconv.ParseFloat(lat, 64)
	at.lon, errLon = strconv.ParseFloat(lon, 64)
	at.known = errLat == nil && errLon == nil
	if !at.valid() {
		return point{}, fmt.Errorf("coordinates %q,%q: want degrees, -90 to 90 and -180 to 180, not both 0", lat, lon)
	}
	return at, nil
}

// flatten turns nested prefixes, sorted with the outer before the inner ones,
// into ranges.
func flatten(list []override) overrides {
	var o overrides
	begin := func(start netip.Addr, p Place) {
		if n := len(o.start); n > 0 && o.start[n-1] == start {
			o.place[n-1] = p // an inner prefix that begins with its outer one
			return
		}
		o.start = append(o.start, start)
		o.place = append(o.place, p)
	}
	var open []override // the prefixes that hold the current address, the innermost last
	closeUntil := func(addr netip.Addr) {
		for len(open) > 0 {
			inner := open[len(open)-1]
			if inner.prefix.Contains(addr) {
				return
			}
			open = open[:len(open)-1]
			var outer Place
			if len(open) > 0 {
				outer = open[len(open)-1].place
			}
			if next := lastOf(inner.prefix).Next(); next.IsValid() {
				begin(next, outer)
			}
		}
	}
	begin(netip.IPv4Unspecified(), Place{})
	sawIPv6 := false
	for _, v := range list {
		closeUntil(v.prefix.Addr())
		if v.prefix.Addr().Is6() && !sawIPv6 {
			sawIPv6 = true
			begin(netip.IPv6Unspecified(), Place{})
		}
		open = append(open, v)
		begin(v.prefix.Addr(), v.place)
	}
	closeUntil(netip.Addr{})
	if !sawIPv6 {
		begin(netip.IPv6Unspecified(), Place{})
	}
	return o
}

func (o overrides) version() string { return fmt.Sprintf("sha256:%x", o.hash[:6]) }

func (o overrides) at(addr netip.Addr) (Place, int, error) {
	i, exact := slices.BinarySearchFunc(o.start, addr, netip.Addr.Compare)
	if !exact {
		i--
	}
	to := lastOf(netip.PrefixFrom(addr, 0))
	if i+1 < len(o.start) && o.start[i+1].BitLen() == addr.BitLen() {
		to = o.start[i+1].Prev()
	}
	return o.place[i], bitsWithin(addr, o.start[i], to), nil
}

// size: a range of n-bit numbers is at most 2n blocks.
func (o overrides) size() int { return 2 * 128 * len(o.start) }

func (o overrides) remembering() layer { return o }
