package hook

import (
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

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

// Add writes r durably to the spool, creating the spool's folders if they are
// missing. It is safe to call from many processes at once.
func (s Spool) Add(r *Record) error {
	dir := filepath.Join(string(s), PendingDir)
	if err := ensureDir(dir); err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(dir, r.Name()), r.Marshal(), fileMode)
}

func ensureDir(dir string) error {
	if st, err := os.Stat(dir); err == nil && st.IsDir() {
		return nil
	}
	if err := durable.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(dir, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return durable.SyncDir(filepath.Dir(dir))
}

// addProblem leaves a line for `firn submit --status`. It is best effort: there
// is nobody to tell if it fails.
func (s Spool) addProblem(unix int64, text string) {
	path := filepath.Join(string(s), ProblemFile)
	flags := os.O_WRONLY | os.O_CREATE | os.O_APPEND
	if st, err := os.Lstat(path); err == nil && st.Size() > maxProblems {
		flags |= os.O_TRUNC
	}
	f, err := os.OpenFile(path, flags, 0o644)
	if err != nil {
		return
	}
	f.WriteString(strconv.FormatInt(unix, 10) + " " + clean(text) + "\n")
	f.Close()
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
