package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// How a search hit was found.
const (
	MatchName    = "name"    // by its name, or words of it
	MatchText    = "text"    // by its description
	MatchSimilar = "similar" // nothing is called or described so, and this is almost called so
)

// maxCandidates bounds how many entries of the index of each kind a search looks at, so that
// names that strangers give themselves crowd out no package.
var maxCandidates = map[int]int{kindAttr: 600, kindMaintainer: 100, kindTeam: 100, kindOperator: 100, kindChannel: 100, kindClosure: 100}

// maxHits bounds what a search returns.
const maxHits = 100

// hit is a candidate: better ones have a smaller rank.
type hit struct {
	kind int
	key  string
	rank int
	term string
}

// Ranks. What is described so comes last: later by one for each word that is not in its name, and by more than
// all of these if words only begin so.
const (
	rankCalled    = iota // exactly so
	rankPart             // the last part of its name
	rankWord             // a word of its name
	rankBegins           // its name begins so
	rankWordBegin        // a word of its name begins so
	rankWords            // all words of the text begin words of its name
	rankSimilar
	rankText
)

// Search finds attributes, maintainers, teams, operators, channels and closures by their names, attributes by
// their descriptions and homepages, store paths by their hash part and statements by the beginning of
// their id (spec/tracker.md#search). The best come first, at most limit.
func (db *DB) Search(ctx context.Context, text string, limit int) (hits []SearchHit, err error) {
	limit = min(max(limit, 1), maxHits)
	text = strings.ToLower(strings.Join(strings.Fields(strings.ReplaceAll(cut(strings.ToValidUTF8(text, ""), 256), "\x00", "")), " "))
	if text == "" {
		return nil, nil
	}
	err = db.view(ctx, func(q *view) error {
		if hits, err = q.searchHashes(text, limit); err != nil {
			return err
		}
		found, err := q.searchWords(text, limit, len(hits) == 0)
		if err != nil {
			return err
		}
		found = share(found, limit-len(hits))
		attrs, err := q.showAttrs(found)
		if err != nil {
			return err
		}
		for _, h := range found {
			s, err := q.show(h, attrs)
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

// share returns the first n, of which attributes leave a third to others.
func share(found []hit, n int) []hit {
	others := 0
	for _, h := range found {
		if h.kind != kindAttr {
			others++
		}
	}
	attrs := n - min(others, n/3)
	var out []hit
	for _, h := range found {
		if h.kind == kindAttr {
			if attrs == 0 {
				continue
			}
			attrs--
		}
		if len(out) < n {
			out = append(out, h)
		}
	}
	return out
}

// searchHashes finds store paths and statements.
func (q *view) searchHashes(text string, limit int) (hits []SearchHit, err error) {
	base := text[strings.LastIndexByte(text, '/')+1:]
	hash, _, _ := strings.Cut(base, "-")
	if low, high, ok := base32Range(hash, len(hash)); ok && len(hash) >= 4 && len(hash) <= nixHashLen {
		err = q.each("SELECT path, real, state FROM output WHERE h BETWEEN $1 AND $2 ORDER BY h LIMIT 200", []any{low, high}, func(r *sql.Rows) error {
			h := SearchHit{Kind: "path", Match: MatchName}
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
			h := SearchHit{Kind: "statement", Match: MatchName}
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
		h := SearchHit{Kind: "operator", Key: text, Match: MatchName}
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

// searchWords returns all that text finds, best first; with slips, if it finds nothing, what is almost called so.
func (q *view) searchWords(text string, limit int, slips bool) ([]hit, error) {
	type thing struct {
		kind int
		key  string
	}
	best := make(map[thing]hit)
	attrs := 0
	enough := func(kind int) bool { return kind == kindAttr && attrs >= limit }
	note := func(h hit) {
		k := thing{h.kind, h.key}
		if h.kind == kindAttr {
			k.key = labelledBy(h.key) // whatever its description
		}
		old, ok := best[k]
		if !ok && h.kind == kindAttr {
			attrs++
		}
		if !ok || h.rank < old.rank {
			best[k] = h
		}
	}
	if err := q.named(text, limit, enough, note); err != nil {
		return nil, err
	}
	if !enough(kindAttr) {
		if err := q.described(text, limit, note); err != nil {
			return nil, err
		}
	}
	if len(best) == 0 && slips {
		if err := q.similar(text, note); err != nil {
			return nil, err
		}
	}
	hits := make([]hit, 0, len(best))
	for _, h := range best {
		hits = append(hits, h)
	}
	slices.SortFunc(hits, func(a, b hit) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(kindRank[a.kind], kindRank[b.kind]), cmp.Compare(len(a.term), len(b.term)), cmp.Compare(a.key, b.key))
	})
	return hits, nil
}

// kindRank is the order of hits that are as good as each other.
var kindRank = map[int]int{kindChannel: 1, kindAttr: 2, kindMaintainer: 3, kindTeam: 4, kindOperator: 5, kindClosure: 6}

// named notes what is called text, what begins so, and, unless that is enough, what has all its words in its name.
func (q *view) named(text string, limit int, enough func(kind int) bool, note func(hit)) error {
	whole := cut(text, maxTerm)
	words := slices.DeleteFunc(termsOf(text), func(w string) bool { return w == whole })
	for kind := kindAttr; kind <= kindClosure; kind++ {
		found, err := q.prefix(kind, whole, maxCandidates[kind])
		if err != nil {
			return err
		}
		for _, h := range found {
			h.rank = rankOfName(h, text)
			note(h)
		}
		if len(words) < 2 || enough(kind) {
			continue
		}
		keys, err := q.withAll(kind, words, true, limit)
		if err != nil {
			return err
		}
		for _, k := range keys {
			note(hit{kind: kind, key: k, rank: rankWords})
		}
	}
	return nil
}

// rankOfName says how well a term that begins with text is what was asked for.
func rankOfName(h hit, text string) int {
	name := h.term
	if h.kind == kindAttr {
		name = strings.ToLower(labelledBy(h.key))
	} else if h.kind != kindOperator && h.kind != kindClosure { // whose names are not their keys
		name = strings.ToLower(h.key)
	}
	switch {
	case name == text:
		return rankCalled
	case strings.HasSuffix(name, "."+text):
		return rankPart
	case h.term == text:
		return rankWord
	case strings.HasPrefix(name, text):
		return rankBegins
	}
	return rankWordBegin
}

// described notes attributes by their homepage, and those that have all words of text in their
// names and descriptions.
func (q *view) described(text string, limit int, note func(hit)) error {
	if home := homeOf(text); home != "" {
		found, err := q.prefix(kindHome, home, limit)
		if err != nil {
			return err
		}
		for _, h := range found {
			note(hit{kind: kindAttr, key: h.key, rank: rankText, term: h.term})
		}
	}
	words := describedBy(text)
	if len(words) == 0 {
		return nil
	}
	keys, err := q.withAll(kindText, words, false, limit)
	if err != nil {
		return err
	}
	exact := len(keys)
	if exact < limit { // then also what has words that only begin so
		more, err := q.withAll(kindText, words, true, limit)
		if err != nil {
			return err
		}
		keys = append(keys, more...)
	}
	for i, k := range keys {
		own := describedBy(labelledBy(k))
		rank := rankText
		if i >= exact {
			rank += maxWords + 1
		}
		for _, w := range words {
			if !slices.Contains(own, w) {
				rank++
			}
		}
		note(hit{kind: kindAttr, key: k, rank: rank})
	}
	return nil
}

// newestNamed returns the id of the newest closure of an operator and a name, as [Tx.closureWords] writes them, and
// the name.
func (q *view) newestNamed(key string) (id, name string, err error) {
	ident, _ := hex.DecodeString(key[:64])
	name = key[64:]
	var op int64
	if ok, err := q.one("SELECT id FROM operator WHERE ident = $1", []any{ident}, &op); err != nil || !ok {
		return "", "", err
	}
	rows, err := q.newestClosures(name, op, 1)
	if err != nil || len(rows) == 0 {
		return "", "", err
	}
	var sid []byte
	_, err = q.one("SELECT sid FROM stmt WHERE id = $1", []any{rows[0]}, &sid)
	return hex.EncodeToString(sid), name, err
}

// prefix returns what has a term that begins with w, by term and then by key.
func (q *view) prefix(kind int, w string, most int) (hits []hit, err error) {
	err = q.each("SELECT term, key FROM word WHERE kind = $1 AND term >= $2 AND term < $3 ORDER BY term, key LIMIT CAST($4 AS BIGINT)", []any{kind, w, w + "\U0010FFFF", most}, func(r *sql.Rows) error {
		h := hit{kind: kind}
		err := r.Scan(&h.term, &h.key)
		hits = append(hits, h)
		return err
	})
	return hits, err
}

// showAttrs returns the attributes among hits by their names: the worst row of each.
func (q *view) showAttrs(hits []hit) (map[string]SearchHit, error) {
	var names []string
	for _, h := range hits {
		if h.kind == kindAttr {
			names = append(names, labelledBy(h.key))
		}
	}
	shown, metas := make(map[string]SearchHit, len(names)), make(map[string]int64, len(names))
	err := eachOf(q, "SELECT a.name, c.name, r.rank, r.meta FROM attr a JOIN attr_row r ON r.attr = a.id JOIN channel c ON c.id = r.channel WHERE a.name IN ?", nil, names, func(r *sql.Rows) error {
		var s SearchHit
		var rank, meta int64
		err := r.Scan(&s.Key, &s.Channel, &rank, &meta)
		s.State = State(9 - rank)
		if old, ok := shown[s.Key]; !ok || s.State > old.State || s.State == old.State && s.Channel < old.Channel {
			shown[s.Key], metas[s.Key] = s, meta
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	texts := make(map[int64]string, len(metas))
	err = eachOf(q, "SELECT id, json FROM meta WHERE id IN ?", nil, unique(slices.Collect(maps.Values(metas))), func(r *sql.Rows) error {
		var id int64
		var text string
		if err := r.Scan(&id, &text); err != nil {
			return err
		}
		var a struct{ Version, Description string }
		err := json.Unmarshal([]byte(text), &a)
		texts[id] = strings.TrimSpace(a.Version + " " + a.Description)
		return err
	})
	for name, s := range shown {
		s.Text = texts[metas[name]]
		shown[name] = s
	}
	return shown, err
}

// show fills in a hit; its Key is "" if it is not there any more.
func (q *view) show(h hit, attrs map[string]SearchHit) (s SearchHit, err error) {
	if h.kind == kindAttr {
		s = attrs[labelledBy(h.key)]
	}
	switch {
	case h.rank == rankSimilar:
		s.Match = MatchSimilar
	case h.rank >= rankText:
		s.Match = MatchText
	default:
		s.Match = MatchName
	}
	switch h.kind {
	case kindAttr:
		s.Kind = "attribute"
	case kindMaintainer, kindTeam:
		s.Kind = [...]string{"maintainer", "team"}[h.kind-kindMaintainer]
		_, err = q.one("SELECT login, name FROM person WHERE team = $1 AND login = $2", []any{h.kind - kindMaintainer, h.key}, &s.Key, &s.Text)
	case kindOperator:
		s.Kind = "operator"
		ident, _ := hex.DecodeString(h.key)
		var ok bool
		if ok, err = q.one("SELECT name FROM operator WHERE ident = $1", []any{ident}, &s.Text); ok {
			s.Key = h.key
		}
	case kindChannel:
		s.Kind, s.Key, s.Text, s.Channel = "channel", h.key, h.key, h.key
	case kindClosure:
		s.Kind = "closure"
		s.Key, s.Text, err = q.newestNamed(h.key)
	}
	return s, err
}
