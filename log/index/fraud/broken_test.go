package fraud_test

import (
	"slices"
	"testing"

	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/statement"
)

func signerOf(t testing.TB, leaf []byte) statement.KeyID {
	t.Helper()
	s, err := statement.Parse(leaf)
	if err != nil {
		return statement.KeyID{}
	}
	return s.Signer
}

// sorted are the hashes of the keys of a leaf.
func sorted(leaf []byte) (khs []index.Hash) {
	for _, k := range index.Keys(leaf) {
		khs = append(khs, index.KeyHash(k))
	}
	return khs
}

type broken struct {
	trie  *index.Node
	lists map[index.Hash]index.List
}

// keyWith is a key hash that begins with these bits, and is all ones after them
// or all zeros.
func keyWith(rest byte, first ...byte) (h index.Hash) {
	for i := range h {
		h[i] = rest
	}
	copy(h[:], first)
	return h
}

// brokenMaps are what no map of 20 leaves has, each under a root of its own.
func brokenMaps(t testing.TB) map[string]broken {
	items := []index.Item{{Index: 3}, {Index: 5}, {Index: 9}, {Index: 11}, {Index: 12}}
	list := func(change func(items []index.Item) []index.Item) (index.Head, index.List) {
		l := change(slices.Clone(items))
		return index.ListHead(l), index.List{Items: l}
	}
	good := index.ListHead(items)
	left, right := keyWith(0), keyWith(0xff, 0x80) // differ at bit 0
	whole := func(leaf, other *index.Node) *index.Node { return index.Branch(0, leaf, other) }
	all := map[string]broken{
		"misplaced":              {trie: whole(index.Leaf(right, good), index.Leaf(keyWith(1, 0xc0), good))},
		"misplaced on the right": {trie: whole(index.Leaf(left, good), index.Leaf(keyWith(1), good))},
		"depth again":            {trie: whole(index.Leaf(left, good), index.Branch(0, index.Stub(index.Hash{1}), index.Stub(index.Hash{2})))},
		"depth less":             {trie: index.Branch(7, index.Branch(3, index.Leaf(left, good), index.Stub(index.Hash{2})), index.Stub(index.Hash{3}))},
		"nothing below a branch": {trie: whole(index.Leaf(left, good), index.Stub(index.EmptyRoot))},
		"empty list":             {trie: whole(index.Leaf(left, index.Head{Count: 0, Root: good.Root}), index.Leaf(right, good))},
		"longer than the log":    {trie: whole(index.Leaf(left, index.Head{Count: 21, Root: good.Root}), index.Leaf(right, good))},
		"part too late":          {trie: index.Branch(9, index.Leaf(keyWith(0), good), index.Leaf(keyWith(0, 0x01, 0x40), good))},
		"one too late among two": {trie: whole(index.Branch(9, index.Leaf(keyWith(0), good), index.Branch(12, index.Stub(index.Hash{1}), index.Leaf(keyWith(0xff, 0x01, 0x48), good))), index.Leaf(right, good))},
	}
	for name, change := range map[string]func([]index.Item) []index.Item{
		"list out of order":    func(l []index.Item) []index.Item { l[1], l[2] = l[2], l[1]; return l },
		"an entry twice":       func(l []index.Item) []index.Item { l[3].Index = l[2].Index; return l },
		"an entry that is not": func(l []index.Item) []index.Item { l[4].Index = 20; return l },
	} {
		h, l := list(change)
		all[name] = broken{trie: whole(index.Leaf(left, h), index.Leaf(right, good)), lists: map[index.Hash]index.List{left: l}}
		var f index.Frontier
		f.Append(l.Items[0])
		all[name+", from the middle"] = broken{trie: index.Leaf(left, h), lists: map[index.Hash]index.List{left: {Prefix: f, Items: l.Items[1:]}}}
	}
	// As deep as can be, and one more.
	deep := index.Leaf(keyWith(0), good)
	for d := 255; d >= 0; d-- {
		deep = index.Branch(uint8(d), deep, index.Stub(index.Hash{byte(d)}))
	}
	all["257 branches"] = broken{trie: index.Branch(0, deep, index.Stub(index.Hash{9}))}
	end := index.Branch(255, index.Stub(index.Hash{1}), index.Stub(index.Hash{2}))
	for d := 255; d >= 0; d-- {
		end = index.Branch(uint8(d), end, index.Stub(index.Hash{byte(d)}))
	}
	all["257 branches, the last too much"] = broken{trie: end}
	return all
}
