package page

import (
	_ "embed"
	"strings"
)

//go:embed script.js
var scriptSource string

// script is what pages load: the source without indentation and lines of comment.
var script = func() string {
	var b strings.Builder
	for line := range strings.Lines(scriptSource) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "//") {
			b.WriteString(line)
			b.WriteByte('\n')
		}
	}
	return b.String()
}()
