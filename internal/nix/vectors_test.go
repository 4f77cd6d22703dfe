package nix

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/firn-log/firn/internal/testreq"
)

// The tests' own tables are published as spec/vectors/nix, for other
// implementations. -update writes the files; without it they are compared,
// so that they cannot fall behind.
var update = flag.Bool("update", false, "write spec/vectors/nix")

// vector is one case. Input is text, or base 64 where the file says so.
type vector struct {
	Name  string            `json:"name"`
	Input any               `json:"input"` // string or []byte
	Valid bool              `json:"valid"`
	Want  map[string]string `json:"want,omitempty"`
}

// publish compares vectors with spec/vectors/nix/<file>.json.
func publish(t *testing.T, file, about string, vectors []vector) {
	t.Helper()
	slices.SortFunc(vectors, func(a, b vector) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) })
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(map[string]any{"about": about, "vectors": vectors}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(testreq.Root(), "spec", "vectors", "nix", file+".json")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := os.ReadFile(path); err != nil || !bytes.Equal(b, out.Bytes()) {
		t.Errorf("%s is not what the tests say (go test -update): %v", path, err)
	}
}

// rejects turns a table of refused inputs into vectors. Inputs over 8 KiB,
// which only test bounds, are left out.
func rejects[T string | []byte](table map[string]T) []vector {
	var out []vector
	for _, name := range slices.Sorted(maps.Keys(table)) {
		if in := table[name]; len(in) <= 8<<10 {
			out = append(out, vector{Name: name, Input: in})
		}
	}
	return out
}
