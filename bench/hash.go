package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/firn-log/firn/internal/nix"
)

const (
	storeBytes  = 1 << 30
	storePaths  = 64
	storeFile   = 96 << 10 // mean size of a file
	hashRounds  = 3
	hashAtMost  = 1.15
	filesPerDir = 32
)

// makeStore fills dir with storePaths trees that hold storeBytes of
// incompressible content in files of 1 to 2 × storeFile bytes. It returns the
// trees and the number of files.
func makeStore(dir string) (paths []string, files int, err error) {
	rng := rand.New(rand.NewPCG(1, 2))
	noise := rand.NewChaCha8(sha256.Sum256([]byte("firn bench")))
	buf := make([]byte, 2*storeFile)
	for p := range storePaths {
		root := filepath.Join(dir, fmt.Sprintf("tree-%02d", p))
		paths = append(paths, root)
		for left, n := storeBytes/storePaths, 0; left > 0; n++ {
			sub := filepath.Join(root, fmt.Sprintf("share/d%d", n/filesPerDir))
			if err := os.MkdirAll(sub, 0o755); err != nil {
				return nil, 0, err
			}
			size := min(left, 1+rng.IntN(2*storeFile))
			if _, err := noise.Read(buf[:size]); err != nil {
				return nil, 0, err
			}
			name := filepath.Join(sub, fmt.Sprintf("f%d", n))
			if err := os.WriteFile(name, buf[:size], 0o644); err != nil {
				return nil, 0, err
			}
			files++
			left -= size
		}
	}
	return paths, files, nil
}

// dump writes each tree's NAR, the very bytes that are hashed, to a file.
func dump(paths []string) (nars []string, err error) {
	for _, p := range paths {
		f, err := os.Create(p + ".nar")
		if err != nil {
			return nil, err
		}
		if err := errors.Join(nix.DumpPath(f, p), f.Close()); err != nil {
			return nil, err
		}
		nars = append(nars, f.Name())
	}
	return nars, nil
}

// benchHash compares the CPU time of hashing a store with openssl's for the
// same bytes, which lie before it as plain files. The rounds alternate and the
// best of each counts.
func benchHash(ctx context.Context, dir string, cal calibration) ([]row, error) {
	paths, files, err := makeStore(filepath.Join(dir, "store"))
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(filepath.Join(dir, "store"))
	nars, err := dump(paths)
	if err != nil {
		return nil, err
	}
	ours, theirs := time.Hour, time.Hour
	for range hashRounds {
		before := ownCPU()
		for _, p := range paths {
			if _, _, err := nix.HashPath(ctx, p, nil); err != nil {
				return nil, err
			}
		}
		ours = min(ours, ownCPU()-before)
		cmd := exec.CommandContext(ctx, "openssl", append([]string{"dgst", "-sha256"}, nars...)...)
		if err := cmd.Run(); err != nil {
			return nil, fmt.Errorf("running openssl: %w", err)
		}
		theirs = min(theirs, childCPU(cmd))
	}
	ratio := ours.Seconds() / theirs.Seconds()
	what := fmt.Sprintf("hash a 1 GiB store, %s files of %d KiB on average, CPU", count(float64(files)), storeBytes/files>>10)
	return []row{{
		what:     what,
		value:    fmt.Sprintf("%.2f s, openssl %.2f s", ours.Seconds(), theirs.Seconds()),
		target:   fmt.Sprintf("≤ %.2f × openssl", hashAtMost),
		fraction: fmt.Sprintf("%.2f × openssl, %.2f of SHA-256", ratio, storeBytes/ours.Seconds()/cal.hashPerSecond),
		met:      ratio <= hashAtMost,
	}}, nil
}

// ownCPU returns the CPU time that this process has used.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // cannot happen: the arguments are constants
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
