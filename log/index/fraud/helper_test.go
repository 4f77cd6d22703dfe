package fraud_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/index/fraud"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/statement"
)

const testOrigin = logtest.DefaultOrigin

// A tree is a log in memory.
type tree struct {
	t      testing.TB
	origin string
	priv   ed25519.PrivateKey
	leaves [][]byte
	hashes []tlog.Hash
}

func newTree(t testing.TB, origin, key string) *tree {
	seed := sha256.Sum256([]byte("firn test key of " + key))
	return &tree{t: t, origin: origin, priv: ed25519.NewKeyFromSeed(seed[:])}
}

func (l *tree) key() policy.Key {
	k, err := policy.NewKey(l.origin, policy.TypeEd25519, l.priv.Public().(ed25519.PublicKey))
	if err != nil {
		l.t.Fatal(err)
	}
	return k
}

func (l *tree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		out[i] = l.hashes[x]
	}
	return out, nil
}

func (l *tree) size() uint64 { return uint64(len(l.leaves)) }

func (l *tree) add(leaf []byte) uint64 {
	stored, err := tlog.StoredHashes(int64(len(l.leaves)), leaf, l)
	if err != nil {
		l.t.Fatal(err)
	}
	l.hashes, l.leaves = append(l.hashes, stored...), append(l.leaves, leaf)
	return l.size() - 1
}

// note is the log's checkpoint of a size.
func (l *tree) note(size uint64) []byte {
	root, err := tlog.TreeHash(int64(size), l)
	if err != nil {
		l.t.Fatal(err)
	}
	n := policy.Note{Text: policy.Head{Origin: l.origin, Size: size, Root: root}.Text()}
	k := l.key()
	n.Signatures = []policy.Signature{{Name: k.Name, ID: k.ID, Sig: ed25519.Sign(l.priv, []byte(n.Text))}}
	return n.Marshal()
}

func (l *tree) included(i, size uint64) evidence.Included {
	p, err := tlog.ProveRecord(int64(size), int64(i), l)
	if err != nil {
		l.t.Fatal(err)
	}
	return evidence.Included{Index: i, Leaf: l.leaves[i], Proof: p}
}

func (l *tree) sign(body statement.Body) []byte {
	s, err := statement.NewEd25519Signer(l.priv)
	if err != nil {
		l.t.Fatal(err)
	}
	return logtest.Leaf(l.t, s, body)
}

func (l *tree) revision(size uint64, root index.Hash) []byte {
	return l.sign(&statement.Revision{Origin: l.origin, Size: size, Root: root, MapVersion: index.MapVersion})
}

func (l *tree) reset(size uint64) []byte {
	return l.sign(&statement.IndexReset{Origin: l.origin, MapVersion: index.MapVersion, Size: size})
}

// mapAt is the true map of the leaves below a size.
func (l *tree) mapAt(size uint64) *index.Memory {
	m := new(index.Memory)
	for i := range size {
		m.Add(i, l.leaves[i])
	}
	return m
}

// grow adds n closure statements by three signers about four things, so that
// lists are long, and now and then a leaf that is no statement.
func (l *tree) grow(n int) {
	for range n {
		i := len(l.leaves)
		if i%7 == 3 {
			l.add(fmt.Appendf(nil, "not a statement %d", i))
			continue
		}
		l.add(closure(l.t, i%3, fmt.Sprint("thing-", i%4)))
	}
}

func closure(t testing.TB, signer int, name string) []byte {
	return logtest.Leaf(t, logtest.Signer(t, fmt.Sprint(signer)), logtest.Closure(name))
}

// everything is all of a map.
func everything(m *index.Memory, khs []index.Hash) (*index.Node, map[index.Hash]index.List) {
	lists := make(map[index.Hash]index.List)
	for _, kh := range khs {
		if items := m.List(kh); items != nil {
			lists[kh] = index.List{Items: items}
		}
	}
	return m.Prove(khs), lists
}

// hashesOf are the hashes of all keys of the leaves below a size.
func (l *tree) hashesOf(size uint64) []index.Hash {
	var all []index.Hash
	seen := make(map[index.Hash]bool)
	for _, leaf := range l.leaves[:size] {
		for _, k := range index.Keys(leaf) {
			if kh := index.KeyHash(k); !seen[kh] {
				seen[kh] = true
				all = append(all, kh)
			}
		}
	}
	return all
}

// commit adds a revision of a map at the present size and returns what is in
// hand of it after a few more leaves.
func (l *tree) commit(root index.Hash, trie *index.Node, lists map[index.Hash]index.List) *fraud.Map {
	r := l.add(l.revision(l.size(), root))
	l.grow(2)
	return &fraud.Map{Key: l.key(), Checkpoint: l.note(l.size()), Revision: l.included(r, l.size()), Trie: trie, Lists: lists}
}

// convicts requires evidence that survives being written down and convicts.
func convicts(t testing.TB, e *evidence.Evidence, err error) *evidence.Evidence {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	b := e.Marshal()
	back, err := evidence.Parse(b)
	if err != nil || !bytes.Equal(back.Marshal(), b) {
		t.Fatalf("%v\n%s", err, b)
	}
	v, err := fraud.VerifySelf(back)
	if err != nil || v.Kind != evidence.KindIndex || v.Origin != e.Key.Name || v.Why == "" || v.Size == 0 || v.MapVersion == 0 {
		t.Fatalf("%+v, %v\n%s", v, err, b)
	}
	return back
}
