package edge

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// ReplaceFile writes a file beside its place, has it on the disk, and moves it
// into place: whoever reads the path finds the old content or the new one, whole,
// also after a crash. When it returns nil the new content survives a crash; after
// an error the file is as it was, or whole and new. Calls for one path may
// overlap; the last one to end holds.
func ReplaceFile(path string, data []byte, mode os.FileMode) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return of(path, err)
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(of(path, err), os.Remove(f.Name()))
	}
	return SyncFolder(dir)
}

// of has an error, the first of several, tell of the file that was to be replaced: the one beside it has another name each
// time, and what goes on failing should say the same.
func of(path string, err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return &fs.PathError{Op: e.Op, Path: path, Err: e.Err}
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return &fs.PathError{Op: e.Op, Path: path, Err: e.Err}
	}
	return err
}

// SyncFolder makes what was moved, made or removed in a folder last. Where a
// folder cannot be synced at all, that is no error.
func SyncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}
