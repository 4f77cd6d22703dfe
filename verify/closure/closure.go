// Package closure finds what is to be verified: the paths of a Nix store on
// this machine that something needs, with what the store's database says about
// them, and, if asked, whether that is still what is on disk.
//
// It implements spec/policy.md#what-is-judged.
package closure

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/firn-log/firn/internal/bincache"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/internal/nixdb"
	"github.com/firn-log/firn/verify"
)

// Store is a Nix store on this machine. Root is where it is rooted, an absolute
// path: "/" for the usual one; otherwise store paths are files below Root, while
// their names do not mention it.
//
// It keeps the hashes of the derivations it has seen, and may be used
// concurrently.
type Store struct {
	Source nixdb.Source
	Root   string

	once  sync.Once // guards cache
	cache *nix.ModuloCache
}

// modulo returns the hashes modulo of the store's derivations.
func (s *Store) modulo() *nix.ModuloCache {
	s.once.Do(func() { s.cache = nix.NewModuloCache(s.derivation) })
	return s.cache
}

// Open opens the store rooted at root, whose paths lie in dir. It falls
// back to nix-store for the usual root where the database cannot be read.
func Open(ctx context.Context, root string, dir nix.StoreDir) (*Store, error) {
	nixStore := ""
	if root == "" || root == "/" {
		root, nixStore = "/", "nix-store"
	}
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	src, err := nixdb.OpenStore(ctx, filepath.Join(root, "nix/var/nix"), dir, nixStore)
	if err != nil {
		return nil, err
	}
	return &Store{Source: src, Root: root}, nil
}

// Physical returns the file that holds p.
func (s *Store) Physical(p nix.StorePath) string {
	return filepath.Join(s.Root, p.String())
}

// Subjects returns the paths reachable from what args name, sorted by path:
// a store path or anything in it, a link to one (also ./result or a profile), or a
// derivation, which stands for its outputs. A derivation of which no output is in the store
// stands for them all the same, as paths that are not built yet, after the others.
func (s *Store) Subjects(ctx context.Context, args []string) ([]verify.Subject, error) {
	var roots []nix.StorePath
	var unbuilt []verify.Subject
	for _, arg := range args {
		p, err := s.resolve(arg)
		if err != nil {
			return nil, err
		}
		if !p.IsDerivation() {
			roots = append(roots, p)
			continue
		}
		outs, missing, err := s.outputs(ctx, p)
		if err != nil {
			return nil, err
		}
		roots, unbuilt = append(roots, outs...), append(unbuilt, missing...)
	}
	var infos []*nix.PathInfo
	var err error
	if len(roots) > 0 {
		if infos, err = s.Source.Closure(ctx, roots); err != nil {
			return nil, err
		}
	}
	subjects := make([]verify.Subject, len(infos))
	for i, info := range infos {
		subjects[i] = verify.Subject{Info: info}
		if subjects[i].Realisations, err = s.realisations(ctx, info); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(unbuilt, func(a, b verify.Subject) int { return a.Info.Path.Compare(b.Info.Path) })
	unbuilt = slices.CompactFunc(unbuilt, func(a, b verify.Subject) bool { return a.Info.Path == b.Info.Path })
	return append(subjects, unbuilt...), nil
}

// ErrNotInStore says that an argument names nothing in the store.
var ErrNotInStore = errors.New("not in the Nix store")

func (s *Store) resolve(arg string) (nix.StorePath, error) {
	return Resolve(s.Root, s.Source.StoreDir(), arg)
}

// Resolve follows links from arg until they enter the store dir, whether or not that
// is where its paths say it is: root is that of a private store, or "". What does not
// lead into it is an error matching ErrNotInStore.
func Resolve(root string, store nix.StoreDir, arg string) (nix.StorePath, error) {
	dir := string(store)
	physical := filepath.Join(root, dir)
	at, err := filepath.Abs(arg)
	if err != nil {
		return nix.StorePath{}, err
	}
	for range 40 {
		for _, folder := range []string{dir, physical} {
			if rest, ok := strings.CutPrefix(at, folder+"/"); ok {
				base, _, _ := strings.Cut(rest, "/")
				p, err := store.FromBase(base)
				if err != nil {
					return p, fmt.Errorf("%s: %w", arg, err)
				}
				return p, nil
			}
		}
		target, err := os.Readlink(at)
		if err != nil {
			real, err := filepath.EvalSymlinks(at)
			switch {
			case err != nil:
				return nix.StorePath{}, err
			case real == at:
				return nix.StorePath{}, fmt.Errorf("%s: %w %s", arg, ErrNotInStore, physical)
			}
			at = real
			continue
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(at), target)
		}
		at = filepath.Clean(target)
	}
	return nix.StorePath{}, fmt.Errorf("%s: too many links", arg)
}

// outputs returns the valid outputs of a derivation, or, if there is none, all of them as
// paths that are not built yet.
func (s *Store) outputs(ctx context.Context, drv nix.StorePath) (valid []nix.StorePath, unbuilt []verify.Subject, err error) {
	outs, err := s.Source.DerivationOutputs(ctx, drv)
	if err != nil && !errors.Is(err, nixdb.ErrNotRecorded) {
		return nil, nil, err
	}
	if len(outs) == 0 {
		d, err := s.derivation(drv)
		if err != nil {
			return nil, nil, err
		}
		if outs, err = s.outputsOf(ctx, d); err != nil {
			return nil, nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(outs)) {
		_, err := s.Source.PathInfo(ctx, outs[name])
		switch {
		case err == nil:
			valid = append(valid, outs[name])
		case errors.Is(err, nixdb.ErrNotValid):
			unbuilt = append(unbuilt, s.unbuilt(drv, outs[name]))
		default:
			return nil, nil, err
		}
	}
	switch {
	case len(valid) > 0:
		return valid, nil, nil
	case len(unbuilt) == 0:
		return nil, nil, fmt.Errorf("what paths %s will have is known only when it is built, and none is in the store: %w", drv, nixdb.ErrNotValid)
	}
	return nil, unbuilt, nil
}

// unbuilt is an output of drv that is not in the store, with what the derivation says.
func (s *Store) unbuilt(drv, out nix.StorePath) verify.Subject {
	sub := verify.Unbuilt(out)
	if d, err := s.derivation(drv); err == nil {
		sub.Facts.System, sub.Facts.SystemKnown = d.System, true
		sub.Facts.FOD, sub.Facts.FODKnown = d.Kind() == nix.Fixed, true
	}
	return sub
}

// Outputs returns the paths that the outputs of a derivation have, whether or not they are
// there. The error matches nixdb.ErrNotValid if that is not known before it is built.
func (s *Store) Outputs(ctx context.Context, drv nix.StorePath) ([]nix.StorePath, error) {
	valid, unbuilt, err := s.outputs(ctx, drv)
	for _, sub := range unbuilt {
		valid = append(valid, sub.Info.Path)
	}
	return valid, err
}

// outputsOf finds outputs through the derivation itself, where the database
// does not list them.
func (s *Store) outputsOf(ctx context.Context, d *nix.Derivation) (map[string]nix.StorePath, error) {
	outs := make(map[string]nix.StorePath)
	for _, o := range d.Outputs {
		if o.Path == "" {
			continue
		}
		p, err := s.Source.StoreDir().Parse(o.Path)
		if err != nil {
			return nil, err
		}
		outs[o.Name] = p
	}
	if len(outs) > 0 {
		return outs, nil
	}
	m, err := s.modulo().Match(d)
	if err != nil {
		return nil, err
	}
	return s.Source.Realisations(ctx, d.DrvPath(), m.Hash)
}

// derivation reads a .drv from the store. What cannot be one, because it is
// too large or not a file, is refused unread (nix.ErrDerivation).
func (s *Store) derivation(p nix.StorePath) (*nix.Derivation, error) {
	file := s.Physical(p)
	info, err := os.Lstat(file)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%w: %s is not a regular file", nix.ErrDerivation, file)
	case info.Size() > nix.MaxDerivationLen:
		return nil, fmt.Errorf("%w: %s has %d bytes, more than %d", nix.ErrDerivation, file, info.Size(), nix.MaxDerivationLen)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return nix.ParseDerivation(p.Dir(), strings.TrimSuffix(p.Name(), ".drv"), b)
}

// realisations returns the index keys under which another path may be claimed
// for a floating content-addressed output. They need the derivation; without
// it there are none, and the path is judged by its own name only.
func (s *Store) realisations(ctx context.Context, info *nix.PathInfo) ([]string, error) {
	if !strings.HasPrefix(info.CA, "fixed:") {
		return nil, nil
	}
	drvs, err := s.Source.ValidDerivers(ctx, info.Path)
	if err != nil {
		return nil, err
	}
	var keys []string
	for _, drv := range drvs {
		d, err := s.derivation(drv)
		if err != nil || d.Kind() != nix.FloatingCA {
			continue
		}
		m, err := s.modulo().Match(d)
		if err != nil {
			continue
		}
		outs, err := s.Source.Realisations(ctx, drv, m.Hash)
		if err != nil {
			return nil, err
		}
		for name, p := range outs {
			if p == info.Path {
				keys = append(keys, verify.RealisationKey(m.Hash, name))
				if len(d.InputDrvs) == 0 {
					keys = append(keys, "real:"+drv.String()+"!"+name)
				}
			}
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys), nil
}

// MappingKeys returns the index keys under which it is claimed which path an output of a content-addressed
// derivation is, given one of its names: that, and, if the derivation is in the store and is the one that Nix
// resolved, the other.
func (s *Store) MappingKeys(id bincache.RealisationID) []string {
	keys := []string{"real:" + id.String()}
	if id.Drv.IsZero() {
		return keys
	}
	d, err := s.derivation(id.Drv)
	if err != nil || d.Kind() != nix.FloatingCA || len(d.InputDrvs) > 0 || d.DrvPath() != id.Drv {
		return keys
	}
	if m, err := s.modulo().Match(d); err == nil {
		keys = append(keys, verify.RealisationKey(m.Hash, id.Output))
	}
	return keys
}
