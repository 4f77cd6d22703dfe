package fraud_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/testreq"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/index/fraud"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/statement"
)

// A maker makes vectors about logs of 20 entries.
type maker struct {
	t   testing.TB
	out map[string][]byte
}

func makeVectors(t testing.TB) map[string][]byte {
	m := &maker{t: t, out: make(map[string][]byte)}
	m.revisions()
	m.entries()
	for name, b := range brokenMaps(t) {
		if name == "257 branches" || name == "257 branches, the last too much" {
			continue // as the tests make them; long
		}
		e, err := fraud.FromMap(m.log().commit(b.trie.Hash(), b.trie, b.lists))
		m.put("accept-"+strings.NewReplacer(" ", "-", ",", "").Replace(name), convicts(t, e, err))
	}
	m.innocent()
	m.innocentLists()
	m.reserved()
	m.malformed()
	return m.out
}

func (m *maker) put(name string, e *evidence.Evidence) { m.text(name, e.Marshal()) }

func (m *maker) text(name string, b []byte) {
	m.t.Helper()
	if _, ok := m.out[name]; ok {
		m.t.Fatalf("two vectors are called %s", name)
	}
	m.out[name] = b
}

func (m *maker) log() *tree {
	l := newTree(m.t, testOrigin, "log "+testOrigin)
	l.grow(20)
	return l
}

func (m *maker) two(key policy.Key, a, b []byte) *evidence.Evidence {
	return &evidence.Evidence{Kind: evidence.KindIndex, Key: key, Index: &evidence.Index{Revisions: [][]byte{a, b}}}
}

func (m *maker) revisions() {
	l := m.log()
	k, one, other := l.key(), index.Hash{1}, index.Hash{2}
	e, err := fraud.FromRevisions(k, l.revision(20, other), l.revision(20, one))
	m.put("accept-two-revisions", convicts(m.t, e, err))
	of := func(l *tree, r statement.Revision) []byte {
		r.Origin = testOrigin
		return l.sign(&r)
	}
	e, err = fraud.FromRevisions(k, of(l, statement.Revision{Size: 20, Root: one, MapVersion: 7}), of(l, statement.Revision{Size: 20, Root: other, MapVersion: 7}))
	m.put("accept-two-revisions-unknown-map-version", convicts(m.t, e, err))

	good := l.revision(20, one)
	put := func(name string, b []byte) { m.put("reject-innocent-"+name, m.two(k, good, b)) }
	put("two-map-versions", of(l, statement.Revision{Size: 20, Root: other, MapVersion: 2}))
	put("two-sizes", l.revision(21, other))
	put("one-root", good)
	stranger := newTree(m.t, testOrigin, "stranger")
	put("revisions-by-another-key", stranger.revision(20, other))
	put("revisions-of-another-origin", l.sign(&statement.Revision{Origin: "other.example/00000001", Size: 20, Root: other, MapVersion: 1}))
	spoilt := l.revision(20, other)
	spoilt[len(spoilt)-1] ^= 1
	put("revisions-unsigned", spoilt)
	put("revision-and-reset", l.reset(20))
	put("revision-and-claim", l.leaves[0])
	put("revision-and-nothing", nil)
	m.put("reject-malformed-roots-not-sorted", m.two(k, l.revision(20, other), good))
	e, err = fraud.FromRevisions(stranger.key(), stranger.revision(20, one), stranger.revision(20, other))
	m.put("reject-unknown-key-other-log-key", convicts(m.t, e, err))
}

// cheated is the evidence of an entry against a map with one change.
func (m *maker) cheated(at uint64, c *cheat, more ...index.Hash) *evidence.Evidence {
	m.t.Helper()
	l := m.log()
	trieMap := c.mapOf(l)
	trie, lists := everything(trieMap, append(l.hashesOf(20), more...))
	e, err := fraud.FromEntry(l.commit(trieMap.Root(), trie, lists), l.included(at, l.size()))
	return convicts(m.t, e, err)
}

func thing(n int) index.Hash { return index.KeyHash(logtest.ClosureKey(fmt.Sprint("thing-", n))) }

func hide(at uint64) *cheat {
	return &cheat{drop: func(_ index.Hash, it index.Item) bool { return it.Index == at }}
}

// Of thing-0 there are the entries 0, 4, 8, 12 and 16.
func (m *maker) entries() {
	m.put("accept-missing-first", m.cheated(0, hide(0)))
	m.put("accept-missing-between", m.cheated(8, hide(8)))
	m.put("accept-missing-last", m.cheated(16, hide(16)))
	m.put("accept-absent", m.cheated(8, &cheat{drop: func(kh index.Hash, _ index.Item) bool { return kh == thing(0) }}))
	m.put("accept-absent-empty-map", m.cheated(8, &cheat{drop: func(index.Hash, index.Item) bool { return true }}))
	m.put("accept-other-signer", m.cheated(8, &cheat{replace: func(it index.Item) index.Item {
		if it.Index == 8 {
			it.Signer[0] ^= 1
		}
		return it
	}}))
	strange := index.KeyHash("strange")
	m.put("accept-extra", m.cheated(8, &cheat{add: map[index.Hash]index.Item{strange: {Index: 8}}}, strange))
	m.put("accept-extra-no-statement", m.cheated(10, &cheat{add: map[index.Hash]index.Item{strange: {Index: 10}}}, strange))
}

// honestMap is the true map of 20 entries with all that there is to show of it.
func (m *maker) honestMap() (*tree, *fraud.Map) {
	l := m.log()
	trie, lists := everything(l.mapAt(20), l.hashesOf(20))
	return l, l.commit(l.mapAt(20).Root(), trie, lists)
}

// about puts evidence together that is as it may be.
func about(h *fraud.Map, change func(x *evidence.Index)) *evidence.Evidence {
	x := &evidence.Index{Checkpoint: h.Checkpoint, Revision: h.Revision}
	change(x)
	return &evidence.Evidence{Kind: evidence.KindIndex, Key: h.Key, Index: x}
}

// edited is evidence with a change to a copy of it.
func edited(e *evidence.Evidence, change func(x *evidence.Index)) *evidence.Evidence {
	c := *e
	x := *e.Index
	x.Items, x.Path.Steps, x.Checkpoint = slices.Clone(x.Items), slices.Clone(x.Path.Steps), bytes.Clone(x.Checkpoint)
	if x.Entry != nil {
		entry := *x.Entry
		x.Entry = &entry
	}
	c.Index = &x
	change(&x)
	return &c
}

func (m *maker) innocent() {
	absent := m.cheated(8, &cheat{drop: func(kh index.Hash, _ index.Item) bool { return kh == thing(0) }})
	between := m.cheated(8, hide(8))
	put := func(name string, e *evidence.Evidence) { m.put("reject-innocent-"+name, e) }
	wrong := func(p []index.Hash) []index.Hash {
		p = slices.Clone(p)
		p[0][0] ^= 1
		return p
	}
	put("revision-not-included", edited(absent, func(x *evidence.Index) { x.Revision.Proof = wrong(x.Revision.Proof) }))
	put("entry-not-included", edited(absent, func(x *evidence.Index) { x.Entry.Proof = wrong(x.Entry.Proof) }))
	put("entry-of-another-index", edited(absent, func(x *evidence.Index) { x.Entry.Index++ }))
	put("entry-proof-cut-off", edited(absent, func(x *evidence.Index) { x.Entry.Proof = x.Entry.Proof[1:] }))
	put("item-not-included", edited(between, func(x *evidence.Index) { x.Items[0].Proof = wrong(x.Items[0].Proof) }))
	put("path-of-another-map", edited(absent, func(x *evidence.Index) { x.Path.Steps[0].Other[0] ^= 1 }))
	put("path-turned", edited(absent, func(x *evidence.Index) { x.Path.Steps[0].Right = !x.Path.Steps[0].Right }))
	put("checkpoint-unsigned", edited(absent, func(x *evidence.Index) {
		x.Checkpoint = bytes.Replace(x.Checkpoint, []byte("\n23\n"), []byte("\n24\n"), 1)
	}))
	put("checkpoint-of-another-origin", edited(absent, func(x *evidence.Index) {
		x.Checkpoint = bytes.Replace(x.Checkpoint, []byte(testOrigin+"\n"), []byte("other.example/00000001\n"), 1)
	}))

	l, h := m.honestMap()
	entry := func(i uint64) *evidence.Included {
		in := l.included(i, l.size())
		return &in
	}
	toThing := func(n int) evidence.Path { return walk(h.Trie, thing(n)) }
	put("present", about(h, func(x *evidence.Index) { x.Entry, x.Path = entry(8), toThing(0) }))
	put("absent-other-key", about(h, func(x *evidence.Index) { x.Entry, x.Path = entry(8), toThing(1) }))
	put("shape", about(h, func(x *evidence.Index) { x.Path = toThing(0) }))
	put("pair", about(h, func(x *evidence.Index) {
		x.Path = walk(h.Trie, keyWith(0))
		second := walk(h.Trie, keyWith(0xff))
		x.Second = &second
	}))
	put("pair-of-one", about(h, func(x *evidence.Index) {
		x.Path = toThing(0)
		x.Second = &x.Path
	}))
	stub := evidence.Path{End: evidence.End{Kind: evidence.EndStub, Root: h.Trie.Hash()}}
	put("stub", about(h, func(x *evidence.Index) { x.Entry, x.Path = entry(8), stub }))
	put("stub-alone", about(h, func(x *evidence.Index) { x.Path = stub }))
	put("entry-is-no-statement", about(h, func(x *evidence.Index) { x.Entry, x.Path = entry(10), toThing(0) }))
	m.beyond()

	// A second revision, of 22 entries, the first revision among them.
	l.grow(1)
	trie, _ := everything(l.mapAt(22), l.hashesOf(22))
	second := l.commit(trie.Hash(), trie, nil)
	put("entry-is-a-revision", about(second, func(x *evidence.Index) {
		x.Entry, x.Path = entry(20), walk(trie, index.KeyHash(index.Key(signerOf(m.t, l.leaves[20]))))
	}))
	m.wrongRevisions()
}

// beyond has an entry under a new key, which came after the revision.
func (m *maker) beyond() {
	l := m.log()
	trie, _ := everything(l.mapAt(20), l.hashesOf(20))
	r, at := l.add(l.revision(20, trie.Hash())), l.add(closure(m.t, 0, "thing-9"))
	in := l.included(at, l.size())
	h := &fraud.Map{Key: l.key(), Checkpoint: l.note(l.size()), Revision: l.included(r, l.size())}
	m.put("reject-innocent-entry-beyond", about(h, func(x *evidence.Index) { x.Entry, x.Path = &in, walk(trie, thing(9)) }))
}

// wrongRevisions are in the log and count for nothing: the map is of no leaf.
func (m *maker) wrongRevisions() {
	other := statement.Revision{Origin: "other.example/00000001", Size: 20, Root: index.EmptyRoot, MapVersion: 1}
	early := statement.Revision{Origin: testOrigin, Size: 21, Root: index.EmptyRoot, MapVersion: 1}
	version := statement.Revision{Origin: testOrigin, Size: 20, Root: index.EmptyRoot, MapVersion: 2}
	for name, leaf := range map[string][]byte{
		"reject-innocent-map-of-another-origin": m.log().sign(&other),
		"reject-innocent-map-by-another-key":    newTree(m.t, testOrigin, "stranger").revision(20, index.EmptyRoot),
		"reject-innocent-revision-early":        m.log().sign(&early),
		"reject-innocent-map-of-a-reset":        m.log().reset(20),
		"reject-reserved-map-version":           m.log().sign(&version),
	} {
		l := m.log()
		r := l.add(leaf)
		l.grow(2)
		m.put(name, about(&fraud.Map{Key: l.key(), Checkpoint: l.note(l.size()), Revision: l.included(r, l.size())}, func(x *evidence.Index) {
			e := l.included(8, l.size())
			x.Entry, x.Path = &e, evidence.Path{End: evidence.End{Kind: evidence.EndEmpty}}
		}))
	}
}

func (m *maker) innocentLists() {
	l, h := m.honestMap()
	items := h.Lists[thing(0)].Items
	put := func(name string, entry int, positions ...int) {
		m.put("reject-innocent-"+name, about(h, func(x *evidence.Index) {
			if entry >= 0 {
				in := l.included(uint64(entry), l.size())
				x.Entry = &in
			}
			x.Path = walk(h.Trie, thing(0))
			for _, p := range positions {
				x.Items = append(x.Items, evidence.Item{Position: uint64(p), Index: items[p].Index, Signer: items[p].Signer, Proof: index.ItemPath(items, p)})
			}
		}))
	}
	put("gap-elsewhere", 8, 3, 4)       // 8 is not between 12 and 16
	put("not-adjacent", 8, 1, 3)        // nothing is said about what is between
	put("not-the-last", 8, 1)           // 4 is not the last
	put("not-the-first", 8, 3)          // 12 is not the first
	put("item-agrees", 8, 2)            // it is there
	put("no-key-of-the-entry", 9, 2, 3) // 9 is about thing-1
	put("in-order", -1, 1, 2)           // as it should be
	put("in-bounds", -1, 4)             // 16 is below 20
	put("in-order-not-adjacent", -1, 2, 1)
}

func statementVector(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(testreq.Root(), "spec", "vectors", "statement", "reject", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var v struct{ Leaf string }
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	leaf, err := hex.DecodeString(v.Leaf)
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

// reserved lists entries that only a later firn can read: this one cannot say that they do not
// belong there.
func (m *maker) reserved() {
	strange := index.KeyHash("strange")
	for name, leaf := range map[string][]byte{
		"reject-reserved-kind":    statementVector(m.t, "envelope-not-yet-triage"),
		"reject-reserved-unknown": statementVector(m.t, "envelope-unknown-kind"),
		"reject-reserved-version": statementVector(m.t, "envelope-version-2"),
	} {
		l := m.log()
		at := l.add(leaf)
		c := &cheat{add: map[index.Hash]index.Item{strange: {Index: at}}}
		trie, _ := everything(c.mapOf(l), []index.Hash{strange})
		h := l.commit(trie.Hash(), trie, nil)
		m.put(name, about(h, func(x *evidence.Index) {
			in := l.included(at, l.size())
			x.Entry, x.Path, x.Items = &in, walk(trie, strange), []evidence.Item{{Index: at}}
		}))
	}
}

func (m *maker) malformed() {
	between := string(m.out["accept-missing-between"])
	two := string(m.out["accept-two-revisions"])
	put := func(name, text string) { m.text("reject-malformed-"+name, []byte(text)) }
	replace := func(name, in, old, text string) {
		m.t.Helper()
		if !strings.Contains(in, old) {
			m.t.Fatalf("%s: no %q to replace", name, old)
		}
		put(name, strings.Replace(in, old, text, 1))
	}
	lines := strings.SplitAfter(two, "\n")
	put("one-revision", strings.Join(lines[:4], ""))
	put("three-revisions", two+lines[4])
	put("nothing", strings.Join(lines[:3], ""))
	put("empty-line-after", two+"\n")
	put("cut-off", two[:len(two)-1])
	put("returns", strings.ReplaceAll(two, "\n", "\r\n"))
	put("revision-of-1025-bytes", strings.Join(lines[:4], "")+"revision "+base64.StdEncoding.EncodeToString(make([]byte, 1025))+"\n")
	replace("base64-in-two-lines", two, "revision 0oR", "revision 0o\nR")
	replace("space-at-the-end", two, "\nrevision", " \nrevision")

	note := between[strings.Index(between, "\n\n")+1:]
	put("revisions-and-checkpoint", two+note)
	put("two-checkpoints", between+note)
	put("no-checkpoint", strings.TrimSuffix(between, note))
	replace("index-leading-zero", between, "\nentry 8 ", "\nentry 08 ")
	replace("index-2-63", between, "\nentry 8 ", "\nentry 9223372036854775808 ")
	replace("index-sign", between, "\nentry 8 ", "\nentry +8 ")
	replace("no-revision", between, "\nrevision 20 ", "\nentry 20 ")
	replace("no-end", between, "\nleaf ", "\nend ")
	replace("third-item", between, "\nitem 1 ", "\nitem 0 0 "+base64.StdEncoding.EncodeToString(make([]byte, 32))+"\nitem 1 ")
	replace("entry-of-65536-bytes", between, "\nentry 8 ", "\nentry 8 "+base64.StdEncoding.EncodeToString(make([]byte, 65538)))
	replace("depth-256", between, "\nleaf ", "\nleft 256 "+base64.StdEncoding.EncodeToString(make([]byte, 32))+"\nleaf ")
	step := "left 0 " + base64.StdEncoding.EncodeToString(make([]byte, 32)) + "\n"
	replace("258-branches", between, "\nleaf ", "\n"+strings.Repeat(step, 258)+"leaf ")
	hash := "inclusion " + base64.StdEncoding.EncodeToString(make([]byte, 32)) + "\n"
	replace("64-hashes", between, "\nentry ", "\n"+strings.Repeat(hash, 64)+"entry ")
	replace("lines-in-another-order", between, "\nkey ", "\nitem 0 0 x\nkey ")
	sig := note[strings.LastIndex(note, "\n— ")+1:]
	put("two-signatures", between+sig)
	put("no-signature", strings.TrimSuffix(between, sig))
	wk, err := policy.NewKey(testOrigin, policy.TypeCosignature, m.log().priv.Public().(ed25519.PublicKey))
	if err != nil {
		m.t.Fatal(err)
	}
	replace("key-of-a-witness", two, m.log().key().String(), wk.String())
	m.moreThanNeeded()
}

// moreThanNeeded convicts, and says the same as less does.
func (m *maker) moreThanNeeded() {
	l := m.log()
	b := brokenMaps(m.t)["misplaced"]
	h := l.commit(b.trie.Hash(), b.trie, nil)
	e, err := fraud.FromMap(h)
	convicts(m.t, e, err)
	entry := l.included(8, l.size())
	m.put("reject-malformed-misplaced-and-entry", edited(e, func(x *evidence.Index) { x.Entry = &entry }))
	m.put("reject-malformed-misplaced-and-item", edited(e, func(x *evidence.Index) { x.Items = []evidence.Item{{}} }))
	pair, err := evidence.Parse(m.out["accept-part-too-late"])
	if err != nil {
		m.t.Fatal(err)
	}
	m.put("reject-malformed-pair-and-entry", edited(pair, func(x *evidence.Index) { x.Entry = &entry }))
	m.put("reject-malformed-pair-right-first", edited(pair, func(x *evidence.Index) {
		first := x.Path
		x.Path, x.Second = *x.Second, &first
	}))
	m.put("reject-innocent-second-way-of-another-map", edited(pair, func(x *evidence.Index) {
		second := *x.Second
		second.End.Root[0] ^= 1
		x.Second = &second
	}))
	m.depths()
}

// depths go wrong twice, or on after they went wrong.
func (m *maker) depths() {
	twice := index.Branch(7, index.Branch(3, index.Branch(5, index.Stub(index.Hash{1}), index.Stub(index.Hash{2})), index.Stub(index.Hash{3})), index.Stub(index.Hash{4}))
	e, err := fraud.FromMap(m.log().commit(twice.Hash(), twice, nil))
	convicts(m.t, e, err)
	m.put("reject-malformed-depth-and-a-branch", edited(e, func(x *evidence.Index) {
		x.Path.Steps = append(x.Path.Steps, evidence.Step{Depth: 5, Other: index.Hash{2}})
		x.Path.End.Root = index.Hash{1}
	}))
	b := brokenMaps(m.t)["depth less"]
	l := m.log()
	depth, err := fraud.FromMap(l.commit(b.trie.Hash(), b.trie, nil))
	convicts(m.t, depth, err)
	entry := l.included(8, l.size())
	good := index.ListHead([]index.Item{{Index: 3}, {Index: 5}, {Index: 9}, {Index: 11}, {Index: 12}})
	goesOn := evidence.End{Kind: evidence.EndLeaf, Key: keyWith(0), Count: good.Count, Root: good.Root}
	m.put("reject-malformed-depth-goes-on", edited(depth, func(x *evidence.Index) { x.Path.End = goesOn }))
	m.put("reject-malformed-depth-and-entry", edited(depth, func(x *evidence.Index) { x.Entry, x.Path.End = &entry, goesOn }))
}
