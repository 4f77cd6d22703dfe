package nixdb

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/firn-log/firn/internal/nix"
)

const infoColumns = `id, path, hash, narSize, deriver, ultimate, sigs, ca`

// PathInfo implements Source.
func (d *DB) PathInfo(ctx context.Context, p nix.StorePath) (*nix.PathInfo, error) {
	var infos []*nix.PathInfo
	err := d.read(ctx, func(tx *sql.Tx, _ schema) (err error) {
		infos, err = d.infos(ctx, tx, []nix.StorePath{p}, false)
		return err
	})
	if err != nil {
		return nil, err
	}
	return infos[0], nil
}

// Closure implements Source.
func (d *DB) Closure(ctx context.Context, roots []nix.StorePath) ([]*nix.PathInfo, error) {
	var infos []*nix.PathInfo
	err := d.read(ctx, func(tx *sql.Tx, _ schema) (err error) {
		infos, err = d.infos(ctx, tx, roots, true)
		return err
	})
	return infos, err
}

// infos returns the rows of paths, or of everything they reach, sorted by path.
func (d *DB) infos(ctx context.Context, tx *sql.Tx, paths []nix.StorePath, closure bool) ([]*nix.PathInfo, error) {
	asked, err := pathList(paths)
	if err != nil {
		return nil, err
	}
	with := `with want(id) as (select v.id from json_each(?) j join ValidPaths v on v.path = j.value) `
	if closure {
		with = `with recursive want(id) as (select v.id from json_each(?) j join ValidPaths v on v.path = j.value
			union select r.reference from want w join Refs r on r.referrer = w.id) `
	}
	byID := make(map[int64]*nix.PathInfo)
	err = query(ctx, tx, with+`select `+infoColumns+` from ValidPaths where id in (select id from want)`, asked, func(rows *sql.Rows) error {
		id, info, err := d.scanInfo(rows)
		byID[id] = info
		return err
	})
	if err != nil {
		return nil, err
	}
	var other map[int64]nix.StorePath
	if !closure {
		if other, err = d.referenced(ctx, tx, with, asked); err != nil {
			return nil, err
		}
	}
	err = query(ctx, tx, with+`select referrer, reference from Refs where referrer in (select id from want)`, asked, func(rows *sql.Rows) error {
		var from, to int64
		if err := rows.Scan(&from, &to); err != nil {
			return err
		}
		return addReference(byID, other, from, to)
	})
	if err != nil {
		return nil, err
	}
	return finish(byID, paths)
}

// referenced returns the paths that want refers to, by row id.
func (d *DB) referenced(ctx context.Context, tx *sql.Tx, with, asked string) (map[int64]nix.StorePath, error) {
	found := make(map[int64]nix.StorePath)
	err := query(ctx, tx, with+`select v.id, v.path from want w join Refs r on r.referrer = w.id join ValidPaths v on v.id = r.reference`, asked, func(rows *sql.Rows) error {
		var id int64
		var text string
		if err := rows.Scan(&id, &text); err != nil {
			return err
		}
		p, err := d.dir.Parse(text)
		found[id] = p
		return err
	})
	return found, err
}

func addReference(byID map[int64]*nix.PathInfo, other map[int64]nix.StorePath, from, to int64) error {
	info := byID[from]
	if info == nil {
		return fmt.Errorf("row %d has references and does not exist: the database is damaged", from)
	}
	if target := byID[to]; target != nil {
		info.References = append(info.References, target.Path)
	} else if p, ok := other[to]; ok {
		info.References = append(info.References, p)
	} else {
		return fmt.Errorf("%s refers to row %d, which does not exist: the database is damaged", info.Path, to)
	}
	return nil
}

// finish sorts everything and checks that every path asked for is there.
func finish(byID map[int64]*nix.PathInfo, asked []nix.StorePath) ([]*nix.PathInfo, error) {
	have := make(map[nix.StorePath]bool, len(byID))
	infos := make([]*nix.PathInfo, 0, len(byID))
	for _, info := range byID {
		sortPaths(info.References)
		info.References = slices.Compact(info.References)
		have[info.Path] = true
		infos = append(infos, info)
	}
	for _, p := range asked {
		if !have[p] {
			return nil, notValid(p)
		}
	}
	slices.SortFunc(infos, func(a, b *nix.PathInfo) int { return a.Path.Compare(b.Path) })
	return infos, nil
}

func sortPaths(ps []nix.StorePath) {
	slices.SortFunc(ps, nix.StorePath.Compare)
}

// scanInfo reads one row of infoColumns.
func (d *DB) scanInfo(rows *sql.Rows) (int64, *nix.PathInfo, error) {
	var (
		id                int64
		path, hash        string
		size              sql.NullInt64
		deriver, sigs, ca sql.NullString
		ultimate          sql.NullBool
	)
	if err := rows.Scan(&id, &path, &hash, &size, &deriver, &ultimate, &sigs, &ca); err != nil {
		return 0, nil, err
	}
	p, err := d.dir.Parse(path)
	if err != nil {
		return 0, nil, fmt.Errorf("row %d of the database: %w", id, err)
	}
	info := &nix.PathInfo{Path: p, Ultimate: ultimate.Bool, CA: ca.String, Sigs: strings.Fields(sigs.String)}
	if info.NarHash, err = nix.ParseHash(hash); err != nil {
		return 0, nil, fmt.Errorf("hash of %s: %w", p, err)
	}
	// Old versions of Nix left the size empty; zero is how they read it back.
	if size.Int64 < 0 {
		return 0, nil, fmt.Errorf("size of %s is negative", p)
	}
	info.NarSize = uint64(size.Int64)
	if deriver.String != "" {
		if info.Deriver, err = d.dir.Parse(deriver.String); err != nil {
			return 0, nil, fmt.Errorf("deriver of %s: %w", p, err)
		}
	}
	return id, info, nil
}

func pathList(paths []nix.StorePath) (string, error) {
	texts := make([]string, len(paths))
	for i, p := range paths {
		texts[i] = p.String()
	}
	b, err := json.Marshal(texts)
	return string(b), err
}

// query runs text with one argument and calls each for every row.
func query(ctx context.Context, tx *sql.Tx, text string, arg any, each func(*sql.Rows) error) error {
	rows, err := tx.QueryContext(ctx, text, arg)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := each(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
