package nixdb

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
)

// schema is what of Nix's schema differs between versions.
type schema struct {
	realisations bool // Realisations: Nix up to 2.34 with content-addressed derivations in use
	dependencies bool // RealisationsRefs: what realisations rest on, up to 2.33
	buildTrace   bool // BuildTraceV3: Nix from 2.35
}

// wanted are the columns that every version since schema 10 (Nix 2.0) has.
var wanted = map[string][]string{
	"ValidPaths":        {"id", "path", "hash", "deriver", "narSize", "ultimate", "sigs", "ca"},
	"Refs":              {"referrer", "reference"},
	"DerivationOutputs": {"drv", "id", "path"},
}

// readSchema checks that db is a database of Nix and returns its version's
// peculiarities.
func readSchema(ctx context.Context, db *sql.DB) (schema, error) {
	tables := make(map[string][]string)
	rows, err := db.QueryContext(ctx, `select m.name, c.name from sqlite_master m, pragma_table_info(m.name) c where m.type = 'table'`)
	if err != nil {
		return schema{}, err
	}
	defer rows.Close()
	for rows.Next() {
		var table, column string
		if err := rows.Scan(&table, &column); err != nil {
			return schema{}, err
		}
		tables[table] = append(tables[table], column)
	}
	if err := rows.Err(); err != nil {
		return schema{}, err
	}
	var missing []string
	for table, columns := range wanted {
		missing = append(missing, absent(tables, table, columns)...)
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return schema{}, fmt.Errorf("%w: it has no %s", ErrSchema, strings.Join(missing, ", "))
	}
	return schema{
		realisations: len(absent(tables, "Realisations", []string{"id", "drvPath", "outputName", "outputPath", "signatures"})) == 0,
		dependencies: len(absent(tables, "RealisationsRefs", []string{"referrer", "realisationReference"})) == 0,
		buildTrace:   len(absent(tables, "BuildTraceV3", []string{"drvPath", "outputName", "outputPath", "signatures"})) == 0,
	}, nil
}

func absent(tables map[string][]string, table string, columns []string) []string {
	var missing []string
	for _, c := range columns {
		if !slices.Contains(tables[table], c) {
			missing = append(missing, table+"."+c)
		}
	}
	return missing
}
