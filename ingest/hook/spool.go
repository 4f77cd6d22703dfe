package hook

import (
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/firn-log/firn/internal/durable"
)

// DefaultSpool is the spool folder if FIRN_SPOOL is not set.
const DefaultSpool = "/var/spool/firn"

// Folders of a spool that the hook writes (spec/spool.md#folders).
const (
	PendingDir = "pending" // records nobody has looked at
	RootsDir   = "roots"   // symbolic links that keep what a record needs from Nix's garbage collector
)

// ProblemFile holds what the hook could not spool, one line each
// (spec/spool.md#problems).
const ProblemFile = "hook-problems"

// maxProblems bounds ProblemFile, in bytes; when it is full the hook starts it
// again, so that the newest problem is always in it.
const maxProblems = 32 << 10

// Modes: the folders belong to root and to the group that `firn hook install`
// gives them (setgid, so that new files inherit it).
const (
	dirMode  fs.FileMode = 0o770
	fileMode fs.FileMode = 0o640
)

// tempPrefix begins the names of records that are not complete.
const tempPrefix = ".firn-tmp-"

// Spool is a spool folder.
type Spool string

// Name returns the file name of r: "<time>-<build id>".
func (r *Record) Name() string {
	return strconv.FormatInt(r.Time, 10) + "-" + hex.EncodeToString(r.BuildID[:])
}

// ValidName reports whether name is one that Record.Name returns.
func ValidName(name string) bool {
	t, id, ok := strings.Cut(name, "-")
	if !ok || len(id) != 32 || len(t) > 19 {
		return false
	}
	n, err := strconv.ParseInt(t, 10, 64)
	if err != nil || n <= 0 || strconv.FormatInt(n, 10) != t {
		return false
	}
	_, err = hex.DecodeString(id)
	return err == nil && strings.ToLower(id) == id
}

// open makes the spool folder if it is missing and returns it. The hook runs as
// root and others may write to the spool: everything goes through this Root, so
// that no link leads out of it.
func (s Spool) open() (*os.Root, error) {
	if err := durable.MkdirAll(string(s), 0o755); err != nil {
		return nil, err
	}
	return os.OpenRoot(string(s))
}

// Add writes r durably to the spool, creating the spool's folders if they are
// missing. It is safe to call from many processes at once.
func (s Spool) Add(r *Record) error {
	root, err := s.open()
	if err != nil {
		return err
	}
	defer root.Close()
	if err := ensureDir(root, PendingDir); err != nil {
		return err
	}
	// Names are random, so nobody else writes this one.
	name, tmp := path.Join(PendingDir, r.Name()), path.Join(PendingDir, tempPrefix+r.Name())
	f, err := root.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(r.Marshal())
	if err == nil {
		err = f.Chmod(fileMode)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = root.Rename(tmp, name)
	}
	if err != nil {
		return errors.Join(err, root.Remove(tmp))
	}
	return syncDir(root, PendingDir)
}

// SweepUnfinished removes records older than minAge that a hook was killed over.
func (s Spool) SweepUnfinished(minAge time.Duration) error {
	dir := filepath.Join(string(s), PendingDir)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), tempPrefix) {
			continue
		}
		if st, err := e.Info(); err != nil || time.Since(st.ModTime()) < minAge {
			continue // finished meanwhile, or perhaps being written
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func ensureDir(root *os.Root, dir string) error {
	if st, err := root.Stat(dir); err == nil && st.IsDir() {
		return nil
	}
	if err := root.Mkdir(dir, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(root, ".")
}

func syncDir(root *os.Root, dir string) error {
	d, err := root.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// addProblem leaves a line for `firn submit --status`. It is best effort: there
// is nobody to tell if it fails. What is there and no file, for instance a pipe
// that nobody reads, is left alone.
func (s Spool) addProblem(unix int64, text string) {
	root, err := os.OpenRoot(string(s))
	if err != nil {
		return
	}
	defer root.Close()
	flags := os.O_WRONLY | os.O_CREATE | os.O_APPEND | syscall.O_NONBLOCK
	if st, err := root.Lstat(ProblemFile); err == nil && st.Mode().IsRegular() && st.Size() > maxProblems {
		flags |= os.O_TRUNC
	}
	f, err := root.OpenFile(ProblemFile, flags, 0o644)
	if err != nil {
		return
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && st.Mode().IsRegular() {
		f.WriteString(strconv.FormatInt(unix, 10) + " " + clean(text) + "\n")
	}
}

// Problem is one line of ProblemFile.
type Problem struct {
	Time int64  `json:"time"` // seconds since 1970
	Text string `json:"text"`
}

// Problems returns what hooks could not spool, oldest first; lines that are not
// in the form of spec/spool.md#problems are left out.
func (s Spool) Problems() ([]Problem, error) {
	b, err := os.ReadFile(filepath.Join(string(s), ProblemFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var ps []Problem
	for line := range strings.Lines(string(b)) {
		t, text, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		n, err := strconv.ParseInt(t, 10, 64)
		if ok && err == nil && clean(text) == text {
			ps = append(ps, Problem{n, text})
		}
	}
	return ps, nil
}
