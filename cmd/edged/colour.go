package main

import (
	"io"
	"os"

	"edged/edge"
)

// colours says whether to write in colour: to a terminal, unless the user would
// rather not (no-color.org).
func colours(w io.Writer) bool {
	return terminal(w) && os.Getenv("NO_COLOR") == ""
}

func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// paint colours a line by the verdict that it is about.
func paint(on bool, v edge.Verdict, line string) string {
	code := map[edge.Verdict]string{
		edge.Degraded: "33", edge.Unknown: "33", edge.Failing: "31", edge.Dead: "31", edge.Drained: "36", edge.Disabled: "36",
	}[v]
	if !on || code == "" {
		return line
	}
	return "\x1b[" + code + "m" + line + "\x1b[0m"
}
