package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/hex"
	"slices"

	"github.com/firn-log/firn/log/statement"
)

// Maintainer returns what somebody maintains today.
func (db *DB) Maintainer(ctx context.Context, login string) (*PersonView, error) {
	return db.person(ctx, login, false)
}

// Team returns what a team maintains today.
func (db *DB) Team(ctx context.Context, name string) (*PersonView, error) {
	return db.person(ctx, name, true)
}

func (db *DB) person(ctx context.Context, login string, team bool) (*PersonView, error) {
	v := &PersonView{Login: login, Team: team}
	err := db.view(ctx, func(q *view) error {
		id, err := q.personID(team, login)
		if err != nil {
			return err
		}
		if _, err := q.one("SELECT name FROM person WHERE id = $1", []any{id}, &v.Name); err != nil {
			return err
		}
		return q.each("SELECT c.name, t.attrs, t.agree, t.differ, t.missing, t.copying, t.fod_agree, t.fod_differ, t.fod_missing, t.errors FROM total t JOIN channel c ON c.id = t.channel WHERE t.scope = $1 AND t.attrs > 0 ORDER BY c.name", []any{id}, func(r *sql.Rows) error {
			var ch struct {
				Channel string
				Attrs   int64
				Counts  Counts
			}
			var n counts
			err := r.Scan(append([]any{&ch.Channel, &ch.Attrs}, n.dest()...)...)
			ch.Counts = n.view()
			v.Channels = append(v.Channels, ch)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return v, nil
}

const operatorColumns = "id, ident, name, contact, url, home, fork, claims, agreed, differed, alone, copied"

func scanOperator(r interface{ Scan(...any) error }) (id int64, v OperatorView, err error) {
	var ident []byte
	err = r.Scan(&id, &ident, &v.Name, &v.Contact, &v.URL, &v.Home, &v.Fork, &v.Claims, &v.Agreed, &v.Differed, &v.Alone, &v.Copied)
	v.ID = hex.EncodeToString(ident)
	return id, v, err
}

// Operators lists operators by name, without their keys and statements.
func (db *DB) Operators(ctx context.Context, p Page) (l Listing[OperatorView], err error) {
	err = db.view(ctx, func(q *view) error {
		n, name := p.after(1)
		type row struct {
			id int64
			OperatorView
		}
		var rows []row
		err := q.each("SELECT "+operatorColumns+" FROM operator WHERE (name, id) > ($1, $2) ORDER BY name, id LIMIT CAST($3 AS BIGINT)", []any{name, n[0], p.limit() + 1}, func(r *sql.Rows) error {
			id, v, err := scanOperator(r)
			rows = append(rows, row{id, v})
			return err
		})
		listing := page(rows, p, func(r row) string { return cursor(r.Name, r.id) })
		l.Next = listing.Next
		for _, r := range listing.Rows {
			l.Rows = append(l.Rows, r.OperatorView)
		}
		return err
	})
	return l, err
}

func (q *view) findOperator(id string) (row int64, v OperatorView, err error) {
	ident, err := hex.DecodeString(id)
	if err != nil || len(ident) != 32 {
		return 0, v, ErrNotFound
	}
	err = q.each("SELECT "+operatorColumns+" FROM operator WHERE ident = $1", []any{ident}, func(r *sql.Rows) error {
		row, v, err = scanOperator(r)
		return err
	})
	if err == nil && row == 0 {
		err = ErrNotFound
	}
	return row, v, err
}

// maxRecent is how many statements an operator's page lists.
const maxRecent = 20

// Operator returns an operator by its id, or by the first key of one that a policy names by keys.
func (db *DB) Operator(ctx context.Context, id string) (*OperatorView, error) {
	var v OperatorView
	err := db.view(ctx, func(q *view) error {
		row, found, err := q.findOperator(id)
		if err != nil {
			return err
		}
		v = found
		kids, err := q.keys(&v, row)
		if err != nil {
			return err
		}
		if len(kids) == 0 {
			ident, _ := hex.DecodeString(id)
			kids = append(kids, ident)
		}
		v.Recent, err = q.recent(kids[:min(len(kids), 50)])
		return err
	})
	if err != nil {
		return nil, err
	}
	return &v, nil
}

// recent returns the newest statements of keys.
func (q *view) recent(kids [][]byte) ([]StatementRow, error) {
	var ids []int64
	for _, kid := range kids {
		var signer int64
		if _, err := q.one("SELECT id FROM signer WHERE kid = $1", []any{kid}, &signer); err != nil {
			return nil, err
		}
		// Bounds instead of an equation, and no join: or PostgreSQL reads all statements from the newest on until there are 20.
		err := q.each("SELECT id FROM stmt WHERE signer BETWEEN $1 AND $1 ORDER BY signer DESC, id DESC LIMIT 20", []any{signer}, func(r *sql.Rows) error {
			var id int64
			err := r.Scan(&id)
			ids = append(ids, id)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(ids, func(a, b int64) int { return cmp.Compare(b, a) })
	ids = ids[:min(len(ids), maxRecent)]
	rows, err := q.statementRows(ids)
	slices.SortFunc(rows, func(a, b StatementRow) int {
		return cmp.Or(b.Time.Compare(a.Time), cmp.Compare(a.ID, b.ID))
	})
	return rows, err
}

// statementRows returns lines about statements.
func (q *view) statementRows(ids []int64) (rows []StatementRow, err error) {
	slices.Sort(ids)
	places, err := q.places(ids)
	if err != nil {
		return nil, err
	}
	type key struct {
		op  int64
		kid statement.KeyID
	}
	var keys []key
	err = q.eachIn("SELECT s.id, s.sid, s.kind, s.time, s.op, g.kid, s.leaf FROM stmt s JOIN signer g ON g.id = s.signer WHERE s.id IN ?", nil, ids, func(r *sql.Rows) error {
		var v StatementRow
		var id, at int64
		var k key
		var sid, kid, leaf []byte
		if err := r.Scan(&id, &sid, &v.Kind, &at, &k.op, &kid, &leaf); err != nil {
			return err
		}
		v.ID, v.Time, v.Places = hex.EncodeToString(sid), unixTime(at), plain(places[id])
		k.kid = statement.KeyID(kid)
		if s, err := statement.Parse(leaf); err == nil {
			v.Subject = subjectOf(s.Body)
		}
		rows, keys = append(rows, v), append(keys, k)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i := range rows {
		if rows[i].By, err = q.operatorOf(keys[i].op, keys[i].kid); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// OperatorOutputs lists the outputs about which an operator has claims that count, worst
// first and of each state the newest here first; with a state only those.
func (db *DB) OperatorOutputs(ctx context.Context, id string, s State, p Page) (l Listing[PathRow], err error) {
	err = db.view(ctx, func(q *view) error {
		op, _, err := q.findOperator(id)
		if err != nil {
			return err
		}
		l, err = q.members("SELECT t.state, t.out FROM op_output t WHERE t.op = $1 AND ", op, s, p)
		return err
	})
	return l, err
}

// members lists a page of outputs in a table of states and outputs, worst first.
func (q *view) members(query string, of int64, s State, p Page) (l Listing[PathRow], err error) {
	n, _ := p.after(2)
	args := []any{of}
	if n[0] == 0 {
		n = []int64{int64(Copying) + 1, 0}
	}
	if s > 0 {
		if n[0] > int64(Copying) {
			n[1] = 1 << 62
		}
		query += "t.state = $2 AND t.out < $3"
		args = append(args, int64(s), n[1])
	} else {
		query += "(t.state, t.out) < ($2, $3)"
		args = append(args, n[0], n[1])
	}
	type row struct{ state, out int64 }
	var rows []row
	err = q.each(query+" ORDER BY t.state DESC, t.out DESC LIMIT CAST($4 AS BIGINT)", append(args, p.limit()+1), func(r *sql.Rows) error {
		var m row
		err := r.Scan(&m.state, &m.out)
		rows = append(rows, m)
		return err
	})
	if err != nil {
		return l, err
	}
	listing := page(rows, p, func(r row) string { return cursor("", r.state, r.out) })
	l.Next = listing.Next
	var outs []int64
	for _, r := range listing.Rows {
		outs = append(outs, r.out)
	}
	l.Rows, err = q.pathRows(outs)
	return l, err
}

// pathRows returns lines about outputs, in the order of outs.
func (q *view) pathRows(outs []int64) ([]PathRow, error) {
	by := make(map[int64]*PathRow, len(outs))
	ids := unique(slices.Clone(outs))
	err := q.eachIn("SELECT id, path, state, agreeing, against FROM output WHERE id IN ?", nil, ids, func(r *sql.Rows) error {
		var id int64
		p := &PathRow{}
		err := r.Scan(&id, &p.Path, &p.State, &p.Agreeing, &p.Against)
		by[id] = p
		return err
	})
	if err != nil {
		return nil, err
	}
	err = q.eachIn("SELECT t.out, t.name, d.base, COALESCE(r.name, ''), COALESCE(c.name, '') FROM drv_output t JOIN drv d ON d.id = t.drv LEFT JOIN attr_row r ON r.drv = d.id AND r.drv > 0 LEFT JOIN channel c ON c.id = r.channel WHERE t.out IN ?", nil, ids, func(r *sql.Rows) error {
		var id int64
		var n PathRow
		if err := r.Scan(&id, &n.Output, &n.Drv, &n.Attr, &n.Channel); err != nil {
			return err
		}
		p := by[id]
		if p == nil {
			return nil
		}
		// An attribute of today rather than none, and of several always the same one.
		better := cmp.Or(-cmp.Compare(bit(n.Attr != ""), bit(p.Attr != "")), cmp.Compare(n.Channel, p.Channel), cmp.Compare(n.Attr, p.Attr), cmp.Compare(n.Drv, p.Drv))
		if p.Drv == "" || better < 0 {
			p.Output, p.Drv, p.Attr, p.Channel = n.Output, n.Drv, n.Attr, n.Channel
		}
		return nil
	})
	rows := make([]PathRow, 0, len(outs))
	for _, id := range outs {
		if p := by[id]; p != nil {
			rows = append(rows, *p)
		}
	}
	return rows, err
}
