package server

import (
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/internal/place"
	"github.com/firn-log/firn/log/policy"
)

// trees says which (size, root) extends which, as a test decides.
type trees map[uint64]tlog.Hash

func (t trees) CheckExtends(_ context.Context, old uint64, oldRoot tlog.Hash, size uint64, root tlog.Hash) error {
	if t[size] != root || old > 0 && t[old] != oldRoot {
		return errors.New("does not continue")
	}
	return nil
}

func newTestSigner(t *testing.T, tree trees) *checkpointSigner {
	t.Helper()
	skey, _, err := note.GenerateKey(nil, "log.example/0123abcd")
	if err != nil {
		t.Fatal(err)
	}
	inner, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	s := &checkpointSigner{Signer: inner, path: filepath.Join(t.TempDir(), "record")}
	s.start(record{head: policy.Head{Origin: inner.Name(), Root: sha256.Sum256(nil)}, place: place.Place{Machine: "m", FileSystem: "f", Directory: "d"}}, tree)
	return s
}

func text(size uint64, root tlog.Hash) []byte {
	return []byte(policy.Head{Origin: "log.example/0123abcd", Size: size, Root: root}.Text())
}

func TestSignerSignsOnlyWhatContinuesTheRecord(t *testing.T) {
	a, b, c, fork := tlog.Hash{1}, tlog.Hash{2}, tlog.Hash{3}, tlog.Hash{9}
	tree := trees{5: a, 8: b, 9: c}
	s := newTestSigner(t, tree)
	steps := []struct {
		name string
		msg  []byte
		ok   bool
	}{
		{"the first", text(5, a), true},
		{"the same again", text(5, a), true},
		{"another root at the same size", text(5, fork), false},
		{"a root that the tiles do not give", text(8, fork), false},
		{"a larger one that continues", text(8, b), true},
		{"a smaller one", text(5, a), false},
		{"size 0", text(0, sha256.Sum256(nil)), false},
		{"another origin", []byte(policy.Head{Origin: "other.example/0123abcd", Size: 9, Root: c}.Text()), false},
		{"an extension line", append(text(9, c), "extension\n"...), false},
		{"no checkpoint", []byte("hello\n"), false},
		{"a text without final newline", text(9, c)[:40], false},
		{"the next", text(9, c), true},
	}
	for _, st := range steps {
		if _, err := s.Sign(st.msg); (err == nil) != st.ok {
			t.Errorf("%s: %v, want signed: %v", st.name, err, st.ok)
		}
	}
	// The tree turns into another one below a checkpoint that was signed.
	tree[9], tree[10] = fork, fork
	if _, err := s.Sign(text(10, fork)); err == nil {
		t.Error("signed a tree that does not continue the last one signed")
	}
}

// The record is on disk before the signature leaves: if it cannot be written,
// nothing is signed, and a reader of the record knows every signature.
func TestSignerWritesTheRecordFirst(t *testing.T) {
	s := newTestSigner(t, trees{1: {1}, 2: {2}})
	if _, err := s.Sign(text(1, tlog.Hash{1})); err != nil {
		t.Fatal(err)
	}
	r, err := readRecord(s.path)
	if err != nil || r.head.Size != 1 {
		t.Fatalf("record %+v, %v; want size 1", r, err)
	}
	good := s.path
	s.path = filepath.Join(filepath.Dir(good), "missing", "record")
	if sig, err := s.Sign(text(2, tlog.Hash{2})); err == nil {
		t.Errorf("signed %x although the record could not be written", sig)
	}
	s.path = good
	if _, err := s.Sign(text(2, tlog.Hash{2})); err != nil {
		t.Errorf("after the disk recovered: %v", err)
	}
}

func TestSignerSignsNothingBeforeStartAndAfterStop(t *testing.T) {
	s := newTestSigner(t, trees{1: {1}})
	s.stop()
	if _, err := s.Sign(text(1, tlog.Hash{1})); !errors.Is(err, errNotStarted) {
		t.Errorf("%v, want errNotStarted", err)
	}
}

func TestRecordIsReadStrictly(t *testing.T) {
	r := record{place: place.Place{Machine: "m", FileSystem: "f", Directory: "d"}, head: policy.Head{Origin: "o/01234567", Size: 3, Root: tlog.Hash{1}}}
	good := r.text()
	if got, err := parseRecord(good); err != nil || got.text() != good {
		t.Fatalf("%+v, %v", got, err)
	}
	for _, bad := range []string{
		"", "x", strings.Replace(good, "v1", "v2", 1), good + "x", good[:len(good)-1],
		strings.Replace(good, "\n3\n", "\n03\n", 1), strings.Replace(good, "machine m\n", "", 1),
	} {
		if _, err := parseRecord(bad); err == nil {
			t.Errorf("accepted %q", bad)
		}
	}
	path := filepath.Join(t.TempDir(), "record")
	if _, err := readRecord(path); !errors.Is(err, errNoRecord) {
		t.Errorf("%v, want errNoRecord", err)
	}
	if err := os.WriteFile(path, []byte(good[:20]), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readRecord(path); err == nil || errors.Is(err, errNoRecord) {
		t.Errorf("a torn record: %v, want an error that is not errNoRecord", err)
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add((&record{place: place.Place{Machine: "m", FileSystem: "f", Directory: "d"}, head: policy.Head{Origin: "o/01234567", Size: 3, Root: tlog.Hash{1}}}).text())
	f.Fuzz(func(t *testing.T, s string) {
		if r, err := parseRecord(s); err == nil && r.text() != s {
			t.Errorf("%q became %q", s, r.text())
		}
	})
}
