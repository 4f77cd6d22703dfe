package index_test

import (
	"encoding/hex"
	"slices"
	"testing"

	"github.com/firn-log/firn/log/index"
)

func makeAnswers(t *testing.T) (out []answerVector) {
	t.Helper()
	m := vectorMap()
	add := func(name, why string, i int, n *index.Node, items []index.Item, rules ...int) *answerVector {
		v := answerVector{Name: name, Rules: rules, Key: keyText(i), Root: hexOf(m.Root()), Size: mapSize, Trie: encode(t, n), Refused: why}
		if items != nil {
			s := hex.EncodeToString(section(t, items, 0))
			v.Section = &s
		}
		if why == "" {
			v.Items = itemVectors(items)
		}
		out = append(out, v)
		return &out[len(out)-1]
	}
	without := func(i int, items ...index.Item) *index.Memory { // the map with another list for key i
		other := new(index.Memory)
		for j := range 24 {
			list := listOf(j)
			if i == j {
				list = items
			}
			for _, it := range list {
				other.Put(index.KeyHash(keyText(j)), it)
			}
		}
		return other
	}
	const absent = 99
	add("present", "", 7, m.Prove(khsOf(7)), listOf(7), 31)
	add("present, beside others", "", 7, m.Prove(khsOf(1, 7, 12, absent)), listOf(7), 17)
	add("absent", "", absent, m.Prove(khsOf(absent)), nil, 31)
	add("absent from the map of no keys", "", 7, nil, nil, 31).Root = hexOf(index.EmptyRoot)

	list := listOf(7)
	less, more := list[:7], append(slices.Clone(list), index.Item{Index: 99})
	add("an item is left out of map and section", "root", 7, without(7, less...).Prove(khsOf(7)), less, 15)
	add("an item is left out of the section", "mismatch", 7, m.Prove(khsOf(7)), less, 19)
	add("an item is added to map and section", "root", 7, without(7, more...).Prove(khsOf(7)), more, 15)
	add("the key is left out of the map", "root", 7, without(7).Prove(khsOf(7)), nil, 15)
	add("the map of no keys instead", "root", 7, nil, nil, 15)
	add("a key put in the place of another", "root", absent, index.Leaf(index.KeyHash(keyText(absent)), index.ListHead(list)), list, 15)
	add("the trie of another key", "not-covered", 7, m.Prove(khsOf(8)), listOf(8), 16)
	add("the trie of another key, as absent", "not-covered", 7, m.Prove(khsOf(8)), nil, 16)
	add("the trie of an absent key, as absent", "not-covered", 7, m.Prove(khsOf(absent)), nil, 16)
	add("only the root", "not-covered", 7, index.Stub(m.Root()), nil, 16)
	add("the section of another key", "mismatch", 7, m.Prove(khsOf(7, 16)), listOf(6), 19)
	add("present without a section", "section", 7, m.Prove(khsOf(7)), nil, 32)
	add("absent with a section", "section", absent, m.Prove(khsOf(absent)), list, 32)
	add("the sides of the topmost branch swapped", "shape", 7, swap(m.Prove(khsOf(7))), list, 14)
	part := hex.EncodeToString(section(t, list, 3))
	add("the end of the list only", "part", 7, m.Prove(khsOf(7)), list, 22).Section = &part
	v := add("a map that has an index beyond its size", "shape", 7, m.Prove(khsOf(7)), list, 20)
	v.Size = list[7].Index
	wrong := index.Leaf(index.KeyHash(keyText(7)), index.Head{})
	add("a map that has an empty list", "shape", 7, wrong, []index.Item{}, 5).Root = hexOf(wrong.Hash())
	return out
}

func swap(n *index.Node) *index.Node {
	d, l, r, _ := n.AsBranch()
	return index.Branch(d, r, l)
}

func makePrefixes(t *testing.T) (out []prefixVector) {
	t.Helper()
	m := vectorMap()
	add := func(name, why string, bits int, prefix index.Hash, n *index.Node, rules ...int) {
		v := prefixVector{
			Name: name, Rules: rules, Bits: bits, Prefix: hexOf(prefix),
			Root: hexOf(n.Hash()), Trie: encode(t, n), Refused: why,
		}
		if found, err := n.FindPrefix(bits, prefix); err == nil {
			for _, f := range found {
				v.Keys = append(v.Keys, hexOf(f.Key))
			}
		}
		out = append(out, v)
	}
	var all, half []index.Hash // half: those with first bit 1
	for i := range 24 {
		kh := index.KeyHash(keyText(i))
		all = append(all, kh)
		if index.Bit(kh, 0) == 1 {
			half = append(half, kh)
		}
	}
	one := index.Hash{128}
	kh := index.KeyHash(keyText(5))
	add("all keys", "", 0, index.Hash{}, m.Prove(all), 47)
	add("half of the keys", "", 1, one, m.Prove(half), 47)
	add("one key in full", "", 256, kh, m.Prove(khsOf(5)), 47)
	none := index.Hash{1, 2, 3, 4}
	add("none", "", 40, none, m.Prove([]index.Hash{none}), 47)
	add("none, in the map of no keys", "", 40, none, nil, 47)
	two := index.Branch(100, index.Leaf(index.Hash{}, index.Head{Count: 1}), index.Stub(index.Hash{1}))
	add("none: a leaf before a stub begins otherwise", "", 8, one, two, 47)

	add("half of the keys, one is not shown", "not-covered", 1, one, m.Prove(half[1:]), 47)
	add("half of the keys, and the others are shown", "not-covered", 0, index.Hash{}, m.Prove(half), 47)
	add("only the root", "not-covered", 1, one, index.Stub(m.Root()), 47)
	add("a leaf begins so, the one beside it is a stub", "not-covered", 8, index.Hash{}, two, 47)
	add("bits behind the prefix", "malformed", 1, index.Hash{192}, m.Prove(half), 45)
	add("257 bits", "malformed", 257, kh, m.Prove(khsOf(5)), 45)
	return out
}
