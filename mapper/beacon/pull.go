package beacon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"edged/edge"
)

// Remote is a node whose files of measurements are copied.
type Remote interface {
	// Files lists what the node has.
	Files(context.Context) ([]File, error)

	// Fetch opens a file from an offset on. It errs with ErrGone when the node does
	// not have it any more.
	Fetch(ctx context.Context, name string, from int64) (io.ReadCloser, error)
}

// ErrGone says that a file was merged into another, or removed, since it was listed.
var ErrGone = errors.New("gone")

// Pulled says what Pull did.
type Pulled struct {
	Files  int   // that came
	Octets int64 // that came
	Total  int   // files that the source has
}

// partSuffix ends the names of files that are being copied.
const partSuffix = ".part"

// Pull copies what a source has and a folder lacks. A file appears when it is whole
// and its hash is right; what was copied of one when a pull broke off is used by the
// next. Files that the source has no more stay: Retain removes them. progress, when
// set, is told how many octets of how many are there.
func Pull(ctx context.Context, dir string, from Remote, progress func(done, total int64)) (p Pulled, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return p, fmt.Errorf("cannot keep beacons: %w", err)
	}
	const listings = 5 // a node merges its files a few times an hour
	for range listings {
		err = pull(ctx, dir, from, &p, progress)
		if !errors.Is(err, ErrGone) {
			return p, err
		}
	}
	return p, err
}

func pull(ctx context.Context, dir string, from Remote, p *Pulled, progress func(done, total int64)) error {
	files, err := from.Files(ctx)
	if err != nil {
		return err
	}
	p.Total = len(files)
	wanted, total, done := map[string]bool{}, int64(0), int64(0)
	for _, f := range files {
		if !validFile(f.Name) || f.Size < 0 || len(f.SHA256) != 2*sha256.Size || wanted[f.Name] {
			return fmt.Errorf("the source lists the file %q with %d octets and hash %q: want each file of measurements once", f.Name, f.Size, f.SHA256)
		}
		wanted[f.Name] = true
		total += f.Size
	}
	if err := removeParts(dir, wanted); err != nil {
		return err
	}
	for _, f := range files {
		info, err := os.Stat(filepath.Join(dir, f.Name))
		switch {
		case err == nil && info.Size() == f.Size: // names are never used for other content
		case err == nil:
			return fmt.Errorf("the source has %d octets of %q, here are %d: two files have one name: remove the wrong one", f.Size, f.Name, info.Size())
		case !errors.Is(err, os.ErrNotExist):
			return fmt.Errorf("cannot keep beacons: %w", err)
		default:
			n, err := pullFile(ctx, dir, from, f)
			p.Octets += n
			if err != nil {
				return err
			}
			p.Files++
		}
		if done += f.Size; progress != nil {
			progress(done, total)
		}
	}
	return edge.SyncFolder(dir)
}

// removeParts removes parts of files that are not wanted any more.
func removeParts(dir string, wanted map[string]bool) error {
	parts, err := filepath.Glob(filepath.Join(dir, "*"+partSuffix))
	if err != nil {
		return err
	}
	for _, part := range parts {
		if !wanted[strings.TrimSuffix(filepath.Base(part), partSuffix)] {
			if err := remove(part); err != nil {
				return err
			}
		}
	}
	return nil
}

// pullFile copies one file, and returns how many octets came.
func pullFile(ctx context.Context, dir string, from Remote, want File) (n int64, err error) {
	path := filepath.Join(dir, want.Name)
	part, err := os.OpenFile(path+partSuffix, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return 0, fmt.Errorf("cannot keep beacons: %w", err)
	}
	defer part.Close()
	sum := sha256.New()
	have, err := io.Copy(sum, part)
	if err != nil {
		return 0, fmt.Errorf("cannot keep beacons: %w", err)
	}
	if have < want.Size {
		rest, err := from.Fetch(ctx, want.Name, have)
		if err != nil {
			return 0, err
		}
		defer rest.Close()
		n, err = io.Copy(io.MultiWriter(part, sum), io.LimitReader(rest, want.Size-have+1))
		if roomless(err) {
			return n, fmt.Errorf("no room for %q of %d octets in %q: %w: make room, and pull again to go on", want.Name, want.Size, dir, err)
		}
		if err != nil {
			return n, fmt.Errorf("file %q broke off after %d of %d octets: %w", want.Name, have+n, want.Size, err)
		}
	}
	if have+n < want.Size {
		return n, fmt.Errorf("file %q broke off after %d of %d octets", want.Name, have+n, want.Size)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != want.SHA256 {
		// The next pull begins it anew.
		return n, errors.Join(fmt.Errorf("file %q came with the hash %s, want %s: pull again", want.Name, got, want.SHA256), remove(part.Name()))
	}
	if err := errors.Join(part.Sync(), os.Rename(part.Name(), path)); err != nil {
		return n, fmt.Errorf("cannot keep beacons: %w", err)
	}
	return n, nil
}
