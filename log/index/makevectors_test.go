package index_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"testing"

	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/statement"
)

// The map of the vectors: 24 keys, the list of key i has i%9+1 items.
const mapSize = 100

func keyText(i int) string { return fmt.Sprintf("out:/nix/store/%032d-hello-%d", i, i) }

func listOf(i int) (items []index.Item) {
	for j := range i%9 + 1 {
		items = append(items, index.Item{Index: uint64(3*j + i), Signer: sha256.Sum256([]byte{byte(j % 3)})})
	}
	return items
}

func vectorMap() *index.Memory {
	m := new(index.Memory)
	for i := range 24 {
		for _, it := range listOf(i) {
			m.Put(index.KeyHash(keyText(i)), it)
		}
	}
	return m
}

func khsOf(is ...int) (khs []index.Hash) {
	for _, i := range is {
		khs = append(khs, index.KeyHash(keyText(i)))
	}
	return khs
}

// encode returns a trie in hexadecimal.
func encode(t testing.TB, n *index.Node) string {
	t.Helper()
	b, err := n.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(b)
}

func makeHashes(t *testing.T) hashVectors {
	t.Helper()
	var v hashVectors
	for _, text := range []string{keyText(0), keyText(1), "key:" + hexOf(index.Hash{1}), ""} {
		v.Key = append(v.Key, keyHash{text, hexOf(index.KeyHash(text))})
	}
	for _, it := range []index.Item{{}, {Index: 0x0102030405060708, Signer: statement.KeyID{9}}} {
		v.Item = append(v.Item, itemHash{itemVectors([]index.Item{it})[0], hexOf(index.ItemHash(it))})
	}
	kh, root := index.KeyHash(keyText(0)), index.Hash{31: 7}
	for _, n := range []uint64{1, 0x0102030405060708} {
		v.Leaf = append(v.Leaf, leafHash{hexOf(kh), n, hexOf(root), hexOf(index.LeafHash(kh, index.Head{Count: n, Root: root}))})
	}
	for _, d := range []uint8{0, 1, 255} {
		v.Branch = append(v.Branch, branchHash{d, hexOf(kh), hexOf(root), hexOf(index.BranchHash(d, kh, root))})
	}
	v.Empty = hexOf(index.EmptyRoot)
	for i := range 9 {
		items := listOf(i)
		var f index.Frontier
		for _, it := range items {
			f.Append(it)
		}
		b, err := f.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		v.Lists = append(v.Lists, listHash{itemVectors(items), hexOf(f.Root().Root), hex.EncodeToString(b)})
	}
	return v
}

func makeMaps(t *testing.T) []mapVector {
	t.Helper()
	m := new(index.Memory)
	out := []mapVector{{0, 0, hexOf(m.Root())}}
	leaves := readVectors(t)
	for i, v := range leaves {
		m.Add(uint64(i), unhex(t, v.Leaf))
		if n := i + 1; n%16 == 0 || n&(n-1) == 0 || n == len(leaves) {
			out = append(out, mapVector{m.Size(), m.Keys(), hexOf(m.Root())})
		}
	}
	return out
}

func makePruned(t *testing.T) (out []prunedVector) {
	t.Helper()
	accept := func(name string, n *index.Node, khs ...index.Hash) {
		v := prunedVector{Name: name, Rules: []int{10}, Trie: encode(t, n), Root: hexOf(n.Hash())}
		for _, kh := range khs {
			v.Find = append(v.Find, find(n, kh))
		}
		out = append(out, v)
	}
	refuse := func(name, why, trie string, rules ...int) {
		out = append(out, prunedVector{Name: name, Rules: rules, Trie: trie, Refused: why})
	}
	shape := func(name string, n *index.Node, rules ...int) {
		out = append(out, prunedVector{Name: name, Rules: rules, Trie: encode(t, n), Refused: "shape", Root: hexOf(n.Hash())})
	}
	m, one := vectorMap(), index.Head{Count: 1, Root: index.Hash{1}}
	lo, hi := index.Hash{}, index.Hash{31: 1}
	leaf := func(kh index.Hash) *index.Node { return index.Leaf(kh, one) }
	stub := index.Stub(index.Hash{2})
	chain := func(n int, bottom *index.Node) *index.Node {
		for d := n - 1; d >= 0; d-- {
			bottom = index.Branch(uint8(min(d, 255)), bottom, stub)
		}
		return bottom
	}
	accept("the map of no keys", nil, lo)
	accept("one key", leaf(lo), lo, hi)
	accept("a stub alone", stub, lo)
	accept("one key of 24", m.Prove(khsOf(5)), khsOf(5, 6, 99)...)
	accept("four keys of 24, two of them absent", m.Prove(khsOf(1, 2, 99, 100)), khsOf(1, 2, 99, 100, 3)...)
	accept("a whole map", m.Prove(khsOf(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23)), khsOf(23, 24)...)
	accept("keys that differ in bit 255", index.Branch(255, leaf(lo), leaf(hi)), lo, hi)
	accept("keys that differ in bit 0", index.Branch(0, leaf(lo), leaf(index.Hash{128})), lo, index.Hash{128})
	accept("a branch of two stubs", index.Branch(9, stub, stub), lo)
	accept("256 branches one below the other", chain(256, leaf(lo)), lo, hi)

	good := encode(t, m.Prove(khsOf(5)))
	refuse("nothing", "malformed", "", 11)
	refuse("a byte less", "malformed", good[:len(good)-2], 11)
	refuse("cut off within a stub", "malformed", encode(t, stub)[:40], 11)
	refuse("cut off after a branch", "malformed", "0209", 11)
	refuse("cut off before the right side", "malformed", "0209"+encode(t, stub), 11)
	refuse("a branch without its depth", "malformed", "02", 11)
	refuse("cut off within a leaf", "malformed", encode(t, leaf(lo))[:140], 11)
	refuse("a byte after it", "malformed", good+"00", 11)
	refuse("a second trie after it", "malformed", good+good, 11)
	refuse("a byte after the empty map", "malformed", "0000", 11)
	refuse("kind 4", "malformed", "04"+encode(t, stub)[2:], 10)
	refuse("the empty map below a branch, left", "malformed", "020900"+encode(t, stub), 10)
	refuse("the empty map below a branch, right", "malformed", "0209"+encode(t, stub)+"00", 10)
	refuse("258 branches one below the other", "malformed", encode(t, chain(258, leaf(lo))), 12)
	refuse("a list of 2^63 items", "malformed", encode(t, index.Leaf(lo, index.Head{Count: 1 << 63})), 13)
	shape("257 branches one below the other", chain(257, leaf(lo)), 14)
	shape("a leaf on the wrong side", index.Branch(255, stub, leaf(lo)), 14)
	shape("two leaves with their sides swapped", index.Branch(255, leaf(hi), leaf(lo)), 14)
	shape("a key twice", index.Branch(255, leaf(lo), leaf(lo)), 14)
	shape("a leaf on the wrong side of a branch further up", index.Branch(0, stub, index.Branch(255, leaf(lo), stub)), 14)
	shape("the depth of the branch above again", index.Branch(9, index.Branch(9, stub, stub), stub), 14)
	shape("a smaller depth than above", index.Branch(9, stub, index.Branch(8, stub, stub)), 14)
	shape("leaves that differ before the branch", index.Branch(255, leaf(index.Hash{128}), leaf(hi)), 14)
	shape("leaves of one side that differ before the branch above", index.Branch(1, index.Branch(255, leaf(lo), leaf(index.Hash{0: 128, 31: 1})), stub), 14)
	shape("a list without items", index.Leaf(lo, index.Head{Root: index.Hash{1}}), 5, 14)
	return out
}

func makeLists(t *testing.T) (out []listVector) {
	t.Helper()
	items := listOf(6) // 7 items
	h := index.ListHead(items)
	good := hex.EncodeToString(section(t, items, 0))
	add := func(name, why string, h index.Head, section string, rules ...int) *listVector {
		out = append(out, listVector{Name: name, Rules: rules, Count: h.Count, Root: hexOf(h.Root), Size: 25, Section: section, Refused: why})
		return &out[len(out)-1]
	}
	of := func(from int, items ...index.Item) string { return hex.EncodeToString(section(t, items, from)) }
	for from := range len(items) + 1 {
		v := add(fmt.Sprintf("from position %d of 7", from), "", h, of(from, items...), 18)
		v.Position, v.Items = uint64(from), itemVectors(items[from:])
	}
	v := add("one item", "", index.ListHead(items[:1]), of(0, items[0]), 18)
	v.Items = itemVectors(items[:1])

	swapped := slices.Clone(items)
	swapped[2], swapped[3] = swapped[3], swapped[2]
	twice := slices.Insert(slices.Clone(items), 3, items[3])
	signer := slices.Clone(items)
	signer[6].Signer = statement.KeyID{1}
	add("two items in the wrong order", "mismatch", h, of(0, swapped...), 19)
	add("an item twice", "mismatch", h, of(0, twice...), 19)
	add("an item replaced by its neighbour", "mismatch", h, of(0, append(slices.Clone(items[:6]), items[5])...), 19)
	add("without the first item", "mismatch", h, of(0, items[1:]...), 19)
	add("without the last item", "mismatch", h, of(0, items[:6]...), 19)
	add("an item more", "mismatch", h, of(0, append(slices.Clone(items), index.Item{Index: 24})...), 19)
	add("no items", "mismatch", h, of(0), 19)
	add("another signer", "mismatch", h, of(0, signer...), 19)
	add("the list of another key", "mismatch", h, of(0, listOf(15)...), 19)
	add("another frontier", "mismatch", h, of(4, swapped...), 19)
	add("another number of items in the head", "mismatch", index.Head{Count: 8, Root: h.Root}, good, 19)
	add("the root made with the nodes of a log", "mismatch",
		index.Head{Count: 2, Root: sum(1, index.ItemHash(items[0]), index.ItemHash(items[1]))}, of(0, items[:2]...), 7, 19)
	add("items made as the leaves of a log", "mismatch",
		index.Head{Count: 1, Root: sum(0, items[0].Index, items[0].Signer)}, of(0, items[0]), 7, 19)
	add("two items in the wrong order, and the map has them so", "shape", index.ListHead(swapped), of(0, swapped...), 20)
	add("an index twice, and the map has it so", "shape", index.ListHead(twice), of(0, twice...), 20)
	add("an index that is the size of the map", "shape", index.ListHead([]index.Item{{Index: 25}}), of(0, index.Item{Index: 25}), 20)
	add("an empty list, and the map has it so", "shape", index.Head{}, of(0), 5, 20)

	long := binary.BigEndian.AppendUint32(make([]byte, 8), index.MaxItems+1)
	add("cut off within the position", "malformed", h, good[:14], 18)
	add("cut off within the frontier", "malformed", h, of(6, items...)[:60], 18)
	add("cut off within the number of items", "malformed", h, good[:22], 18)
	add("a byte less", "malformed", h, good[:len(good)-2], 18)
	add("more items announced", "malformed", h, good[:22]+"08"+good[24:], 18)
	add("fewer items announced", "malformed", h, good[:22]+"06"+good[24:], 18)
	add("a byte after it", "malformed", h, good+"00", 18)
	add("nothing", "malformed", h, "", 18)
	add("a hash too many in the frontier", "malformed", h, of(4, items...)[:16]+hexOf(h.Root)+of(4, items...)[16:], 18)
	add("position 2^63", "malformed", h, "8000000000000000"+hexOf(h.Root)+"00000000", 18)
	add("2^20 + 1 items announced", "malformed", h, hex.EncodeToString(long), 18)
	return out
}
