package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Kinds of what the search finds, as the table word has them. Attributes are found by the words of
// their names, by all words of names and descriptions, and by their homepage.
const (
	kindAttr = iota + 1
	kindMaintainer
	kindTeam
	kindOperator
	kindChannel
	kindClosure
	kindText
	kindHome
)

// wordKey is a row of the table word: key names what is found, as a dump does; of an attribute it is that of its label.
type wordKey struct {
	term string
	kind int
	key  string
}

// label is all that an attribute is found by; several channels, and attributes of one name with other
// descriptions, have labels of their own.
type label struct {
	key string
	h   int64 // of the terms
}

// labelled is what becomes of a label: in n more channels, and what is found by it.
type labelled struct {
	n     int64
	terms []wordKey
}

const (
	maxTerm      = 64   // bytes of a term that are kept
	maxDescribed = 40   // words of a description that are kept
	labelHead    = 3    // bytes of a label's key before the name
	labelTail    = 5    // and behind it
	labelChunk   = 4000 // labels that a transaction collects: rows of neighbours are written together
	wordRows     = 4000 // values of rows of words that are put together
)

// labelOf returns what an attribute is found by; m may be nil. Keys put first what lies least deep,
// then what is described most shortly, then go by name: of too many answers the first ones are the best. What
// is said in one channel and what is said in another are told apart by a digest at their end.
func labelOf(name string, m *metaText) (label, []wordKey) {
	names, described, home := []string{name}, []string(nil), ""
	if m != nil {
		names = append(names, m.Pname)
		described = describedBy(m.Description)
		home = homeOf(m.Homepage)
	}
	var terms []wordKey
	for _, t := range termsOf(names...) {
		terms = append(terms, wordKey{term: t, kind: kindAttr})
	}
	words := append(described, describedBy(strings.Join(names, " "))...)
	slices.Sort(words)
	for _, t := range slices.Compact(words) {
		terms = append(terms, wordKey{term: t, kind: kindText})
	}
	if home != "" {
		terms = append(terms, wordKey{term: home, kind: kindHome})
	}
	sum := sha256.New()
	for _, t := range terms {
		fmt.Fprintf(sum, "%d %s\n", t.kind, t.term)
	}
	h := first60(sum.Sum(nil))
	key := fmt.Sprintf("%d%02d%s %04x", min(strings.Count(name, "."), 9), len(described), name, h&0xffff)
	for i := range terms {
		terms[i].key = key
	}
	return label{key, h}, terms
}

// labelledBy is the attribute that a key of a label names.
func labelledBy(key string) string { return key[labelHead : len(key)-labelTail] }

// moveLabel notes by what an attribute of a channel is found from now on.
func (tx *Tx) moveLabel(a, b *attrRow) {
	if a.listed() == b.listed() && a.meta == b.meta {
		return
	}
	for n, r := range map[int64]*attrRow{-1: a, 1: b} {
		if !r.listed() {
			continue
		}
		l, terms := labelOf(r.name, r.metaText)
		d := tx.labels[l]
		d.n, d.terms = d.n+n, terms
		tx.labels[l] = d
	}
}

// wordsOf adds, or with -1 takes away, a reason to find something by texts.
func (tx *Tx) wordsOf(kind int, key string, n int64, texts ...string) {
	for _, t := range termsOf(texts...) {
		tx.words[wordKey{t, kind, key}] += n
	}
}

// closureWords is wordsOf for a closure that is called name. All that an operator states under one name
// is found as one: its key is the operator, 64 hexadecimal digits, and the name.
func (tx *Tx) closureWords(ctx context.Context, id, n int64, name string) error {
	var ident []byte
	if _, err := tx.one(ctx, "SELECT o.ident FROM closure c JOIN operator o ON o.id = c.op WHERE c.id = $1", []any{id}, &ident); err != nil {
		return err
	}
	tx.wordsOf(kindClosure, hex.EncodeToString(ident)+name, n, name)
	return nil
}

var (
	wordTable  = newTable("word", "term kind key n", increase("word", "kind, term, key", "n"))
	labelTable = newTable("label", "key h n", increase("label", "key, h", "n"))
)

// flushWords writes what is found from now on. Unless all is set it waits until there is much of it.
func (tx *Tx) flushWords(ctx context.Context, all bool) error {
	if !all && len(tx.labels)+len(tx.words) < labelChunk {
		return nil
	}
	if err := tx.flushLabels(ctx); err != nil {
		return err
	}
	byWord := func(a, b wordKey) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.term, b.term), cmp.Compare(a.key, b.key))
	}
	var lost [][]any
	rows := wordTable.rows()
	for _, k := range slices.SortedFunc(maps.Keys(tx.words), byWord) {
		if n := tx.words[k]; n != 0 {
			rows.add(k.term, k.kind, k.key, n)
			if n < 0 {
				lost = append(lost, []any{k.kind, k.term, k.key})
			}
		}
		if len(rows.args) >= wordRows {
			if err := rows.write(ctx, tx); err != nil {
				return err
			}
		}
	}
	if err := rows.write(ctx, tx); err != nil {
		return err
	}
	tx.words = make(map[wordKey]int64)
	// Or names that somebody had once are in the way of every search.
	return tx.many(ctx, "DELETE FROM word WHERE kind = $1 AND term = $2 AND key = $3 AND n = 0", lost, nil)
}

// flushLabels counts in how many channels labels are, and notes the words of those that come and go.
func (tx *Tx) flushLabels(ctx context.Context) error {
	var keys []string
	for l, d := range tx.labels {
		if d.n == 0 { // its attribute only moved
			delete(tx.labels, l)
		} else {
			keys = append(keys, l.key)
		}
	}
	slices.Sort(keys)
	have := make(map[label]int64)
	err := eachIn(ctx, tx, "SELECT key, h, n FROM label WHERE key IN ?", nil, slices.Compact(keys), func(r *sql.Rows) error {
		var l label
		var n int64
		err := r.Scan(&l.key, &l.h, &n)
		have[l] = n
		return err
	})
	if err != nil {
		return err
	}
	rows := labelTable.rows()
	var lost [][]any
	order := func(a, b label) int { return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.h, b.h)) }
	for _, l := range slices.SortedFunc(maps.Keys(tx.labels), order) {
		d := tx.labels[l]
		rows.add(l.key, l.h, d.n)
		change := int64(0)
		switch was := have[l]; {
		case was == 0:
			change = 1
		case was+d.n == 0:
			change = -1
			lost = append(lost, []any{l.key, l.h})
		}
		for _, t := range d.terms {
			tx.words[t] += change
		}
	}
	tx.labels = make(map[label]labelled)
	if err := rows.write(ctx, tx); err != nil {
		return err
	}
	return tx.many(ctx, "DELETE FROM label WHERE key = $1 AND h = $2 AND n = 0", lost, nil)
}

// termsOf returns what something is found by: the whole texts and their words, in lower case.
func termsOf(texts ...string) []string {
	var terms []string
	for _, t := range texts {
		t = strings.ToLower(t)
		terms = append(terms, cut(t, maxTerm))
		for _, w := range wordsIn(t) {
			terms = append(terms, cut(w, maxTerm))
		}
	}
	slices.Sort(terms)
	return slices.DeleteFunc(slices.Compact(terms), func(t string) bool { return t == "" })
}

func wordsIn(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}

// unsaid are words by which nothing is described.
var unsaid = func() map[string]bool {
	m := make(map[string]bool)
	for _, w := range strings.Fields("a an and are as at be by for from has in into is it its of on or s that the their this to using via which with you your") {
		m[w] = true
	}
	return m
}()

// describedBy returns words of a text in their order, each once, in the form in which they are compared.
func describedBy(text string) (words []string) {
	for _, w := range wordsIn(strings.ToLower(text)) {
		if unsaid[w] {
			continue
		}
		if w = cut(singular(w), maxTerm); !slices.Contains(words, w) {
			words = append(words, w)
		}
		if len(words) == maxDescribed {
			break
		}
	}
	return words
}

// singular takes a plural off an English word, and now and then something of another word: it is
// for comparing only (D. Harman, How effective is suffixing?, 1991).
func singular(w string) string {
	end := func(s string, but ...string) bool {
		return len(w) > 3 && strings.HasSuffix(w, s) && !slices.ContainsFunc(but, func(b string) bool { return strings.HasSuffix(w, b) })
	}
	switch {
	case end("ies", "eies", "aies"):
		return w[:len(w)-3] + "y"
	case end("s", "us", "ss", "aes", "ees", "oes"):
		return w[:len(w)-1]
	}
	return w
}

// homeOf is a homepage as it is compared: without scheme, www, and what follows the path; "" if it is none.
func homeOf(url string) string {
	url = strings.ToLower(strings.TrimSpace(url))
	_, at, ok := strings.Cut(url, "://")
	if !ok {
		at = url
	}
	at, _, _ = strings.Cut(at, "#")
	at, _, _ = strings.Cut(at, "?")
	at = strings.TrimSuffix(strings.TrimPrefix(at, "www."), "/")
	if host, _, _ := strings.Cut(at, "/"); !strings.Contains(host, ".") || strings.ContainsAny(at, " \t\n") {
		return ""
	}
	return cut(at, maxTerm)
}

// cut returns at most n bytes of s, whole characters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
