package nixdb

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/firn-log/firn/internal/nix"
)

// Realisations implements Source.
func (d *DB) Realisations(ctx context.Context, drv nix.StorePath, modulo nix.Hash) (map[string]nix.StorePath, error) {
	records, err := d.RealisationRecords(ctx, drv, modulo)
	outs := make(map[string]nix.StorePath, len(records))
	for _, r := range records {
		outs[r.Output] = r.OutPath
	}
	return outs, err
}

// RealisationRecords implements Source.
func (d *DB) RealisationRecords(ctx context.Context, drv nix.StorePath, modulo nix.Hash) ([]*nix.Realisation, error) {
	found := make(map[string]*nix.Realisation)
	err := d.read(ctx, func(tx *sql.Tx, how schema) error {
		clear(found)
		if how.realisations {
			if err := d.byModulo(ctx, tx, how, modulo, found); err != nil {
				return err
			}
		}
		if !how.buildTrace {
			return nil
		}
		return query(ctx, tx, `select outputName, outputPath, coalesce(signatures, '') from BuildTraceV3 where drvPath in (select value from json_each(?))`,
			fmt.Sprintf("[%q,%q]", drv.String(), drv.Base()), func(rows *sql.Rows) error {
				r := &nix.Realisation{Form: nix.ByDrvPath, DrvPath: drv}
				if err := d.scanRealisation(rows, r, nil); err != nil {
					return err
				}
				found[r.Output] = r
				return nil
			})
	})
	all := slices.Collect(maps.Values(found))
	slices.SortFunc(all, func(a, b *nix.Realisation) int { return strings.Compare(a.Output, b.Output) })
	return all, err
}

// byModulo reads what Nix up to 2.34 recorded. The first half of a realisation's id is
// in hexadecimal, the form that every version since 2.4 writes.
func (d *DB) byModulo(ctx context.Context, tx *sql.Tx, how schema, modulo nix.Hash, found map[string]*nix.Realisation) error {
	ids := make(map[int64]*nix.Realisation)
	err := query(ctx, tx, `select r.outputName, v.path, coalesce(r.signatures, ''), r.id from Realisations r join ValidPaths v on v.id = r.outputPath where r.drvPath = ?`,
		"sha256:"+modulo.Hex(), func(rows *sql.Rows) error {
			r, id := &nix.Realisation{Form: nix.ByModulo, Modulo: modulo}, int64(0)
			if err := d.scanRealisation(rows, r, &id); err != nil {
				return err
			}
			ids[id], found[r.Output] = r, r
			return nil
		})
	if err != nil || !how.dependencies {
		return err
	}
	for id, r := range ids {
		err := query(ctx, tx, `select r.drvPath || '!' || r.outputName, v.path from RealisationsRefs f join Realisations r on r.id = f.realisationReference join ValidPaths v on v.id = r.outputPath
			where f.referrer = ?`, id, func(rows *sql.Rows) error {
			var id, path string
			if err := rows.Scan(&id, &path); err != nil {
				return err
			}
			if _, _, err := nix.ParseRealisationID(id); err != nil {
				return err
			}
			p, err := d.outPath(path)
			r.Dependent = append(r.Dependent, nix.DependentRealisation{ID: id, OutPath: p})
			return err
		})
		if err != nil {
			return fmt.Errorf("output %q: what it rests on: %w", r.Output, err)
		}
		slices.SortFunc(r.Dependent, func(a, b nix.DependentRealisation) int { return strings.Compare(a.ID, b.ID) })
	}
	return nil
}

// scanRealisation reads output name, path, signatures and, if it is not nil, id.
func (d *DB) scanRealisation(rows *sql.Rows, r *nix.Realisation, id *int64) error {
	var path, sigs string
	to := []any{&r.Output, &path, &sigs}
	if id != nil {
		to = append(to, id)
	}
	if err := rows.Scan(to...); err != nil {
		return err
	}
	r.Sigs = strings.Fields(sigs)
	var err error
	if r.OutPath, err = d.outPath(path); err != nil {
		return fmt.Errorf("output %q: %w", r.Output, err)
	}
	return nil
}

// outPath reads a path that may lack the store's prefix.
func (d *DB) outPath(text string) (nix.StorePath, error) {
	p, err := d.dir.FromBase(text)
	if err != nil {
		p, err = d.dir.Parse(text)
	}
	return p, err
}
