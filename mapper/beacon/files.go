package beacon

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// File is a file of measurements, as nodes tell each other of it.
type File struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`   // octets
	SHA256 string `json:"sha256"` // in hex
}

// Catalog lists the files of a folder with their hashes. A file is hashed once, for
// it never changes under its name. Its methods may be called by several goroutines.
type Catalog struct {
	dir string

	mu    sync.Mutex
	known map[string]File // by name; guarded by mu
}

// NewCatalog returns a catalog of a folder, which need not be there.
func NewCatalog(dir string) *Catalog { return &Catalog{dir: dir, known: map[string]File{}} }

// List returns the segments and the files of sightings in the folder, by name.
func (c *Catalog) List(ctx context.Context) ([]File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	names, err := fileNames(c.dir)
	if err != nil {
		return nil, err
	}
	known, list := map[string]File{}, []File{}
	for _, name := range names {
		f, ok := c.known[name]
		info, err := os.Stat(filepath.Join(c.dir, name))
		if err == nil && (!ok || f.Size != info.Size()) {
			f, err = hashFile(ctx, c.dir, name)
		}
		if errors.Is(err, fs.ErrNotExist) {
			continue // merged or removed since
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read beacons: %w", err)
		}
		known[name] = f
		list = append(list, f)
	}
	c.known = known
	return list, nil
}

// Open opens a file that List may tell of.
func (c *Catalog) Open(name string) (*os.File, error) {
	if !validFile(name) {
		return nil, fmt.Errorf("bad name of a file of measurements %q", name)
	}
	f, err := os.Open(filepath.Join(c.dir, name))
	if err != nil {
		return nil, fmt.Errorf("no file of measurements %q: it may have been merged or removed: list again", name)
	}
	return f, nil
}

// CountFiles returns how many segments and files of sightings a folder has; one that
// is not there has none.
func CountFiles(dir string) (int, error) {
	names, err := fileNames(dir)
	return len(names), err
}

// fileNames returns the names of all files of measurements in a folder, in order.
func fileNames(dir string) ([]string, error) {
	var names []string
	for _, suffix := range []string{segmentSuffix, resolverSuffix} {
		files, err := listFiles(dir, suffix)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			names = append(names, f.name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// validFile says whether a name is that of a file of measurements.
func validFile(name string) bool {
	text, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok {
		text, ok = strings.CutSuffix(name, resolverSuffix)
	}
	if !ok || len(text) < len(hourLayout)+2 || strings.Trim(text[:len(hourLayout)], "0123456789") != "" {
		return false
	}
	mark := text[len(hourLayout)]
	return (mark == '-' || mark == '+') && validBatch.MatchString(text[len(hourLayout)+1:])
}

func hashFile(ctx context.Context, dir, name string) (File, error) {
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return File{}, err
	}
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, f)
	return File{name, n, hex.EncodeToString(sum.Sum(nil))}, cmp.Or(err, context.Cause(ctx))
}
