package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/firn-log/firn/internal/testreq"
)

const module = "github.com/firn-log/firn"

// goFile is what the tests ask of one Go file of the project.
type goFile struct {
	path    string // slash-separated, from the project's root
	pkg     string // its folder, for instance "log/statement"; "" is the root
	test    bool
	lines   int
	imports []string
	syntax  *ast.File // with comments
}

// skipped are folders that hold nothing of the project's own.
var skipped = map[string]bool{
	".git": true, "bin": true, "bench/out": true, "internal/keepdeps": true,
	// Modules of their own.
	"internal/tools": true, "internal/peers": true,
}

// walk calls f with the path of every file of the project, from its root.
func walk(t *testing.T, f func(name string)) {
	t.Helper()
	root := testreq.Root()
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(rel)
		switch {
		case d.IsDir() && skipped[name]:
			return filepath.SkipDir
		case d.Type().IsRegular():
			f(name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// read returns a file of the project as text.
func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(testreq.Root(), filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

var parsed struct {
	once  sync.Once
	files []*goFile
}

// goFiles returns every Go file of the main module, parsed once.
func goFiles(t *testing.T) []*goFile {
	t.Helper()
	parsed.once.Do(func() {
		walk(t, func(name string) {
			if strings.HasSuffix(name, ".go") {
				parsed.files = append(parsed.files, parseFile(t, name))
			}
		})
	})
	if len(parsed.files) < 5 {
		t.Fatalf("found %d Go files below %s", len(parsed.files), testreq.Root())
	}
	return parsed.files
}

func parseFile(t *testing.T, name string) *goFile {
	t.Helper()
	src := read(t, name)
	syntax, err := parser.ParseFile(token.NewFileSet(), name, src, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	f := &goFile{
		path:   name,
		pkg:    strings.TrimPrefix(path.Dir(name), "."),
		test:   strings.HasSuffix(name, "_test.go"),
		lines:  strings.Count(src, "\n"),
		syntax: syntax,
	}
	for _, spec := range syntax.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		f.imports = append(f.imports, imported)
	}
	return f
}

// within reports whether pkg is dir or below it, in whole path elements.
func within(pkg, dir string) bool {
	return pkg == dir || strings.HasPrefix(pkg, dir+"/")
}
