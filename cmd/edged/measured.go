package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"edged/admin"
	"edged/config"
	"edged/mapper/beacon"
)

// measurements is the part of a node that keeps what beacons measured. The folder
// is made when the first rows come.
type measurements struct {
	dir     string
	config  func() *config.Config // in force
	catalog *beacon.Catalog
	log     *slog.Logger
}

func newMeasurements(dataDir config.Path, inForce func() *config.Config, log *slog.Logger) *measurements {
	dir := beaconDir(dataDir)
	return &measurements{dir: dir, config: inForce, catalog: beacon.NewCatalog(dir), log: log}
}

// Beacons implements admin.Node.
func (n *node) Beacons() admin.Beacons { return n.measured }

// Take implements admin.Beacons.
func (m *measurements) Take(ctx context.Context, r io.Reader, o beacon.Options) (report beacon.Report, err error) {
	c := m.config()
	for _, p := range c.PoPs {
		o.PoPs = append(o.PoPs, p.Name)
	}
	o.AllowPrivate = c.Beacon.AllowPrivate
	o.Now = time.Now()
	o.Oldest = o.Now.AddDate(0, 0, -c.Beacon.Keep.Days)
	if o.Into, err = beacon.NewWriter(m.dir); err != nil {
		return report, errors.Join(beacon.ErrNotKept, err)
	}
	return beacon.Intake(ctx, r, o)
}

// Resume implements admin.Beacons.
func (m *measurements) Resume(batch string) (int, error) {
	w, err := beacon.NewWriter(m.dir)
	if err != nil {
		return 0, err
	}
	return w.Resume(batch)
}

// Quota implements admin.Beacons.
func (m *measurements) Quota() (admin.Quota, int) {
	q := m.config().Beacon.Quota
	return admin.Quota{Rows: q.Rows, Octets: int64(q.SizeMB) * 1e6}, q.Uploads
}

// Files implements admin.Beacons.
func (m *measurements) Files(ctx context.Context) (admin.Files, error) {
	list, err := m.catalog.List(ctx)
	return admin.Files{Node: m.config().Node.Name, Files: list}, err
}

// OpenFile implements admin.Beacons.
func (m *measurements) OpenFile(name string) (*os.File, error) { return m.catalog.Open(name) }

// keepEvery is how often a node looks for what it need not keep.
const keepEvery = 10 * time.Minute

// keep removes what is too old or too much, and merges the hours that are over,
// now and then until ctx is done.
func (m *measurements) keep(done <-chan struct{}) {
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	for {
		if err := keepBeacons(m.dir, m.config().Beacon.Keep, time.Now(), m.log); err != nil {
			m.log.Error("measurements cannot be cleared up", "error", err)
		}
		select {
		case <-tick.C:
		case <-done:
			return
		}
	}
}

// mergeAfter is how long after its end an hour is merged: by then hardly anything
// comes for it.
const mergeAfter = 10 * time.Minute

// keepBeacons merges a folder's hours that are over and then removes what it need
// not keep. A folder that is not there is no error.
func keepBeacons(dir string, keep config.Keep, now time.Time, log *slog.Logger) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	w, err := beacon.NewWriter(dir)
	if err != nil {
		return err
	}
	// Removing first makes room to merge.
	removed, err := beacon.Retain(dir, beacon.Keep{Age: time.Duration(keep.Days) * 24 * time.Hour, Octets: int64(keep.SizeMB) * 1e6}, now)
	if err != nil {
		return err
	}
	merged, err := w.Merge(now.Add(-mergeAfter))
	if merged+removed > 0 {
		log.Info("measurements cleared up", "merged", merged, "removed", removed)
	}
	return err
}
