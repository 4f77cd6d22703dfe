package logtest

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"net/http"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/lookup"
	"github.com/firn-log/firn/log/statement"
)

// revised is the map that a revision is of, honest or not.
type revised struct {
	index index.Memory
	size  uint64 // of the map
	at    uint64 // entry of the revision
	leaf  []byte
	khs   []index.Hash // of the map, perhaps more than once
	trie  *index.Node  // instead of that of index, if the log has edited it
}

// Revise states a revision of the index if there is news, and publishes it. A lookup
// does so by itself.
func (l *Log) Revise() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.revise()
}

func (l *Log) revise() {
	if l.lies.NoRevision && len(l.maps) > 0 || !l.news() {
		return
	}
	if l.size == 0 { // a log begins with a statement of its own, and has no revision before
		key, err := statement.Ed25519Key(l.key.Public().(ed25519.PublicKey))
		if err != nil {
			l.t.Errorf("logtest: %v", err)
		}
		l.add(l.State(&statement.Genesis{Origin: l.origin, LogKey: key, Rules: statement.Rules{
			Mode: statement.ModeOpen, Budgets: statement.Budgets{ClaimsPerSubject: 4}, VouchThreshold: 1,
		}}))
		l.publish()
	}
	m := &revised{size: l.size}
	for i, leaf := range l.leaves[:l.size] {
		s, err := statement.Parse(leaf)
		if err != nil {
			continue
		}
		for _, k := range index.StatementKeys(s) {
			it, there := index.Item{Index: uint64(i), Signer: s.Signer}, !l.lies.Hide[k]
			if there && l.lies.Index != nil {
				it, there = l.lies.Index(k, it)
			}
			if there {
				m.put(index.KeyHash(k), it)
			}
		}
		for k, items := range l.lies.Extra {
			for _, it := range items {
				if it.Index == uint64(i) {
					m.put(index.KeyHash(k), it)
				}
			}
		}
	}
	root := m.index.Root()
	if l.lies.Trie != nil {
		m.trie = l.lies.Trie(m.index.Prove(m.khs))
		root = m.trie.Hash()
	}
	m.leaf = l.State(&statement.Revision{Origin: l.origin, Size: m.size, Root: root, MapVersion: index.MapVersion})
	m.at = l.add(m.leaf)
	l.maps = append(l.maps, m)
	l.publish()
}

// news reports whether the last revision misses a published entry, or the index is to be
// edited.
func (l *Log) news() bool {
	if len(l.maps) == 0 || (l.lies.Hide != nil || l.lies.Index != nil || l.lies.Extra != nil || l.lies.Trie != nil) && l.maps[len(l.maps)-1].size < l.size {
		return true
	}
	for _, leaf := range l.leaves[l.maps[len(l.maps)-1].size:l.size] {
		if s, err := statement.Parse(leaf); err != nil || s.Kind != statement.KindRevision {
			return true
		}
	}
	return false
}

// State signs a statement with the log's key and returns its leaf.
func (l *Log) State(body statement.Body) []byte {
	signer, err := statement.NewEd25519Signer(l.key)
	if err != nil {
		l.t.Errorf("logtest: %v", err)
		return nil
	}
	s, err := statement.Sign(context.Background(), signer, body, "", nil)
	if err != nil {
		l.t.Errorf("logtest: %v", err)
		return nil
	}
	return s.Leaf()
}

// revision returns the map that lookups are answered with.
func (l *Log) revision() *revised {
	for _, m := range l.maps {
		if l.lies.Old > 0 && m.size == l.lies.Old {
			return m
		}
	}
	return l.maps[len(l.maps)-1]
}

func (l *Log) lookup(r *http.Request) (int, []byte) {
	var q lookup.Request
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		return refuse(http.StatusBadRequest, "bad-lookup", "The body is not JSON.")
	}
	l.revise()
	m := l.revision()
	a := &lookup.Answer{Note: l.shown(), Revision: lookup.Body{Index: m.at, Leaf: m.leaf, Inclusion: l.inclusion(m.at)}}
	var khs []index.Hash
	bodies := make(map[uint64]bool)
	left := l.lies.Cut
	for _, asked := range q.Keys {
		if l.lies.Cut > 0 && left <= 0 {
			break
		}
		kh := index.KeyHash(asked.Key)
		khs = append(khs, kh)
		items := m.index.List(kh)
		if asked.To > 0 {
			items = items[:asked.To]
		}
		from := int(asked.From)
		if l.lies.Cut > 0 && len(items)-from > left {
			from = len(items) - left
		}
		list := lookup.List{Present: len(items) > 0}
		if l.lies.Omit[asked.Key] {
			list.Present = false
		}
		if list.Present {
			if from > len(items) {
				return refuse(http.StatusBadRequest, "bad-lookup", "The list is shorter.")
			}
			for _, it := range items[:from] {
				list.Prefix.Append(it)
			}
			list.Items = slices.Clone(items[from:])
			left -= len(list.Items)
			for _, it := range list.Items {
				if q.Signers == nil || slices.Contains(*q.Signers, it.Signer.String()) {
					bodies[it.Index] = true
				}
			}
		}
		a.Lists = append(a.Lists, list)
	}
	a.Trie = m.index.Prove(khs)
	for i := range l.size {
		if bodies[i] {
			a.Bodies = append(a.Bodies, lookup.Body{Index: i, Leaf: l.leaves[i], Inclusion: l.inclusion(i)})
		}
	}
	if q.Tail && !l.lies.NoTail {
		a.Tail = &lookup.Tail{Peaks: l.peaks(m.size), Leaves: l.leaves[m.size:l.size]}
	}
	if l.lies.Answer != nil {
		l.lies.Answer(a)
	}
	return http.StatusOK, a.Marshal()
}

// peaks returns the roots of the perfect subtrees of the first n entries.
func (l *Log) peaks(n uint64) []tlog.Hash {
	leaves := make([]tlog.Hash, n)
	for i, leaf := range l.leaves[:n] {
		leaves[i] = tlog.RecordHash(leaf)
	}
	return fold(leaves)
}

// fold joins leaf hashes to the perfect subtrees that they fill.
func fold(leaves []tlog.Hash) []tlog.Hash {
	var peaks []tlog.Hash
	for i, h := range leaves {
		for c := i; c&1 == 1; c >>= 1 {
			h = tlog.NodeHash(peaks[len(peaks)-1], h)
			peaks = peaks[:len(peaks)-1]
		}
		peaks = append(peaks, h)
	}
	return peaks
}
