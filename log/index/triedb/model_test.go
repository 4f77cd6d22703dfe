package triedb

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/statement"
)

const origin = "log.example/firn"

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// tiny are options with which everything that happens at scale happens soon.
func tiny() Options { return Options{Logger: quiet(), flushAt: 40} }

func open(t testing.TB, dir string, o Options) *DB {
	t.Helper()
	db, err := Open(dir, origin, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func signerID(n int) (id statement.KeyID) {
	binary.BigEndian.PutUint64(id[:], uint64(n)*0x9e3779b97f4a7c15)
	return id
}

// testRow is the row of leaf i of a made-up log: some leaves have no keys, a few
// keys have most of the items, many come back once or never.
func testRow(i int) Row {
	rng := rand.New(rand.NewPCG(7, uint64(i)))
	if i%11 == 3 {
		return Row{}
	}
	s := rng.IntN(5)
	row := Row{Signer: signerID(s), Keys: []string{fmt.Sprintf("key:%d", s), fmt.Sprintf("drv:%d", i/2)}}
	for range rng.IntN(4) {
		row.Keys = append(row.Keys, fmt.Sprintf("out:%d", rng.IntN(i+10)))
	}
	if i%17 == 5 {
		row.Keys = append(row.Keys, row.Keys[0]) // twice
	}
	return row
}

func testRows(from, to int) []Row {
	var rows []Row
	for i := from; i < to; i++ {
		row := testRow(i)
		if i%2 == 1 && len(row.Keys) > 0 {
			for _, k := range row.Keys[1:] {
				row.Hashes = append(row.Hashes, index.KeyHash(k))
			}
			row.Keys = row.Keys[:1]
		}
		rows = append(rows, row)
	}
	return rows
}

// model is the map of the first size leaves of testRow.
type model struct {
	index.Memory
	size int
	khs  map[index.Hash]bool
}

func newModel(size int) *model {
	m := &model{khs: make(map[index.Hash]bool)}
	m.grow(size)
	return m
}

func (m *model) grow(size int) {
	for ; m.size < size; m.size++ {
		row := testRow(m.size)
		slices.Sort(row.Keys)
		for _, k := range slices.Compact(row.Keys) {
			kh := index.KeyHash(k)
			m.Put(kh, index.Item{Index: uint64(m.size), Signer: row.Signer})
			m.khs[kh] = true
		}
	}
}

func (m *model) keys() []index.Hash {
	var all []index.Hash
	for kh := range m.khs {
		all = append(all, kh)
	}
	slices.SortFunc(all, func(a, b index.Hash) int { return slices.Compare(a[:], b[:]) })
	return all
}

func encode(t testing.TB, n *index.Node) string {
	t.Helper()
	b, err := n.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// compare compares everything that a view says with the model of its size.
func compare(t testing.TB, v *View, m *model, rng *rand.Rand) {
	t.Helper()
	if v.Size() != uint64(m.size) || v.Root() != m.Root() {
		t.Fatalf("size %d root %v, want size %d root %v", v.Size(), v.Root(), m.size, m.Root())
	}
	keys := m.keys()
	some := []index.Hash{index.KeyHash(fmt.Sprint("absent", rng.Int()))}
	for range rng.IntN(100) {
		if len(keys) > 0 {
			some = append(some, keys[rng.IntN(len(keys))])
		}
		var near index.Hash
		binary.BigEndian.PutUint64(near[:], rng.Uint64())
		some = append(some, near)
	}
	for _, khs := range [][]index.Hash{nil, some[:1], some, keys} {
		n, err := v.Prove(khs)
		if err != nil {
			t.Fatal(err)
		}
		if encode(t, n) != encode(t, m.Prove(khs)) {
			t.Fatalf("size %d: another proof of %d keys than the model's", m.size, len(khs))
		}
	}
	for _, kh := range some {
		compareList(t, v, kh, m.List(kh), rng)
	}
	for range 3 {
		comparePrefix(t, v, m, rng.IntN(12), some[len(some)-1], keys)
	}
}

func compareList(t testing.TB, v *View, kh index.Hash, want []index.Item, rng *rand.Rand) {
	t.Helper()
	h, present, err := v.Head(kh)
	if n, err := v.Count(kh); err != nil || n != h.Count {
		t.Errorf("%d items, %v, and a head of %d", n, err, h.Count)
	}
	if err != nil || present != (len(want) > 0) || h != index.ListHead(want) {
		t.Fatalf("head %v %t %v, want of %d items", h, present, err, len(want))
	}
	from, limit := rng.IntN(len(want)+1), rng.IntN(len(want)+2)
	before, items, more, err := v.List(kh, uint64(from), limit)
	end := min(from+limit, len(want))
	if err != nil || !slices.Equal(items, want[from:end]) || more != (end < len(want)) {
		t.Fatalf("items from %d, at most %d: %d of them, more %t, %v", from, limit, len(items), more, err)
	}
	if before.Count() != uint64(from) || before.Root() != index.ListHead(want[:from]) {
		t.Fatalf("another frontier of the first %d items", from)
	}
	if _, _, _, err := v.List(kh, uint64(len(want))+1, 1); err == nil {
		t.Fatal("a list from behind its end")
	}
}

func comparePrefix(t testing.TB, v *View, m *model, bits int, prefix index.Hash, keys []index.Hash) {
	t.Helper()
	var want []index.KeyHead
	for _, kh := range keys {
		if index.CommonBits(kh, prefix) >= bits {
			want = append(want, index.KeyHead{Key: kh, Head: index.ListHead(m.List(kh))})
		}
	}
	got, err := v.Prefix(bits, prefix, len(want))
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("prefix of %d bits: %d keys, %v, want %d", bits, len(got), err, len(want))
	}
	if len(want) > 0 {
		if _, err := v.Prefix(bits, prefix, len(want)-1); !errors.Is(err, ErrTooMany) {
			t.Fatalf("one key more than asked for: %v", err)
		}
	}
	var part index.Memory
	for _, k := range want {
		for _, it := range m.List(k.Key) {
			part.Put(k.Key, it)
		}
	}
	for _, levels := range []int{0, 1, 4, maxLevels} {
		n, err := v.Subtree(bits, prefix, levels)
		if err != nil || n.Hash() != part.Root() || n.Check() != nil {
			t.Fatalf("%d levels below %d bits: hash %v %v, want %v", levels, bits, n.Hash(), err, part.Root())
		}
		compareStubs(t, n, bits+levels)
	}
}

// compareStubs checks that branches stand above the cut and stubs only below branches.
func compareStubs(t testing.TB, n *index.Node, until int) {
	t.Helper()
	if depth, l, r, ok := n.AsBranch(); ok {
		if int(depth) >= until {
			t.Fatalf("a branch of depth %d, want none from %d on", depth, until)
		}
		compareStubs(t, l, until)
		compareStubs(t, r, until)
	}
}

func view(t testing.TB, db *DB, size int) *View {
	t.Helper()
	v, err := db.View(context.Background(), uint64(size))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestSameAsTheModelWhateverTheOrder(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			dir := t.TempDir()
			db := open(t, dir, tiny())
			for step, committed := 0, 0; step < 30; step++ {
				switch op := rng.IntN(10); {
				case op < 5:
					n := int(db.Size())
					if err := db.Append(testRows(n, n+rng.IntN(120))); err != nil {
						t.Fatal(err)
					}
				case op < 8:
					root, err := db.Commit()
					if committed = int(db.Size()); err != nil || root != newModel(committed).Root() {
						t.Fatalf("root at %d: %v %v", committed, root, err)
					}
				case op < 9:
					n := db.Size()
					if err := db.Close(); err != nil {
						t.Fatal(err)
					}
					db = open(t, dir, tiny())
					if committed = int(db.Size()); db.Size() != n {
						t.Fatalf("size %d after closing at %d", db.Size(), n)
					}
				}
				size := committed
				if rng.IntN(3) == 0 {
					size = rng.IntN(committed + 1)
				}
				compare(t, view(t, db, size), newModel(size), rng)
			}
		})
	}
}

func TestLongListsFromTheMiddle(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	db := open(t, t.TempDir(), Options{Logger: quiet(), flushAt: 300})
	m := newModel(0)
	for _, n := range []int{1000, 3000, 3001, 6000} {
		if err := db.Append(testRows(int(db.Size()), n)); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Commit(); err != nil {
			t.Fatal(err)
		}
		m.grow(n)
		for s := range 5 {
			kh := index.KeyHash(fmt.Sprintf("key:%d", s))
			for range 20 {
				compareList(t, view(t, db, n), kh, m.List(kh), rng)
			}
		}
	}
	compare(t, view(t, db, 2345), newModel(2345), rng) // from marks that reach beyond it
}

func TestEmptyMap(t *testing.T) {
	db := open(t, t.TempDir(), tiny())
	v := view(t, db, 0)
	n, err := v.Prove([]index.Hash{index.KeyHash("a")})
	if err != nil || n != nil || v.Root() != index.EmptyRoot {
		t.Errorf("proof %v %v root %v, want the empty map", n, err, v.Root())
	}
	if err := db.Append(make([]Row, 3)); err != nil {
		t.Fatal(err)
	}
	if root, err := db.Commit(); err != nil || root != index.EmptyRoot {
		t.Errorf("root %v %v after leaves without keys", root, err)
	}
	if _, err := db.View(context.Background(), 4); !errors.Is(err, ErrFuture) {
		t.Errorf("a view of the future: %v", err)
	}
}

func TestKeysWithALongCommonPrefix(t *testing.T) {
	// Made by hand: whoever tries 2^40 keys can do this to a real map.
	set, m := &runSet{}, index.Memory{}
	var p pending
	for i := range uint64(500) {
		kh := index.Hash{31: byte(i), 30: byte(i >> 8)}
		p.records = append(p.records, record{kh, i << 24})
		m.Put(kh, index.Item{Index: i})
	}
	p.signers = []statement.KeyID{{}}
	set.runs = []*run{p.run(originHash(origin), 500)}
	db := &DB{}
	b := newBuilder(db, set, 500, 2)
	root, err := b.scan(context.Background())
	if err != nil || root.hash != m.Root() {
		t.Fatalf("root %v %v, want %v", root.hash, err, m.Root())
	}
	v := &View{db: &DB{set: set}, size: 500, root: root}
	far := index.Hash{0: 0x80}
	n, err := v.Prove([]index.Hash{far})
	if err != nil || encode(t, n) != encode(t, m.Prove([]index.Hash{far})) {
		t.Errorf("another proof that a key of other first bits is absent: %v", err)
	}
}

func TestReadersWhileItGrows(t *testing.T) {
	db := open(t, t.TempDir(), tiny())
	const total = 1800
	done := make(chan struct{})
	errs := make(chan error, 4)
	for w := range cap(errs) {
		go func() {
			rng := rand.New(rand.NewPCG(uint64(w), 9))
			for {
				select {
				case <-done:
					errs <- nil
					return
				default:
				}
				if err := readSome(db, rng); err != nil {
					errs <- err
					return
				}
			}
		}()
	}
	m := newModel(0)
	for n := 0; n < total; n += 60 {
		if err := db.Append(testRows(n, n+60)); err != nil {
			t.Fatal(err)
		}
		m.grow(n + 60)
		if root, err := db.Commit(); err != nil || root != m.Root() {
			t.Fatalf("root at %d: %v", n+60, err)
		}
	}
	close(done)
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

// readSome reads a state near the newest and checks what can be checked without a model.
func readSome(db *DB, rng *rand.Rand) error {
	size := db.Size()
	v, err := db.View(context.Background(), size-min(size, uint64(rng.IntN(200))))
	if errors.Is(err, ErrFuture) {
		return nil
	} else if err != nil {
		return err
	}
	kh := index.KeyHash(fmt.Sprintf("key:%d", rng.IntN(5)))
	n, err := v.Prove([]index.Hash{kh})
	if err != nil {
		return err
	}
	if n.Hash() != v.Root() {
		return fmt.Errorf("size %d: a proof with another root", v.Size())
	}
	h, present, err := n.Find(kh)
	if err != nil || !present {
		return err
	}
	before, items, _, err := v.List(kh, h.Count/2, int(h.Count))
	if err != nil {
		return err
	}
	return index.List{Prefix: before, Items: items}.Check(h, v.Size())
}

// The root and the proofs do not depend on how many keys are in a bucket, however that changes while
// the map grows.
func TestBucketsOfAnySizeGiveTheSameMap(t *testing.T) {
	for seed := range uint64(2) {
		rng := rand.New(rand.NewPCG(seed, 5))
		db := open(t, t.TempDir(), tiny())
		m, base := newModel(0), &View{db: db}
		for step := range 14 {
			size := m.size + rng.IntN(150)
			if step == 7 && seed == 0 {
				size = m.size / 2 // as a state of long ago is made
			}
			if n := int(db.Size()); n < size {
				if err := db.Append(testRows(n, size)); err != nil {
					t.Fatal(err)
				}
				if _, err := db.Commit(); err != nil {
					t.Fatal(err)
				}
			}
			set, err := db.acquire()
			if err != nil {
				t.Fatal(err)
			}
			from, to := min(m.size, size), max(m.size, size)
			changed, _ := changedKeys(set, uint64(from), uint64(to))
			b := newBuilder(db, set, uint64(size), 2)
			b.bucket = []int{2, 3, 8, 9, 40, 5000}[rng.IntN(6)]
			root, err := b.rebase(t.Context(), base.root, changed, rng.IntN(8) == 0)
			db.release(set)
			if err != nil {
				t.Fatal(err)
			}
			if base = (&View{db: db, size: uint64(size), root: root}); size < m.size {
				m = newModel(size)
			}
			m.grow(size)
			compare(t, base, m, rng)
		}
	}
}
