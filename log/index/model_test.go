package index_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/statement"
)

// A model is the map as spec/index.md#the-map defines it, from the text and
// with no code of the package: slow and plain.
type model map[index.Hash][]index.Item

func sum(parts ...any) (h index.Hash) {
	var b []byte
	for _, p := range parts {
		switch p := p.(type) {
		case int:
			b = append(b, byte(p))
		case uint64:
			b = binary.BigEndian.AppendUint64(b, p)
		case index.Hash:
			b = append(b, p[:]...)
		case statement.KeyID:
			b = append(b, p[:]...)
		case string:
			b = append(b, p...)
		}
	}
	return sha256.Sum256(b)
}

func bitString(h index.Hash) string {
	var s strings.Builder
	for _, b := range h {
		fmt.Fprintf(&s, "%08b", b)
	}
	return s.String()
}

func listRoot(items []index.Item) index.Hash {
	if len(items) == 1 {
		return sum(0x11, items[0].Index, items[0].Signer)
	}
	k := 1
	for k*2 < len(items) {
		k *= 2
	}
	return sum(0x12, listRoot(items[:k]), listRoot(items[k:]))
}

func (m model) root() index.Hash {
	keys := make(map[string]index.Hash)
	for kh := range m {
		keys[bitString(kh)] = kh
	}
	return m.node(keys, slices.Sorted(maps.Keys(keys)))
}

func (m model) node(keys map[string]index.Hash, sorted []string) index.Hash {
	switch len(sorted) {
	case 0:
		return sum(0x15)
	case 1:
		kh := keys[sorted[0]]
		return sum(0x13, kh, uint64(len(m[kh])), listRoot(m[kh]))
	}
	d := 0
	for first, last := sorted[0], sorted[len(sorted)-1]; first[d] == last[d]; d++ {
	}
	at := slices.IndexFunc(sorted, func(s string) bool { return s[d] == '1' })
	return sum(0x14, d, m.node(keys, sorted[:at]), m.node(keys, sorted[at:]))
}

func (m model) clone() model {
	c := make(model)
	for kh, items := range m {
		c[kh] = slices.Clone(items)
	}
	return c
}

// keys returns the key hashes in ascending order.
func (m model) keys() []index.Hash {
	return slices.SortedFunc(maps.Keys(m), func(a, b index.Hash) int { return bytes.Compare(a[:], b[:]) })
}

// memory returns the map as package index makes it; the keys come in a random order.
func (m model) memory(r *rand.Rand) *index.Memory {
	mem := new(index.Memory)
	keys := m.keys()
	r.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	for _, kh := range keys {
		for _, it := range m[kh] {
			mem.Put(kh, it)
		}
	}
	return mem
}

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

func randomHash(r *rand.Rand) (h index.Hash) {
	for i := range h {
		h[i] = byte(r.Uint32())
	}
	return h
}

// near returns a hash that shares a random number of first bits with h.
func near(r *rand.Rand, h index.Hash) index.Hash {
	bit := r.IntN(256)
	h[bit/8] ^= 1 << (7 - bit%8)
	if r.IntN(2) == 0 {
		other := randomHash(r)
		copy(h[bit/8+1:], other[bit/8+1:])
	}
	return h
}

// randomModel has up to n keys, some of which share long prefixes, and the size
// of its map.
func randomModel(r *rand.Rand, n int) (m model, size uint64) {
	m = make(model)
	for range r.IntN(n + 1) {
		kh := randomHash(r)
		if keys := m.keys(); len(keys) > 0 && r.IntN(2) == 0 {
			kh = near(r, keys[r.IntN(len(keys))])
		}
		m[kh] = randomItems(r, 1+r.IntN(9))
	}
	for _, items := range m {
		size = max(size, items[len(items)-1].Index+1)
	}
	return m, size
}

func randomItems(r *rand.Rand, n int) (items []index.Item) {
	at := uint64(0)
	for range n {
		at += 1 + r.Uint64N(3)
		items = append(items, index.Item{Index: at, Signer: statement.KeyID{byte(r.IntN(4))}})
	}
	return items
}

// asked returns key hashes to ask for: of the map, near to them, and others.
func (m model) asked(r *rand.Rand) []index.Hash {
	khs := []index.Hash{randomHash(r)}
	for _, kh := range m.keys() {
		switch r.IntN(4) {
		case 0:
			khs = append(khs, kh)
		case 1:
			khs = append(khs, near(r, kh))
		}
	}
	return khs
}

func TestMemoryIsTheMapOfTheDocument(t *testing.T) {
	for seed := range uint64(200) {
		r := newRand(seed)
		m, _ := randomModel(r, 40)
		mem := m.memory(r)
		if mem.Root() != m.root() {
			t.Fatalf("seed %d: another root of %d keys", seed, len(m))
		}
		if mem.Keys() != len(m) {
			t.Fatalf("seed %d: %d keys, want %d", seed, mem.Keys(), len(m))
		}
		for _, kh := range m.asked(r) {
			if got := mem.List(kh); !slices.Equal(got, m[kh]) {
				t.Fatalf("seed %d: list %v, want %v", seed, got, m[kh])
			}
		}
	}
}

// What is added later changes no root that was computed, and the root depends on
// what is in the map and not on when it was computed or in which order keys came.
func TestRootDependsOnTheListsOnly(t *testing.T) {
	for seed := range uint64(30) {
		r := newRand(seed)
		m, _ := randomModel(r, 30)
		want := m.root()
		for range 3 {
			mem, so := new(index.Memory), make(model)
			left := m.clone()
			for len(left) > 0 {
				keys := left.keys()
				kh := keys[r.IntN(len(keys))]
				mem.Put(kh, left[kh][0])
				so[kh] = append(so[kh], left[kh][0])
				if left[kh] = left[kh][1:]; len(left[kh]) == 0 {
					delete(left, kh)
				}
				if r.IntN(8) == 0 && mem.Root() != so.root() {
					t.Fatalf("seed %d: another root on the way", seed)
				}
			}
			if mem.Root() != want {
				t.Fatalf("seed %d: the root depends on the order of keys", seed)
			}
		}
	}
}

func TestMapOfLeaves(t *testing.T) {
	mem, m := new(index.Memory), make(model)
	for i, v := range readVectors(t) {
		leaf := unhex(t, v.Leaf)
		mem.Add(uint64(i), leaf)
		s, err := statement.Parse(leaf)
		if err != nil {
			continue
		}
		for _, k := range v.Keys {
			kh := sum(0x10, k)
			m[kh] = append(m[kh], index.Item{Index: uint64(i), Signer: s.Signer})
		}
		if mem.Size() != uint64(i)+1 {
			t.Fatalf("size %d after leaf %d", mem.Size(), i)
		}
	}
	if len(m) == 0 || mem.Root() != m.root() {
		t.Errorf("another root of %d keys", len(m))
	}
}

func TestHonestAnswersHold(t *testing.T) {
	for seed := range uint64(200) {
		r := newRand(seed)
		m, size := randomModel(r, 40)
		mem, root := m.memory(r), m.root()
		khs := m.asked(r)
		trie := mem.Prove(khs)
		b, err := trie.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, kh := range khs {
			a := answer{trie: b}
			if items, from := m[kh], 0; items != nil {
				from = r.IntN(len(items) + 1)
				a.section = section(t, items, from)
				items = items[from:]
				got, at, err := a.check(root, size, kh)
				if err != nil || at != uint64(from) || !slices.Equal(got, items) {
					t.Fatalf("seed %d: %v from %d, %v; want %v", seed, got, at, err, items)
				}
			} else if got, _, err := a.check(root, size, kh); err != nil || got != nil {
				t.Fatalf("seed %d: %v, %v; want no items", seed, got, err)
			}
		}
	}
}

// A proof shows what was asked for and no subtree more.
func TestProofIsTheSmallest(t *testing.T) {
	for seed := range uint64(100) {
		r := newRand(seed)
		m, _ := randomModel(r, 40)
		khs := m.asked(r)
		trie := m.memory(r).Prove(khs)
		leaves := make(map[index.Hash]bool) // that one is led to
		for _, kh := range khs {
			n := trie
			for {
				d, l, rt, ok := n.AsBranch()
				if !ok {
					break
				}
				n = l
				if index.Bit(kh, int(d)) == 1 {
					n = rt
				}
			}
			if leaf, _, ok := n.AsLeaf(); ok {
				leaves[leaf] = true
			}
		}
		shown, fruitless := count(trie)
		if shown != len(leaves) || fruitless > 0 {
			t.Fatalf("seed %d: %d leaves are shown, %d branches of stubs; want %d and 0", seed, shown, fruitless, len(leaves))
		}
	}
}

func count(n *index.Node) (leaves, fruitless int) {
	_, l, r, ok := n.AsBranch()
	if !ok {
		if _, _, ok := n.AsLeaf(); ok {
			leaves++
		}
		return leaves, 0
	}
	if l.IsStub() && r.IsStub() {
		fruitless++
	}
	ll, lf := count(l)
	rl, rf := count(r)
	return ll + rl, fruitless + lf + rf
}

func TestPrefixesHoldAllTheirKeys(t *testing.T) {
	for seed := range uint64(50) {
		r := newRand(seed)
		m, _ := randomModel(r, 30)
		mem := m.memory(r)
		for _, kh := range append(m.asked(r), m.keys()...) {
			bits := r.IntN(257)
			prefix := kh
			for i := bits; i < 256; i++ {
				prefix[i/8] &^= 1 << (7 - i%8)
			}
			var want, below []index.Hash
			for _, k := range m.keys() {
				if bitString(k)[:bits] == bitString(kh)[:bits] {
					want = append(want, k)
				}
			}
			if below = want; len(want) == 0 {
				below = []index.Hash{prefix}
			}
			found, err := mem.Prove(below).FindPrefix(bits, prefix)
			var got []index.Hash
			for _, f := range found {
				got = append(got, f.Key)
				if f.Head != index.ListHead(m[f.Key]) {
					t.Fatalf("seed %d: another head", seed)
				}
			}
			if err != nil || !slices.Equal(got, want) {
				t.Fatalf("seed %d: %d bits: %v\n%s", seed, bits, err, cmp.Diff(want, got))
			}
			if len(want) < 2 {
				continue
			}
			if found, err := mem.Prove(want[1:]).FindPrefix(bits, prefix); err == nil {
				t.Fatalf("seed %d: %d bits: %d keys without the first", seed, bits, len(found))
			}
		}
	}
}

func TestMinPrefixBits(t *testing.T) {
	for size, want := range map[uint64]int{0: 0, 1: 0, 64: 0, 65: 1, 128: 1, 129: 2, 1 << 20: 14, 1<<20 + 1: 15, 1<<63 - 1: 57} {
		if got := index.MinPrefixBits(size); got != want {
			t.Errorf("size %d: %d bits, want %d", size, got, want)
		}
	}
}

func TestFrontierIsAValue(t *testing.T) {
	r := newRand(1)
	items := randomItems(r, 70)
	var f index.Frontier
	for i, it := range items {
		g, before := f, f.Root()
		g.Append(index.Item{Index: 1 << 40})
		if f.Root() != before || f.Count() != uint64(i) {
			t.Fatalf("appending to a copy changed the frontier of %d items", i)
		}
		f.Append(it)
		if got, want := f.Root(), (index.Head{Count: uint64(i) + 1, Root: listRoot(items[:i+1])}); got != want {
			t.Fatalf("head of %d items: %v, want %v", i+1, got, want)
		}
		h, err := index.NewFrontier(f.Count(), f.Hashes())
		if err != nil || h.Root() != f.Root() {
			t.Fatalf("%d items: another frontier from its hashes, %v", i+1, err)
		}
	}
}

func TestPlacesInLists(t *testing.T) {
	r := newRand(2)
	for n := 1; n <= 34; n++ {
		items := randomItems(r, n)
		h := index.ListHead(items)
		for i, it := range items {
			path := index.ItemPath(items, i)
			if err := index.CheckItem(h, uint64(i), it, path); err != nil {
				t.Fatalf("item %d of %d: %v", i, n, err)
			}
			for name, err := range map[string]error{
				"another position": index.CheckItem(h, uint64(i+1)%uint64(n+1), it, path),
				"beyond the end":   index.CheckItem(h, uint64(n), it, path),
				"another item":     index.CheckItem(h, uint64(i), index.Item{Index: it.Index + 9}, path),
				"a hash more":      index.CheckItem(h, uint64(i), it, append(slices.Clone(path), index.Hash{})),
				"another count":    index.CheckItem(index.Head{Count: h.Count * 2, Root: h.Root}, uint64(i), it, path),
				"no path":          index.CheckItem(index.Head{Count: h.Count + 1, Root: h.Root}, uint64(i), it, nil),
			} {
				if err == nil {
					t.Fatalf("item %d of %d: %s is accepted", i, n, name)
				}
			}
			if len(path) > 0 && index.CheckItem(h, uint64(i), it, path[1:]) == nil {
				t.Fatalf("item %d of %d: a hash less is accepted", i, n)
			}
		}
	}
	// A head that says one item over a root of two: the path is too long for it.
	two := randomItems(r, 2)
	h := index.Head{Count: 1, Root: index.ListHead(two).Root}
	if index.CheckItem(h, 0, two[1], []index.Hash{index.ItemHash(two[0])}) == nil {
		t.Error("a path that is too long is accepted")
	}
}
