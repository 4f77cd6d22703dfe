package store

import (
	"database/sql"
	"slices"
	"strings"
)

// Postings of our own rather than the full-text search of the databases, because that has no order of ours: to list the best
// of what a common word finds it reads and sorts all of it. Over 100,000 descriptions with the words of nixpkgs, in one
// run on a busy machine, median of 30: a word in one of eight took 31 ms with FTS5 (101 ms by its own rank), 13 ms with a GIN
// index, and 0.1 and 0.6 ms with lists like these; two common words 3 ms with FTS5, 126 ms with GIN, and 7 and 9 ms with these. What this costs is
// size, 32 MB instead of 10 in SQLite, and half as much time again to load.

const (
	maxBegun   = 4    // words for which one that is only begun stands
	maxWords   = 8    // of a question
	maxLead    = 2000 // entries of the rarest word that are looked at
	begunLead  = 500  // and if words may only be begun
	leadStep   = 100  // of them at a time
	maxSimilar = 5    // answers of which nothing is called as was asked
	maxTypo    = 20   // bytes of a name in which a mistake is looked for
)

// asked is a word of a question: the terms that it stands for, and how much they find.
type asked struct {
	terms []string
	n     int
}

// withAll returns keys of a kind that have each of the words, or if begun is set words that begin so: the
// first of the order of keys, at most most. It goes through what the rarest word finds, and looks the others up.
// Of a word that finds more than maxLead, only the first of them are looked at.
func (q *view) withAll(kind int, words []string, begun bool, most int) (keys []string, err error) {
	var all []asked
	for _, w := range words[:min(len(words), maxWords)] {
		a, err := q.ask(kind, w, begun)
		if err != nil || len(a.terms) == 0 {
			return nil, err
		}
		all = append(all, a)
	}
	slices.SortStableFunc(all, func(a, b asked) int { return a.n - b.n })
	after, steps := "", maxLead/leadStep
	if begun {
		steps = begunLead / leadStep
	}
	for range steps {
		step, err := q.lead(kind, all[0], after)
		if err != nil || len(step) == 0 {
			return keys, err
		}
		after = step[len(step)-1]
		for _, a := range all[1:] {
			if step, err = q.having(kind, a.terms, step); err != nil {
				return nil, err
			}
		}
		if keys = append(keys, step...); len(keys) >= most {
			return keys[:most], nil
		}
	}
	return keys, nil
}

// ask finds out what a word stands for, and how much it finds.
func (q *view) ask(kind int, w string, begun bool) (a asked, err error) {
	for term := w; len(a.terms) < maxBegun; {
		var next string
		ok, err := q.one("SELECT term FROM word WHERE kind = $1 AND term >= $2 AND term < $3 ORDER BY term LIMIT 1", []any{kind, term, w + "\U0010FFFF"}, &next)
		if err != nil {
			return a, err
		}
		if !ok || !begun && next != w {
			break
		}
		a.terms = append(a.terms, next)
		if !begun || len(w) < 2 {
			break
		}
		term = next + "\x01"
	}
	for _, t := range a.terms {
		n, err := q.common(kind, t)
		if err != nil {
			return a, err
		}
		a.n += n
	}
	return a, nil
}

// common returns how much a term finds, at most maxLead.
func (q *view) common(kind int, term string) (n int, err error) {
	_, err = q.one("SELECT COUNT(*) FROM (SELECT 1 FROM word WHERE kind = $1 AND term = $2 ORDER BY key LIMIT CAST($3 AS BIGINT)) found", []any{kind, term, maxLead}, &n)
	return n, err
}

// lead returns the next keys that a word finds, in order.
func (q *view) lead(kind int, a asked, after string) (keys []string, err error) {
	for _, t := range a.terms {
		err := q.each("SELECT key FROM word WHERE kind = $1 AND term = $2 AND key > $3 ORDER BY key LIMIT CAST($4 AS BIGINT)", []any{kind, t, after, leadStep}, func(r *sql.Rows) error {
			var k string
			err := r.Scan(&k)
			keys = append(keys, k)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	return keys[:min(len(keys), leadStep)], nil
}

// having returns those of keys that have one of the terms.
func (q *view) having(kind int, terms, keys []string) ([]string, error) {
	has := make(map[string]bool, len(keys))
	for _, t := range terms {
		err := eachOf(q, "SELECT key FROM word WHERE kind = $1 AND term = $2 AND key IN ?", []any{kind, t}, keys, func(r *sql.Rows) error {
			var k string
			err := r.Scan(&k)
			has[k] = true
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return slices.DeleteFunc(slices.Clone(keys), func(k string) bool { return !has[k] }), nil
}

// similar notes what is called as text but for one mistake: a letter too many, too few or another one, or
// two that changed places: attributes, or else maintainers, or else channels.
func (q *view) similar(text string, note func(hit)) error {
	if len(text) < 3 || len(text) > maxTypo || strings.Contains(text, " ") {
		return nil
	}
	for _, kind := range []int{kindAttr, kindMaintainer, kindChannel} {
		right, err := q.right(kind, text)
		if err != nil {
			return err
		}
		list := misspelt(text, right)
		var found []hit
		err = eachOf(q, "SELECT term, key FROM word WHERE kind = $1 AND term IN ? ORDER BY term, key LIMIT 2000", []any{kind}, list, func(r *sql.Rows) error {
			h := hit{kind: kind}
			if err := r.Scan(&h.term, &h.key); err != nil {
				return err
			}
			h.rank = rankOfName(h, h.term)
			found = append(found, h)
			return nil
		})
		if err != nil {
			return err
		}
		slices.SortFunc(found, func(a, b hit) int {
			if a.rank != b.rank {
				return a.rank - b.rank
			}
			return strings.Compare(a.key, b.key)
		})
		seen := make(map[string]bool)
		for _, h := range found {
			if !seen[h.key] && len(seen) < maxSimilar {
				seen[h.key], h.rank = true, rankSimilar
				note(h)
			}
		}
		if len(found) > 0 {
			return nil
		}
	}
	return nil
}

// right returns how many characters of text at its beginning some term of a kind begins with: a mistake is not behind them.
func (q *view) right(kind int, text string) (n int, err error) {
	for i, c := range text {
		begin := text[:i] + string(c)
		var term string
		ok, err := q.one("SELECT term FROM word WHERE kind = $1 AND term >= $2 AND term < $3 ORDER BY term LIMIT 1", []any{kind, begin, begin + "\U0010FFFF"}, &term)
		if err != nil || !ok {
			return n, err
		}
		n++
	}
	return n, nil
}

// misspelt returns all texts that are one mistake away from text, in order, which is behind no more than the first right characters.
func misspelt(text string, right int) (list []string) {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789-_.+"
	runes := []rune(text)
	put := func(from, to int, middle ...rune) {
		list = append(list, string(slices.Concat(runes[:from], middle, runes[to:])))
	}
	for i := range min(len(runes), right) + 1 {
		for _, c := range letters {
			put(i, i, c)
			if i < len(runes) {
				put(i, i+1, c)
			}
		}
		if i < len(runes) {
			put(i, i+1)
		}
		if i+1 < len(runes) {
			put(i, i+2, runes[i+1], runes[i])
		}
	}
	slices.Sort(list)
	return slices.DeleteFunc(slices.Compact(list), func(s string) bool { return s == text })
}
