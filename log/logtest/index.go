package logtest

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/firn-log/firn/log/index"
)

// Cuts of what is shown of an index, as in a firn-log.
const (
	maxLevels = 12
	maxListed = 10_000
)

func (m *revised) put(kh index.Hash, it index.Item) {
	m.khs = append(m.khs, kh)
	m.index.Put(kh, it)
}

// showIndex serves v1/index/{size}/trie and v1/index/{size}/list from the map of the
// revision of that size that was stated last, honest or not.
func (l *Log) showIndex(path string, q url.Values) (int, []byte) {
	var size uint64
	var what string
	if _, err := fmt.Sscanf(path, "v1/index/%d/%s", &size, &what); err != nil {
		return refuse(http.StatusNotFound, "not-found", "There is nothing here.")
	}
	var m *revised
	for _, r := range l.maps {
		if r.size == size && r.at < l.size {
			m = r
		}
	}
	switch {
	case m == nil:
		return refuse(http.StatusNotFound, "not-found", "There is no revision of this size.")
	case what == "trie":
		return m.showTrie(q)
	case what == "list":
		return m.showList(q)
	}
	return refuse(http.StatusNotFound, "not-found", "There is nothing here.")
}

func (m *revised) showTrie(q url.Values) (int, []byte) {
	depth, err1 := strconv.Atoi(q.Get("depth"))
	levels, err2 := strconv.Atoi(q.Get("levels"))
	prefix, ok := hash(q.Get("prefix"))
	if err1 != nil || err2 != nil || !ok || levels < 1 || levels > maxLevels || depth < 0 || depth > 256 {
		return refuse(http.StatusBadRequest, "bad-request", "The depth, the prefix or the levels are wrong.")
	}
	n := m.trie
	if n == nil {
		n = m.index.Prove(m.khs)
	}
	for {
		d, l, r, ok := n.AsBranch()
		if !ok || int(d) >= depth {
			break
		}
		if n = l; index.Bit(prefix, int(d)) == 1 {
			n = r
		}
	}
	b, _ := prune(n, depth+levels).AppendBinary(nil) // never fails
	return http.StatusOK, b
}

// prune makes stubs of the branches of a depth of at least until.
func prune(n *index.Node, until int) *index.Node {
	d, l, r, ok := n.AsBranch()
	switch {
	case !ok:
		return n
	case int(d) >= until:
		return index.Stub(n.Hash())
	}
	return index.Branch(d, prune(l, until), prune(r, until))
}

func (m *revised) showList(q url.Values) (int, []byte) {
	kh, ok := hash(q.Get("key"))
	items := m.index.List(kh)
	from, to := 0, len(items)
	for name, n := range map[string]*int{"from": &from, "to": &to} {
		if text := q.Get(name); text != "" {
			var err error
			if *n, err = strconv.Atoi(text); err != nil {
				ok = false
			}
		}
	}
	if !ok || from < 0 || from > to || to > len(items) {
		return refuse(http.StatusBadRequest, "bad-request", "The key or the positions are wrong.")
	}
	from = max(from, to-maxListed)
	list := index.List{Items: slices.Clone(items[from:to])}
	for _, it := range items[:from] {
		list.Prefix.Append(it)
	}
	b, err := list.AppendBinary(nil)
	if err != nil {
		return refuse(http.StatusInternalServerError, "internal", err.Error())
	}
	return http.StatusOK, b
}

func hash(text string) (h index.Hash, ok bool) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(h) {
		return h, false
	}
	return index.Hash(b), true
}
