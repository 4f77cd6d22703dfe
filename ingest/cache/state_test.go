package cache

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/bincache/cachetest"
	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/internal/nix"
)

func openState(t testing.TB, dir string) *State {
	t.Helper()
	st, err := OpenState(dir)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// filled is a journal with one record of each type.
func filled(t testing.TB, dir string) []byte {
	t.Helper()
	st := openState(t, dir)
	c, a, b := st.cache("http://cache.example", nix.DefaultStoreDir), st.path(cachetest.Path(t, "a")), st.path(cachetest.Path(t, "b"))
	k, other := st.key(keyRef{"k-1", [32]byte{1}}), st.key(keyRef{name: "other-1"})
	st.seenAt(c, b, 1_700_000_000)
	st.noteSigned(a, k, signed{nix.Hash{2}, 300, [32]byte{3}})
	st.noteInfo(c, a, pathInfo{refs: []uint64{a, b}, other: []uint64{other}})
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	journal, err := os.ReadFile(filepath.Join(dir, "journal"))
	if err != nil {
		t.Fatal(err)
	}
	return journal
}

func TestStateIsRemembered(t *testing.T) {
	dir := t.TempDir()
	filled(t, dir)
	st := openState(t, dir)
	defer st.Close()
	c, a, b := st.cache("http://cache.example", nix.DefaultStoreDir), st.path(cachetest.Path(t, "a")), st.path(cachetest.Path(t, "b"))
	info, ok := st.info(c, a)
	if !ok || len(info.refs) != 2 || info.refs[1] != b || st.name(info.other[0]) != "other-1" {
		t.Errorf("info %+v, %v", info, ok)
	}
	if _, ok := st.info(c, b); ok {
		t.Error("a path is known that was not noted")
	}
	if _, ok := st.info(st.cache("http://other.example", nix.DefaultStoreDir), a); ok {
		t.Error("a path of one cache is known of another")
	}
	if s := st.signedBy(a, st.key(keyRef{"k-1", [32]byte{1}})); len(s) != 1 || s[0].size != 300 {
		t.Errorf("signed %+v", s)
	}
	if at := st.seenAt(c, b, 5); at != 1_700_000_000 {
		t.Errorf("seen at %d", at)
	}
}

// Wherever a crash cut the journal, the records before are there, and what is
// written later too.
func TestJournalCutAnywhere(t *testing.T) {
	whole := filled(t, t.TempDir())
	for n := range whole {
		dir := t.TempDir()
		file := filepath.Join(dir, "journal")
		if err := os.WriteFile(file, whole[:n], 0o644); err != nil {
			t.Fatal(err)
		}
		st := openState(t, dir)
		p := st.path(cachetest.Path(t, "later"))
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
		st = openState(t, dir)
		if st.Dropped != 0 || st.path(cachetest.Path(t, "later")) != p {
			t.Errorf("cut at %d: what was written afterwards is lost", n)
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
		if b, _ := os.ReadFile(file); n >= len(magic) && !bytes.HasPrefix(whole, b[:min(len(b), len(magic))]) {
			t.Errorf("cut at %d: %q", n, b)
		}
	}
}

func TestJournalWithABadRecordEndsBeforeIt(t *testing.T) {
	whole := filled(t, t.TempDir())
	// number is a record about a path that was not named.
	number := appendRecord(nil, &record{typ: recInfo, path: 99})
	notPath := appendRecord(nil, &record{typ: recPath, text: "x"})
	unknown := appendRecord(nil, &record{typ: 77})
	flipped := bytes.Clone(whole)
	flipped[len(flipped)-1] ^= 1
	for name, b := range map[string][]byte{
		"number": append(bytes.Clone(whole), number...), "path": append(bytes.Clone(whole), notPath...),
		"type": append(bytes.Clone(whole), unknown...), "checksum": flipped,
		"length": append(bytes.Clone(whole), 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0),
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "journal"), b, 0o644); err != nil {
			t.Fatal(err)
		}
		st := openState(t, dir)
		if st.Dropped == 0 {
			t.Errorf("%s: nothing was dropped", name)
		}
		st.Close()
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "journal"), []byte("somebody's diary\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenState(dir); err == nil || !strings.Contains(err.Error(), "is not the journal of an import") {
		t.Errorf("a file of something else: %v", err)
	}
	if b, _ := os.ReadFile(filepath.Join(dir, "journal")); string(b) != "somebody's diary\n" {
		t.Errorf("a file of something else was changed: %q", b)
	}
}

func TestOneProcessHoldsAState(t *testing.T) {
	dir := t.TempDir()
	st := openState(t, dir)
	defer st.Close()
	var locked *durable.LockedError
	if _, err := OpenState(dir); !errors.As(err, &locked) {
		t.Errorf("second: %v", err)
	}
}

// A full disk ends the run in one sentence, and the next run goes on.
func TestFullDisk(t *testing.T) {
	w, f := newWorld(t), small(t)
	st := openState(t, w.state)
	file := st.file
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Skip(err)
	}
	st.file = full
	_, err = Import(t.Context(), open(t, f), st, Roots{Paths: []nix.StorePath{cachetest.Path(t, "app")}}, Options{Keys: w.keys, Log: w.to})
	if err == nil || !strings.Contains(err.Error(), "no space is left for ") || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v", err)
	}
	file.Close()
	_ = st.Close()
	if sum := w.must(open(t, f), Options{}, "app"); sum.Paths != 4 {
		t.Errorf("after there was room again: %+v", sum)
	}
	if logged := w.logged("cache-sig"); len(logged) != 4 {
		t.Errorf("%d statements", len(logged))
	}
}
