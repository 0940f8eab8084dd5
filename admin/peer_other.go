//go:build !linux

package admin

import "net"

// peerUser names nobody: the system has no common way to ask.
func peerUser(*net.UnixConn) string { return "unknown user" }
