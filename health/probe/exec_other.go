//go:build !unix

package probe

import "os/exec"

// ownGroup does nothing: this system has no process groups, and only the
// command itself is killed.
func ownGroup(*exec.Cmd) {}

func killGroup(*exec.Cmd) error { return nil }
