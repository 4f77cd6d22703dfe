package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"slices"

	"github.com/firn-log/firn/tracker/eval"
)

// metaText is metadata as it is stored: the metadata tier of an attribute without its name.
type metaText struct {
	id     int64
	people []int64
	text   string
	eval.Attribute
}

func metaOf(a eval.Attribute) (*metaText, error) {
	m := &metaText{Attribute: a}
	m.Attr, m.Gone, m.Drv, m.FOD, m.Outputs = "", false, "", false, nil
	b, err := json.Marshal(m.Attribute)
	m.text = string(b)
	return m, err
}

// metas takes over attributes of the metadata tier.
func (e *evaluating) metas(ctx context.Context, attrs []eval.Attribute, rows map[string]*attrRow) error {
	tx := e.tx
	news := make(map[string]*metaText) // by attribute
	var names []string
	for _, a := range attrs {
		old := rows[a.Attr]
		if a.Gone {
			if old == nil || old.metaSeq == 0 {
				continue
			}
			news[a.Attr] = nil
		} else {
			m, err := metaOf(a)
			if err != nil {
				return err
			}
			if old != nil && old.metaText != nil && old.metaText.text == m.text {
				continue
			}
			news[a.Attr] = m
		}
		names = append(names, a.Attr)
	}
	if err := tx.metaIDs(ctx, names, news); err != nil {
		return err
	}
	ids, err := tx.attrIDs(ctx, names)
	if err != nil {
		return err
	}
	facts := newTable("meta_fact", "attr channel from_seq to_seq meta", "").rows()
	var moves []rowMove
	var ended [][]any
	for _, name := range names {
		was := e.row(rows, name)
		is := was
		is.attr, is.meta, is.metaSeq, is.people, is.metaText = ids[name], 0, 0, nil, nil
		if was.metaSeq > 0 {
			ended = append(ended, []any{e.h.Seq, is.attr, e.ch.id, was.metaSeq})
		}
		if m := news[name]; m != nil {
			is.meta, is.metaSeq, is.people, is.metaText = m.id, e.h.Seq, m.people, m
			facts.add(is.attr, e.ch.id, e.h.Seq, int64(0), m.id)
		}
		moves = append(moves, rowMove{was, is})
	}
	if err := tx.many(ctx, "UPDATE meta_fact SET to_seq = $1 WHERE attr = $2 AND channel = $3 AND from_seq = $4", ended, nil); err != nil {
		return err
	}
	if err := facts.write(ctx, tx); err != nil {
		return err
	}
	if err := tx.moveRows(ctx, moves); err != nil {
		return err
	}
	return e.changes(ctx, moves)
}

// metaIDs gives metadata that is new a row.
func (tx *Tx) metaIDs(ctx context.Context, names []string, news map[string]*metaText) error {
	by := make(map[string]*metaText)
	var hs []int64
	for _, name := range names { // in their order: the first of equals gets the row
		if m := news[name]; m != nil && by[m.text] == nil {
			by[m.text] = m
			d := sha256.Sum256([]byte(m.text))
			hs = append(hs, first60(d[:]))
		}
	}
	err := eachIn(ctx, tx, "SELECT id, json FROM meta WHERE h IN ?", nil, unique(hs), func(r *sql.Rows) error {
		var id int64
		var text string
		if err := r.Scan(&id, &text); err != nil {
			return err
		}
		if m := by[text]; m != nil {
			m.id = id
		}
		return nil
	})
	if err != nil {
		return err
	}
	metas, people := newTable("meta", "id h version json", "").rows(), newTable("meta_person", "meta person", "").rows()
	for _, name := range names {
		m := news[name]
		if m == nil {
			continue
		}
		if first := by[m.text]; first != m {
			m.id, m.people = first.id, first.people
			continue
		}
		if m.people, err = tx.peopleIDs(ctx, m); err != nil {
			return err
		}
		if m.id > 0 {
			continue
		}
		m.id = tx.id("meta")
		d := sha256.Sum256([]byte(m.text))
		metas.add(m.id, first60(d[:]), m.Version, m.text)
		for _, p := range m.people {
			people.add(m.id, p)
		}
	}
	if err := metas.write(ctx, tx); err != nil {
		return err
	}
	return people.write(ctx, tx)
}

// peopleIDs returns the rows of the maintainers and teams of metadata, sorted.
func (tx *Tx) peopleIDs(ctx context.Context, m *metaText) ([]int64, error) {
	var ids []int64
	for _, p := range m.Maintainers {
		id, err := tx.person(ctx, 0, p.Login, p.Name)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	for _, t := range m.Teams {
		id, err := tx.person(ctx, 1, t, "")
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return unique(ids), nil
}

// personKey is a maintainer, or with team 1 a team.
type personKey struct {
	team  int64
	login string
}

// personRow is the row of one.
type personRow struct {
	id   int64
	name string
}

// person returns the row of somebody. Of several names that evaluations give the least is kept.
func (tx *Tx) person(ctx context.Context, team int64, login, name string) (id int64, err error) {
	k := personKey{team, login}
	is, ok := tx.persons.get(k)
	if !ok {
		if ok, err = tx.one(ctx, "SELECT id, name FROM person WHERE team = $1 AND login = $2", []any{team, login}, &is.id, &is.name); err != nil {
			return 0, err
		}
	}
	kind, had := kindMaintainer+int(team), is.name
	switch {
	case !ok:
		is = personRow{tx.id("person"), name}
		tx.wordsOf(kind, login, 1, login, name)
		if team == 0 {
			tx.stats["maintainers"]++
		}
		err = tx.exec(ctx, "INSERT INTO person (id, team, login, name) VALUES ($1, $2, $3, $4)", is.id, team, login, name)
	case name != "" && (had == "" || name < had):
		is.name = name
		tx.wordsOf(kind, login, -1, login, had)
		tx.wordsOf(kind, login, 1, login, name)
		err = tx.exec(ctx, "UPDATE person SET name = $1 WHERE id = $2", name, is.id)
	}
	tx.persons.put(k, is)
	return is.id, err
}

// loadMetas returns metadata with its people.
func (tx *Tx) loadMetas(ctx context.Context, ids []int64) (map[int64]*metaText, error) {
	metas := make(map[int64]*metaText, len(ids))
	err := eachIn(ctx, tx, "SELECT id, json FROM meta WHERE id IN ?", nil, ids, func(r *sql.Rows) error {
		m := &metaText{}
		if err := r.Scan(&m.id, &m.text); err != nil {
			return err
		}
		metas[m.id] = m
		return json.Unmarshal([]byte(m.text), &m.Attribute)
	})
	if err != nil {
		return nil, err
	}
	people, err := tx.peopleOf(ctx, ids)
	for id, m := range metas {
		m.people = people[id]
	}
	return metas, err
}

// peopleOf returns the maintainers and teams of metadata, sorted.
func (tx *Tx) peopleOf(ctx context.Context, metas []int64) (map[int64][]int64, error) {
	people := make(map[int64][]int64, len(metas))
	var ask []int64
	for _, m := range metas {
		if ids, ok := tx.people.get(m); ok {
			people[m] = ids
		} else {
			ask = append(ask, m)
		}
	}
	err := eachIn(ctx, tx, "SELECT meta, person FROM meta_person WHERE meta IN ?", nil, ask, func(r *sql.Rows) error {
		var m, p int64
		err := r.Scan(&m, &p)
		people[m] = append(people[m], p)
		return err
	})
	for _, m := range ask {
		slices.Sort(people[m])
		tx.people.put(m, people[m])
	}
	return people, err
}
