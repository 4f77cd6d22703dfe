package submit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/firn-log/firn/ingest/hook"
	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/log/statement"
)

// Folders and files of the spool beside the hook's (spec/spool.md#folders).
const (
	unsignedDir = "unsigned"
	signedDir   = "signed"
	heldDir     = "held"
	sentDir     = "sent"
	failedDir   = "failed"

	// submitDir is where the submitter keeps word of itself. The spool's top
	// folder may be closed to it, so that it cannot replace the hook's folders.
	submitDir   = "submit"
	lockFile    = "lock"
	lastRunFile = "last-run"

	reasonSuffix = ".reason"
	proofSuffix  = ".tlog-proof"
)

const spoolFileMode fs.FileMode = 0o640

// spool is a spool folder as the submitter sees it.
type spool struct {
	dir  string
	step func() // called before every change, for tests that crash there; may be nil
}

func (s spool) path(dir, name string) string { return filepath.Join(s.dir, dir, name) }

// hook returns the folder as the hook sees it.
func (s spool) hook() hook.Spool { return hook.Spool(s.dir) }

func (s spool) changing() {
	if s.step != nil {
		s.step()
	}
}

// Folders returns the folders of a spool, so that they can be made with the
// rights that they need.
func Folders() []string {
	return []string{
		hook.PendingDir, hook.RootsDir, unsignedDir, signedDir, heldDir, sentDir, failedDir, blobDir, closureDir, submitDir,
	}
}

// prepare makes the folders.
func (s spool) prepare() error {
	for _, dir := range Folders() {
		if err := durable.MkdirAll(filepath.Join(s.dir, dir), 0o770); err != nil {
			return fmt.Errorf("preparing the spool: %w", err)
		}
	}
	return nil
}

// list returns the names of the files in dir, oldest first. A missing folder is
// an empty one.
func (s spool) list(dir string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(s.dir, dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if hook.ValidName(e.Name()) {
			names = append(names, e.Name())
		}
	}
	slices.SortFunc(names, compareNames)
	return names, nil
}

// compareNames orders by time, which has no leading zeros.
func compareNames(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	if a < b {
		return -1
	}
	if a > b {
		return 1
	}
	return 0
}

func (s spool) exists(dir, name string) bool {
	_, err := os.Lstat(s.path(dir, name))
	return err == nil
}

// maxFile bounds what is read of one file that is a record or a statement, in bytes.
const maxFile = 64 << 10

// read reads a record or a statement.
func (s spool) read(dir, name string) ([]byte, error) { return s.readMost(dir, name, maxFile) }

// readMost reads a file. Others write to the spool too: it follows no link, waits
// for no pipe, and reads no more than most bytes.
func (s spool) readMost(dir, name string, most int64) ([]byte, error) {
	f, err := os.OpenFile(s.path(dir, name), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if fi, err := f.Stat(); err != nil {
		return nil, err
	} else if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", f.Name())
	}
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%s has more than %d bytes", f.Name(), most)
	}
	return b, err
}

// outOf reports whether err says nothing about a file: it is gone, or this
// process or machine has no more of something.
func outOf(err error) bool {
	for _, e := range []error{fs.ErrNotExist, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func (s spool) write(dir, name string, b []byte) error {
	s.changing()
	return durable.WriteFile(s.path(dir, name), b, spoolFileMode)
}

// move renames a file durably.
func (s spool) move(from, to, name string) error {
	s.changing()
	if err := os.Rename(s.path(from, name), s.path(to, name)); err != nil {
		return err
	}
	return errors.Join(durable.SyncDir(filepath.Join(s.dir, to)), durable.SyncDir(filepath.Join(s.dir, from)))
}

// remove removes a file, which may be gone already.
func (s spool) remove(dir, name string) error {
	s.changing()
	if err := os.Remove(s.path(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// together is how many files are written at once: file systems put syncs that
// come together into one.
const together = 32

// each calls f for 0 to n-1, several at a time, and returns the first error.
func (s spool) each(n int, f func(i int) error) error {
	var g errgroup.Group
	g.SetLimit(together)
	for i := range n {
		if s.step != nil { // one place to crash at a time
			if err := f(i); err != nil {
				return err
			}
			continue
		}
		g.Go(func() error { return f(i) })
	}
	return g.Wait()
}

// removePending gives up a record and its roots, once there is something that
// replaces it.
func (s spool) removePending(name string) error {
	s.changing()
	return errors.Join(s.hook().DropRoots(name), s.remove(hook.PendingDir, name))
}

// fail sets a file aside: the reason first, so that no file in failed/ is
// without one.
func (s spool) fail(from, name string, reason *Reason) error {
	if err := s.write(failedDir, name+reasonSuffix, reason.marshal()); err != nil {
		return err
	}
	if err := s.move(from, failedDir, name); err != nil {
		return err
	}
	if from == hook.PendingDir {
		s.changing()
		return s.hook().DropRoots(name)
	}
	return s.remove(signedDir, name)
}

// readPayload reads a claim that is not signed yet.
func (s spool) readPayload(dir, name string) (statement.Body, []byte, error) {
	b, err := s.read(dir, name)
	if err != nil {
		return nil, nil, err
	}
	body, err := parseClaim(b)
	return body, b, err
}

// recover removes the earlier of two states that a crash left of one build, and
// unfinished files.
func (s spool) recover() error {
	order := []string{hook.PendingDir, heldDir, unsignedDir, failedDir, sentDir}
	for i, dir := range order[:len(order)-1] {
		names, err := s.list(dir)
		if err != nil {
			return err
		}
		for _, name := range names {
			if !slices.ContainsFunc(order[i+1:], func(later string) bool { return s.exists(later, name) }) {
				continue
			}
			if dir == hook.PendingDir {
				err = s.removePending(name)
			} else {
				err = s.remove(dir, name)
			}
			if err != nil {
				return err
			}
		}
	}
	names, err := s.list(signedDir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !s.exists(unsignedDir, name) {
			if err := s.remove(signedDir, name); err != nil {
				return err
			}
		}
	}
	for _, dir := range []string{unsignedDir, signedDir, heldDir, sentDir, failedDir, blobDir, closureDir, submitDir} {
		if err := durable.SweepTemp(filepath.Join(s.dir, dir)); err != nil {
			return err
		}
	}
	return nil
}
