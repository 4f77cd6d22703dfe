package archtest

import (
	"go/ast"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/firn-log/firn/internal/testreq"
)

var (
	citation = regexp.MustCompile(`\bspec/([A-Za-z0-9_-]+\.(?:md|cddl))(?:#([A-Za-z0-9_-]+))?`)
	mdLink   = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading  = regexp.MustCompile(`^#{1,6} +(.+?)\s*$`)
)

// slug is the anchor of a Markdown heading, as GitHub makes it.
func slug(heading string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(heading) {
		switch {
		case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
			b.WriteRune(r)
		case r == ' ':
			b.WriteByte('-')
		}
	}
	return b.String()
}

// anchors returns the anchors of a Markdown text.
func anchors(text string) []string {
	var out []string
	code := false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "```") {
			code = !code
		}
		if m := heading.FindStringSubmatch(line); m != nil && !code {
			out = append(out, slug(m[1]))
		}
	}
	return out
}

// citationFault says why the citation of doc (a path from the root) and anchor
// does not resolve, or "".
func citationFault(t *testing.T, doc, anchor string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(testreq.Root(), filepath.FromSlash(doc)))
	switch {
	case err != nil:
		return "there is no " + doc
	case anchor != "" && !slices.Contains(anchors(string(b)), anchor):
		return doc + " has no heading for #" + anchor
	}
	return ""
}

func TestSlugIsGitHubs(t *testing.T) {
	for in, want := range map[string]string{
		"Exit status":                  "exit-status",
		"POST /v1/statements":          "post-v1statements",
		"Errors, and what they mean":   "errors-and-what-they-mean",
		"The `build` kind (version 1)": "the-build-kind-version-1",
	} {
		if got := slug(in); got != want {
			t.Errorf("slug(%q) = %q, want %q", in, got, want)
		}
	}
	if fault := citationFault(t, "spec/nothing.md", ""); fault == "" {
		t.Error("a citation of a document that is not there resolves")
	}
	if fault := citationFault(t, "README.md", "no-such-heading"); fault == "" {
		t.Error("a citation of a heading that is not there resolves")
	}
}

func TestCitationsOfTheSpecResolve(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.pkg == "internal/archtest" {
			continue
		}
		for _, group := range f.syntax.Comments {
			for _, m := range citation.FindAllStringSubmatch(group.Text(), -1) {
				if fault := citationFault(t, "spec/"+m[1], m[2]); fault != "" {
					t.Errorf("%s cites %s: %s", f.path, m[0], fault)
				}
			}
		}
	}
}

func TestLinksBetweenDocumentsResolve(t *testing.T) {
	walk(t, func(name string) {
		if !strings.HasSuffix(name, ".md") {
			return
		}
		text := read(t, name)
		for _, m := range mdLink.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], ":") {
				continue // another site
			}
			target, anchor, _ := strings.Cut(m[1], "#")
			if target == "" {
				if !slices.Contains(anchors(text), anchor) {
					t.Errorf("%s links to its own #%s, which is not there", name, anchor)
				}
				continue
			}
			target = path.Join(path.Dir(name), target)
			if _, err := os.Stat(filepath.Join(testreq.Root(), target)); err != nil {
				t.Errorf("%s links to %s, which is not there", name, m[1])
			} else if fault := citationFault(t, target, anchor); anchor != "" && fault != "" {
				t.Errorf("%s links to %s: %s", name, m[1], fault)
			}
		}
	})
}

var testName = regexp.MustCompile("`((?:Test|Fuzz)[A-Z][A-Za-z0-9_]+)`")

// testNames returns the names of all tests and fuzz targets.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	names := make(map[string]bool)
	for _, f := range goFiles(t) {
		if !f.test {
			continue
		}
		for _, decl := range f.syntax.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil {
				names[fn.Name.Name] = true
			}
		}
	}
	return names
}

func TestTestsNamedInDocumentsExist(t *testing.T) {
	names := testNames(t)
	walk(t, func(name string) {
		if !strings.HasSuffix(name, ".md") {
			return
		}
		for _, m := range testName.FindAllStringSubmatch(read(t, name), -1) {
			if !names[m[1]] {
				t.Errorf("%s names the test %s, which is not there", name, m[1])
			}
		}
	})
}

// A threat is prevented or detected only if a test shows it.
func TestEveryThreatNamesItsTest(t *testing.T) {
	rows := 0
	for line := range strings.Lines(read(t, "spec/threats.md")) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 4 || strings.Contains(line, "---") || strings.Contains(cells[1], "prevented") {
			continue
		}
		rows++
		for _, cell := range cells[1:3] {
			cell = strings.TrimSpace(cell)
			if !testName.MatchString(cell) && cell != "–" && !strings.Contains(cell, "not yet") {
				t.Errorf("threats.md, %s: %q names no test and does not say \"not yet\"", strings.TrimSpace(cells[0]), cell)
			}
		}
	}
	if rows < 8 {
		t.Errorf("spec/threats.md has %d rows, want the whole table", rows)
	}
}
