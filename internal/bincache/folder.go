package bincache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/firn-log/firn/internal/nix"
)

// folder is a cache in a folder of this machine, as Nix writes it with file://.
type folder struct{ dir string }

func (f *folder) get(ctx context.Context, name string, limit int64, _ bool) ([]byte, error) {
	r, err := f.open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("longer than %d bytes", limit)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(f.dir, name), err)
	}
	return b, nil
}

func (f *folder) open(_ context.Context, name string) (io.ReadCloser, error) {
	path := filepath.FromSlash(name)
	root, err := os.OpenRoot(f.dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	// Nothing outside of the folder is opened. A pipe would keep its reader waiting for ever.
	r, err := root.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrMissing
	}
	if err != nil {
		return nil, err
	}
	if st, err := r.Stat(); err != nil || !st.Mode().IsRegular() {
		return nil, errors.Join(fmt.Errorf("%s is not a plain file", filepath.Join(f.dir, path)), err, r.Close())
	}
	return r, nil
}

func (f *folder) hashParts() ([]string, error) {
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return nil, err
	}
	var parts []string
	for _, e := range entries {
		part, ok := strings.CutSuffix(e.Name(), narInfoSuffix)
		if ok && isHashPart(part) {
			parts = append(parts, part)
		}
	}
	slices.Sort(parts)
	return parts, nil
}

func isHashPart(s string) bool {
	_, err := nix.DefaultStoreDir.FromBase(s + "-x")
	return err == nil && len(s) == nix.HashPartLen
}
