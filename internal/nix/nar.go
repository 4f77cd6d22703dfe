package nix

import (
	"errors"
	"fmt"
	"strings"
)

// Bounds of a NAR, in reading and writing. They are those of Linux file
// systems, and a depth that no path of theirs reaches.
const (
	MaxNarNameLen   = 255  // bytes of an entry's name
	MaxNarTargetLen = 4095 // bytes of a symlink's target
	MaxNarPathLen   = 4095 // bytes of a path from the root of the NAR, slashes included
	MaxNarDepth     = 1024 // directories within each other
)

// ErrNar is what errors about the form of a NAR wrap.
var ErrNar = errors.New("bad NAR")

// NarType is the type of a file in a NAR.
type NarType int

// The types of files.
const (
	Regular NarType = iota
	Directory
	Symlink
)

func (t NarType) String() string { return [...]string{"regular", "directory", "symlink"}[t] }

// NarHeader describes one file of a NAR.
type NarHeader struct {
	Path       string // "" for the root; "bin/hello", with slashes, below it
	Type       NarType
	Size       int64  // bytes that follow; Regular only
	Executable bool   // Regular only
	Target     string // Symlink only
}

// check refuses a header that no file can have.
func (h *NarHeader) check() error {
	switch {
	case h.Type < Regular || h.Type > Symlink:
		return fmt.Errorf("%w: type %d", ErrNar, int(h.Type))
	case h.Type != Regular && (h.Size != 0 || h.Executable), h.Size < 0:
		return fmt.Errorf("%w: %v with size %d", ErrNar, h.Type, h.Size)
	case h.Type != Symlink && h.Target != "":
		return fmt.Errorf("%w: %v with a target", ErrNar, h.Type)
	case h.Type == Symlink:
		return checkTarget(h.Target)
	}
	return nil
}

func checkTarget(target string) error {
	if target == "" || len(target) > MaxNarTargetLen || strings.IndexByte(target, 0) >= 0 {
		return fmt.Errorf("%w: symlink target of %d bytes", ErrNar, len(target))
	}
	return nil
}

func checkNarName(name string) error {
	switch {
	case name == "", name == ".", name == "..", len(name) > MaxNarNameLen,
		strings.IndexByte(name, '/') >= 0, strings.IndexByte(name, 0) >= 0:
		return fmt.Errorf("%w: entry named %q", ErrNar, clip(name))
	}
	return nil
}

// openDirs are the directories that a reader or writer is in, from the root
// down.
type openDirs []openDir

type openDir struct {
	path string
	last string // name of the newest entry
}

// push enters a directory.
func (o *openDirs) push(path string) error {
	if len(*o) == MaxNarDepth {
		return fmt.Errorf("%w: more than %d directories within each other", ErrNar, MaxNarDepth)
	}
	*o = append(*o, openDir{path: path})
	return nil
}

// entry checks that name may come next in the innermost directory, and
// returns its path.
func (o openDirs) entry(name string) (string, error) {
	if err := checkNarName(name); err != nil {
		return "", err
	}
	d := &o[len(o)-1]
	if name <= d.last {
		return "", fmt.Errorf("%w: entry %q does not come after %q", ErrNar, clip(name), clip(d.last))
	}
	d.last = name
	full := joinNar(d.path, name)
	if len(full) > MaxNarPathLen {
		return "", fmt.Errorf("%w: path of %d bytes", ErrNar, len(full))
	}
	return full, nil
}

func joinNar(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}
