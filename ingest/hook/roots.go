package hook

import (
	"crypto/sha1"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/firn-log/firn/internal/nix"
)

// addRoots keeps paths from Nix's garbage collector on behalf of the record
// called name. As `nix-store --add-root` does, it makes a link here and one in
// Nix's gcroots/auto that points to it (spec/spool.md#roots): removing ours is
// then enough to give the paths up, and needs no right on Nix's state folder.
func (s Spool) addRoots(stateDir, name string, paths []nix.StorePath) error {
	dir, err := filepath.Abs(filepath.Join(string(s), RootsDir))
	if err != nil {
		return err
	}
	root, err := s.open()
	if err != nil {
		return err
	}
	defer root.Close()
	if err := ensureDir(root, RootsDir); err != nil {
		return err
	}
	auto := filepath.Join(stateDir, "gcroots", "auto")
	// Nix makes this folder when it is first used, as we do.
	if err := os.Mkdir(auto, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	for i, p := range paths {
		link := filepath.Join(dir, name+"-"+strconv.Itoa(i))
		if err := root.Symlink(p.String(), path.Join(RootsDir, filepath.Base(link))); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		sum := sha1.Sum([]byte(link))
		if err := os.Symlink(link, filepath.Join(auto, nix.EncodeBase32(sum[:]))); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// DropRoots gives up what the record called name kept. Nix itself removes its
// half of each link at its next collection.
func (s Spool) DropRoots(name string) error {
	return s.dropRoots(func(record string, _ fs.DirEntry) bool { return record == name })
}

// SweepRoots gives up roots older than minAge that belong to no record for which
// live is true: what a hook left that was killed between the roots and the
// record.
func (s Spool) SweepRoots(live func(name string) bool, minAge time.Duration) error {
	return s.dropRoots(func(record string, e fs.DirEntry) bool {
		st, err := e.Info()
		return err == nil && time.Since(st.ModTime()) >= minAge && !live(record)
	})
}

func (s Spool) dropRoots(drop func(record string, e fs.DirEntry) bool) error {
	dir := filepath.Join(string(s), RootsDir)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		i := strings.LastIndexByte(e.Name(), '-')
		if i < 0 || e.Type()&fs.ModeSymlink == 0 || !drop(e.Name()[:i], e) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
