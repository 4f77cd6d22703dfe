package place

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPlaceIsTheSameUntilSomethingChanges(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	dir := filepath.Join(parent, "dir")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	p := want(Find(dir))(t)
	if err := os.WriteFile(filepath.Join(dir, "x"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := want(Find(dir))(t); got.Differs(p) != "" {
		t.Errorf("writing into it changed %s", got.Differs(p))
	}
	moved := filepath.Join(parent, "moved")
	if err := os.Rename(dir, moved); err != nil {
		t.Fatal(err)
	}
	if got := want(Find(moved))(t); got.Differs(p) != "" {
		t.Errorf("renaming it changed %s", got.Differs(p))
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if got := want(Find(dir))(t); got.Differs(p) != "the directory itself" {
		t.Errorf("another directory of the same name: %q", got.Differs(p))
	}
	other := p
	other.Machine, other.FileSystem = "m", "f"
	if got := p.Differs(other); !strings.Contains(got, "the machine and the file system") {
		t.Errorf("%q", got)
	}
}

// want returns v to a test that fails on err: want(f())(t).
func want[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
