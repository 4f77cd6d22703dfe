package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/firn-log/firn/internal/nix"
)

const (
	diffFiles  = 10 // that differ
	diffAtMost = 1.5
	diffRounds = 3
)

// benchDiff compares two trees of 1 GiB file by file, beside hashing both at the same
// time. The rounds alternate and the best of each counts.
func benchDiff(ctx context.Context, dir string) ([]row, error) {
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	defer os.RemoveAll(a)
	defer os.RemoveAll(b)
	var files int
	for _, root := range []string{a, b} {
		var err error
		if _, files, err = makeStore(root); err != nil {
			return nil, err
		}
	}
	for i := range diffFiles {
		name := filepath.Join(b, fmt.Sprintf("tree-%02d/share/d0/f%d", 6*i, i))
		if err := os.WriteFile(name, []byte("another"), 0o644); err != nil {
			return nil, err
		}
	}
	diff, hash := time.Hour, time.Hour
	for range diffRounds {
		start := time.Now()
		d, err := nix.DiffTrees(ctx, a, b, nix.DiffOptions{})
		if err != nil {
			return nil, err
		}
		if d.Total != diffFiles {
			return nil, fmt.Errorf("%d files differ, and %d were changed", d.Total, diffFiles)
		}
		diff = min(diff, time.Since(start))
		start = time.Now()
		done := make(chan error, 2)
		for _, root := range []string{a, b} {
			go func() {
				_, _, err := nix.HashPath(ctx, root, nil)
				done <- err
			}()
		}
		if err := errors.Join(<-done, <-done); err != nil {
			return nil, err
		}
		hash = min(hash, time.Since(start))
	}
	ratio := float64(diff) / float64(hash)
	return []row{{
		what:   fmt.Sprintf("NAR diff of two 1 GiB trees of %s files, %d differ", count(float64(files)), diffFiles),
		value:  fmt.Sprintf("%.2f s, hashing both %.2f s", diff.Seconds(), hash.Seconds()),
		target: fmt.Sprintf("≤ %.1f × hashing both", diffAtMost), met: ratio <= diffAtMost,
		fraction: fmt.Sprintf("%.2f × hashing both", ratio),
	}}, nil
}
