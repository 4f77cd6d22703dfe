package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/firn-log/firn/ingest/submit"
)

// Root gives nothing away that somebody has put in the place of what it made.
func TestGiveFollowsNoLink(t *testing.T) {
	dir := t.TempDir()
	file, folder := filepath.Join(dir, "file"), filepath.Join(dir, "folder")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, put := range map[string]func(at string) error{
		"link":      func(at string) error { return os.Symlink(file, at) },
		"link dir":  func(at string) error { return os.Symlink(folder, at) },
		"hard link": func(at string) error { return os.Link(file, at) },
	} {
		at := filepath.Join(dir, name)
		if err := put(at); err != nil {
			t.Fatal(err)
		}
		if err := give(at, -1, -1, 0o777); err == nil {
			t.Errorf("%s was given away", name)
		}
		os.Remove(at)
	}
	for path, want := range map[string]fs.FileMode{file: 0o600, folder: fs.ModeDir | 0o700} {
		if st, err := os.Stat(path); err != nil || st.Mode() != want {
			t.Errorf("%s: %v, %v", path, st.Mode(), err)
		}
		if err := give(path, -1, -1, 0o750); err != nil {
			t.Error(err)
		}
		if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o750 {
			t.Errorf("%s: %v, %v", path, st.Mode(), err)
		}
	}
}

// A spool of an earlier version is made whole.
func TestSpoolOfAnEarlierVersionIsMadeWhole(t *testing.T) {
	f := &hookFlags{spool: t.TempDir(), user: "me"}
	if err := f.spoolStep(-1).do(); err != nil {
		t.Fatal(err)
	}
	if f.spoolStep(-1).do != nil {
		t.Error("a whole spool is made again")
	}
	for _, d := range submit.Folders() {
		path := filepath.Join(f.spool, d)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		st := f.spoolStep(-1)
		if st.do == nil {
			t.Fatalf("without %s the spool is called whole", d)
		}
		if err := st.do(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
}
