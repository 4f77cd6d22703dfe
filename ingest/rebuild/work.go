package rebuild

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/internal/nixdb"
	"github.com/firn-log/firn/verify/closure"
)

// Select returns the derivations of what names name: a derivation itself, or those of
// every path in the closure of any other path, or of what a link leads to, as the store recorded them. Naming
// something is an evaluation of one's own. without are the paths of those closures whose
// derivation is not in the store; sources are not among them.
func (r *Rebuilder) Select(ctx context.Context, names []string) (drvs, without []nix.StorePath, err error) {
	seen := make(map[nix.StorePath]bool)
	add := func(p nix.StorePath) {
		if !seen[p] {
			seen[p] = true
			drvs = append(drvs, p)
		}
	}
	for _, name := range names {
		p, err := closure.Resolve(r.conf.Store, nix.DefaultStoreDir, name)
		if err != nil {
			return nil, nil, err
		}
		if p.IsDerivation() {
			if _, err := r.drvs.load(p); err != nil {
				return nil, nil, err
			}
			add(p)
			continue
		}
		infos, err := r.local.Closure(ctx, []nix.StorePath{p})
		if errors.Is(err, nixdb.ErrNotValid) {
			return nil, nil, fmt.Errorf("%s is not in the store; name its derivation to rebuild it nevertheless", p)
		}
		if err != nil {
			return nil, nil, err
		}
		for _, info := range infos {
			drv, err := r.deriver(ctx, info)
			switch {
			case err != nil:
				return nil, nil, err
			case !drv.IsZero():
				add(drv)
			case info.CA == "" && !slices.Contains(without, info.Path):
				without = append(without, info.Path)
			}
		}
	}
	return drvs, without, nil
}

// deriver returns a derivation in the store that has the path as an output, or none.
// Nix's record of it is only a hint.
func (r *Rebuilder) deriver(ctx context.Context, info *nix.PathInfo) (nix.StorePath, error) {
	var from []nix.StorePath
	if r.local.Records().Outputs {
		var err error
		if from, err = r.local.ValidDerivers(ctx, info.Path); err != nil {
			return nix.StorePath{}, err
		}
	} else if !info.Deriver.IsZero() {
		from = []nix.StorePath{info.Deriver}
	}
	for _, drv := range from {
		d, err := r.drvs.load(drv)
		if err != nil {
			continue
		}
		if slices.ContainsFunc(d.Outputs, func(o nix.DrvOutput) bool { return o.Path == info.Path.String() }) {
			return drv, nil
		}
	}
	return nix.StorePath{}, nil
}

// ReadList reads names, one a line; "#" begins a comment.
func ReadList(in io.Reader) ([]string, error) {
	var names []string
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), "#")
		if line = strings.TrimSpace(line); line != "" {
			names = append(names, line)
		}
	}
	return names, lines.Err()
}
