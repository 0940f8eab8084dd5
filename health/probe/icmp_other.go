//go:build !linux

package probe

import (
	"context"

	"edged/health"
)

// echo is not made on this system: its probes are skipped.
type echo struct{}

func newEcho(health.Target) way { return echo{} }

func (echo) attempt(context.Context) error { return skipped("icmp is checked on Linux only") }
func (echo) close()                        {}
