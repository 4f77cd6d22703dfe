package eval

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/firn-log/firn/internal/durable"
)

// A manifest is what a tree held when it was evaluated, so that the next evaluation knows
// which files differ without the tree of then. It lies beside the evaluation files and
// may be lost: then everything is evaluated.
type manifest struct {
	Scope string            `json:"scope"` // digest of what else the evaluation depended on
	Last  string            `json:"last"`  // digest of the evaluation file that came of it
	Files map[string]string `json:"files"` // path → type and digest of the content
}

const (
	maxFiles    = 2_000_000
	maxManifest = 1 << 30
)

// contents returns the files of the tree at dir, without .git. What is neither file, folder nor
// link is an error.
func contents(dir string) (map[string]string, error) {
	files := make(map[string]string)
	buf := make([]byte, 128<<10)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		switch {
		case err != nil:
			return err
		case rel == ".git":
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		case len(files) > maxFiles:
			return fmt.Errorf("the tree has more than %d files", maxFiles)
		case d.IsDir():
			return nil
		case d.Type() == fs.ModeSymlink:
			to, err := os.Readlink(path)
			files[rel] = "link " + digestOf([]byte(to))
			return err
		case !d.Type().IsRegular():
			return fmt.Errorf("%s is neither a file, a folder nor a link", path)
		}
		files[rel], err = fileDigest(path, buf)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the tree: %w", err)
	}
	return files, nil
}

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func fileDigest(path string, buf []byte) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return "", err
	}
	kind := "file "
	if st.Mode()&0o111 != 0 {
		kind = "program "
	}
	h := sha256.New()
	if _, err := io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{f}, buf); err != nil {
		return "", err
	}
	return kind + hex.EncodeToString(h.Sum(nil)), nil
}

// treeDigest names a tree by what it holds.
func treeDigest(files map[string]string) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(h, "%q %s\n", name, files[name])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// changed returns the files that differ between two trees, sorted.
func changed(before, after map[string]string) []string {
	var names []string
	for name, is := range after {
		if before[name] != is {
			names = append(names, name)
		}
	}
	for name := range before {
		if _, there := after[name]; !there {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (f *Folder) manifestPath(channel string, tier Tier) string {
	return filepath.Join(f.dir, channel, "tree-"+string(tier)+".json.gz")
}

// manifest returns the manifest of the last evaluation, nil if there is none of use.
func (f *Folder) manifest(channel string, tier Tier) (*manifest, error) {
	b, err := os.ReadFile(f.manifestPath(channel, tier))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var m manifest
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, nil //nolint:nilerr // it is only a help
	}
	if err := json.NewDecoder(io.LimitReader(z, maxManifest)).Decode(&m); err != nil {
		return nil, nil //nolint:nilerr // the same
	}
	return &m, nil
}

func (f *Folder) writeManifest(channel string, tier Tier, m *manifest) error {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if err := json.NewEncoder(z).Encode(m); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return durable.WriteFile(f.manifestPath(channel, tier), b.Bytes(), 0o644)
}
