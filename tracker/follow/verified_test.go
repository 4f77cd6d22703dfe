package follow

import (
	"bytes"
	"crypto/sha256"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

func hashesOf(name string) []tlog.Hash {
	hashes := make([]tlog.Hash, groupSize)
	for i := range hashes {
		hashes[i] = tlog.RecordHash([]byte(name + string(rune(i))))
	}
	return hashes
}

func aGroup(name string) *group {
	g := &group{leaves: digest(hashesOf(name))}
	for i := range groupSize {
		if i%3 == 0 {
			g.set(i)
		}
	}
	return g
}

func TestVerifiedLeavesAreKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "verified")
	v, err := openVerified(path, "log.example/00000000")
	if err != nil {
		t.Fatal(err)
	}
	want := aGroup("a")
	if _, ok := v.load(3, want.leaves); ok {
		t.Error("an empty file has a group")
	}
	if err := v.save(3, want); err != nil {
		t.Fatal(err)
	}
	v.Close()
	if v, err = openVerified(path, "log.example/00000000"); err != nil {
		t.Fatal(err)
	}
	got, ok := v.load(3, want.leaves)
	if !ok || *got != *want {
		t.Error("what was kept is gone, or another")
	}
	for i := range groupSize {
		if got.verifies(i) != (i%3 == 0) {
			t.Fatalf("entry %d verifies: %v", i, got.verifies(i))
		}
	}
	if _, ok := v.load(3, digest(hashesOf("b"))); ok {
		t.Error("the marks of some entries are those of others")
	}
	if _, ok := v.load(2, want.leaves); ok {
		t.Error("a hole is a group")
	}
	if err := v.save(maxGroups, want); err != nil {
		t.Error(err)
	}
	if st, err := os.Stat(path); err != nil || st.Size() > headerSize+4*recordSize {
		t.Errorf("the file has no bound: %v", err)
	}
	v.Close()
	if v, err = openVerified(path, "other.example/00000000"); err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if _, ok := v.load(3, want.leaves); ok {
		t.Error("the file of another log is taken")
	}
}

func TestADamagedRecordIsNone(t *testing.T) {
	g := aGroup("a")
	b := g.marshal(7)
	if got, ok := parseGroup(7, b); !ok || *got != *g {
		t.Fatal("a record does not parse")
	}
	if _, ok := parseGroup(8, b); ok {
		t.Error("a record counts elsewhere")
	}
	for i := range b {
		c := bytes.Clone(b)
		c[i] ^= 4
		if _, ok := parseGroup(7, c); ok {
			t.Fatalf("byte %d is wrong and the record counts", i)
		}
	}
	for n := range b { // half written, before zeroes or the end
		if _, ok := parseGroup(7, b[:n]); ok {
			t.Fatalf("%d bytes are a record", n)
		}
		if _, ok := parseGroup(7, append(bytes.Clone(b[:n]), make([]byte, recordSize-n)...)); ok {
			t.Fatalf("%d bytes and zeroes are a record", n)
		}
	}
}

// Whatever is in the file, it says of entries only what was kept about them.
func FuzzVerifiedLeaves(f *testing.F) {
	g := aGroup("a")
	of := sha256.Sum256([]byte("log.example/00000000"))
	header := append([]byte(verifiedMagic), of[:]...)
	f.Add([]byte{})
	f.Add(header[:30])
	f.Add(append(bytes.Clone(header), g.marshal(0)...))
	f.Add(append(bytes.Clone(header), g.marshal(1)...))
	f.Add(append(bytes.Clone(header), g.marshal(0)[:50]...))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "verified")
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		v, err := openVerified(path, "log.example/00000000")
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close()
		if got, ok := v.load(0, g.leaves); ok && !bytes.Equal(got.marshal(0), b[headerSize:headerSize+recordSize]) {
			t.Error("a group is not what the file says")
		}
		next := aGroup("b")
		if err := v.save(0, next); err != nil {
			t.Fatal(err)
		}
		if got, ok := v.load(0, next.leaves); !ok || *got != *next {
			t.Error("what was kept is gone")
		}
	})
}

// What somebody put in the place of the file is not written to, nor is it waited for.
func TestWhatIsNoFileIsNotTakenForOne(t *testing.T) {
	dir := t.TempDir()
	mine := filepath.Join(dir, "mine")
	if err := os.WriteFile(mine, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	for what, put := range map[string]func(string) error{
		"a link to a file": func(path string) error { return os.Symlink(mine, path) },
		"a link to itself": func(path string) error { return os.Symlink(path, path) },
		"a link to zeros":  func(path string) error { return os.Symlink("/dev/zero", path) },
		"a pipe":           func(path string) error { return syscall.Mkfifo(path, 0o644) },
		"a folder":         func(path string) error { return os.Mkdir(path, 0o755) },
	} {
		path := filepath.Join(dir, what)
		if err := put(path); err != nil {
			t.Fatal(err)
		}
		if v, err := openVerified(path, "log.example/00000000"); err == nil {
			t.Errorf("%s is opened", what)
			v.Close()
		}
	}
	if b, err := os.ReadFile(mine); err != nil || string(b) != "mine" {
		t.Errorf("%q, %v", b, err)
	}
	var none *verifiedFile // as one that cannot be opened
	if _, ok := none.load(0, aGroup("a").leaves); ok || none.save(0, aGroup("a")) != nil || none.Close() != nil {
		t.Error("nil holds something")
	}
}
