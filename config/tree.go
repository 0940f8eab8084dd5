package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"edged/edge"
)

// tree holds a YAML document against Go types. What fits is returned as maps,
// lists and typed single values; what does not is left out and reported.
type tree struct {
	source   source
	dir      string // relative paths are taken from here
	problems Problems
}

func (t *tree) errorf(n *yaml.Node, key, format string, args ...any) {
	t.problems = append(t.problems, Problem{File: t.source.file, Line: n.Line, Key: key, Message: fmt.Sprintf(format, args...)})
}

// value reads n as a value of type want. ok is false when there is nothing to
// take over, because n does not fit or is an empty mapping or list.
func (t *tree) value(n *yaml.Node, want reflect.Type, key string) (v any, ok bool) {
	_, single := kinds[want]
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		t.errorf(n, key, "anchors and aliases are not supported; write the value out")
		return nil, false
	case single:
		return t.single(n, want, key)
	case want == reflect.TypeFor[Rung]():
		return t.rung(n, key)
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null":
		// "zones:" with everything below it commented out
		if want.Kind() == reflect.Struct {
			return t.fields(n, want, key), true
		}
		return nil, false
	case want.Kind() == reflect.Slice:
		if n.Kind != yaml.SequenceNode {
			t.errorf(n, key, "want a list, got %s", describe(n))
			return nil, false
		}
		return t.list(n, want.Elem(), key), true
	case n.Kind != yaml.MappingNode:
		t.errorf(n, key, "want a mapping, got %s", describe(n))
		return nil, false
	case want.Kind() == reflect.Map:
		return t.named(n, want.Elem(), key), true
	}
	return t.fields(n, want, key), true
}

func (t *tree) single(n *yaml.Node, want reflect.Type, key string) (any, bool) {
	k := kinds[want]
	if n.Kind != yaml.ScalarNode || !slices.Contains(k.tags, n.ShortTag()) {
		hint := ""
		if n.Kind == yaml.ScalarNode && k.want == "text" && n.Value != "" {
			hint = fmt.Sprintf("; quote it: %q", n.Value)
		}
		t.errorf(n, key, "want %s, got %s%s", k.want, describe(n), hint)
		return nil, false
	}
	v, err := parseText(want, n.Value, t.dir)
	if err != nil {
		t.errorf(n, key, "%v", err)
		return nil, false
	}
	return v, true
}

func (t *tree) list(n *yaml.Node, elem reflect.Type, key string) []any {
	out := []any{}
	for i, item := range n.Content {
		at := fmt.Sprintf("%s[%d]", key, i)
		t.source.lines[at] = item.Line
		v, ok := t.value(item, elem, at)
		if !ok { // keep the place, so that later problems name the right element
			v = reflect.Zero(elem).Interface()
		}
		out = append(out, v)
	}
	return out
}

// named reads a mapping whose keys are names that the user chose.
func (t *tree) named(n *yaml.Node, elem reflect.Type, key string) map[string]any {
	out := map[string]any{}
	for name, item := range t.pairs(n, key) {
		if key != "names" && elem.Kind() != reflect.String { // owner names, and those of headers, have a syntax of their own
			if err := checkLabel(name); err != nil {
				t.errorf(item, key+"."+name, "%v", err)
				continue
			}
		}
		v, ok := t.value(item, elem, key+"."+name)
		if m, isMap := v.(map[string]any); !ok || isMap && len(m) == 0 {
			v = reflect.Zero(elem).Interface() // viper would drop an empty mapping, and the name with it
		}
		out[name] = v
	}
	return out
}

// fields reads a mapping whose keys are the fields of a struct.
func (t *tree) fields(n *yaml.Node, want reflect.Type, key string) map[string]any {
	types := map[string]reflect.Type{}
	var known []string
	for _, f := range fieldsOf(want) {
		types[f.key] = f.typ
		known = append(known, f.key)
	}
	out := map[string]any{}
	for name, item := range t.pairs(n, key) {
		at := join(key, name)
		if types[name] == nil {
			t.errorf(item, at, "unknown key; %s", edge.Suggest(name, known))
			continue
		}
		if v, ok := t.value(item, types[name], at); ok {
			out[name] = v
		}
	}
	fillDefaults(out, want)
	return out
}

// pairs walks a mapping's keys and values in order, once per key: a duplicate
// is reported and left out. It notes the line of each key.
func (t *tree) pairs(n *yaml.Node, key string) func(yield func(string, *yaml.Node) bool) {
	return func(yield func(string, *yaml.Node) bool) {
		seen := map[string]int{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			k, item := n.Content[i], n.Content[i+1]
			if k.Kind != yaml.ScalarNode || k.Anchor != "" || k.ShortTag() == "!!merge" {
				t.errorf(k, key, "a key must be plain text")
				continue
			}
			at := join(key, k.Value)
			if first, dup := seen[k.Value]; dup {
				t.errorf(k, at, "duplicate key; it stands on line %d already", first)
				continue
			}
			seen[k.Value] = k.Line
			t.source.lines[at] = k.Line
			if !yield(k.Value, item) {
				return
			}
		}
	}
}

// field is one key of a section.
type field struct {
	key   string
	typ   reflect.Type
	index int
}

// fieldsOf lists the keys of a struct: the yaml tag, or the name in lower case.
func fieldsOf(t reflect.Type) []field {
	var out []field
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() {
			continue
		}
		key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if key == "" {
			key = strings.ToLower(f.Name)
		}
		out = append(out, field{key, f.Type, i})
	}
	return out
}

// elementDefaults are the defaults of structs that stand in lists and maps.
var elementDefaults = map[reflect.Type]reflect.Value{
	reflect.TypeFor[Pool]():     reflect.ValueOf(defaultPool),
	reflect.TypeFor[TTL]():      reflect.ValueOf(defaultTTL),
	reflect.TypeFor[Endpoint](): reflect.ValueOf(defaultEndpoint),
	reflect.TypeFor[Check]():    reflect.ValueOf(defaultCheck),
	reflect.TypeFor[FailOpen](): reflect.ValueOf(defaultFailOpen),
	reflect.TypeFor[Quorum]():   reflect.ValueOf(defaultQuorum),
	reflect.TypeFor[Rule]():     reflect.ValueOf(defaultRule),
	reflect.TypeFor[Peer]():     reflect.ValueOf(defaultPeer),
	reflect.TypeFor[VIP]():      reflect.ValueOf(defaultVIP),
	reflect.TypeFor[Drain]():    reflect.ValueOf(defaultDrain),
}

// fillDefaults sets the keys that a struct of type t has a default for and m lacks.
func fillDefaults(m map[string]any, t reflect.Type) {
	d, ok := elementDefaults[t]
	if !ok {
		return
	}
	for _, f := range fieldsOf(t) {
		if v := d.Field(f.index); m[f.key] == nil && !v.IsZero() {
			m[f.key] = v.Interface()
		}
	}
}

func join(key, name string) string {
	if key == "" {
		return name
	}
	return key + "." + name
}
