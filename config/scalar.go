package config

import (
	"fmt"
	"math"
	"net/netip"
	"path/filepath"
	"reflect"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"
)

// kind is one type of single value: how its text is read and what to call it.
type kind struct {
	want  string                         // for people: "want ..."
	tags  []string                       // YAML types that may stand for it
	parse func(text string) (any, error) // returns exactly the Go type it is listed under
}

// kinds are the types of single values that a Config has.
var kinds = map[reflect.Type]kind{
	reflect.TypeFor[string](): {"text", []string{"!!str"}, func(s string) (any, error) { return s, nil }},
	reflect.TypeFor[Path]():   {"a path", []string{"!!str"}, func(s string) (any, error) { return Path(s), nil }},
	reflect.TypeFor[bool]():   {"true or false", []string{"!!bool"}, func(s string) (any, error) { return strconv.ParseBool(s) }},
	reflect.TypeFor[int]():    {"a whole number", []string{"!!int"}, func(s string) (any, error) { return strconv.Atoi(s) }},
	reflect.TypeFor[int64]():  {"a whole number", []string{"!!int"}, func(s string) (any, error) { return strconv.ParseInt(s, 10, 64) }},
	reflect.TypeFor[float64](): {"a number", []string{"!!int", "!!float"}, func(s string) (any, error) {
		f, err := strconv.ParseFloat(s, 64)
		if err == nil && (math.IsNaN(f) || math.IsInf(f, 0)) {
			err = fmt.Errorf("not finite")
		}
		return f, err
	}},
	reflect.TypeFor[time.Duration](): {"a duration such as 30s", []string{"!!str"}, func(s string) (any, error) { return time.ParseDuration(s) }},
	reflect.TypeFor[netip.Addr](): {"an IP address", []string{"!!str"}, func(s string) (any, error) {
		if s == "" {
			return netip.Addr{}, nil
		}
		return netip.ParseAddr(s)
	}},
	reflect.TypeFor[netip.Prefix](): {"a prefix such as 192.0.2.0/24", []string{"!!str"}, func(s string) (any, error) { return netip.ParsePrefix(s) }},
	reflect.TypeFor[netip.AddrPort](): {"an address and port such as 127.0.0.1:53 or [::1]:53", []string{"!!str"}, func(s string) (any, error) {
		if s == "" {
			return netip.AddrPort{}, nil
		}
		return netip.ParseAddrPort(s)
	}},
}

// parseText reads text, from the file or the environment, as a t. Relative
// paths are taken from dir.
func parseText(t reflect.Type, text, dir string) (any, error) {
	k := kinds[t]
	v, err := k.parse(text)
	if err != nil {
		return nil, fmt.Errorf("want %s, got %q", k.want, text)
	}
	if p, ok := v.(Path); ok && p != "" && !filepath.IsAbs(string(p)) {
		v = Path(filepath.Join(dir, string(p)))
	}
	return v, nil
}

// describe says what stands in the file, for "got ...".
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.ShortTag() {
	case "!!null":
		return "nothing"
	case "!!int", "!!float":
		return "the number " + n.Value
	case "!!bool":
		return n.Value
	}
	return strconv.Quote(n.Value)
}
