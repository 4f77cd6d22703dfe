package statement

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/testreq"
)

func specText(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(testreq.Root(), "spec", "statement.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// section returns the text below a heading, up to the next one.
func section(t *testing.T, heading string) string {
	t.Helper()
	_, after, ok := strings.Cut(specText(t), "\n"+heading+"\n")
	if !ok {
		t.Fatalf("spec/statement.md has no %q", heading)
	}
	text, _, _ := strings.Cut(after, "\n## ")
	return text
}

var tableName = regexp.MustCompile("(?m)^\\| `([a-z0-9-]+)` \\|")

func tableNames(t *testing.T, heading string) []string {
	t.Helper()
	var out []string
	for _, m := range tableName.FindAllStringSubmatch(section(t, heading), -1) {
		out = append(out, m[1])
	}
	return out
}

// The table of errors lists exactly the codes of errors.go.
func TestSpecListsEveryCode(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var codes []string
	ast.Inspect(file, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok && strings.HasPrefix(v.Names[0].Name, "Code") && v.Names[0].Name != "CodeInternalError" {
			code, _ := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			codes = append(codes, code)
		}
		return true
	})
	if got := tableNames(t, "## Errors"); !slices.Equal(got, codes) {
		t.Errorf("the table has %q, errors.go has %q", got, codes)
	}
	// And each of them is the code of a vector.
	seen := make(map[string]bool)
	for _, v := range readVectors(t, "reject") {
		seen[v.Code] = true
	}
	for _, code := range codes {
		if !seen[code] {
			t.Errorf("no vector is refused with %s", code)
		}
	}
}

// The CDDL has the fields of the wire structs, no more and no fewer, with the
// same ones optional.
func TestSpecCDDLHasTheFieldsOfTheStructs(t *testing.T) {
	rules := map[string]any{
		"payload": wirePayload{}, "build": wireBuild{}, "output": wireOutput{}, "inputs": wireInputs{}, "builder": wireBuilder{},
		"build-failed": wireBuildFailed{}, "cache-sig": wireCacheSig{}, "closure": wireClosure{}, "operator": wireOperator{},
		"key-add": wireKeyAdd{}, "key-revoke": wireKeyRevoke{}, "vouch": wireVouch{}, "retract": wireRetract{}, "peer": wirePeer{},
		"genesis": wireGenesis{}, "log-config": wireLogConfig{}, "freeze": wireFreeze{}, "observed": wireObserved{}, "realisation": wireRealisation{}, "realisation-dep": wireRealisationDep{},
		"nix-sig": wireNixSig{}, "path": wirePathClaim{}, "diff": wireDiff{}, "diff-file": wireDiffFile{}, "eval": wireEval{}, "eval-input": wireEvalInput{},
		"budgets": wireBudgets{}, "cache-key": wireCacheKey{},
	}
	spec := specText(t)
	entry := regexp.MustCompile(`(?m)^  (\? )?(\d+) => `)
	for name, wire := range rules {
		_, after, ok := strings.Cut(spec, "\n"+name+" = {\n")
		if !ok {
			t.Errorf("no rule %s", name)
			continue
		}
		text, _, _ := strings.Cut(after, "\n}")
		var got, want []string
		for _, m := range entry.FindAllStringSubmatch(text, -1) {
			got = append(got, m[1]+m[2])
		}
		for _, f := range reflect.VisibleFields(reflect.TypeOf(wire)) {
			if f.Anonymous {
				continue
			}
			num, opts, _ := strings.Cut(f.Tag.Get("cbor"), ",")
			if strings.Contains(opts, "omitempty") {
				num = "? " + num
			}
			want = append(want, num)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: the CDDL has %q, the struct %q", name, got, want)
		}
	}
}

// Every kind of the document is admitted or reserved, and no other.
func TestSpecListsEveryKind(t *testing.T) {
	text := section(t, "## Payload")
	for k := range kinds {
		if !strings.Contains(text, "`"+string(k)+"`") {
			t.Errorf("%s is not there", k)
		}
	}
	_, reserved, _ := strings.Cut(text, "Reserved names:")
	names := regexp.MustCompile("`([a-z-]+)`").FindAllStringSubmatch(reserved, -1)
	if len(names) != len(notYet)+2 {
		t.Errorf("%d reserved names in the document, %d here", len(names)-2, len(notYet))
	}
	for _, m := range names {
		if k := Kind(m[1]); !k.Reserved() || kinds[k].body != nil {
			t.Errorf("%s is not reserved", k)
		}
	}
}

// The three constants that the document writes out.
func TestSpecHeaderBytes(t *testing.T) {
	if got := fmt.Sprintf("%d", len(protected(algEdDSA, KeyID{}))); !strings.Contains(specText(t), "exactly the "+got+" bytes") {
		t.Errorf("the protected headers have %s bytes", got)
	}
	if len(ContentType) != 0x23 {
		t.Error("the content type's length is not 0x23")
	}
	if n := len(proofMessage(ID{}, KeyID{})); n != 82 {
		t.Errorf("a key proof's message has %d bytes", n)
	}
}
