package archtest

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
)

func mainModule(t *testing.T) *modfile.File {
	t.Helper()
	f, err := modfile.Parse("go.mod", []byte(read(t, "go.mod")), nil)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestModuleStaysInstallable(t *testing.T) {
	f := mainModule(t)
	if f.Module.Mod.Path != module {
		t.Errorf("module is %s, want %s", f.Module.Mod.Path, module)
	}
	if f.Go == nil || f.Go.Version != "1.26.0" {
		t.Errorf("go.mod must say go 1.26.0: newer shuts out users, older is refused by dependencies")
	}
	if f.Toolchain != nil {
		t.Errorf("go.mod names toolchain %s; the go line is enough", f.Toolchain.Name)
	}
	// With either, `go install github.com/firn-log/firn/cmd/firn@v…` refuses.
	if len(f.Replace) > 0 || len(f.Exclude) > 0 {
		t.Errorf("go.mod has %d replace and %d exclude lines, want none", len(f.Replace), len(f.Exclude))
	}
}

// modernc.org/sqlite is tested by its authors with exactly one libc; a newer
// one that another module drags in has broken it before.
func TestSQLiteKeepsItsLibc(t *testing.T) {
	want := map[string]string{"modernc.org/sqlite": "v1.60.1", "modernc.org/libc": "v1.77.1"}
	for _, r := range mainModule(t).Require {
		if v, pinned := want[r.Mod.Path]; pinned {
			if r.Mod.Version != v {
				t.Errorf("%s is %s, want %s: move the pair together", r.Mod.Path, r.Mod.Version, v)
			}
			delete(want, r.Mod.Path)
		}
	}
	for path := range want {
		t.Errorf("go.mod does not require %s", path)
	}
}

func TestEveryDirectDependencyIsExplained(t *testing.T) {
	var explained []string
	for line := range strings.Lines(read(t, "CONTRIBUTING.md")) {
		if rest, ok := strings.CutPrefix(line, "| `"); ok {
			path, _, _ := strings.Cut(rest, "`")
			explained = append(explained, path)
		}
	}
	var required []string
	for _, r := range mainModule(t).Require {
		required = append(required, r.Mod.Path)
		if !r.Indirect && !slices.Contains(explained, r.Mod.Path) {
			t.Errorf("CONTRIBUTING.md has no line for %s: who imports it, and why", r.Mod.Path)
		}
	}
	for _, path := range explained {
		if strings.Contains(path, ".") && strings.Contains(path, "/") && !slices.Contains(required, path) {
			t.Errorf("CONTRIBUTING.md explains %s, which go.mod does not require", path)
		}
	}
}
