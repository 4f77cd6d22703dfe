package server

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPlaceIsTheSameUntilSomethingChanges(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	dir := filepath.Join(parent, "log")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	p := want(findPlace(dir))(t)
	if err := os.WriteFile(filepath.Join(dir, "x"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := want(findPlace(dir))(t); got.differs(p) != "" {
		t.Errorf("writing into it changed %s", got.differs(p))
	}
	moved := filepath.Join(parent, "moved")
	if err := os.Rename(dir, moved); err != nil {
		t.Fatal(err)
	}
	if got := want(findPlace(moved))(t); got.differs(p) != "" {
		t.Errorf("renaming it changed %s", got.differs(p))
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if got := want(findPlace(dir))(t); got.differs(p) != "the directory itself" {
		t.Errorf("another directory of the same name: %q", got.differs(p))
	}
	other := p
	other.Machine, other.FileSystem = "m", "f"
	if got := p.differs(other); !strings.Contains(got, "the machine and the file system") {
		t.Errorf("%q", got)
	}
}
