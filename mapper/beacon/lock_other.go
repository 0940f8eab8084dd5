//go:build !unix

package beacon

import (
	"os"
	"path/filepath"
)

// lockMerging does not lock on this system: only one process may merge a folder.
func lockMerging(dir string) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, "merging.lock"), os.O_RDWR|os.O_CREATE, 0o600)
}
