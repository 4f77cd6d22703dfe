// Package durable writes files so that they survive a crash.
//
// Everything that firn acknowledges goes to disk through this package or
// through a store that keeps the same rule: the bytes of a file are synced
// before its name is, and the name before anybody is told.
package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// tempPrefix marks files that a crash may leave behind; SweepTemp removes them.
const tempPrefix = ".firn-tmp-"

// WriteFile replaces the file at path with data, atomically and durably: after
// it returns nil a crash cannot bring back the old content or a mixture, and
// before that the old content is intact. Concurrent callers for one path are
// safe; the last rename wins.
func WriteFile(path string, data []byte, perm fs.FileMode) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, tempPrefix+"*")
	if err != nil {
		return err
	}
	tmp := f.Name()
	if err := fill(f, data, perm); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	if err := os.Rename(tmp, path); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return SyncDir(dir)
}

// CreateFile is WriteFile for a name that must not exist yet; it returns an
// error matching fs.ErrExist if it does. Of two concurrent callers one wins.
func CreateFile(path string, data []byte, perm fs.FileMode) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, tempPrefix+"*")
	if err != nil {
		return err
	}
	tmp := f.Name()
	if err := fill(f, data, perm); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	if err := os.Link(tmp, path); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	if err := os.Remove(tmp); err != nil {
		return err
	}
	return SyncDir(dir)
}

func fill(f *os.File, data []byte, perm fs.FileMode) error {
	_, err := f.Write(data)
	if err == nil {
		err = f.Chmod(perm)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// SyncDir makes the names in dir durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("syncing folder %s: %w", dir, err)
	}
	return nil
}

// MkdirAll is os.MkdirAll whose new names are durable when it returns.
func MkdirAll(path string, perm fs.FileMode) error {
	path = filepath.Clean(path)
	if st, err := os.Stat(path); err == nil && st.IsDir() {
		return nil
	}
	parent := filepath.Dir(path)
	if parent != path {
		if err := MkdirAll(parent, perm); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, perm); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return SyncDir(parent)
}

// SweepTemp removes what interrupted calls of WriteFile and CreateFile left in
// dir. It takes its file from a call that is under way in another process, which
// then returns an error matching fs.ErrNotExist: call it while nobody writes there
// who would not try again.
func SweepTemp(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tempPrefix) {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}
