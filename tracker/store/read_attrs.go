package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"slices"

	"github.com/firn-log/firn/tracker/eval"
)

// rowColumns and rowJoins read an AttributeRow of an attr_row r in a channel c.
const (
	rowColumns = "c.name, c.id, r.name, r.rank, r.drv_seq, r.error, COALESCE(m.json, '{}'), COALESCE(d.base, ''), COALESCE(d.fod, 0), COALESCE(d.agree, 0), COALESCE(d.differ, 0), COALESCE(d.missing, 0), COALESCE(d.copying, 0), COALESCE(d.builders, 0), COALESCE(d.since, 0), COALESCE(e.time, 0), r.queue"
	rowJoins   = " JOIN channel c ON c.id = r.channel LEFT JOIN meta m ON m.id = r.meta LEFT JOIN drv d ON d.id = r.drv LEFT JOIN evaluation e ON e.channel = r.channel AND e.seq = CASE WHEN r.drv_seq > 0 THEN r.drv_seq ELSE r.meta_seq END"
)

// readRow is an AttributeRow with what else its query read.
type readRow struct {
	AttributeRow
	channel, rank, queue int64
	meta                 string // the JSON of its metadata
}

func scanRow(r *sql.Rows) (a readRow, err error) {
	var fod, builders, since, evaluated int64
	var n [4]int64
	err = r.Scan(&a.Channel, &a.channel, &a.Attr, &a.rank, &a.Seq, &a.Error, &a.meta, &a.Drv, &fod, &n[0], &n[1], &n[2], &n[3], &builders, &since, &evaluated, &a.queue)
	if err != nil {
		return a, err
	}
	var meta struct{ Pname, Version, Error string } // a page of a list has hundreds of rows
	if err := json.Unmarshal([]byte(a.meta), &meta); err != nil {
		return a, err
	}
	var c counts
	for i, s := range []State{Agree, Differ, Missing, Copying} {
		c.output(s, fod == 1, n[i])
	}
	if a.Error != "" { // sums rest on derivations
		c[countErrors] = 1
	}
	a.Error = cmp.Or(a.Error, meta.Error)
	a.Pname, a.Version, a.State, a.Counts, a.Builders = meta.Pname, meta.Version, State(9-a.rank), c.view(), int(builders)
	a.Since = unixTime(max(since, evaluated))
	return a, nil
}

// Attributes lists attributes of a channel, a maintainer or a team.
func (db *DB) Attributes(ctx context.Context, f Filter, p Page) (l Listing[AttributeRow], err error) {
	err = db.view(ctx, func(q *view) error {
		var rows []readRow
		byRank := f.Order == Worst && f.State == 0
		if f.Maintainer != "" || f.Team != "" {
			rows, err = q.personRows(f, p, byRank)
		} else {
			rows, err = q.channelRows(f, p, byRank)
		}
		if err != nil {
			return err
		}
		listing := page(rows, p, func(r readRow) string {
			numbers := []int64{r.channel}
			if byRank {
				numbers = []int64{r.rank, r.channel}
			}
			return cursor(r.Attr, numbers...)
		})
		l.Next = listing.Next
		for _, r := range listing.Rows {
			l.Rows = append(l.Rows, r.AttributeRow)
		}
		return nil
	})
	return l, err
}

func (q *view) channelRows(f Filter, p Page, byRank bool) ([]readRow, error) {
	id, err := q.channelID(f.Channel)
	if err != nil {
		return nil, err
	}
	query := "SELECT " + rowColumns + " FROM attr_row r" + rowJoins + " WHERE r.channel = $1 AND "
	args := []any{id}
	switch {
	case byRank:
		n, name := p.after(2)
		query += "(r.rank, r.name) > ($2, $3) ORDER BY r.rank, r.name LIMIT CAST($4 AS BIGINT)"
		args = append(args, n[0], name)
	case f.State > 0:
		_, name := p.after(1)
		query += "r.rank = $2 AND r.name > $3 ORDER BY r.name LIMIT CAST($4 AS BIGINT)"
		args = append(args, rankOf(f.State), name)
	default:
		_, name := p.after(1)
		query += "r.name > $2 ORDER BY r.name LIMIT CAST($3 AS BIGINT)"
		args = append(args, name)
	}
	return q.readRows(query, append(args, p.limit()+1))
}

func (q *view) readRows(query string, args []any) (rows []readRow, err error) {
	err = q.each(query, args, func(r *sql.Rows) error {
		a, err := scanRow(r)
		rows = append(rows, a)
		return err
	})
	return rows, err
}

func (q *view) personRows(f Filter, p Page, byRank bool) ([]readRow, error) {
	person, err := q.personID(f.Team != "", cmp.Or(f.Team, f.Maintainer))
	if err != nil {
		return nil, err
	}
	query := "SELECT " + rowColumns + " FROM person_attr pa JOIN attr_row r ON r.channel = pa.channel AND r.name = pa.name" + rowJoins + " WHERE pa.person = $1 AND "
	args := []any{person}
	order := " ORDER BY pa.name, pa.channel LIMIT "
	switch {
	case byRank:
		n, name := p.after(2)
		query += "(pa.rank, pa.name, pa.channel) > ($2, $3, $4)"
		order = " ORDER BY pa.rank, pa.name, pa.channel LIMIT "
		args = append(args, n[0], name, n[1])
	case f.State > 0:
		n, name := p.after(1)
		query += "pa.rank = $2 AND (pa.name, pa.channel) > ($3, $4)"
		args = append(args, rankOf(f.State), name, n[0])
	default:
		n, name := p.after(1)
		query += "(pa.name, pa.channel) > ($2, $3)"
		args = append(args, name, n[0])
	}
	if f.Channel != "" {
		id, err := q.channelID(f.Channel)
		if err != nil {
			return nil, err
		}
		args = append(args, id)
		query += " AND pa.channel = $" + itoa(len(args))
	}
	args = append(args, p.limit()+1)
	return q.readRows(query+order+"CAST($"+itoa(len(args))+" AS BIGINT)", args)
}

// Changes lists what an evaluation changed, by attribute; seq 0 is the newest one.
func (db *DB) Changes(ctx context.Context, channel string, seq int64, onlyWorse bool, p Page) (l Listing[Change], err error) {
	err = db.view(ctx, func(q *view) error {
		id, err := q.channelID(channel)
		if err != nil {
			return err
		}
		if seq == 0 {
			if _, err := q.one("SELECT CASE WHEN drv_seq > 0 THEN drv_seq ELSE meta_seq END FROM channel WHERE id = $1", []any{id}, &seq); err != nil {
				return err
			}
		}
		var at int64
		if ok, err := q.one("SELECT time FROM evaluation WHERE channel = $1 AND seq = $2", []any{id, seq}, &at); err != nil || !ok {
			return cmp.Or(err, ErrNotFound)
		}
		_, name := p.after(0)
		seen := "seen > 0"
		if onlyWorse {
			seen = "seen = 2"
		}
		var rows []Change
		var attrs []int64
		err = q.each("SELECT name, attr, from_version, to_version, from_state, to_state, seen FROM change WHERE channel = $1 AND seq = $2 AND name > $3 AND "+seen+" ORDER BY name LIMIT CAST($4 AS BIGINT)", []any{id, seq, name, p.limit() + 1}, func(r *sql.Rows) error {
			c := Change{Channel: channel, Seq: seq, Time: unixTime(at)}
			var attr, how int64
			err := r.Scan(&c.Attr, &attr, &c.FromVersion, &c.ToVersion, &c.From, &c.To, &how)
			c.Worse = how == seenWorse
			rows, attrs = append(rows, c), append(attrs, attr)
			return err
		})
		if err != nil {
			return err
		}
		for i := range rows {
			c := &rows[i]
			if c.FromVersion != "" || c.ToVersion != "" {
				continue
			}
			// The version is another fact, which this evaluation did not change.
			if _, err := q.one("SELECT m.version FROM meta_fact f JOIN meta m ON m.id = f.meta WHERE f.attr = $1 AND f.channel = $2 AND f.from_seq <= $3 ORDER BY f.from_seq DESC LIMIT 1", []any{attrs[i], id, seq}, &c.ToVersion); err != nil {
				return err
			}
			c.FromVersion = c.ToVersion
		}
		l = page(rows, p, func(c Change) string { return cursor(c.Attr) })
		return nil
	})
	return l, err
}

// maxHistory is how many versions an attribute's page shows.
const maxHistory = 100

// Attribute returns the page of an attribute.
func (db *DB) Attribute(ctx context.Context, attr string) (*AttributeView, error) {
	v := &AttributeView{Attr: attr}
	err := db.view(ctx, func(q *view) error {
		var id int64
		if ok, err := q.one("SELECT id FROM attr WHERE name = $1", []any{attr}, &id); err != nil || !ok {
			return cmp.Or(err, ErrNotFound)
		}
		rows, err := q.readRows("SELECT "+rowColumns+" FROM attr_row r"+rowJoins+" WHERE r.attr = $1 ORDER BY c.name", []any{id})
		if err != nil {
			return err
		}
		for _, r := range rows {
			var meta eval.Attribute
			if err := json.Unmarshal([]byte(r.meta), &meta); err != nil {
				return err
			}
			ch := struct {
				Row     AttributeRow
				Meta    MetaView
				Outputs []OutputView
			}{Row: r.AttributeRow, Meta: metaView(&meta)}
			var drv int64
			if _, err := q.one("SELECT drv FROM attr_row WHERE channel = $1 AND name = $2", []any{r.channel, attr}, &drv); err != nil {
				return err
			}
			if ch.Outputs, err = q.outputsOf(drv); err != nil {
				return err
			}
			v.Channels = append(v.Channels, ch)
		}
		v.History, err = q.history(id)
		return err
	})
	if err != nil {
		return nil, err
	}
	return v, nil
}

func metaView(a *eval.Attribute) MetaView {
	m := MetaView{
		Name: a.Name, Pname: a.Pname, Version: a.Version, Description: a.Description, Homepage: a.Homepage, Position: a.Position,
		Teams: a.Teams, Licences: a.Licences, Patches: a.Patches, KnownVulns: a.KnownVulns, Identifiers: a.Identifiers,
		Broken: a.Broken, Unfree: a.Unfree, Insecure: a.Insecure, Error: a.Error,
	}
	for _, p := range a.Maintainers {
		m.Maintainers = append(m.Maintainers, p.Login)
	}
	return m
}

// outputsOf returns the outputs of a derivation with their claims, by name.
func (q *view) outputsOf(drv int64) (outs []OutputView, err error) {
	var ids []int64
	err = q.each("SELECT name, out FROM drv_output WHERE drv = $1 ORDER BY name", []any{drv}, func(r *sql.Rows) error {
		var o OutputView
		var id int64
		err := r.Scan(&o.Output, &id)
		outs, ids = append(outs, o), append(ids, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	for i := range outs {
		if err := q.output(ids[i], &outs[i], max(minClaims, maxClaims/len(outs))); err != nil {
			return nil, err
		}
	}
	return outs, nil
}

// history returns the derivations that an attribute had, newest first.
func (q *view) history(attr int64) ([]VersionRow, error) {
	type entry struct {
		VersionRow
		channel, drv int64
	}
	var all []entry
	channels := make(map[int64]string)
	err := q.each("SELECT id, name FROM channel ORDER BY id", nil, func(r *sql.Rows) error {
		var id int64
		var name string
		err := r.Scan(&id, &name)
		channels[id] = name
		return err
	})
	if err != nil {
		return nil, err
	}
	for ch, name := range channels {
		query := "SELECT f.from_seq, f.to_seq, f.drv, COALESCE(d.base, ''), COALESCE(d.state, 0), e.time, e.revision FROM drv_fact f JOIN evaluation e ON e.channel = f.channel AND e.seq = f.from_seq LEFT JOIN drv d ON d.id = f.drv WHERE f.attr = $1 AND f.channel = $2 ORDER BY f.from_seq DESC LIMIT 100"
		err := q.each(query, []any{attr, ch}, func(r *sql.Rows) error {
			e := entry{channel: ch}
			var at int64
			err := r.Scan(&e.FromSeq, &e.ToSeq, &e.drv, &e.Drv, &e.State, &at, &e.FromRevision)
			e.Channel, e.From = name, unixTime(at)
			all = append(all, e)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(all, func(a, b entry) int {
		return cmp.Or(b.From.Compare(a.From), cmp.Compare(a.Channel, b.Channel), cmp.Compare(b.FromSeq, a.FromSeq))
	})
	all = all[:min(len(all), maxHistory)]
	var drvs []int64
	for i := range all {
		e := &all[i]
		if e.drv > 0 {
			drvs = append(drvs, e.drv)
		}
		if _, err := q.one("SELECT m.version FROM meta_fact f JOIN meta m ON m.id = f.meta WHERE f.attr = $1 AND f.channel = $2 AND f.from_seq <= $3 ORDER BY f.from_seq DESC LIMIT 1", []any{attr, e.channel, e.FromSeq}, &e.Version); err != nil {
			return nil, err
		}
	}
	drvs = unique(drvs)
	outs, err := q.outputsWithoutClaims(drvs)
	if err != nil {
		return nil, err
	}
	hashes, err := q.hashesOf(drvs)
	rows := make([]VersionRow, len(all))
	for i, e := range all {
		e.Outputs, e.NarHashByOutput = outs[e.drv], hashes[e.drv]
		rows[i] = e.VersionRow
	}
	return rows, err
}

// outputsWithoutClaims returns the outputs of derivations.
func (q *view) outputsWithoutClaims(drvs []int64) (map[int64][]OutputView, error) {
	outs := make(map[int64][]OutputView)
	err := q.eachIn("SELECT d.drv, d.name, o.path, o.real, o.fod, o.state, o.since, o.agreeing, o.against FROM drv_output d JOIN output o ON o.id = d.out WHERE d.drv IN ? ORDER BY d.drv, d.name", nil, drvs, func(r *sql.Rows) error {
		var o OutputView
		var drv, real, fod, since int64
		err := r.Scan(&drv, &o.Output, &o.Path, &real, &fod, &o.State, &since, &o.Agreeing, &o.Against)
		if real == 1 {
			o.Path = ""
		}
		o.FOD, o.Since = fod == 1, unixTime(since)
		outs[drv] = append(outs[drv], o)
		return err
	})
	return outs, err
}

// hashesOf returns what hashes operators that count claim for each output of derivations: all of those that differ.
func (q *view) hashesOf(drvs []int64) (map[int64]map[string][]string, error) {
	hashes := make(map[int64]map[string][]string)
	var torn []claimedHashes
	note := func(drv int64, name, text string) {
		if hashes[drv] == nil {
			hashes[drv] = make(map[string][]string)
		}
		if !slices.Contains(hashes[drv][name], text) {
			hashes[drv][name] = append(hashes[drv][name], text)
		}
	}
	err := q.eachIn("SELECT d.drv, d.name, d.out, o.state, o.real, (SELECT c.nar FROM claim c WHERE c.out = d.out ORDER BY c.op, c.k LIMIT 1) FROM drv_output d JOIN output o ON o.id = d.out WHERE d.drv IN ? ORDER BY d.drv, d.name", nil, drvs, func(r *sql.Rows) error {
		var h claimedHashes
		var real int64
		var nar []byte
		err := r.Scan(&h.drv, &h.name, &h.out, &h.state, &real, &nar)
		if text := narText(nar); text != "" {
			note(h.drv, h.name, text)
		}
		if (h.state >= Differ || real == 1) && len(torn) < maxTorn { // other implementations may come to other contents
			torn = append(torn, h)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, h := range torn {
		err := q.each("SELECT nar FROM claim WHERE out = $1 ORDER BY op, k LIMIT 100", []any{h.out}, func(r *sql.Rows) error {
			var nar []byte
			err := r.Scan(&nar)
			if text := narText(nar); text != "" {
				note(h.drv, h.name, text)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	for _, of := range hashes {
		for name := range of {
			slices.Sort(of[name])
		}
	}
	return hashes, nil
}

// claimedHashes is an output whose hashes are looked for.
type claimedHashes struct {
	drv, out int64
	name     string
	state    State
}

// maxTorn is of how many outputs a list of derivations has more than one hash.
const maxTorn = 64
