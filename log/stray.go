package log

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// tileName matches the paths of tiles and bundles below tile/
// (c2sp.org/tlog-tiles#merkle-tree).
var tileName = regexp.MustCompile(`^(entries|[0-9]|[1-5][0-9]|6[0-3])/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?$`)

// StrayFiles returns the files in the static tree at dir that do not belong
// there: those whose name is not one of tlog-tiles, and partial tiles and
// bundles that are not the beginning of the wider one beside them. It does not
// know the checkpoint; see [Client.Fsck] for the rest.
func StrayFiles(dir string) ([]Fault, error) {
	var faults []Fault
	top, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	for _, e := range top {
		if e.Name() != "checkpoint" && e.Name() != "tile" {
			faults = append(faults, Fault{e.Name(), "does not belong here"})
		}
	}
	tiles, err := filepath.EvalSymlinks(filepath.Join(dir, "tile"))
	if errors.Is(err, fs.ErrNotExist) {
		return faults, nil // an empty log
	}
	if err != nil {
		return nil, err
	}
	err = filepath.WalkDir(tiles, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(tiles, path)
		if err != nil {
			return err
		}
		if reason := strayReason(tiles, filepath.ToSlash(name), d); reason != "" {
			faults = append(faults, Fault{"tile/" + filepath.ToSlash(name), reason})
		}
		return nil
	})
	return faults, err
}

// strayReason says why a file below tile/ does not belong there, or "".
func strayReason(tiles, name string, d fs.DirEntry) string {
	m := tileName.FindStringSubmatch(name)
	if m == nil || !d.Type().IsRegular() || strings.HasPrefix(m[2], "x000/") {
		return "does not belong here"
	}
	if m[3] == "" {
		return ""
	}
	if w, _ := strconv.Atoi(m[3]); w >= tileWidth {
		return "does not belong here"
	}
	full := filepath.Join(tiles, filepath.FromSlash(m[1]), filepath.FromSlash(m[2]))
	wide, err := os.ReadFile(full)
	if err != nil {
		return "" // there is no full tile yet
	}
	b, err := os.ReadFile(filepath.Join(tiles, filepath.FromSlash(name)))
	if err != nil || !bytes.HasPrefix(wide, b) {
		return "is not the beginning of the full one beside it"
	}
	return ""
}
