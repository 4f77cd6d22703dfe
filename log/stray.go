package log

import (
	"bytes"
	"crypto/sha256"
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

// blobName matches the name of a blob.
var blobName = regexp.MustCompile(`^[0-9a-f]{64}$`)

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
		if e.Name() != "checkpoint" && e.Name() != "tile" && e.Name() != "v1" {
			faults = append(faults, Fault{e.Name(), "does not belong here"})
		}
	}
	lists, err := strayLists(dir)
	if err != nil {
		return nil, err
	}
	faults = append(faults, lists...)
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

// strayLists returns what does not belong below v1/, where the lists of paths are that
// entries name (spec/log.md#blobs).
func strayLists(dir string) (faults []Fault, err error) {
	for _, folder := range []string{"v1", "v1/blob"} {
		entries, err := os.ReadDir(filepath.Join(dir, filepath.FromSlash(folder)))
		if errors.Is(err, fs.ErrNotExist) {
			return faults, nil
		}
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			name := folder + "/" + e.Name()
			if name == "v1/blob" {
				continue
			}
			reason := "does not belong here"
			if folder == "v1/blob" && blobName.MatchString(e.Name()) && e.Type().IsRegular() {
				b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
				if err != nil {
					return nil, err
				}
				if reason = ""; fmt.Sprintf("%x", sha256.Sum256(b)) != e.Name() {
					reason = "does not hash to its name"
				}
			}
			if reason != "" {
				faults = append(faults, Fault{name, reason})
			}
		}
	}
	return faults, nil
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
