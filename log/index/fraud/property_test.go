package fraud_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/index/fraud"
)

// pieces are true parts of what one honest log has shown at some time.
type pieces struct {
	l         *tree
	notes     [][]byte
	revisions []evidence.Included // in the tree of any note
	sizes     []uint64            // of the revisions
	entries   []evidence.Included
	paths     []evidence.Path // of true maps of any size, to keys that are there and others
	items     []evidence.Item // of true lists of any size
}

// honest makes a log that commits to its true map now and then, late or
// soon, and resets its index once.
func honest(t *testing.T, r *rand.Rand, origin, key string) *pieces {
	l := newTree(t, origin, key)
	var at []uint64 // of revisions
	var size []uint64
	for l.size() < 50 {
		l.grow(1 + r.IntN(6))
		of := 1 + r.Uint64N(l.size())
		if r.IntN(9) == 0 {
			l.add(l.reset(l.size()))
		}
		at, size = append(at, l.add(l.revision(of, l.mapAt(of).Root()))), append(size, of)
	}
	p := &pieces{l: l}
	for range 4 {
		n := l.size() - r.Uint64N(l.size()/2)
		p.notes = append(p.notes, l.note(n))
		for i, x := range at {
			if x < n {
				p.revisions, p.sizes = append(p.revisions, l.included(x, n)), append(p.sizes, size[i])
			}
		}
		for range 12 {
			p.entries = append(p.entries, l.included(r.Uint64N(n), n))
		}
	}
	khs := l.hashesOf(l.size())
	for range 6 {
		of := size[r.IntN(len(size))]
		m := l.mapAt(of)
		for range 4 {
			kh := khs[r.IntN(len(khs))]
			if r.IntN(4) == 0 {
				kh = index.KeyHash(fmt.Sprint("no key ", r.Uint64()))
			}
			p.paths = append(p.paths, walk(m.Prove([]index.Hash{kh}), kh))
			for i, it := range m.List(kh) {
				p.items = append(p.items, evidence.Item{Position: uint64(i), Index: it.Index, Signer: it.Signer, Proof: index.ItemPath(m.List(kh), i)})
			}
		}
	}
	return p
}

// walk is a second implementation of how a trie is written down.
func walk(n *index.Node, kh index.Hash) (p evidence.Path) {
	for {
		depth, l, r, ok := n.AsBranch()
		if !ok {
			break
		}
		if index.Bit(kh, int(depth)) == 1 {
			p.Steps, n = append(p.Steps, evidence.Step{Right: true, Depth: depth, Other: l.Hash()}), r
		} else {
			p.Steps, n = append(p.Steps, evidence.Step{Depth: depth, Other: r.Hash()}), l
		}
	}
	p.End = evidence.End{Kind: evidence.EndEmpty}
	if key, h, ok := n.AsLeaf(); ok {
		p.End = evidence.End{Kind: evidence.EndLeaf, Key: key, Count: h.Count, Root: h.Root}
	}
	return p
}

func pick[T any](r *rand.Rand, all []T) T { return all[r.IntN(len(all))] }

// mix puts pieces together in any way, sometimes with a piece that is spoilt.
func mix(r *rand.Rand, p, q *pieces) *evidence.Index {
	some := func() *pieces {
		if r.IntN(8) == 0 {
			return q
		}
		return p
	}
	if r.IntN(6) == 0 {
		return &evidence.Index{Revisions: [][]byte{pick(r, some().revisions).Leaf, pick(r, some().revisions).Leaf}}
	}
	x := &evidence.Index{Checkpoint: pick(r, some().notes), Revision: pick(r, some().revisions), Path: pick(r, some().paths)}
	if r.IntN(4) > 0 {
		e := pick(r, some().entries)
		x.Entry = &e
	} else if r.IntN(3) == 0 {
		second := pick(r, some().paths)
		x.Second = &second
	}
	for range r.IntN(3) {
		it := pick(r, some().items)
		if r.IntN(4) == 0 {
			it.Position += uint64(r.IntN(3)) - 1
		}
		x.Items = append(x.Items, it)
	}
	switch r.IntN(8) {
	case 0:
		x.Path.Steps = slices.Clone(x.Path.Steps)
		if n := len(x.Path.Steps); n > 0 {
			x.Path.Steps[r.IntN(n)].Right = r.IntN(2) == 0
			x.Path.Steps[r.IntN(n)].Depth = uint8(r.Uint32())
		}
	case 1:
		x.Path.End.Count = uint64(r.IntN(4))
	case 2:
		n := r.IntN(len(x.Path.Steps) + 1)
		x.Path = evidence.Path{Steps: x.Path.Steps[:n], End: evidence.End{Kind: evidence.EndStub}}
		if n < len(p.paths[0].Steps) {
			x.Path.End.Root = p.paths[0].Steps[n].Other
		}
	}
	return x
}

// However what an honest log has shown is put together, its index is not convicted.
func TestHonestIndexIsNeverConvicted(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	close := 0 // how many were refused for nothing but what they prove
	for i := range 4 {
		p, q := honest(t, r, testOrigin, "log "+testOrigin), honest(t, r, "other.example/00000001", fmt.Sprint("other ", i))
		for range 1500 {
			e := &evidence.Evidence{Kind: evidence.KindIndex, Key: p.l.key(), Index: mix(r, p, q)}
			v, err := fraud.VerifySelf(e)
			if err == nil {
				t.Fatalf("%+v\n%s", v, e.Marshal())
			}
			if !errors.Is(err, evidence.ErrNotEvidence) && !errors.Is(err, evidence.ErrMalformed) {
				t.Fatalf("%v\n%s", err, e.Marshal())
			}
		}
		close += honestByConstruction(t, r, p)
	}
	if close < 100 {
		t.Errorf("only %d combinations got as far as the last question", close)
	}
}

// honestByConstruction gives the makers of evidence true maps and entries that
// fit each other, and puts together by hand what is nearly evidence.
func honestByConstruction(t *testing.T, r *rand.Rand, p *pieces) (tried int) {
	l, n := p.l, p.l.size()
	for i, rev := range p.revisions {
		if i%3 > 0 {
			continue
		}
		rev = l.included(rev.Index, n)
		trie, lists := everything(l.mapAt(p.sizes[i]), l.hashesOf(n))
		m := &fraud.Map{Key: l.key(), Checkpoint: l.note(n), Revision: rev, Trie: trie, Lists: lists}
		if e, err := fraud.FromMap(m); err == nil {
			t.Fatalf("%s", e.Marshal())
		}
		for range 4 {
			entry := l.included(r.Uint64N(n), n) // also beyond the size of the revision
			e, err := fraud.FromEntry(m, entry)
			if err == nil || !errors.Is(err, evidence.ErrNotEvidence) {
				t.Fatalf("entry %d, revision of %d: %v\n%v", entry.Index, p.sizes[i], err, e)
			}
			for range 10 {
				path := walk(trie, pick(r, l.hashesOf(n)))
				x := &evidence.Index{Checkpoint: m.Checkpoint, Revision: rev, Entry: &entry, Path: path}
				if items := lists[path.End.Key].Items; len(items) > 0 {
					at := r.IntN(len(items))
					for j := at; j < min(at+1+r.IntN(2), len(items)); j++ {
						x.Items = append(x.Items, evidence.Item{Position: uint64(j), Index: items[j].Index, Signer: items[j].Signer, Proof: index.ItemPath(items, j)})
					}
				}
				if r.IntN(4) == 0 {
					x.Entry = nil
				}
				if e, err := fraud.VerifySelf(&evidence.Evidence{Kind: evidence.KindIndex, Key: l.key(), Index: x}); err == nil {
					t.Fatalf("%+v", e)
				}
				tried++
			}
		}
	}
	return tried
}

// A cheat changes one thing of a true map.
type cheat struct {
	drop    func(kh index.Hash, it index.Item) bool
	replace func(it index.Item) index.Item
	add     map[index.Hash]index.Item
}

// mapOf is the map that a cheating log makes of its leaves.
func (c *cheat) mapOf(l *tree) *index.Memory {
	m := new(index.Memory)
	for i, leaf := range l.leaves {
		for _, kh := range sorted(leaf) {
			it := index.Item{Index: uint64(i), Signer: signerOf(l.t, leaf)}
			if c.drop != nil && c.drop(kh, it) {
				continue
			}
			if c.replace != nil {
				it = c.replace(it)
			}
			m.Put(kh, it)
		}
		for kh, it := range c.add {
			if it.Index == uint64(i) {
				m.Put(kh, it)
			}
		}
	}
	return m
}

// Whatever one thing a log changes in its map, whoever holds the leaf and gets an
// answer convicts it, from whole lists and from their last parts alike.
func TestCheatingIndexIsConvicted(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for i := range 25 {
		l := newTree(t, testOrigin, "log "+testOrigin)
		l.grow(3 + r.IntN(40))
		at := r.Uint64N(l.size())
		for index.Keys(l.leaves[at]) == nil {
			at = r.Uint64N(l.size())
		}
		khs := sorted(l.leaves[at])
		kh := pick(r, khs)
		strange := index.KeyHash(fmt.Sprint("strange ", i))
		for name, c := range map[string]*cheat{
			"hidden under one key": {drop: func(k index.Hash, it index.Item) bool { return k == kh && it.Index == at }},
			"hidden":               {drop: func(_ index.Hash, it index.Item) bool { return it.Index == at }},
			"key hidden":           {drop: func(k index.Hash, _ index.Item) bool { return k == kh }},
			"other signer": {replace: func(it index.Item) index.Item {
				if it.Index == at {
					it.Signer[0] ^= 1
				}
				return it
			}},
			"under a strange key": {add: map[index.Hash]index.Item{strange: {Index: at}}},
		} {
			log := newTree(t, testOrigin, "log "+testOrigin)
			for _, leaf := range l.leaves {
				log.add(leaf)
			}
			m := c.mapOf(log)
			trie, lists := everything(m, append(log.hashesOf(log.size()), strange))
			for k, whole := range lists { // some are known from the middle on
				cut := r.IntN(len(whole.Items))
				if cut > 0 && whole.Items[cut].Index <= at {
					var f index.Frontier
					for _, it := range whole.Items[:cut] {
						f.Append(it)
					}
					lists[k] = index.List{Prefix: f, Items: whole.Items[cut:]}
				}
			}
			held := log.commit(m.Root(), trie, lists)
			e, err := fraud.FromEntry(held, log.included(at, log.size()))
			if err != nil {
				t.Fatalf("%s, entry %d of %d: %v", name, at, len(l.leaves), err)
			}
			e = convicts(t, e, err)
			if v, err := fraud.VerifyKey(e, l.key()); err != nil || v.Size != l.size() {
				t.Errorf("%s: %+v, %v", name, v, err)
			}
			if n := len(e.Marshal()); n > 6000 {
				t.Errorf("%s: %d bytes", name, n)
			}
		}
	}
}

// Maps that are wrong in themselves are convicted without any entry.
func TestBrokenMapsAreConvicted(t *testing.T) {
	for name, b := range brokenMaps(t) {
		l := newTree(t, testOrigin, "log "+testOrigin)
		l.grow(20)
		held := l.commit(b.trie.Hash(), b.trie, b.lists)
		e, err := fraud.FromMap(held)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		e = convicts(t, e, err)
		if e.Index.Entry != nil {
			t.Errorf("%s: with an entry", name)
		}
		if enc, err := b.trie.AppendBinary(nil); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if n, rest, err := index.ParsePruned(enc); n.Hash() != b.trie.Hash() || len(rest) > 0 {
			t.Errorf("%s: as bytes it becomes another: %v", name, err)
		}
	}
}
