package zone

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Errors is everything that is wrong with one zone, in order of file and line.
// Each error reads "file:line: what, on what; a hint".
type Errors []error

// maxShown is how many problems of one zone Error prints.
const maxShown = 50

// Error lists the problems, one a line; beyond the first 50 it only counts.
func (e Errors) Error() string {
	lines := make([]string, 0, maxShown+1)
	for i, err := range e {
		if i == maxShown {
			lines = append(lines, fmt.Sprintf("and %d more", len(e)-maxShown))
			break
		}
		lines = append(lines, err.Error())
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives errors.Is and errors.As each problem.
func (e Errors) Unwrap() []error { return e }

// position is a place in the zone's files. The zero value is no place: the
// zone as a whole.
type position struct {
	file uint32 // index into the loader's files, plus 1
	line uint32 // from 1
}

// problem is an error, or a warning, at a place.
type problem struct {
	at  position
	err error
}

// problems collects what is wrong, in any order.
type problems []problem

func (p *problems) add(at position, format string, args ...any) {
	*p = append(*p, problem{at, fmt.Errorf(format, args...)})
}

// list returns the problems in order, each with its place in front; one without
// a place gets the zone's name.
func (p problems) list(files []string, origin string) []error {
	slices.SortStableFunc(p, func(a, b problem) int {
		return cmp.Or(cmp.Compare(a.at.file, b.at.file), cmp.Compare(a.at.line, b.at.line))
	})
	var out []error
	for _, one := range p {
		if one.at.file == 0 {
			out = append(out, fmt.Errorf("zone %q: %w", origin, one.err))
		} else {
			out = append(out, fmt.Errorf("%s:%d: %w", files[one.at.file-1], one.at.line, one.err))
		}
	}
	return out
}
