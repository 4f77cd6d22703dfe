package log

import (
	"crypto/sha256"
	"encoding/json"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/internal/testreq"
)

type merkleVector struct {
	LeafIdx, TreeSize uint64
	LeafHash, Root    []byte

	Size1, Size2 uint64
	Root1, Root2 []byte

	Proof   [][]byte
	WantErr bool
}

// merkleVectors calls f with every vector of one folder of the corpus and
// returns how many there were.
func merkleVectors(t *testing.T, folder string, f func(name string, v merkleVector)) {
	t.Helper()
	n := 0
	root := filepath.Join(testreq.Corpus(t), "merkle", folder)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var v merkleVector
		if err := json.Unmarshal(b, &v); err != nil {
			return err
		}
		n++
		name, _ := filepath.Rel(root, path)
		f(name, v)
		return nil
	})
	if err != nil || n == 0 {
		t.Fatalf("%d vectors: %v", n, err)
	}
	t.Logf("%d vectors", n)
}

// hash32 turns vector bytes into a hash; a vector with another length is one
// that the caller's own parsers refuse.
func hash32(b []byte) (h tlog.Hash, ok bool) {
	copy(h[:], b)
	return h, len(b) == tlog.HashSize
}

// anyRoot is hash32 for vectors about sizes, whose roots are words like "don't
// care": equal words become equal hashes, different words different ones.
func anyRoot(b []byte) tlog.Hash {
	if h, ok := hash32(b); ok {
		return h
	}
	return sha256.Sum256(b)
}

func TestRFC6962_InclusionVectors(t *testing.T) {
	merkleVectors(t, "inclusion", func(name string, v merkleVector) {
		leaf, ok1 := hash32(v.LeafHash)
		root, ok2 := hash32(v.Root)
		hashes, err := toHashes(v.Proof)
		ok := ok1 && ok2 && err == nil && v.TreeSize <= math.MaxInt64 &&
			checkInclusion(&Checkpoint{Size: v.TreeSize, Root: root}, v.LeafIdx, leaf, hashes) == nil
		if ok == v.WantErr {
			t.Errorf("%s: accepted %v, want error %v", name, ok, v.WantErr)
		}
	})
}

func TestRFC6962_ConsistencyVectors(t *testing.T) {
	merkleVectors(t, "consistency", func(name string, v merkleVector) {
		root1, root2 := anyRoot(v.Root1), anyRoot(v.Root2)
		hashes, err := toHashes(v.Proof)
		ok := err == nil && v.Size1 <= math.MaxInt64 && v.Size2 <= math.MaxInt64 &&
			checkConsistency(v.Size1, root1, v.Size2, root2, hashes) == nil
		if ok == v.WantErr {
			t.Errorf("%s: accepted %v, want error %v", name, ok, v.WantErr)
		}
	})
}
