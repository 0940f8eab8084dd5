package main

import (
	"fmt"
	"io"
	"math"
	"time"
)

// progress says what a long command does, and how long each step takes: at once to
// a terminal, and afterwards in steps.
type progress struct {
	terminal io.Writer // nil: nobody looks
	now      func() time.Time

	steps []step
	began time.Time // the last of the steps
	open  bool      // it has not ended
}

// step is something that was done. The clock's time is in the report and never in
// a map.
type step struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"` // to a hundredth
}

// progressTo returns a progress that writes to a terminal, and nothing to anything
// else.
func progressTo(w io.Writer) *progress {
	p := &progress{now: time.Now}
	if terminal(w) {
		p.terminal = w
	}
	return p
}

// begin ends the step before.
func (p *progress) begin(name string) {
	p.end()
	p.steps, p.began, p.open = append(p.steps, step{Name: name}), p.now(), true
	if p.terminal != nil {
		fmt.Fprint(p.terminal, name, " ... ")
	}
}

// end ends the last step, if it goes on.
func (p *progress) end() {
	if !p.open {
		return
	}
	last := &p.steps[len(p.steps)-1]
	last.Seconds, p.open = math.Round(100*p.now().Sub(p.began).Seconds())/100, false
	if p.terminal != nil {
		fmt.Fprintf(p.terminal, "%.1f s\n", last.Seconds)
	}
}
