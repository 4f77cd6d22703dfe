package nixdb

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"

	"github.com/firn-log/firn/internal/nix"
)

// DerivationOutputs implements Source.
func (d *DB) DerivationOutputs(ctx context.Context, drv nix.StorePath) (map[string]nix.StorePath, error) {
	outs := make(map[string]nix.StorePath)
	err := d.read(ctx, func(tx *sql.Tx, _ schema) error {
		clear(outs)
		return query(ctx, tx, `select o.id, o.path from DerivationOutputs o join ValidPaths v on v.id = o.drv where v.path = ?`,
			drv.String(), d.collect(outs))
	})
	return outs, err
}

// collect scans rows of (output name, path).
func (d *DB) collect(outs map[string]nix.StorePath) func(*sql.Rows) error {
	return func(rows *sql.Rows) error {
		var name, text string
		if err := rows.Scan(&name, &text); err != nil {
			return err
		}
		p, err := d.outPath(text)
		if err != nil {
			return fmt.Errorf("output %q: %w", name, err)
		}
		outs[name] = p
		return nil
	}
}

// ValidDerivers implements Source.
func (d *DB) ValidDerivers(ctx context.Context, p nix.StorePath) ([]nix.StorePath, error) {
	found := make(map[nix.StorePath]bool)
	err := d.read(ctx, func(tx *sql.Tx, _ schema) error {
		clear(found)
		add := func(rows *sql.Rows) error {
			var text string
			if err := rows.Scan(&text); err != nil {
				return err
			}
			drv, err := d.dir.Parse(text)
			found[drv] = true
			return err
		}
		err := query(ctx, tx, `select v.path from DerivationOutputs o join ValidPaths v on v.id = o.drv where o.path = ?`, p.String(), add)
		if err != nil {
			return err
		}
		return query(ctx, tx, `select d.path from ValidPaths v join ValidPaths d on d.path = v.deriver where v.path = ?`, p.String(), add)
	})
	if err != nil {
		return nil, err
	}
	ps := slices.Collect(maps.Keys(found))
	sortPaths(ps)
	return ps, nil
}
