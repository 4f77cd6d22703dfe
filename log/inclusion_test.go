package log

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// tree is a tree of made-up leaves.
type tree struct {
	hashes []tlog.Hash // stored, as tlog counts them
	leaves []tlog.Hash
}

func makeTree(t testing.TB, size int) (*tree, *Checkpoint) {
	t.Helper()
	tr := &tree{}
	for i := range size {
		leaf := tlog.RecordHash(fmt.Append(nil, i))
		tr.leaves = append(tr.leaves, leaf)
		h, err := tlog.StoredHashesForRecordHash(int64(i), leaf, tr)
		if err != nil {
			t.Fatal(err)
		}
		tr.hashes = append(tr.hashes, h...)
	}
	root, err := tlog.TreeHash(int64(size), tr)
	if err != nil {
		t.Fatal(err)
	}
	return tr, &Checkpoint{Origin: "log.example/00000000", Size: uint64(size), Root: root}
}

func (tr *tree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var out []tlog.Hash
	for _, i := range indexes {
		out = append(out, tr.hashes[i])
	}
	return out, nil
}

func (tr *tree) prove(t testing.TB, size, i int) []tlog.Hash {
	t.Helper()
	p, err := tlog.ProveRecord(int64(size), int64(i), tr)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Whatever proof comes after whatever other one, it is judged as tlog judges it.
func TestInclusionsJudgeAsOneByOne(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{1, 2, 3, 4, 5, 7, 8, 9, 31, 33, 100, 257} {
		tr, cp := makeTree(t, size)
		v := &inclusions{cp: cp}
		good, bad := 0, 0
		for step := range 3000 {
			i := step % (size + 1) // neighbours, and one beyond the tree
			if step%3 == 0 {
				i = rnd.IntN(size + 1)
			}
			leaf, proof := tlog.Hash{1}, []tlog.Hash(nil)
			if i < size {
				leaf, proof = tr.leaves[i], tr.prove(t, size, i)
			}
			switch what := rnd.IntN(12); {
			case what == 0:
				leaf = tr.leaves[rnd.IntN(size)]
			case what == 1 && i < size:
				i = rnd.IntN(size)
			case what == 2 && len(proof) > 0:
				proof[rnd.IntN(len(proof))][rnd.IntN(32)] ^= 1
			case what == 3:
				proof = append(proof, tlog.Hash{2})
			case what == 4 && len(proof) > 0:
				proof = slices.Delete(proof, 0, 1)
			case what == 5 && len(proof) > 0:
				proof = proof[:len(proof)-1]
			case what == 6 && len(proof) > 1:
				proof[0], proof[1] = proof[1], proof[0]
			}
			got, want := v.check(uint64(i), leaf, proof), checkInclusion(cp, uint64(i), leaf, proof)
			if (got == nil) != (want == nil) {
				t.Fatalf("size %d, entry %d, %d hashes: %v, one by one: %v", size, i, len(proof), got, want)
			}
			if got == nil {
				good++
			} else {
				bad++
			}
		}
		if good < 500 || bad < 100 {
			t.Errorf("size %d: only %d good and %d bad ones", size, good, bad)
		}
	}
}

// A proof that is wrong below the node where it meets another one is refused, and so is one that is
// wrong above it.
func TestInclusionsCompareWhatTheyDoNotHash(t *testing.T) {
	const size = 64
	tr, cp := makeTree(t, size)
	for at := range 6 {
		v := &inclusions{cp: cp}
		if err := v.check(20, tr.leaves[20], tr.prove(t, size, 20)); err != nil {
			t.Fatal(err)
		}
		proof := tr.prove(t, size, 21)
		proof[at][7] ^= 0x40
		if v.check(21, tr.leaves[21], proof) == nil {
			t.Errorf("hash %d of the proof was not looked at", at)
		}
	}
}

func TestSpreadLeavesNothingOut(t *testing.T) {
	for _, n := range []int{0, 1, 63, 64, 65, 1000} {
		var times [1000]atomic.Int32
		spread(n, func(from, to int) {
			for i := from; i < to; i++ {
				times[i].Add(1)
			}
		})
		for i := range times {
			if want := i < n; times[i].Load() != 1 == want {
				t.Errorf("%d of %d: %d times", i, n, times[i].Load())
			}
		}
	}
}

func BenchmarkInclusions(b *testing.B) {
	const size = 20_000
	tr, cp := makeTree(b, size)
	proofs := make([][]tlog.Hash, 2000)
	for i := range proofs {
		proofs[i] = tr.prove(b, size, i)
	}
	b.Run("neighbours", func(b *testing.B) {
		v := &inclusions{cp: cp}
		for i := 0; b.Loop(); i++ {
			if v.check(uint64(i%2000), tr.leaves[i%2000], proofs[i%2000]) != nil {
				b.Fatal("refused")
			}
		}
	})
	b.Run("one by one", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			if checkInclusion(cp, uint64(i%2000), tr.leaves[i%2000], proofs[i%2000]) != nil {
				b.Fatal("refused")
			}
		}
	})
}
