package server

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"

	"github.com/firn-log/firn/log/server/store"
)

// What Tessera v1.0.4 leaves behind when it is killed, or when a disk is full,
// is a temporary file: the name it was to have, followed by a random number of
// up to ten digits. Nothing else removes it, and under public/ it would be
// served. A name that fits no tile is such a file.
var (
	goodTile   = regexp.MustCompile(`^(?:entries|[0-9]|[1-5][0-9]|6[0-3])/(?:x[0-9]{3}/)*[0-9]{3}(?:\.p/(?:[1-9][0-9]?|1[0-9]{2}|2[0-4][0-9]|25[0-5]))?$`)
	tempState  = regexp.MustCompile(`^(?:treeState|gcState|version)[0-9]{1,10}$`)
	tempCheck  = regexp.MustCompile(`^checkpoint[0-9]{1,10}$`)
	tempPublic = regexp.MustCompile(`^\.firn-tmp-`)
)

// sweep removes stray temporary files from a log's directory and returns how
// many there were. Nobody else may be writing there.
func sweep(dir string) (int, error) {
	n, err := sweepTiles(filepath.Join(dir, treeName, "tile"))
	for _, d := range []struct {
		name string
		temp *regexp.Regexp
	}{
		{filepath.Join(treeName, ".state"), tempState}, {treeName, tempCheck}, {publicName, tempPublic}, {".", tempPublic},
	} {
		m, e := sweepFolder(filepath.Join(dir, d.name), d.temp)
		n, err = n+m, errors.Join(err, e)
	}
	return n, err
}

// sweepTiles removes from a tile folder every file that is not named like a
// tile.
func sweepTiles(dir string) (n int, err error) {
	tree := os.DirFS(dir)
	err = fs.WalkDir(tree, ".", func(name string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case !e.Type().IsRegular() || goodTile.MatchString(name):
			return nil
		}
		n++
		return os.Remove(filepath.Join(dir, filepath.FromSlash(path.Clean(name))))
	})
	return n, err
}

func sweepFolder(dir string, temp *regexp.Regexp) (n int, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		if e.Type().IsRegular() && temp.MatchString(e.Name()) {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return n, err
			}
			n++
		}
	}
	return n, nil
}

// sweepEdge is sweepTiles for the only folders to which a batch that failed at
// this tree size can have written.
func sweepEdge(dir string, size uint64) (n int, err error) {
	for level := -1; level < 8; level++ {
		shift := 8 * (max(level, 0) + 1)
		for i := size >> shift; i <= (size+store.MaxBatch)>>shift; i++ {
			name := filepath.Join(dir, filepath.FromSlash(tilePath(level, i)))
			for _, folder := range []string{filepath.Dir(name), name + ".p"} {
				m, e := sweepEdgeFolder(dir, folder)
				n, err = n+m, errors.Join(err, e)
			}
		}
	}
	return n, err
}

func sweepEdgeFolder(dir, folder string) (n int, err error) {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		path := filepath.Join(folder, e.Name())
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return n, err
		}
		if e.Type().IsRegular() && !goodTile.MatchString(filepath.ToSlash(rel)) {
			if err := os.Remove(path); err != nil {
				return n, err
			}
			n++
		}
	}
	return n, nil
}

// tilePath returns the path of a full tile below tile/; level -1 is a bundle.
func tilePath(level int, n uint64) string {
	name := fmt.Sprintf("%03d", n%1000)
	for n /= 1000; n > 0; n /= 1000 {
		name = fmt.Sprintf("x%03d/%s", n%1000, name)
	}
	if level < 0 {
		return "entries/" + name
	}
	return fmt.Sprintf("%d/%s", level, name)
}
