package rebuild

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/firn-log/firn/internal/nix"
)

// drvs reads derivations: from the store, and from the work folder, where those are
// that came from a log.
type drvs struct {
	root, extra string
	modulo      *nix.ModuloCache

	mu    sync.Mutex // guards known
	known map[nix.StorePath]*nix.Derivation
}

func newDrvs(root, extra string) *drvs {
	d := &drvs{root: root, extra: extra, known: make(map[nix.StorePath]*nix.Derivation)}
	d.modulo = nix.NewModuloCache(d.load)
	return d
}

// load reads a derivation, whose path it has checked. A missing one is an error that
// matches fs.ErrNotExist.
func (s *drvs) load(p nix.StorePath) (*nix.Derivation, error) {
	s.mu.Lock()
	d := s.known[p]
	s.mu.Unlock()
	if d != nil {
		return d, nil
	}
	b, err := readDrv(filepath.Join(s.root, p.String()))
	if errors.Is(err, fs.ErrNotExist) {
		b, err = readDrv(filepath.Join(s.extra, p.Base()))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is not in the store: %w", p, fs.ErrNotExist)
	}
	if err == nil {
		d, err = parseDrv(p, b)
	}
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.known[p] = d
	s.mu.Unlock()
	return d, nil
}

func readDrv(path string) ([]byte, error) {
	if fi, err := os.Lstat(path); err != nil {
		return nil, err
	} else if !fi.Mode().IsRegular() || fi.Size() > nix.MaxDerivationLen {
		return nil, fmt.Errorf("%s: %w", path, nix.ErrDerivation)
	}
	return os.ReadFile(path)
}

// parseDrv reads the text of the derivation p, and refuses one that has another path.
func parseDrv(p nix.StorePath, b []byte) (*nix.Derivation, error) {
	d, err := nix.ParseDerivation(p.Dir(), drvName(p), b)
	if err == nil && d.DrvPath() != p {
		err = fmt.Errorf("%s: %w", p, nix.ErrWrongDrvPath)
	}
	return d, err
}

// check reads a derivation and everything that it depends on, and returns its hash
// modulo; its output paths follow from that.
func (s *drvs) check(p nix.StorePath) (*nix.Derivation, nix.Hash, error) {
	d, err := s.load(p)
	if err != nil {
		return nil, nix.Hash{}, err
	}
	m, err := s.modulo.Match(d)
	return d, m.Hash, err
}

// outputs returns the paths of the outputs of d, which is not content-addressed.
func outputs(d *nix.Derivation) (map[string]nix.StorePath, error) {
	paths := make(map[string]nix.StorePath, len(d.Outputs))
	for _, o := range d.Outputs {
		p, err := d.Dir.Parse(o.Path)
		if err != nil {
			return nil, fmt.Errorf("output %s of %s.drv: %w", o.Name, d.Name, err)
		}
		paths[o.Name] = p
	}
	return paths, nil
}

// drvName returns the name of a derivation without ".drv".
func drvName(p nix.StorePath) string { return strings.TrimSuffix(p.Name(), ".drv") }
