package index_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/statement"
)

// An answer about one key: a pruned trie and, if the key is present, a list section.
type answer struct{ trie, section []byte }

var (
	errRoot    = errors.New("the trie has another root")
	errSection = errors.New("a section where none belongs, or none")
	errPart    = errors.New("the list is not whole")
)

// check is a client (spec/index.md#checking-an-answer): the items from a position on.
func (a answer) check(root index.Hash, size uint64, kh index.Hash) (items []index.Item, from uint64, err error) {
	trie, rest, err := index.ParsePruned(a.trie)
	switch {
	case err != nil:
		return nil, 0, err
	case len(rest) > 0:
		return nil, 0, index.ErrMalformed
	case trie.Hash() != root:
		return nil, 0, errRoot
	}
	h, present, err := trie.Find(kh)
	switch {
	case err != nil:
		return nil, 0, err
	case present != (a.section != nil):
		return nil, 0, errSection
	case !present:
		return nil, 0, nil
	}
	l, rest, err := index.ParseList(a.section)
	switch {
	case err != nil:
		return nil, 0, err
	case len(rest) > 0:
		return nil, 0, index.ErrMalformed
	}
	return l.Items, l.Prefix.Count(), l.Check(h, size)
}

func section(t testing.TB, items []index.Item, from int) []byte {
	t.Helper()
	var l index.List
	for _, it := range items[:from] {
		l.Prefix.Append(it)
	}
	l.Items = items[from:]
	b, err := l.AppendBinary([]byte{})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A prover that lies: what it has, and what it is asked.
type prover struct {
	*rand.Rand
	honest model
	kh     index.Hash
}

func (p prover) key() index.Hash {
	keys := p.honest.keys()
	return keys[p.IntN(len(keys))]
}

func (p prover) about(t testing.TB, m model, items []index.Item) answer {
	t.Helper()
	var khs []index.Hash
	for _, kh := range append(m.keys(), p.kh) {
		if kh == p.kh || p.IntN(4) == 0 {
			khs = append(khs, kh)
		}
	}
	return pack(t, m.memory(p.Rand).Prove(khs), items)
}

func pack(t testing.TB, n *index.Node, items []index.Item) (a answer) {
	t.Helper()
	var err error
	if a.trie, err = n.AppendBinary(nil); err != nil {
		t.Fatal(err)
	}
	if items != nil {
		a.section = section(t, items, 0)
	}
	return a
}

// Lies by a map that is not the one committed to.
var otherMaps = map[string]func(p prover, m model){
	"an item is dropped": func(p prover, m model) {
		items := m[p.kh]
		if len(items) == 1 {
			delete(m, p.kh)
		} else if len(items) > 1 {
			i := p.IntN(len(items))
			m[p.kh] = slices.Delete(items, i, i+1)
		}
	},
	"the key is dropped": func(p prover, m model) { delete(m, p.kh) },
	"an item is added": func(p prover, m model) {
		items := m[p.kh]
		at := uint64(0)
		if len(items) > 0 {
			at = items[len(items)-1].Index + 1
		}
		m[p.kh] = append(items, index.Item{Index: at})
	},
	"another signer": func(p prover, m model) {
		if items := m[p.kh]; len(items) > 0 {
			items[p.IntN(len(items))].Signer = statement.KeyID{99}
		}
	},
	"two lists are swapped": func(p prover, m model) {
		k := p.key()
		if _, ok := m[p.kh]; ok {
			m[k], m[p.kh] = m[p.kh], m[k]
		} else {
			m[p.kh] = m[k]
		}
	},
	"an older map": func(p prover, m model) {
		for kh, items := range m {
			n := slices.IndexFunc(items, func(it index.Item) bool { return it.Index >= 6 })
			if n == 0 {
				delete(m, kh)
			} else if n > 0 {
				m[kh] = items[:n]
			}
		}
	},
	"items out of order": func(p prover, m model) { slices.Reverse(m[p.kh]) },
	"an item twice": func(p prover, m model) {
		if items := m[p.kh]; len(items) > 0 {
			m[p.kh] = append(items, items[len(items)-1])
		}
	},
}

// Lies by changing the true pruned trie somewhere.
var otherNodes = map[string]func(p prover, n *index.Node) *index.Node{
	"a stub is replaced": func(p prover, n *index.Node) *index.Node {
		if !n.IsStub() {
			return n
		}
		if p.IntN(2) == 0 {
			return index.Stub(randomHash(p.Rand))
		}
		return index.Leaf(near(p.Rand, p.kh), index.Head{Count: 1, Root: randomHash(p.Rand)})
	},
	"a leaf of another key": func(p prover, n *index.Node) *index.Node {
		kh, h, ok := n.AsLeaf()
		if !ok {
			return n
		}
		if p.IntN(2) == 0 {
			return index.Leaf(near(p.Rand, kh), h)
		}
		return index.Leaf(p.kh, h)
	},
	"a leaf moved to the other side": func(p prover, n *index.Node) *index.Node {
		if d, l, r, ok := n.AsBranch(); ok {
			return index.Branch(d, r, l)
		}
		return n
	},
	"a branch left out": func(p prover, n *index.Node) *index.Node {
		if _, l, r, ok := n.AsBranch(); ok {
			return []*index.Node{l, r}[p.IntN(2)]
		}
		return n
	},
	"a branch put in": func(p prover, n *index.Node) *index.Node {
		return index.Branch(uint8(p.IntN(256)), n, index.Stub(n.Hash()))
	},
	"another depth": func(p prover, n *index.Node) *index.Node {
		if _, l, r, ok := n.AsBranch(); ok {
			return index.Branch(uint8(p.IntN(256)), l, r)
		}
		return n
	},
	"a stub for what was asked": func(_ prover, n *index.Node) *index.Node { return index.Stub(n.Hash()) },
	"a part of another map": func(p prover, _ *index.Node) *index.Node {
		other, _ := randomModel(p.Rand, 10)
		return other.memory(p.Rand).Prove([]index.Hash{p.kh})
	},
	"the empty map": func(prover, *index.Node) *index.Node { return nil },
}

// change applies f to a random node on the way to the key hash or beside it.
func (p prover) change(n *index.Node, f func(prover, *index.Node) *index.Node) *index.Node {
	d, l, r, ok := n.AsBranch()
	if !ok || p.IntN(4) == 0 {
		return f(p, n)
	}
	if right := index.Bit(p.kh, int(d)) == 1; right != (p.IntN(4) == 0) {
		return index.Branch(d, l, p.change(r, f))
	}
	return index.Branch(d, p.change(l, f), r)
}

// Lies by another list below the true trie.
var otherLists = map[string]func(p prover, items []index.Item) []index.Item{
	"the first item is dropped": func(_ prover, items []index.Item) []index.Item { return items[min(1, len(items)):] },
	"the last item is dropped":  func(_ prover, items []index.Item) []index.Item { return items[:max(0, len(items)-1)] },
	"an item is added":          func(_ prover, items []index.Item) []index.Item { return append(items, index.Item{Index: 99}) },
	"another signer": func(p prover, items []index.Item) []index.Item {
		if len(items) > 0 {
			items[p.IntN(len(items))].Signer = statement.KeyID{99}
		}
		return items
	},
	"another index": func(p prover, items []index.Item) []index.Item {
		if len(items) > 0 {
			items[p.IntN(len(items))].Index++
		}
		return items
	},
	"the list of another key": func(p prover, _ []index.Item) []index.Item { return p.honest[p.key()] },
	"no list":                 func(prover, []index.Item) []index.Item { return nil },
	"out of order": func(_ prover, items []index.Item) []index.Item {
		slices.Reverse(items)
		return items
	},
}

// Whatever a prover answers, under the root of the map it is refused or true.
func TestNoLieAboutAKeyIsBelieved(t *testing.T) {
	lies := make(map[string]func(prover) answer)
	for name, change := range otherMaps {
		lies["map: "+name] = func(p prover) answer {
			m := p.honest.clone()
			change(p, m)
			return p.about(t, m, m[p.kh])
		}
	}
	for name, change := range otherNodes {
		lies["trie: "+name] = func(p prover) answer {
			trie := p.change(p.honest.memory(p.Rand).Prove([]index.Hash{p.kh}), change)
			items := p.honest[p.kh]
			if p.IntN(2) == 0 {
				items = nil
			}
			return pack(t, trie, items)
		}
	}
	for name, change := range otherLists {
		lies["list: "+name] = func(p prover) answer {
			return p.about(t, p.honest, change(p, slices.Clone(p.honest[p.kh])))
		}
	}
	lies["the answer about another key"] = func(p prover) answer {
		k := p.key()
		return pack(t, p.honest.memory(p.Rand).Prove([]index.Hash{k}), p.honest[k])
	}
	lies["a byte is changed"] = func(p prover) answer {
		a := p.about(t, p.honest, p.honest[p.kh])
		if len(a.section) > 0 && p.IntN(2) == 0 {
			a.section[p.IntN(len(a.section))] ^= 1 << p.IntN(8)
		} else {
			a.trie[p.IntN(len(a.trie))] ^= 1 << p.IntN(8)
		}
		return a
	}
	lies["cut off"] = func(p prover) answer {
		a := p.about(t, p.honest, p.honest[p.kh])
		if len(a.section) > 0 && p.IntN(2) == 0 {
			a.section = a.section[:p.IntN(len(a.section))]
		} else {
			a.trie = a.trie[:p.IntN(len(a.trie))]
		}
		return a
	}
	for name, lie := range lies {
		t.Run(name, func(t *testing.T) { believeNone(t, lie) })
	}
}

func believeNone(t *testing.T, lie func(prover) answer) {
	t.Helper()
	refused := 0
	for seed := range uint64(300) {
		r := newRand(seed)
		m, size := randomModel(r, 12)
		if len(m) == 0 {
			continue
		}
		p := prover{r, m, near(r, m.keys()[0])}
		if r.IntN(4) > 0 {
			p.kh = p.key()
		}
		items, from, err := lie(p).check(m.root(), size, p.kh)
		if err != nil {
			refused++
			continue
		}
		if want := m[p.kh]; from > uint64(len(want)) || !slices.Equal(items, want[from:]) {
			t.Fatalf("seed %d: %v from %d is believed; the list is %v", seed, items, from, want)
		}
	}
	if refused == 0 {
		t.Error("it never lied")
	}
}

// A log that committed to a wrong map has shown it when it shows any such thing.
func TestWhatNoMapHasIsToldApart(t *testing.T) {
	one := index.Head{Count: 1, Root: index.Hash{1}}
	zero, last := index.Hash{}, index.Hash{31: 1}
	leaf := func(kh index.Hash) *index.Node { return index.Leaf(kh, one) }
	for name, n := range map[string]*index.Node{
		"a leaf on the wrong side":            index.Branch(255, leaf(last), index.Stub(zero)),
		"a leaf on the wrong side, higher":    index.Branch(0, index.Stub(zero), index.Branch(255, leaf(zero), index.Stub(zero))),
		"the same depth again":                index.Branch(7, index.Branch(7, index.Stub(zero), index.Stub(zero)), index.Stub(zero)),
		"a smaller depth below":               index.Branch(7, index.Stub(zero), index.Branch(6, index.Stub(zero), index.Stub(zero))),
		"an empty list":                       index.Leaf(zero, index.Head{}),
		"leaves that differ before":           index.Branch(255, leaf(index.Hash{128}), leaf(last)),
		"leaves that differ before, one side": index.Branch(1, index.Branch(255, leaf(index.Hash{}), leaf(index.Hash{0: 16, 31: 1})), index.Stub(zero)),
	} {
		b, err := n.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		got, rest, err := index.ParsePruned(b)
		if !errors.Is(err, index.ErrShape) || errors.Is(err, index.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
		if got.Hash() != n.Hash() || len(rest) > 0 {
			t.Errorf("%s: its root cannot be compared with that of a revision", name)
		}
	}
	items := []index.Item{{Index: 5}, {Index: 5}}
	if err := index.CheckList(index.ListHead(items), index.Frontier{}, items); !errors.Is(err, index.ErrShape) {
		t.Errorf("an index twice: %v", err)
	}
	l := index.List{Items: items[:1]}
	if err := l.Check(index.ListHead(l.Items), 5); !errors.Is(err, index.ErrShape) {
		t.Errorf("an index beyond the size: %v", err)
	}
	if err := index.CheckList(index.Head{}, index.Frontier{}, nil); !errors.Is(err, index.ErrShape) {
		t.Errorf("an empty list: %v", err)
	}
}

// A long list is read from its end: each part is checked with the frontier of
// the one before (spec/index.md#list-sections, rule 21).
func TestListIsReadInParts(t *testing.T) {
	items := randomItems(newRand(3), 100)
	h := index.ListHead(items)
	for to := len(items); to > 0; {
		from := max(0, to-17)
		l, _, err := index.ParseList(section(t, items[:to], from))
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Check(h, 1000); err != nil {
			t.Fatalf("%d to %d: %v", from, to, err)
		}
		h, to = l.Prefix.Root(), from
	}
}
