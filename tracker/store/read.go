package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// eachIn is the view's eachIn: "IN ?" stands for a list of vals.
func (q *view) eachIn(query string, args []any, vals []int64, f func(*sql.Rows) error) error {
	return eachOf(q, query, args, vals, f)
}

// eachOf is eachIn for lists of anything.
func eachOf[T any](q *view, query string, args []any, vals []T, f func(*sql.Rows) error) error {
	for _, list := range lists(vals) {
		text := strings.Replace(query, "IN ?", "IN "+inList(len(args)+1, len(list)), 1)
		if err := q.each(text, append(args[:len(args):len(args)], list...), f); err != nil {
			return err
		}
	}
	return nil
}

func unixTime(sec int64) time.Time {
	if sec == 0 {
		return time.Time{}
	}
	return time.Unix(sec, 0).UTC()
}

// limit is how many rows a page holds. In a query it is cast: SQLite would plan the query anew for
// each value of a bare parameter.
func (p Page) limit() int { return min(max(p.Limit, 1), 500) }

// after reads the cursor of a page: n numbers and then a text, with dots between them. What is no cursor is the start.
func (p Page) after(n int) (numbers []int64, text string) {
	numbers, rest := make([]int64, n), p.After
	for i := range numbers {
		var part string
		var ok bool
		part, rest, ok = strings.Cut(rest, ".")
		v, err := strconv.ParseInt(part, 10, 64)
		if !ok || err != nil {
			return make([]int64, n), ""
		}
		numbers[i] = v
	}
	return numbers, rest
}

func cursor(text string, numbers ...int64) string {
	var b strings.Builder
	for _, n := range numbers {
		fmt.Fprintf(&b, "%d.", n)
	}
	return b.String() + text
}

// page makes a listing of limit+1 rows or fewer.
func page[T any](rows []T, p Page, next func(T) string) Listing[T] {
	l := Listing[T]{Rows: rows}
	if n := p.limit(); len(rows) > n {
		l.Rows = rows[:n]
		l.Next = next(rows[n-1])
	}
	return l
}

// Overview returns the front page.
func (db *DB) Overview(ctx context.Context) (*Overview, error) {
	o := &Overview{}
	err := db.view(ctx, func(q *view) error {
		if _, err := q.one("SELECT value FROM config WHERE name = 'policy'", nil, &o.Policy); err != nil {
			return err
		}
		into := map[string]*int64{"statements": &o.Statements, "claims": &o.Claims, "outputs": &o.Outputs, "operators": &o.Operators, "maintainers": &o.Maintainers, "evaluations": &o.Evaluations}
		err := q.each("SELECT name, n FROM stat", nil, func(r *sql.Rows) error {
			var name string
			var n int64
			err := r.Scan(&name, &n)
			if p := into[name]; p != nil {
				*p = n
			}
			return err
		})
		if err != nil {
			return err
		}
		if o.Logs, err = q.logs(); err != nil {
			return err
		}
		o.Channels, err = q.channels("")
		for _, c := range o.Channels {
			o.Attrs += c.Attrs
		}
		return err
	})
	return o, err
}

// Channel returns a channel.
func (db *DB) Channel(ctx context.Context, name string) (*ChannelView, error) {
	var c *ChannelView
	err := db.view(ctx, func(q *view) error {
		all, err := q.channels(name)
		if err == nil && len(all) == 0 {
			return ErrNotFound
		}
		if err == nil {
			c = &all[0]
		}
		return err
	})
	return c, err
}

// channels returns all channels by name, or one.
func (q *view) channels(only string) (all []ChannelView, err error) {
	query := `SELECT c.id, c.name, c.drv_seq, e.seq, e.revision, e.system, e.time, COALESCE(t.attrs, 0), COALESCE(t.agree, 0), COALESCE(t.differ, 0), COALESCE(t.missing, 0), COALESCE(t.copying, 0), COALESCE(t.fod_agree, 0), COALESCE(t.fod_differ, 0), COALESCE(t.fod_missing, 0), COALESCE(t.errors, 0)
		FROM channel c JOIN evaluation e ON e.channel = c.id AND e.seq = CASE WHEN c.meta_seq > c.drv_seq THEN c.meta_seq ELSE c.drv_seq END LEFT JOIN total t ON t.scope = 0 AND t.channel = c.id`
	var args []any
	if only != "" {
		query, args = query+" WHERE c.name = $1", []any{only}
	}
	var ids []int64
	err = q.each(query+" ORDER BY c.name", args, func(r *sql.Rows) error {
		var c ChannelView
		var id, at int64
		var n counts
		err := r.Scan(append([]any{&id, &c.Name, &c.DrvSeq, &c.Seq, &c.Revision, &c.System, &at, &c.Attrs}, n.dest()...)...)
		c.Time, c.Counts, c.Before = unixTime(at), n.view(), n.view()
		all, ids = append(all, c), append(ids, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	for i := range all {
		now, diff := countsOf(all[i].Counts), counts{}
		if _, err := q.one("SELECT agree, differ, missing, copying, fod_agree, fod_differ, fod_missing, errors FROM trend WHERE scope = 0 AND channel = $1 AND seq = $2", []any{ids[i], all[i].DrvSeq}, diff.dest()...); err != nil {
			return nil, err
		}
		now.add(&diff, -1)
		all[i].Before = now.view()
	}
	return all, nil
}

func countsOf(c Counts) counts {
	return counts{c.Agree, c.Differ, c.Missing, c.Copying, c.FODAgree, c.FODDiffer, c.FODMissing, c.Errors}
}

func (q *view) channelID(name string) (id int64, err error) {
	ok, err := q.one("SELECT id FROM channel WHERE name = $1", []any{name}, &id)
	if err == nil && !ok {
		err = ErrNotFound
	}
	return id, err
}

func (q *view) personID(team bool, login string) (id int64, err error) {
	ok, err := q.one("SELECT id FROM person WHERE team = $1 AND login = $2", []any{bit(team), login}, &id)
	if err == nil && !ok {
		err = ErrNotFound
	}
	return id, err
}

// maxTrend is how many evaluations a trend shows.
const maxTrend = 400

// Trend returns how a channel, or what a maintainer or team has in it today, developed: the newest
// evaluations whose derivations are known, oldest first. For a channel key is its name.
func (db *DB) Trend(ctx context.Context, kind, key, channel string) (points []TrendPoint, err error) {
	err = db.view(ctx, func(q *view) error {
		scope := int64(0)
		switch kind {
		case "channel":
			channel = cmp.Or(channel, key)
		case "maintainer", "team":
			if scope, err = q.personID(kind == "team", key); err != nil {
				return err
			}
		default:
			return ErrNotFound
		}
		id, err := q.channelID(channel)
		if err != nil {
			return err
		}
		points, err = q.trend(scope, id)
		return err
	})
	return points, err
}

// trend goes back from what is now by the differences at each evaluation.
func (q *view) trend(scope, channel int64) (points []TrendPoint, err error) {
	err = q.each("SELECT seq, time, revision FROM evaluation WHERE channel = $1 AND tiers >= 2 ORDER BY seq DESC LIMIT CAST($2 AS BIGINT)", []any{channel, maxTrend}, func(r *sql.Rows) error {
		var p TrendPoint
		var at int64
		err := r.Scan(&p.Seq, &at, &p.Revision)
		p.Time = unixTime(at)
		points = append(points, p)
		return err
	})
	if err != nil || len(points) == 0 {
		return nil, err
	}
	var now counts
	if _, err := q.one("SELECT agree, differ, missing, copying, fod_agree, fod_differ, fod_missing, errors FROM total WHERE scope = $1 AND channel = $2", []any{scope, channel}, now.dest()...); err != nil {
		return nil, err
	}
	diffs := make(map[int64]counts)
	err = q.each("SELECT seq, agree, differ, missing, copying, fod_agree, fod_differ, fod_missing, errors FROM trend WHERE scope = $1 AND channel = $2 AND seq >= $3", []any{scope, channel, points[len(points)-1].Seq}, func(r *sql.Rows) error {
		var seq int64
		var c counts
		err := r.Scan(append([]any{&seq}, c.dest()...)...)
		diffs[seq] = c
		return err
	})
	if err != nil {
		return nil, err
	}
	for i := range points {
		points[i].Counts = now.view()
		d := diffs[points[i].Seq]
		now.add(&d, -1)
	}
	slices.Reverse(points)
	return points, nil
}

// Logs returns the followed logs by origin.
func (db *DB) Logs(ctx context.Context) (logs []LogView, err error) {
	err = db.view(ctx, func(q *view) error {
		logs, err = q.logs()
		return err
	})
	return logs, err
}

func (q *view) logs() (logs []LogView, err error) {
	err = q.each("SELECT view, next FROM log ORDER BY origin", nil, func(r *sql.Rows) error {
		var text string
		var v LogView
		var next uint64
		if err := r.Scan(&text, &next); err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			return err
		}
		v.Replayed = next
		logs = append(logs, v)
		return nil
	})
	return logs, err
}
