package verify

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/firn-log/firn/internal/testreq"
)

func TestPolicyVectors(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(testreq.Root(), "spec/vectors/policy/firn-policies.json"))
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Accept []struct {
			Name              string
			Policy, Canonical []string
		}
		Reject []struct {
			Name           string
			Policy, Errors []string
		}
	}
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	text := func(lines []string) string { return strings.Join(lines, "\n") + "\n" }
	for _, c := range v.Accept {
		pol, err := ParsePolicy("p", []byte(text(c.Policy)), readVector)
		if err != nil {
			t.Errorf("%s: %v", c.Name, err)
			continue
		}
		if diff := cmp.Diff(text(c.Canonical), pol.String()); diff != "" {
			t.Errorf("%s: %s", c.Name, diff)
		}
	}
	for _, c := range v.Reject {
		_, err := ParsePolicy("p", []byte(text(c.Policy)), readVector)
		var all PolicyErrors
		if !errors.As(err, &all) {
			t.Errorf("%s: %v", c.Name, err)
		}
		var at []string
		for _, e := range all {
			at = append(at, fmt.Sprintf("%d:%d", e.Line, e.Column))
		}
		if diff := cmp.Diff(c.Errors, at); diff != "" {
			t.Errorf("%s: %v\n%s", c.Name, err, diff)
		}
	}
	if len(v.Accept) < 7 || len(v.Reject) < 22 {
		t.Errorf("only %d and %d policies", len(v.Accept), len(v.Reject))
	}
}
