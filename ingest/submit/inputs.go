package submit

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/internal/nixdb"
	"github.com/firn-log/firn/log/statement"
)

// inputs sums up the direct inputs of d: its sources, and the outputs of its
// input derivations that it uses. The digest is the SHA-256 of a line for each,
// "<base name> <hexadecimal NAR hash>\n", sorted, so that two builders can tell
// whether they built from the same bytes (spec/statement.md#build). It is nil if
// an input is not in the store any more: half a digest would only seem to differ.
func (st *store) inputs(ctx context.Context, d *nix.Derivation) (*statement.BuildInputs, error) {
	paths := make(map[nix.StorePath]bool) // whether a derivation made it
	for _, p := range d.InputSrcs {
		paths[p] = false
	}
	for _, in := range d.InputDrvs {
		outs, err := st.inputOutputs(ctx, in)
		if err != nil || outs == nil {
			return nil, err
		}
		for _, p := range outs {
			paths[p] = true
		}
	}
	var sum statement.BuildInputs
	lines := make([]string, 0, len(paths))
	for p, made := range paths {
		info, err := st.src.PathInfo(ctx, p)
		if errors.Is(err, nixdb.ErrNotValid) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		lines = append(lines, fmt.Sprintf("%s %s\n", p.Base(), info.NarHash.Hex()))
		switch {
		case info.Ultimate:
			sum.Built++
		case made || !info.Deriver.IsZero():
			sum.Substituted++
		}
	}
	slices.Sort(lines)
	h := sha256.New()
	for _, line := range lines {
		h.Write([]byte(line))
	}
	sum.Digest, sum.Count = nix.Hash(h.Sum(nil)), uint64(len(lines))
	return &sum, nil
}

// inputOutputs returns the paths of the outputs that in names, or nil if they
// are not known any more.
func (st *store) inputOutputs(ctx context.Context, in nix.InputDrv) ([]nix.StorePath, error) {
	d, m, err := st.derivation(in.Path)
	var reason *Reason
	if errors.As(err, &reason) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	paths, _, err := st.outputPaths(ctx, d, in.Path, m)
	if errors.As(err, &reason) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	outs := make([]nix.StorePath, 0, len(in.Outputs))
	for _, name := range in.Outputs {
		p, ok := paths[name]
		if !ok {
			return nil, nil
		}
		outs = append(outs, p)
	}
	return outs, nil
}
