package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/firn-log/firn/tracker/eval"
)

// The two tiers as the tables number them.
type tier int

const (
	meta tier = iota
	drvs
)

// channel is what the writer knows of one.
type channel struct {
	id    int64
	name  string
	seq   [2]int64 // newest evaluation of each tier
	first [2]int64 // and the oldest
}

// attrRow is what a channel has of an attribute now.
type attrRow struct {
	channel  *channel
	name     string
	attr     int64
	rank     int64
	queue    int64
	meta     int64
	metaSeq  int64 // 0: the metadata tier does not have it
	drv      int64
	drvSeq   int64 // 0: the derivation tier does not have it
	error    string
	outputs  counts  // of the derivation
	people   []int64 // sorted
	known    bool    // it is in the database
	metaText *metaText
}

func (r *attrRow) listed() bool { return r.metaSeq > 0 || r.drvSeq > 0 }

// evalChunk is how many attributes of an evaluation are looked at together.
const evalChunk = 500

// AddEvaluation adds an evaluation, newer than those of its channel and tier, whose attributes are
// sorted by name. An error of attrs is returned as it is.
func (tx *Tx) AddEvaluation(ctx context.Context, h eval.Header, attrs iter.Seq2[eval.Attribute, error]) error {
	e := &evaluating{tx: tx, h: h, tier: meta}
	if h.Tier == eval.Drvs {
		e.tier = drvs
	} else if h.Tier != eval.Meta {
		return fmt.Errorf("adding an evaluation of %s: the tier %q is not known", h.Channel, h.Tier)
	}
	if err := e.open(ctx); err != nil {
		return fmt.Errorf("adding evaluation %d of %s: %w", h.Seq, h.Channel, err)
	}
	var chunk []eval.Attribute
	for a, err := range attrs {
		if err != nil {
			return err
		}
		tidy(&a)
		last := e.last
		if len(chunk) > 0 {
			last = chunk[len(chunk)-1].Attr
		}
		if a.Attr <= last {
			return fmt.Errorf("adding evaluation %d of %s: attribute %q comes after %q", h.Seq, h.Channel, a.Attr, last)
		}
		if chunk = append(chunk, a); len(chunk) == evalChunk {
			if err := e.chunk(ctx, chunk, false); err != nil {
				return fmt.Errorf("adding evaluation %d of %s: %w", h.Seq, h.Channel, err)
			}
			chunk = chunk[:0]
		}
	}
	if err := e.chunk(ctx, chunk, true); err != nil {
		return fmt.Errorf("adding evaluation %d of %s: %w", h.Seq, h.Channel, err)
	}
	return nil
}

// tidy replaces what no database column holds.
func tidy(a *eval.Attribute) {
	for _, s := range []*string{&a.Attr, &a.Error, &a.Name, &a.Pname, &a.Version, &a.System, &a.Drv} {
		*s = clean(*s)
	}
	if a.Outputs != nil {
		outs := make(map[string]string, len(a.Outputs))
		for n, p := range a.Outputs {
			outs[clean(n)] = clean(p)
		}
		a.Outputs = outs
	}
	a.Maintainers, a.Teams = slices.Clone(a.Maintainers), slices.Clone(a.Teams)
	for i := range a.Maintainers {
		a.Maintainers[i].Login, a.Maintainers[i].Name = clean(a.Maintainers[i].Login), clean(a.Maintainers[i].Name)
	}
	for i := range a.Teams {
		a.Teams[i] = clean(a.Teams[i])
	}
}

func clean(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// evaluating is the work on one evaluation.
type evaluating struct {
	tx   *Tx
	h    eval.Header
	tier tier
	ch   *channel
	last string // the name up to which everything is done
}

// open checks that the evaluation is the next one, and enters it.
func (e *evaluating) open(ctx context.Context) error {
	tx, h := e.tx, e.h
	e.ch = tx.channels[h.Channel]
	if e.ch == nil {
		e.ch = &channel{id: tx.id("channel"), name: h.Channel}
		if err := tx.exec(ctx, "INSERT INTO channel (id, name, meta_seq, drv_seq, meta_first, drv_first) VALUES ($1, $2, 0, 0, 0, 0)", e.ch.id, h.Channel); err != nil {
			return err
		}
		tx.channels[h.Channel] = e.ch
		tx.wordsOf(kindChannel, h.Channel, 1, h.Channel)
	}
	c := e.ch
	switch {
	case h.Seq <= c.seq[e.tier]:
		return fmt.Errorf("evaluation %d of this tier is there already", c.seq[e.tier])
	case !h.Full && c.seq[e.tier] == 0:
		return fmt.Errorf("it holds changes only, and nothing comes before it")
	}
	if err := e.enter(ctx); err != nil {
		return err
	}
	c.seq[e.tier] = h.Seq
	if c.first[e.tier] == 0 {
		c.first[e.tier] = h.Seq
	}
	return tx.exec(ctx, "UPDATE channel SET meta_seq = $1, drv_seq = $2, meta_first = $3, drv_first = $4 WHERE id = $5", c.seq[meta], c.seq[drvs], c.first[meta], c.first[drvs], c.id)
}

// enter writes the row of the revision, which both tiers share.
func (e *evaluating) enter(ctx context.Context) error {
	tx, h, bit := e.tx, e.h, int64(1)<<e.tier
	revision, system, at := clean(h.Revision), clean(h.System), h.Time.Unix()
	var had struct {
		tiers, time      int64
		revision, system string
	}
	ok, err := tx.one(ctx, "SELECT tiers, revision, time, system FROM evaluation WHERE channel = $1 AND seq = $2", []any{e.ch.id, h.Seq}, &had.tiers, &had.revision, &had.time, &had.system)
	switch {
	case err != nil:
		return err
	case !ok:
		tx.stats["evaluations"]++
		return tx.exec(ctx, "INSERT INTO evaluation (channel, seq, tiers, revision, time, system) VALUES ($1, $2, $3, $4, $5, $6)", e.ch.id, h.Seq, bit, revision, at, system)
	case had.revision != revision || had.time != at || had.system != system:
		return fmt.Errorf("the tiers of one evaluation are of different revisions: %q and %q", had.revision, revision)
	}
	return tx.exec(ctx, "UPDATE evaluation SET tiers = $1 WHERE channel = $2 AND seq = $3", had.tiers|bit, e.ch.id, h.Seq)
}

// chunk takes over some attributes. With end they are the last.
func (e *evaluating) chunk(ctx context.Context, attrs []eval.Attribute, end bool) error {
	rows, err := e.rows(ctx, attrs, end)
	if err != nil {
		return err
	}
	if len(attrs) > 0 {
		e.last = attrs[len(attrs)-1].Attr
	}
	var gone []*attrRow
	if e.h.Full {
		have := make(map[string]bool, len(attrs))
		for i := range attrs {
			have[attrs[i].Attr] = !attrs[i].Gone
		}
		for _, r := range rows {
			if !have[r.name] {
				gone = append(gone, r)
			}
		}
	}
	attrs = slices.Clone(attrs)
	for _, r := range gone {
		attrs = append(attrs, eval.Attribute{Attr: r.name, Gone: true})
	}
	slices.SortFunc(attrs, func(a, b eval.Attribute) int { return cmp.Compare(a.Attr, b.Attr) })
	attrs = slices.CompactFunc(attrs, func(a, b eval.Attribute) bool { return a.Attr == b.Attr })
	add := e.drvs
	if e.tier == meta {
		add = e.metas
	}
	if err := add(ctx, attrs, rows); err != nil {
		return err
	}
	return e.tx.flush(ctx) // what is only noted stays small
}

// rows returns what the channel has now of the attributes, and if the evaluation is full, of those between them.
func (e *evaluating) rows(ctx context.Context, attrs []eval.Attribute, end bool) (map[string]*attrRow, error) {
	const q = "SELECT name, attr, rank, queue, meta, meta_seq, drv, drv_seq, error FROM attr_row WHERE channel = $1 AND "
	rows := make(map[string]*attrRow)
	scan := func(r *sql.Rows) error {
		a := &attrRow{channel: e.ch, known: true}
		if err := r.Scan(&a.name, &a.attr, &a.rank, &a.queue, &a.meta, &a.metaSeq, &a.drv, &a.drvSeq, &a.error); err != nil {
			return err
		}
		rows[a.name] = a
		return nil
	}
	tx := e.tx
	var err error
	switch {
	case !e.h.Full:
		names := make([]string, len(attrs))
		for i := range attrs {
			names[i] = attrs[i].Attr
		}
		err = eachIn(ctx, tx, q+"name IN ?", []any{e.ch.id}, names, scan)
	case end:
		err = tx.each(ctx, q+"name > $2", []any{e.ch.id, e.last}, scan)
	default:
		err = tx.each(ctx, q+"name > $2 AND name <= $3", []any{e.ch.id, e.last, attrs[len(attrs)-1].Attr}, scan)
	}
	if err != nil {
		return nil, err
	}
	return rows, tx.complete(ctx, rows)
}

// complete fills in what rows have beside their own table.
func (tx *Tx) complete(ctx context.Context, rows map[string]*attrRow) error {
	var drvIDs, metaIDs []int64
	for _, r := range rows {
		if r.drv > 0 {
			drvIDs = append(drvIDs, r.drv)
		}
		if r.meta > 0 {
			metaIDs = append(metaIDs, r.meta)
		}
	}
	drvs, err := tx.loadDrvs(ctx, unique(drvIDs))
	if err != nil {
		return err
	}
	metas, err := tx.loadMetas(ctx, unique(metaIDs))
	if err != nil {
		return err
	}
	for _, r := range rows {
		if d := drvs[r.drv]; d != nil {
			r.outputs = d.counts
		} else if r.error != "" {
			r.outputs[countErrors] = 1
		}
		if m := metas[r.meta]; m != nil {
			r.metaText, r.people = m, m.people
		}
	}
	return nil
}

func unique(ids []int64) []int64 {
	slices.Sort(ids)
	return slices.Compact(ids)
}

// row returns the row of an attribute, new if the channel does not have it.
func (e *evaluating) row(rows map[string]*attrRow, name string) attrRow {
	if r := rows[name]; r != nil {
		return *r
	}
	return attrRow{channel: e.ch, name: name, rank: rankOf(0)}
}

// attrIDs gives names that are new a row.
func (tx *Tx) attrIDs(ctx context.Context, names []string) (map[string]int64, error) {
	ids := make(map[string]int64, len(names))
	err := eachIn(ctx, tx, "SELECT id, name FROM attr WHERE name IN ?", nil, names, func(r *sql.Rows) error {
		var id int64
		var name string
		err := r.Scan(&id, &name)
		ids[name] = id
		return err
	})
	if err != nil {
		return nil, err
	}
	rows := newTable("attr", "id name", "").rows()
	for _, n := range names {
		if ids[n] == 0 {
			ids[n] = tx.id("attr")
			rows.add(ids[n], n)
		}
	}
	return ids, rows.write(ctx, tx)
}
