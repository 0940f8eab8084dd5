//go:build unix

package beacon

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
)

// lockMerging makes this process the one that merges a folder, until the file is
// closed. It returns nil when another process is.
func lockMerging(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "merging.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return f, nil
	}
	f.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, nil
	}
	return nil, err
}
