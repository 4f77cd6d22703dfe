package store

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
)

// dumped are the tables of a dump, by natural keys: names and hashes, never the numbers that
// rows have here. What is only kept for speed, such as words and sums, is in it too.
var dumped = []struct{ name, query string }{
	{"config", "SELECT name, value FROM config ORDER BY name"},
	{"stat", "SELECT name, n FROM stat WHERE n <> 0 ORDER BY name"},
	{"log", "SELECT origin, next, size, root FROM log ORDER BY origin"},
	{"statement", "SELECT s.sid, s.kind, g.kid, s.time, o.ident FROM stmt s JOIN signer g ON g.id = s.signer LEFT JOIN operator o ON o.id = s.op ORDER BY s.sid"},
	{"place", "SELECT s.sid, l.origin, p.idx, p.sig FROM place p JOIN stmt s ON s.id = p.stmt JOIN log l ON l.id = p.log ORDER BY s.sid, l.origin, p.idx"},
	{"operator", "SELECT ident, voter, registered, name, contact, url, home, fork, claims, agreed, differed, alone, copied FROM operator ORDER BY ident"},
	{"key", "SELECT o.ident, k.kid, k.role, k.state, k.cache FROM operator_key k JOIN operator o ON o.id = k.op ORDER BY o.ident, k.kid"},
	{"output", "SELECT path, real, fod, random, system, state, agreeing, against, builders, since FROM output ORDER BY path, real"},
	{"claim", "SELECT o.path, o.real, s.sid, c.n, p.ident FROM (SELECT out, op, stmt, n FROM claim UNION ALL SELECT out, op, stmt, n FROM further) c JOIN output o ON o.id = c.out JOIN stmt s ON s.id = c.stmt LEFT JOIN operator p ON p.id = c.op ORDER BY o.path, o.real, s.sid, c.n"},
	{"said", "SELECT o.path, o.real, p.ident, c.class, c.nar, c.rest, c.impl, c.path, c.time FROM claim c JOIN output o ON o.id = c.out JOIN operator p ON p.id = c.op WHERE NOT EXISTS (SELECT 1 FROM claim d WHERE d.out = c.out AND d.op = c.op LIMIT 1 OFFSET 16) ORDER BY 1, 2, 3, 4, 5, 6, 7, 8"},
	{"operator-output", "SELECT p.ident, c.state, o.path, o.real FROM op_output c JOIN output o ON o.id = c.out JOIN operator p ON p.id = c.op ORDER BY p.ident, c.state, o.path, o.real"},
	{"diff", "SELECT o.path, s.sid, p.ident, d.a, d.b FROM diff d JOIN output o ON o.id = d.out JOIN stmt s ON s.id = d.stmt LEFT JOIN operator p ON p.id = d.op ORDER BY o.path, s.sid"},
	{"closure", "SELECT s.sid, c.name, p.ident, c.count, c.kept, c.known, c.agree, c.differ, c.missing, c.copying, c.fod_agree, c.fod_differ, c.fod_missing FROM closure c JOIN stmt s ON s.id = c.id JOIN operator p ON p.id = c.op ORDER BY s.sid"},
	{"closure-output", "SELECT s.sid, c.state, o.path FROM closure_output c JOIN stmt s ON s.id = c.closure JOIN output o ON o.id = c.out ORDER BY s.sid, c.state, o.path"},
	{"list", "SELECT s.sid, length(l.paths) FROM list l JOIN stmt s ON s.id = l.stmt ORDER BY s.sid"},
	{"channel", "SELECT name, meta_seq, drv_seq, meta_first, drv_first FROM channel ORDER BY name"},
	{"evaluation", "SELECT c.name, e.seq, e.tiers, e.revision, e.time, e.system FROM evaluation e JOIN channel c ON c.id = e.channel ORDER BY c.name, e.seq"},
	{"person", "SELECT team, login, name FROM person ORDER BY team, login"},
	{"meta", "SELECT a.name, c.name, f.from_seq, f.to_seq, m.version, m.json FROM meta_fact f JOIN attr a ON a.id = f.attr JOIN channel c ON c.id = f.channel JOIN meta m ON m.id = f.meta ORDER BY a.name, c.name, f.from_seq"},
	{"drv", "SELECT a.name, c.name, f.from_seq, f.to_seq, f.error, COALESCE(d.base, ''), COALESCE(d.system, ''), COALESCE(d.fod, 0), COALESCE(d.outputs, ''), COALESCE(d.state, 0), COALESCE(d.agree, 0), COALESCE(d.differ, 0), COALESCE(d.missing, 0), COALESCE(d.copying, 0), COALESCE(d.builders, 0), COALESCE(d.since, 0) FROM drv_fact f JOIN attr a ON a.id = f.attr JOIN channel c ON c.id = f.channel LEFT JOIN drv d ON d.id = f.drv ORDER BY a.name, c.name, f.from_seq"},
	{"row", "SELECT c.name, r.name, r.rank, r.queue, r.meta_seq, r.drv_seq, r.error, COALESCE(m.json, ''), COALESCE(d.base, '') FROM attr_row r JOIN channel c ON c.id = r.channel LEFT JOIN meta m ON m.id = r.meta LEFT JOIN drv d ON d.id = r.drv ORDER BY c.name, r.name"},
	{"person-row", "SELECT p.team, p.login, r.rank, r.name, c.name FROM person_attr r JOIN person p ON p.id = r.person JOIN channel c ON c.id = r.channel ORDER BY p.team, p.login, r.rank, r.name, c.name"},
	{"total", "SELECT COALESCE(p.team, -1), COALESCE(p.login, ''), c.name, t.attrs, t.agree, t.differ, t.missing, t.copying, t.fod_agree, t.fod_differ, t.fod_missing, t.errors FROM total t JOIN channel c ON c.id = t.channel LEFT JOIN person p ON p.id = t.scope WHERE t.attrs <> 0 OR t.agree <> 0 OR t.differ <> 0 OR t.missing <> 0 OR t.copying <> 0 OR t.fod_agree <> 0 OR t.fod_differ <> 0 OR t.fod_missing <> 0 OR t.errors <> 0 ORDER BY 1, 2, 3"},
	{"trend", "SELECT COALESCE(p.team, -1), COALESCE(p.login, ''), c.name, t.seq, t.agree, t.differ, t.missing, t.copying, t.fod_agree, t.fod_differ, t.fod_missing, t.errors FROM trend t JOIN channel c ON c.id = t.channel LEFT JOIN person p ON p.id = t.scope WHERE t.agree <> 0 OR t.differ <> 0 OR t.missing <> 0 OR t.copying <> 0 OR t.fod_agree <> 0 OR t.fod_differ <> 0 OR t.fod_missing <> 0 OR t.errors <> 0 ORDER BY 1, 2, 3, 4"},
	{"change", "SELECT c.name, h.seq, h.name, h.moved, h.from_version, h.to_version, h.from_state, h.to_state, h.seen FROM change h JOIN channel c ON c.id = h.channel ORDER BY c.name, h.seq, h.name"},
	{"word", "SELECT term, kind, key, n FROM word ORDER BY term, kind, key"},
	{"label", "SELECT key, h, n FROM label ORDER BY key, h"},
}

// Dump writes everything by natural keys, each table in one order: two databases
// that hold the same write the same bytes, whatever they are and in which order things came
// (spec/tracker.md#database). Each line is a JSON array: the table, then its columns, bytes in
// hexadecimal.
func (db *DB) Dump(ctx context.Context, w io.Writer) error {
	out := bufio.NewWriterSize(w, 1<<16)
	err := db.view(ctx, func(q *view) error {
		for _, t := range dumped {
			rows, err := q.tx.QueryContext(ctx, t.query)
			if err != nil {
				return fmt.Errorf("table %s: %w", t.name, err)
			}
			if err := dumpRows(out, t.name, rows); err != nil {
				return fmt.Errorf("table %s: %w", t.name, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return out.Flush()
}

func dumpRows(w io.Writer, table string, rows *sql.Rows) error {
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	values, dest := make([]any, len(columns)), make([]any, len(columns))
	for i := range values {
		dest[i] = &values[i]
	}
	return drain(rows, func(r *sql.Rows) error {
		if err := r.Scan(dest...); err != nil {
			return err
		}
		line := []any{table}
		for _, v := range values {
			if b, ok := v.([]byte); ok {
				v = hex.EncodeToString(b)
			}
			line = append(line, v)
		}
		b, err := json.Marshal(line)
		if err != nil {
			return err
		}
		_, err = w.Write(append(b, '\n'))
		return err
	})
}
