package gossip

import (
	"bytes"
	"context"
	"log"
	"log/slog"
	"time"
)

// maxLine bounds a line of the log, in octets: names in it come from others.
const maxLine = 400

// levels maps the marks that memberlist begins its lines with.
var levels = map[string]slog.Level{
	"[DEBUG]": slog.LevelDebug,
	"[INFO]":  slog.LevelInfo,
	"[WARN]":  slog.LevelWarn,
	"[ERR]":   slog.LevelWarn, // of peers and packets, which are not this node's errors
	"[ERROR]": slog.LevelError,
}

// newLogger returns the logger that memberlist writes to. Anybody who reaches
// the port can cause lines, so they are limited to 30 at once and one more every
// two seconds; how many were left out is said with the next.
func newLogger(to *slog.Logger) *log.Logger {
	return log.New(&lines{to: to, limit: bucket{size: 30, every: 2 * time.Second}}, "", 0)
}

// lines sends a log.Logger's lines to slog. log.Logger serializes the writes.
type lines struct {
	to      *slog.Logger
	limit   bucket
	skipped int
}

// Write takes one line.
func (l *lines) Write(p []byte) (int, error) {
	level, text := split(p)
	if !l.to.Enabled(context.Background(), level) {
		return len(p), nil
	}
	if !l.limit.take(time.Now()) {
		l.skipped++
		return len(p), nil
	}
	var more []any
	if l.skipped > 0 {
		more = []any{"skipped", l.skipped}
		l.skipped = 0
	}
	l.to.Log(context.Background(), level, "gossip: "+text, more...)
	return len(p), nil
}

// split reads a line's level, a warning when it names none, and its text.
func split(line []byte) (slog.Level, string) {
	level := slog.LevelWarn
	if mark, rest, ok := bytes.Cut(line, []byte(" ")); ok {
		if named, ok := levels[string(mark)]; ok {
			level, line = named, rest
		}
	}
	line = bytes.TrimSpace(bytes.TrimPrefix(line, []byte("memberlist: ")))
	return level, string(line[:min(len(line), maxLine)])
}
