package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"edged/mapper/beacon"
)

func beaconRetainCommand() *cobra.Command {
	var days, sizeMB int
	cmd := &cobra.Command{
		Use:   "retain DIR",
		Short: "remove measurements that are too old or too many, and merge small segments",
		Long: `Remove measurements from a folder of segments by age and by size, and merge the
small segments of hours that are over. A node does both by itself, as beacon.keep
says. Of folders with copies of nodes' segments, each is bounded by itself and
nothing in them is merged, so that the next pull finds what it knows.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if days < 0 || sizeMB < 0 {
				return fmt.Errorf("--days %d and --size-mb %d: want 0 or more", days, sizeMB)
			}
			keep := beacon.Keep{Age: time.Duration(days) * 24 * time.Hour, Octets: int64(sizeMB) * 1e6}
			folders, err := withFolders(args[0])
			if err != nil {
				return err
			}
			removed, now := 0, time.Now()
			for _, dir := range folders {
				n, err := beacon.Retain(dir, keep, now)
				removed += n
				if err = errors.Join(err, noteRemoved(filepath.Dir(dir), filepath.Base(dir), n)); err != nil {
					return err
				}
			}
			w, err := beacon.NewWriter(args[0])
			if err != nil {
				return err
			}
			merged, err := w.Merge(now.Add(-mergeAfter))
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %d files removed, %d merged\n", args[0], removed, merged)
			return err
		},
	}
	cmd.Flags().IntVar(&days, "days", 0, "remove hours that ended more than so many `DAYS` ago; 0: none")
	cmd.Flags().IntVar(&sizeMB, "size-mb", 0, "remove the oldest hours while a folder has more than so many `MB`; 0: none")
	return cmd
}

// withFolders returns a folder, which must be there, and those in it.
func withFolders(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	folders := []string{dir}
	for _, e := range entries {
		if e.IsDir() {
			folders = append(folders, filepath.Join(dir, e.Name()))
		}
	}
	return folders, nil
}
