package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing wrong with the configuration or with a file it names.
type Problem struct {
	File    string `json:"file"`           // as the user named it, or "environment"
	Line    int    `json:"line,omitempty"` // 1-based; 0 when the file has none for it
	Key     string `json:"key,omitempty"`  // dotted, as people write it: pools.www.ttl.min
	Message string `json:"message"`
}

// String returns "file:line: key: message" without the parts that are not known.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	if p.Key != "" {
		b.WriteString(": " + p.Key)
	}
	b.WriteString(": " + p.Message)
	return b.String()
}

// Problems are all that is wrong, one line each. As an error they are never
// empty; use [Problems.Err].
type Problems []Problem

// Error returns one line per problem.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Err returns ps as an error, and nil when there is none.
func (ps Problems) Err() error {
	if len(ps) == 0 {
		return nil
	}
	return ps
}

// sorted returns ps by line, first found first within a line, without repeats.
func (ps Problems) sorted() Problems {
	ps = slices.Clone(ps)
	slices.SortStableFunc(ps, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	return slices.Compact(ps)
}

// source remembers where each key was set, so that a problem found later can
// name the place. Keys are dotted paths as in [Problem].
type source struct {
	file  string
	lines map[string]int    // keys that stand in the file, well-formed or not
	env   map[string]string // keys that an environment variable set, with its name
}

func (s source) has(key string) bool {
	_, inFile := s.lines[key]
	_, inEnv := s.env[key]
	return inFile || inEnv
}

// problem describes what is wrong with the value of key. The line is that of
// the key or, when it does not stand in the file, of the nearest one above it.
func (s source) problem(key, format string, args ...any) Problem {
	p := Problem{File: s.file, Key: key, Message: fmt.Sprintf(format, args...)}
	if name, ok := s.env[key]; ok {
		p.File, p.Key = "environment", name
		return p
	}
	for at := key; at != ""; at = parent(at) {
		if line, ok := s.lines[at]; ok {
			p.Line = line
			break
		}
	}
	return p
}

// parent returns the key without its last step: "a.b[2]" → "a.b" → "a" → "".
func parent(key string) string {
	return key[:max(0, strings.LastIndexAny(key, ".["))]
}

// NameKey returns the key under which problems list an absolute owner name.
func NameKey(name string) string { return "names." + strings.TrimSuffix(name, ".") }

// Problem describes something wrong with what key names, for those who open
// the files that a Config only names.
func (c *Config) Problem(key, format string, args ...any) Problem {
	return c.source.problem(key, format, args...)
}
