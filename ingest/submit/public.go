package submit

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/firn-log/firn/ingest/send"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/internal/nixdb"
	"github.com/firn-log/firn/log/statement"
)

// closurePrefix begins a member of public-from that is not a file.
const closurePrefix = "closure:sha256:"

// closureDir is where the lists of closure statements are kept: the folder
// "closures" of the spool, one file each, named by the digest.
const closureDir = "closures"

// source is one member of public-from.
type source struct {
	text   string
	roots  []nix.StorePath // of a file
	digest *nix.Hash       // of a closure statement
}

// readSource reads one member of public-from.
func readSource(from string, dir nix.StoreDir) (*source, error) {
	if digits, ok := strings.CutPrefix(from, closurePrefix); ok {
		b, err := hex.DecodeString(digits)
		if err != nil || len(b) != 32 || hex.EncodeToString(b) != digits {
			return nil, fmt.Errorf("%q does not end in 64 lower-case hexadecimal digits", from)
		}
		digest := nix.Hash(b)
		return &source{text: from, digest: &digest}, nil
	}
	f, err := os.Open(from)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	src := &source{text: from}
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line, _, _ := strings.Cut(lines.Text(), "#")
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		p, err := dir.Parse(line)
		if err == nil && !p.IsDerivation() {
			err = errors.New("not a derivation")
		}
		if err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", from, n, err)
		}
		src.roots = append(src.roots, p)
	}
	return src, lines.Err()
}

// publicSet is what may leave this machine.
type publicSet struct {
	drvs   map[nix.StorePath]bool     // public derivations
	paths  map[nix.StorePath]bool     // store paths that a closure statement names
	byName map[string][]nix.StorePath // drvs by name
}

// findPublic computes what is public now. Roots that are not in the store are
// said and left out: what only they need stays private.
func (s *Submitter) findPublic(ctx context.Context, st *store) (*publicSet, error) {
	set := &publicSet{drvs: make(map[nix.StorePath]bool), paths: make(map[nix.StorePath]bool), byName: make(map[string][]nix.StorePath)}
	var roots []nix.StorePath
	for _, from := range s.conf.PublicFrom {
		src, err := readSource(from, st.src.StoreDir())
		if err != nil {
			return nil, &send.ConfigError{Err: fmt.Errorf("public-from: %w", err)}
		}
		named := src.roots
		if src.digest != nil {
			if named, err = s.spool.readClosure(*src.digest, st.src.StoreDir()); err != nil {
				return nil, err
			}
		}
		for _, p := range named {
			if src.digest != nil {
				set.paths[p] = true
			}
			_, err := st.src.PathInfo(ctx, p)
			if errors.Is(err, nixdb.ErrNotValid) {
				if src.digest == nil {
					s.say("firn: warning: %s, named in %s, is not in the store: what only it needs stays private", p, from)
				}
				continue
			}
			if err != nil {
				return nil, err
			}
			if p.IsDerivation() {
				roots = append(roots, p)
			}
		}
	}
	closure, err := st.src.Closure(ctx, roots)
	if err != nil {
		return nil, err
	}
	for _, info := range closure {
		if info.Path.IsDerivation() {
			set.add(info.Path)
		}
	}
	for _, p := range s.also {
		set.add(p)
	}
	return set, nil
}

// AlsoNowhere returns which of Options.Also no record and no statement in the
// spool is about, and are not in the store either.
func (s *Submitter) AlsoNowhere() ([]nix.StorePath, error) {
	if len(s.also) == 0 {
		return nil, nil
	}
	st, err := ReadStatus(s.conf)
	if err != nil {
		return nil, err
	}
	var nowhere []nix.StorePath
	for _, p := range s.also {
		if slices.ContainsFunc(st.Builds, func(b Build) bool { return b.Drv == p.String() }) {
			continue
		}
		if _, err := os.Lstat(filepath.Join(s.conf.Store, p.String())); errors.Is(err, fs.ErrNotExist) {
			nowhere = append(nowhere, p)
		}
	}
	return nowhere, nil
}

func (set *publicSet) add(p nix.StorePath) {
	if !set.drvs[p] {
		set.drvs[p] = true
		set.byName[p.Name()] = append(set.byName[p.Name()], p)
	}
}

// has reports whether a statement may leave: its derivation is public, or it is
// what Nix resolved a public one to, or a closure statement names every output.
func (set *publicSet) has(ctx context.Context, st *store, b *statement.Build) (bool, error) {
	if set.drvs[b.DrvPath] || set.named(b) {
		return true, nil
	}
	d, err := st.load(b.DrvPath)
	if err != nil || len(d.InputDrvs) > 0 || d.Kind() == nix.Fixed {
		return false, nil // gone, or not a resolved derivation
	}
	for _, p := range set.byName[b.DrvPath.Name()] {
		if ok, err := st.realised(ctx, p, b); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// named reports whether a closure statement names all outputs of b.
func (set *publicSet) named(b *statement.Build) bool {
	for _, o := range b.Outputs {
		if !set.paths[o.Path] {
			return false
		}
	}
	return true
}

// realised reports whether every output of b is recorded as an output of the
// unresolved derivation drv.
func (st *store) realised(ctx context.Context, drv nix.StorePath, b *statement.Build) (bool, error) {
	d, err := st.load(drv)
	if err != nil || d.Kind() == nix.InputAddressed || d.Kind() == nix.Fixed {
		return false, nil
	}
	for _, v := range []nix.Variant{nix.Merge, nix.Clobber} {
		m, err := st.modulo.Modulo(d, v)
		if err != nil {
			return false, nil // a part of its closure is gone
		}
		paths, err := st.src.Realisations(ctx, drv, m)
		if err != nil {
			return false, err
		}
		all := len(paths) > 0
		for _, o := range b.Outputs {
			all = all && paths[o.Name] == o.Path
		}
		if all {
			return true, nil
		}
	}
	return false, nil
}

// readClosure reads the list of a closure statement, which is empty until it was
// fetched. It is checked against its digest.
func (s spool) readClosure(digest nix.Hash, dir nix.StoreDir) ([]nix.StorePath, error) {
	b, err := os.ReadFile(s.path(closureDir, digest.Hex()))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var paths []nix.StorePath
	for line := range strings.Lines(string(b)) {
		p, err := dir.FromBase(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return nil, fmt.Errorf("closure %s: %w", digest.Hex(), err)
		}
		paths = append(paths, p)
	}
	if statement.PathsDigest(paths) != digest {
		return nil, fmt.Errorf("closure %s: the file in the spool does not have this digest", digest.Hex())
	}
	return paths, nil
}
