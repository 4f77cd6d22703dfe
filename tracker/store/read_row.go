package store

import (
	"context"
	"database/sql"
	"encoding/hex"
)

// Row returns the line of one attribute in one channel.
func (db *DB) Row(ctx context.Context, channel, attr string) (*AttributeRow, error) {
	var row *AttributeRow
	err := db.view(ctx, func(q *view) error {
		id, err := q.channelID(channel)
		if err != nil {
			return err
		}
		rows, err := q.readRows("SELECT "+rowColumns+" FROM attr_row r"+rowJoins+" WHERE r.channel = $1 AND r.name = $2", []any{id, attr})
		if err == nil && len(rows) == 0 {
			err = ErrNotFound
		}
		if err == nil {
			row = &rows[0].AttributeRow
		}
		return err
	})
	return row, err
}

// maxKeys is how many keys an operator's page lists.
const maxKeys = 100

// keys fills in the keys of an operator, live ones first, and returns those that may have signed something.
func (q *view) keys(v *OperatorView, row int64) (kids [][]byte, err error) {
	for _, state := range []string{"state = 'live'", "state <> 'live'"} {
		err := q.each("SELECT kid, role, state, cache FROM operator_key WHERE op = $1 AND "+state+" ORDER BY kid LIMIT CAST($2 AS BIGINT)", []any{row, maxKeys - len(v.Keys)}, func(r *sql.Rows) error {
			var k OperatorKey
			var kid []byte
			err := r.Scan(&kid, &k.Role, &k.State, &k.CacheName)
			k.Key = hex.EncodeToString(kid)
			v.Keys, kids = append(v.Keys, k), append(kids, kid)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	if len(v.Keys) == maxKeys {
		var n int64
		_, err = q.one("SELECT COUNT(*) FROM operator_key WHERE op = $1", []any{row}, &n)
		v.MoreKeys = n - maxKeys
	}
	return kids, err
}
