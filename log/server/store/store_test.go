package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log/policy"
)

const origin = "log.example/0123abcd"

// signer remembers what it was asked to sign.
type signer struct {
	note.Signer
	mu     sync.Mutex
	heads  []policy.Head
	signed chan policy.Head
}

func newSigner(t *testing.T) *signer {
	t.Helper()
	skey, _, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		t.Fatal(err)
	}
	s, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	return &signer{Signer: s, signed: make(chan policy.Head, 1000)}
}

func (s *signer) Sign(msg []byte) ([]byte, error) {
	head, err := policy.ParseCheckpoint(string(msg))
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.heads = append(s.heads, head)
	s.mu.Unlock()
	s.signed <- head
	return s.Signer.Sign(msg)
}

// suite is the contract of Store, which every driver keeps. open opens the
// same tree again each time it is called.
func suite(t *testing.T, open func(t *testing.T, s note.Signer) Store) {
	ctx := context.Background()
	sig := newSigner(t)
	s := open(t, sig)
	leaf := func(i int) []byte { return fmt.Appendf(nil, "leaf %d %s", i, strings.Repeat("x", i%50)) }
	size := 0
	appendN := func(n int) {
		t.Helper()
		var leaves [][]byte
		for i := range n {
			leaves = append(leaves, leaf(size+i))
		}
		first, err := s.Append(ctx, leaves)
		if err != nil || first != uint64(size) {
			t.Fatalf("appending %d at %d: index %d, %v", n, size, first, err)
		}
		size += n
		if got, err := s.Size(ctx); err != nil || got != uint64(size) {
			t.Fatalf("size %d, %v; want %d", got, err, size)
		}
	}
	for _, n := range []int{1, 2, 252, 1, 300, MaxBatch, 3} {
		appendN(n)
		checkTree(t, s, uint64(size), leaf)
	}
	if _, err := s.Append(ctx, nil); err == nil {
		t.Error("an empty batch was taken")
	}
	if _, err := s.Append(ctx, [][]byte{make([]byte, MaxEntry+1)}); err == nil {
		t.Error("an entry that no frame can hold was taken")
	}
	if _, err := s.Append(ctx, [][]byte{{}}); err == nil {
		t.Error("an empty entry was taken")
	}
	if _, err := s.Tile(ctx, 0, 1000, 1); !errors.Is(err, ErrNotFound) {
		t.Errorf("a tile beyond the tree: %v, want ErrNotFound", err)
	}
	if _, err := s.Bundle(ctx, 1000, 1); !errors.Is(err, ErrNotFound) {
		t.Errorf("a bundle beyond the tree: %v, want ErrNotFound", err)
	}
	for head := range sig.signed {
		if head.Size == uint64(size) {
			break
		}
	}
	if err := s.Close(ctx); err != nil {
		t.Fatal(err)
	}
	s = open(t, sig)
	checkTree(t, s, uint64(size), leaf)
	appendN(5)
	checkTree(t, s, uint64(size), leaf)
	for head := range sig.signed {
		if head.Size == uint64(size) {
			break
		}
	}
	if err := s.Close(ctx); err != nil {
		t.Fatal(err)
	}
	checkSigned(t, sig, leaf)
}

// checkTree compares everything a Tree reads with a tree computed from leaves.
func checkTree(t *testing.T, s Store, size uint64, leaf func(int) []byte) {
	t.Helper()
	ctx := context.Background()
	tree := NewTree(s)
	root := rootOf(t, size, leaf)
	if got, err := tree.Root(ctx, size); err != nil || got != root {
		t.Fatalf("root at %d: %v, %v; want %v", size, got, err, root)
	}
	for i := uint64(0); i < size; i += 1 + size/37 {
		proof, err := tree.Inclusion(ctx, size, i)
		if err != nil {
			t.Fatal(err)
		}
		if err := tlog.CheckRecord(proof, int64(size), root, int64(i), tlog.RecordHash(leaf(int(i)))); err != nil {
			t.Errorf("inclusion of %d in %d: %v", i, size, err)
		}
		if got, err := tree.Entry(ctx, size, i); err != nil || !bytes.Equal(got, leaf(int(i))) {
			t.Errorf("entry %d: %q, %v", i, got, err)
		}
		if err := tree.CheckExtends(ctx, i, rootOf(t, i, leaf), size, root); err != nil {
			t.Errorf("%d extends %d: %v", size, i, err)
		}
		if i > 0 {
			if err := tree.CheckExtends(ctx, i, tlog.Hash{1}, size, root); err == nil {
				t.Errorf("%d extends another tree of %d", size, i)
			}
		}
	}
	n := uint64(0)
	for e, err := range tree.Entries(ctx, 0, size) {
		if err != nil || !bytes.Equal(e, leaf(int(n))) {
			t.Fatalf("entry %d: %q, %v", n, e, err)
		}
		n++
	}
	if n != size {
		t.Errorf("%d entries read, want %d", n, size)
	}
	if _, err := tree.Inclusion(ctx, size, size); !errors.Is(err, ErrNotFound) {
		t.Errorf("inclusion of what is beyond: %v", err)
	}
}

func rootOf(t *testing.T, size uint64, leaf func(int) []byte) tlog.Hash {
	t.Helper()
	if size == 0 {
		return sha256.Sum256(nil)
	}
	m := new(Memory)
	var leaves [][]byte
	for i := range size {
		leaves = append(leaves, leaf(int(i)))
	}
	m.keep(leaves)
	root, err := tlog.TreeHash(int64(size), m.reader())
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func checkSigned(t *testing.T, sig *signer, leaf func(int) []byte) {
	t.Helper()
	last := uint64(0)
	for _, head := range sig.heads {
		if head.Size == 0 {
			t.Error("the signer was asked for an empty tree")
			continue
		}
		if head.Size < last {
			t.Errorf("the signer was asked for %d after %d", head.Size, last)
		}
		last = head.Size
		if head.Root != rootOf(t, head.Size, leaf) {
			t.Errorf("the signer was asked for a wrong root at %d", head.Size)
		}
	}
}

func TestMemoryKeepsTheContract(t *testing.T) {
	m := new(Memory)
	suite(t, func(t *testing.T, s note.Signer) Store {
		st, err := m.Open(context.Background(), POSIXConfig{Signer: s, Interval: 10 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		return st
	})
}

func TestPOSIXKeepsTheContract(t *testing.T) {
	dir := t.TempDir()
	suite(t, func(t *testing.T, s note.Signer) Store { return openPOSIX(t, dir, s) })
}

func openPOSIX(t *testing.T, dir string, s note.Signer) Store {
	t.Helper()
	st, err := OpenPOSIX(context.Background(), POSIXConfig{
		Dir: dir, Signer: s, Interval: 100 * time.Millisecond, BatchAge: 5 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// Tessera wants a checkpoint of the empty tree; the key must not make it.
func TestEmptyTreeIsNeverSigned(t *testing.T) {
	dir := t.TempDir()
	sig := newSigner(t)
	s := openPOSIX(t, dir, sig)
	if err := s.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if len(sig.heads) != 0 {
		t.Errorf("signed %v", sig.heads)
	}
	b, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	if err != nil || !bytes.Contains(b, []byte("\n0\n")) {
		t.Errorf("private checkpoint %q, %v", b, err)
	}
}

// Where Tessera would panic, Append says what is wrong.
func TestAppendNamesWhatCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	s := openPOSIX(t, dir, newSigner(t))
	defer s.Close(context.Background())
	lock := filepath.Join(dir, ".state", "treeState.lock")
	if err := os.Remove(lock); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(lock, 0o755); err != nil { // nobody, root neither, can open it for writing
		t.Fatal(err)
	}
	_, err := s.Append(context.Background(), [][]byte{[]byte("x")})
	if err == nil || !strings.Contains(err.Error(), "treeState.lock") {
		t.Errorf("%v, want the file named", err)
	}
	if err := os.Remove(lock); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(context.Background(), [][]byte{[]byte("x")}); err != nil {
		t.Errorf("after it can be written again: %v", err)
	}
}

func TestAppendAfterCloseFails(t *testing.T) {
	s := openPOSIX(t, t.TempDir(), newSigner(t))
	if err := s.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(context.Background(), [][]byte{[]byte("x")}); err == nil {
		t.Error("appended to a closed tree")
	}
}

func TestTileWidth(t *testing.T) {
	for _, tt := range []struct {
		level, index, size uint64
		want               int
	}{
		{0, 0, 0, 0},
		{0, 0, 1, 1},
		{0, 0, 255, 255},
		{0, 0, 256, 256},
		{0, 1, 256, 0},
		{0, 1, 257, 1},
		{1, 0, 255, 0},
		{1, 0, 256, 1},
		{1, 0, 1 << 16, 256},
		{2, 0, 1 << 16, 1},
		{0, 1 << 60, 1 << 20, 0},
		{63, 0, 1 << 62, 0},
	} {
		if got := TileWidth(tt.level, tt.index, tt.size); got != tt.want {
			t.Errorf("tile %d/%d at %d: %d, want %d", tt.level, tt.index, tt.size, got, tt.want)
		}
	}
}

func FuzzParseFrames(f *testing.F) {
	f.Add([]byte{})
	f.Add(AppendFrame(AppendFrame(nil, []byte("a")), []byte("bc")))
	f.Add([]byte{0, 5, 1})
	f.Add([]byte{0})
	f.Fuzz(func(t *testing.T, b []byte) {
		entries, err := ParseFrames(b, 1000)
		if err != nil {
			return
		}
		var again []byte
		for _, e := range entries {
			again = AppendFrame(again, e)
		}
		if !bytes.Equal(again, b) {
			t.Errorf("%x became %x", b, again)
		}
	})
}
