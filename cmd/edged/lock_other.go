//go:build !unix

package main

import (
	"os"
	"path/filepath"
)

// lockDataDir only opens the lock file: the system has no flock. A second node
// still fails on the control socket.
func lockDataDir(dir string) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
}
