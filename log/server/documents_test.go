package server

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/testreq"
)

// Every code that this package or package admission can answer stands in
// spec/log.md, and nothing else does.
func TestEveryErrorCodeIsDocumented(t *testing.T) {
	root := testreq.Root()
	spec := string(want(os.ReadFile(filepath.Join(root, "spec", "log.md")))(t))
	_, table, ok := strings.Cut(spec, "\n## Errors\n")
	if !ok {
		t.Fatal("spec/log.md has no section about errors")
	}
	documented := make(map[string]bool)
	for _, line := range strings.Split(table, "\n") {
		cells := strings.Split(line, "|")
		if len(cells) < 4 {
			continue
		}
		for _, m := range regexp.MustCompile("`([a-z-]+)`").FindAllStringSubmatch(strings.Join(cells[1:len(cells)-2], "|"), -1) {
			documented[m[1]] = false
		}
	}
	code := regexp.MustCompile(`(?:httpError\{[^"]*|Code[A-Za-z]+ += )"([a-z-]+)"`)
	for _, pattern := range []string{"log/server/*.go", "log/server/admission/*.go"} {
		files := want(filepath.Glob(filepath.Join(root, pattern)))(t)
		for _, f := range files {
			if strings.HasSuffix(f, "_test.go") {
				continue
			}
			for _, m := range code.FindAllStringSubmatch(string(want(os.ReadFile(f))(t)), -1) {
				if _, ok := documented[m[1]]; !ok && m[1] != "gone" { // nobody is there to read "gone"
					t.Errorf("%s answers %q, which spec/log.md#errors does not have", f, m[1])
				}
				documented[m[1]] = true
			}
		}
	}
	for c, used := range documented {
		if !used {
			t.Errorf("spec/log.md#errors has %q, which nothing answers", c)
		}
	}
}

func FuzzParseTile(f *testing.F) {
	for _, s := range []string{"0/000", "0/x001/234", "entries/000.p/1", "63/x001/x002/003.p/255", "1/x000/000", "0/000.p/256"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, ok := parseTile(s)
		if !ok {
			return
		}
		level := int(n.level)
		if n.entries {
			level = -1
		}
		again := tilePath(level, n.index)
		if n.width != 256 {
			again += ".p/" + strconv.Itoa(n.width)
		}
		if again != s {
			t.Errorf("%q became %q", s, again)
		}
	})
}
