package subtree

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/internal/testreq"
)

// vector is one of transparency-dev/merkle.
type vector struct {
	LeafIdx, TreeSize, Start, End, Size, Size1, Size2 uint64
	Root, LeafHash, Root1, Root2                      []byte
	Proof                                             [][]byte
	WantErr                                           bool
}

// errLength says that a hash of a vector has another length, which no reader of
// hashes takes.
var errLength = errors.New("not the length of a hash")

func hashes(bs ...[]byte) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(bs))
	for i, b := range bs {
		if len(b) != tlog.HashSize {
			return nil, errLength
		}
		out[i] = tlog.Hash(b)
	}
	return out, nil
}

// root returns b as a hash. Some vectors have words such as "don't care 2" as
// roots, of which it only matters whether they are equal: their hashes stand
// for them.
func root(b []byte) tlog.Hash {
	if len(b) != tlog.HashSize {
		return sha256.Sum256(b)
	}
	return tlog.Hash(b)
}

// The four kinds of vectors; the subtree [0, n) is the tree of RFC 6962 with n
// entries.
var kinds = map[string]struct {
	count  int
	verify func(v *vector, proof []tlog.Hash) error
}{
	"inclusion": {98, func(v *vector, proof []tlog.Hash) error { return inclusion(v, proof, 0, v.TreeSize) }},
	"subtreeinclusion": {204, func(v *vector, proof []tlog.Hash) error {
		return inclusion(v, proof, v.Start, v.End)
	}},
	"consistency": {98, func(v *vector, proof []tlog.Hash) error {
		// RFC 6962 has no proof from the empty tree to another.
		if v.Size1 == 0 && (v.Size2 != 0 || root(v.Root1) != root(v.Root2)) {
			return ErrProof
		}
		return consistency(v, proof, 0, v.Size1, v.Size2)
	}},
	"subtreeconsistency": {118, func(v *vector, proof []tlog.Hash) error {
		return consistency(v, proof, v.Start, v.End, v.Size)
	}},
}

func inclusion(v *vector, proof []tlog.Hash, start, end uint64) error {
	h, err := hashes(v.LeafHash, v.Root)
	if err != nil {
		return err
	}
	return VerifyInclusion(proof, v.LeafIdx, start, end, h[0], h[1])
}

func consistency(v *vector, proof []tlog.Hash, start, end, size uint64) error {
	return VerifyConsistency(proof, start, end, size, root(v.Root1), root(v.Root2))
}

// All 518 vectors of transparency-dev/merkle, accepted and refused.
func TestMerkleVectors(t *testing.T) {
	for kind, k := range kinds {
		n := 0
		err := filepath.WalkDir(filepath.Join(testreq.Corpus(t), "merkle", kind), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".json") {
				return err
			}
			n++
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			v := new(vector)
			if err := json.Unmarshal(b, v); err != nil {
				return err
			}
			proof, err := hashes(v.Proof...)
			if err == nil {
				err = k.verify(v, proof)
			}
			if (err != nil) != v.WantErr {
				t.Errorf("%s: %v, want an error: %v", path, err, v.WantErr)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if n != k.count {
			t.Errorf("%d vectors of kind %s, want %d", n, kind, k.count)
		}
	}
}

// Every proof of a tree of up to 40 entries that RFC 6962 has verifies, and
// does not once a hash or a number of it is another.
func TestAgreesWithTlog(t *testing.T) {
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, x := range indexes {
			out[i] = stored[x]
		}
		return out, nil
	})
	var leaves, roots []tlog.Hash
	for n := range int64(40) {
		more, err := tlog.StoredHashes(n, []byte{byte(n)}, reader)
		if err != nil {
			t.Fatal(err)
		}
		stored, leaves = append(stored, more...), append(leaves, more[0])
		root, err := tlog.TreeHash(n+1, reader)
		if err != nil {
			t.Fatal(err)
		}
		roots = append(roots, root)
	}
	for size := int64(1); size <= 40; size++ {
		root := roots[size-1]
		for i := range size {
			p, err := tlog.ProveRecord(size, i, reader)
			if err != nil {
				t.Fatal(err)
			}
			if err := VerifyInclusion(p, uint64(i), 0, uint64(size), leaves[i], root); err != nil {
				t.Errorf("entry %d of %d: %v", i, size, err)
			}
			if VerifyInclusion(p, uint64(i), 0, uint64(size), roots[39], root) == nil {
				t.Errorf("entry %d of %d: another leaf is accepted", i, size)
			}
			if i == 0 {
				continue
			}
			c, err := tlog.ProveTree(size, i, reader)
			if err != nil {
				t.Fatal(err)
			}
			if err := VerifyConsistency(c, 0, uint64(i), uint64(size), roots[i-1], root); err != nil {
				t.Errorf("size %d in %d: %v", i, size, err)
			}
			if VerifyConsistency(c, 0, uint64(i), uint64(size), root, root) == nil {
				t.Errorf("size %d in %d: another subtree is accepted", i, size)
			}
		}
	}
}

func TestValid(t *testing.T) {
	for _, tt := range []struct {
		start, end uint64
		want       bool
	}{
		{0, 1, true},
		{0, 5, true},
		{4, 8, true},
		{4, 7, true},
		{4, 9, false},
		{6, 8, true},
		{6, 9, false},
		{3, 4, true},
		{5, 5, false},
		{5, 4, false},
		{0, 0, false},
		{0, 1 << 63, true},
		{0, 1<<64 - 1, false},
		{1 << 63, 1<<64 - 1, true},
	} {
		if got := Valid(tt.start, tt.end); got != tt.want {
			t.Errorf("Valid(%d, %d) = %v, want %v", tt.start, tt.end, got, tt.want)
		}
	}
}
