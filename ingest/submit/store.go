package submit

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/internal/nixdb"
)

// store is a Nix store: its database, and its files below root.
type store struct {
	src    nixdb.Source
	root   string // "" or the root of a private store
	drvs   map[nix.StorePath]*nix.Derivation
	modulo *nix.ModuloCache
}

func newStore(src nixdb.Source, root string) *store {
	st := &store{src: src, root: root, drvs: make(map[nix.StorePath]*nix.Derivation)}
	st.modulo = nix.NewModuloCache(st.load)
	return st
}

// load reads a derivation. It is not known yet whether it has the path p.
func (st *store) load(p nix.StorePath) (*nix.Derivation, error) {
	if d := st.drvs[p]; d != nil {
		return d, nil
	}
	path := filepath.Join(st.root, p.String())
	if fi, err := os.Lstat(path); err != nil {
		return nil, err
	} else if !fi.Mode().IsRegular() || fi.Size() > nix.MaxDerivationLen {
		return nil, nix.ErrDerivation
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	d, err := nix.ParseDerivation(p.Dir(), strings.TrimSuffix(p.Name(), ".drv"), b)
	if err != nil {
		return nil, err
	}
	st.drvs[p] = d
	return d, nil
}
