package audit

import (
	"io"
	"os"
	"path/filepath"
)

// Copy writes the lines of the log in a folder, the oldest first, as far as they
// are kept. A line that is being written may be cut off.
func Copy(w io.Writer, dir string) error {
	names, err := files(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := copyFile(w, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(w io.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}
