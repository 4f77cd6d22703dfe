package rebuild

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/internal/nixdb"
	"github.com/firn-log/firn/log/statement"
)

// inputs are what a build is given.
type inputs struct {
	direct []nix.StorePath // sorted
	all    []held          // closed under references
	sum    statement.BuildInputs
}

// directInputs returns the sources of d and the outputs that it uses of other
// derivations, sorted; made has those that a derivation makes.
func (r *Rebuilder) directInputs(d *nix.Derivation) (direct []nix.StorePath, made map[nix.StorePath]bool, err error) {
	made = make(map[nix.StorePath]bool)
	direct = slices.Clone(d.InputSrcs)
	for _, in := range d.InputDrvs {
		id, err := r.drvs.load(in.Path)
		if err != nil {
			return nil, nil, err
		}
		outs, err := outputs(id)
		if err != nil {
			return nil, nil, err
		}
		for _, name := range in.Outputs {
			p, ok := outs[name]
			if !ok {
				return nil, nil, cannotf("%s has no output %s, which %s.drv uses", in.Path, name, d.Name)
			}
			made[p] = true
			direct = append(direct, p)
		}
	}
	slices.SortFunc(direct, nix.StorePath.Compare)
	return slices.Compact(direct), made, nil
}

// gather finds the inputs of d in the local store, and has Nix substitute the others
// into a store of the rebuilder's own.
func (r *Rebuilder) gather(ctx context.Context, d *nix.Derivation) (*inputs, error) {
	direct, made, err := r.directInputs(d)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, cannotf("a derivation that it depends on is missing: %v", err)
	}
	if err != nil {
		return nil, err
	}
	var here, away []nix.StorePath
	for _, p := range direct {
		switch _, err := r.local.PathInfo(ctx, p); {
		case err == nil:
			here = append(here, p)
		case errors.Is(err, nixdb.ErrNotValid):
			away = append(away, p)
		default:
			return nil, err
		}
	}
	in := &inputs{direct: direct}
	infos, err := r.local.Closure(ctx, here)
	if err != nil {
		return nil, err
	}
	in.add(infos, filepath.Join(r.conf.Store, string(nix.DefaultStoreDir)))
	if len(away) > 0 {
		if infos, err = r.supply(ctx, away, r.conf.Substituters); err != nil {
			return nil, err
		}
		in.add(infos, r.work(inputsDir, "nix/store"))
	}
	in.summarise(made)
	return in, nil
}

// add adds what is not there yet.
func (in *inputs) add(infos []*nix.PathInfo, store string) {
	known := make(map[nix.StorePath]bool, len(in.all))
	for _, h := range in.all {
		known[h.info.Path] = true
	}
	for _, info := range infos {
		if !known[info.Path] {
			in.all = append(in.all, held{info, store})
		}
	}
}

// summarise fills in the summary of the direct inputs (spec/statement.md#build).
func (in *inputs) summarise(made map[nix.StorePath]bool) {
	h := sha256.New()
	lines := make([]string, 0, len(in.direct))
	for _, held := range in.all {
		info := held.info
		if _, ok := slices.BinarySearchFunc(in.direct, info.Path, nix.StorePath.Compare); !ok {
			continue
		}
		lines = append(lines, fmt.Sprintf("%s %s\n", info.Path.Base(), info.NarHash.Hex()))
		switch {
		case info.Ultimate:
			in.sum.Built++
		case made[info.Path] || !info.Deriver.IsZero():
			in.sum.Substituted++
		}
	}
	slices.Sort(lines)
	for _, line := range lines {
		h.Write([]byte(line))
	}
	in.sum.Digest, in.sum.Count = nix.Hash(h.Sum(nil)), uint64(len(lines))
}

// supply has Nix substitute paths into the store of inputs, and returns their closure.
// The caller holds r.supplying, or nothing keeps it from being emptied.
func (r *Rebuilder) supply(ctx context.Context, paths []nix.StorePath, from []string) ([]*nix.PathInfo, error) {
	r.fetching.Lock()
	defer r.fetching.Unlock()
	settings := map[string]string{"max-jobs": "0", "builders": "", "post-build-hook": "", "auto-optimise-store": "false"}
	if from != nil {
		settings["substituters"] = strings.Join(from, " ")
	}
	if len(r.conf.TrustedKeys) > 0 {
		settings["extra-trusted-public-keys"] = strings.Join(r.conf.TrustedKeys, " ")
	}
	args := []string{"--realise"}
	for _, p := range paths {
		args = append(args, p.String())
	}
	if err := r.run(ctx, r.nix.command(r.work(inputsDir), settings, args...)); err != nil {
		if noSpace(r.conf.Work, r.conf.MinFree) {
			return nil, errDisk
		}
		return nil, cannotf("an input is neither in the store nor to be had from a cache: %v", err)
	}
	src, err := nixdb.OpenStore(ctx, r.work(inputsDir, "nix/var/nix"), nix.DefaultStoreDir, "")
	if err != nil {
		return nil, err
	}
	defer src.Close()
	return src.Closure(ctx, paths)
}

// run runs a program of Nix and returns its last words if it fails.
func (r *Rebuilder) run(ctx context.Context, args []string) error {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = r.o.Environ
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if line := plain(lastLine(string(out))); line != "" {
		return errors.New(line)
	}
	return err
}

// protect keeps the garbage collector of the local store from the inputs of a build
// as long as the room is there. Where this user may not, nothing does: a build whose
// inputs vanish fails to read them, which Nix reports.
func (r *Rebuilder) protect(ctx context.Context, in *inputs, room string) {
	args := []string{"--realise", "--add-root", filepath.Join(room, "input")}
	n := len(args)
	local := filepath.Join(r.conf.Store, string(nix.DefaultStoreDir))
	for _, h := range in.all {
		if _, ok := slices.BinarySearchFunc(in.direct, h.info.Path, nix.StorePath.Compare); ok && h.store == local {
			args = append(args, h.info.Path.String())
		}
	}
	if len(args) > n {
		_ = r.run(ctx, r.nix.command(r.conf.Store, nil, args...))
	}
}
