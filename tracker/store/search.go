package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
)

// maxCandidates bounds how many entries of the index of each kind a search looks at, so that
// names that strangers give themselves crowd out no package.
var maxCandidates = map[int]int{kindAttr: 600, kindMaintainer: 100, kindTeam: 100, kindOperator: 100, kindChannel: 100, kindClosure: 100}

// maxHits bounds what a search returns.
const maxHits = 100

// hit is a candidate: better ones have a smaller rank.
type hit struct {
	kind int
	ref  int64
	rank int
	term string
}

// Search finds attributes, package names, maintainers, teams, operators, channels and closures by
// the beginnings of their words, store paths by their hash part, and
// statements by the beginning of their id. Exact hits come first, then those that begin so.
func (db *DB) Search(ctx context.Context, text string, limit int) (hits []SearchHit, err error) {
	limit = min(max(limit, 1), maxHits)
	text = strings.ToLower(strings.TrimSpace(strings.ReplaceAll(cut(strings.ToValidUTF8(text, ""), 256), "\x00", "")))
	if text == "" {
		return nil, nil
	}
	err = db.view(ctx, func(q *view) error {
		if hits, err = q.searchHashes(text, limit); err != nil {
			return err
		}
		found, err := q.searchWords(text)
		if err != nil {
			return err
		}
		for _, h := range found {
			if len(hits) >= limit {
				break
			}
			s, err := q.show(h)
			if err != nil {
				return err
			}
			if s.Key != "" {
				hits = append(hits, s)
			}
		}
		return nil
	})
	return hits, err
}

// searchHashes finds store paths and statements.
func (q *view) searchHashes(text string, limit int) (hits []SearchHit, err error) {
	base := text[strings.LastIndexByte(text, '/')+1:]
	hash, _, _ := strings.Cut(base, "-")
	if low, high, ok := base32Range(hash, len(hash)); ok && len(hash) >= 4 && len(hash) <= nixHashLen {
		err = q.each("SELECT path, real, state FROM output WHERE h BETWEEN $1 AND $2 ORDER BY h LIMIT 200", []any{low, high}, func(r *sql.Rows) error {
			h := SearchHit{Kind: "path"}
			var real int64
			err := r.Scan(&h.Key, &real, &h.State)
			if h.Text = h.Key; real == 0 && strings.HasPrefix(h.Key, base) && len(hits) < limit/2+1 {
				hits = append(hits, h)
			}
			return err
		})
	}
	if low, high, ok := hexRange(text); ok && err == nil {
		n := 0
		err = q.each("SELECT sid, kind FROM stmt WHERE h BETWEEN $1 AND $2 ORDER BY h LIMIT 50", []any{low, high}, func(r *sql.Rows) error {
			h := SearchHit{Kind: "statement"}
			var sid []byte
			err := r.Scan(&sid, &h.Text)
			if h.Key = hex.EncodeToString(sid); strings.HasPrefix(h.Key, text) && n < limit/4+1 {
				hits = append(hits, h)
				n++
			}
			return err
		})
	}
	if ident, e := hex.DecodeString(text); e == nil && len(ident) == 32 && err == nil {
		h := SearchHit{Kind: "operator", Key: text}
		var ok bool
		if ok, err = q.one("SELECT name FROM operator WHERE ident = $1", []any{ident}, &h.Text); ok {
			hits = append([]SearchHit{h}, hits...)
		}
	}
	return hits, err
}

// nixHashLen is the length of the hash part of a store path.
const nixHashLen = 32

// hexRange returns the first60 of ids that begin with text, of at least 6 hexadecimal digits.
func hexRange(text string) (low, high int64, ok bool) {
	if len(text) < 6 || len(text) > 64 {
		return 0, 0, false
	}
	for _, c := range []byte(text) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return 0, 0, false
		}
	}
	t := text[:min(len(text), 15)]
	for i := range 15 {
		var d int64
		if i < len(t) {
			d = int64(strings.IndexByte("0123456789abcdef", t[i]))
			low, high = low<<4|d, high<<4|d
			continue
		}
		low, high = low<<4, high<<4|15
	}
	return low, high, true
}

// searchWords returns what has all words of text, best first.
func (q *view) searchWords(text string) ([]hit, error) {
	whole, err := q.prefix(cut(text, maxTerm))
	if err != nil {
		return nil, err
	}
	best := make(map[[2]int64]hit)
	note := func(h hit) {
		k := [2]int64{int64(h.kind), h.ref}
		if old, ok := best[k]; !ok || h.rank < old.rank {
			best[k] = h
		}
	}
	for _, h := range whole {
		if h.rank = 1; h.term == text {
			h.rank = 0
		}
		note(h)
	}
	// What has the words of the text somewhere comes after all that begins with it.
	if words := termsOf(text); len(words) > 2 && len(best) < maxHits { // the text itself, and more than one word
		if err := q.allWords(words, text, note); err != nil {
			return nil, err
		}
	}
	hits := make([]hit, 0, len(best))
	for _, h := range best {
		hits = append(hits, h)
	}
	slices.SortFunc(hits, func(a, b hit) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(kindRank[a.kind], kindRank[b.kind]), cmp.Compare(len(a.term), len(b.term)), cmp.Compare(a.term, b.term), cmp.Compare(a.ref, b.ref))
	})
	return hits, nil
}

// kindRank is the order of hits that are as good as each other.
var kindRank = map[int]int{kindChannel: 1, kindAttr: 2, kindMaintainer: 3, kindTeam: 4, kindOperator: 5, kindClosure: 6}

// maxChecked is how many candidates of several words are looked at.
const maxChecked = 200

// allWords notes what has every word of a text: of what the rarest word finds, that which the others begin
// a word of, too.
func (q *view) allWords(words []string, text string, note func(hit)) error {
	var rarest []hit
	for _, w := range words {
		if w == text {
			continue
		}
		found, err := q.prefix(w)
		if err != nil {
			return err
		}
		if rarest == nil || len(found) < len(rarest) {
			rarest = found
		}
		if len(found) == 0 {
			return nil
		}
	}
	seen := make(map[[2]int64]bool)
	for _, h := range rarest {
		k := [2]int64{int64(h.kind), h.ref}
		if seen[k] || len(seen) == maxChecked {
			continue
		}
		seen[k] = true
		s, err := q.show(h)
		if err != nil {
			return err
		}
		terms := termsOf(s.Key, s.Text)
		has := func(w string) bool {
			return w == text || slices.ContainsFunc(terms, func(t string) bool { return strings.HasPrefix(t, w) })
		}
		if !slices.ContainsFunc(words, func(w string) bool { return !has(w) }) {
			note(hit{kind: h.kind, ref: h.ref, rank: 2})
		}
	}
	return nil
}

// prefix returns what has a word that begins with w.
func (q *view) prefix(w string) (hits []hit, err error) {
	for kind := kindAttr; kind <= kindClosure; kind++ {
		err = q.each("SELECT term, ref FROM word WHERE kind = $1 AND term >= $2 AND term < $3 AND n > 0 ORDER BY term, ref LIMIT CAST($4 AS BIGINT)", []any{kind, w, w + "\U0010FFFF", maxCandidates[kind]}, func(r *sql.Rows) error {
			h := hit{kind: kind}
			err := r.Scan(&h.term, &h.ref)
			hits = append(hits, h)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return hits, nil
}

// show fills in a hit; its Key is "" if it is not there any more.
func (q *view) show(h hit) (s SearchHit, err error) {
	switch h.kind {
	case kindAttr:
		s.Kind = "attribute"
		var rank int64
		var text string
		ok, err := q.one("SELECT r.name, c.name, r.rank, COALESCE(m.json, '{}') FROM attr_row r JOIN channel c ON c.id = r.channel LEFT JOIN meta m ON m.id = r.meta WHERE r.attr = $1 ORDER BY c.name LIMIT 1", []any{h.ref}, &s.Key, &s.Channel, &rank, &text)
		if err != nil || !ok {
			return s, err
		}
		var a struct{ Version, Description string }
		if err := json.Unmarshal([]byte(text), &a); err != nil {
			return s, err
		}
		s.State = State(9 - rank)
		s.Text = strings.TrimSpace(a.Version + " " + a.Description)
	case kindMaintainer, kindTeam:
		s.Kind = [...]string{"maintainer", "team"}[h.kind-kindMaintainer]
		_, err = q.one("SELECT login, name FROM person WHERE id = $1", []any{h.ref}, &s.Key, &s.Text)
	case kindOperator:
		s.Kind = "operator"
		var ident []byte
		_, err = q.one("SELECT ident, name FROM operator WHERE id = $1", []any{h.ref}, &ident, &s.Text)
		s.Key = hex.EncodeToString(ident)
	case kindChannel:
		s.Kind = "channel"
		_, err = q.one("SELECT name FROM channel WHERE id = $1", []any{h.ref}, &s.Key)
		s.Text, s.Channel = s.Key, s.Key
	case kindClosure:
		s.Kind = "closure"
		var sid []byte
		_, err = q.one("SELECT s.sid, c.name FROM closure c JOIN stmt s ON s.id = c.id WHERE c.id = $1", []any{h.ref}, &sid, &s.Text)
		s.Key = hex.EncodeToString(sid)
	}
	return s, err
}
