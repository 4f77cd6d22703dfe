package policy

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/firn-log/firn/internal/testreq"
)

// vectors returns the files of spec/vectors/policy that match a pattern.
func vectors(t testing.TB, pattern string) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(testreq.Root(), "spec", "vectors", "policy", pattern))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no vectors %s: %v", pattern, err)
	}
	files := make(map[string][]byte)
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Base(p)] = b
	}
	return files
}

// The name of a rejected vector begins with the rule that it breaks; its first
// line says what the error must say.
func TestPO_Vectors(t *testing.T) {
	for name, b := range vectors(t, "accept-*.policy") {
		p, err := Parse(b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		again, err := Parse([]byte(p.String()))
		if err != nil {
			t.Errorf("%s: its own form: %v", name, err)
			continue
		}
		if d := cmp.Diff(p, again, cmpopts.IgnoreUnexported(Policy{})); d != "" {
			t.Errorf("%s: its own form differs: %s", name, d)
		}
	}
	for name, b := range vectors(t, "reject-*.policy") {
		first, _, _ := strings.Cut(string(b), "\n")
		want, ok := strings.CutPrefix(first, "# want: ")
		if !ok {
			t.Errorf("%s: its first line does not say what to want", name)
			continue
		}
		if _, err := Parse(b); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one that says %q", name, err, want)
		}
	}
}

// What a file of text cannot show well.
func TestPO5_OctetsAndLines(t *testing.T) {
	w := newWorld(t)
	log, wit := "log "+w.log.Key.String(), w.w[0].Key.String()
	_, err := Parse([]byte(log + "\r\nquorum none\r\n"))
	wantErr(t, err, "octet 0x0d")
	_, err = Parse([]byte("# \x7f\nquorum none\n"))
	wantErr(t, err, "octet 0x7f")
	_, err = Parse([]byte("# \x00\nquorum none\n"))
	wantErr(t, err, "octet 0x00")
	_, err = Parse([]byte(log + "\nquorum none"))
	wantErr(t, err, "cut off")
	_, err = Parse(nil)
	wantErr(t, err, "no quorum line")
	_, err = Parse(make([]byte, MaxPolicy+1))
	wantErr(t, err, "longer than")

	// Names are octets: these two differ, and no-break space separates nothing.
	p := mustParse(t, fmt.Sprintf("witness K %s\nwitness \u212a %s\nwitness a\u00a0b %s\nwitness \xff %s\nquorum K\n",
		wit, w.w[1].Key, w.w[2].Key, newSigner(t, "x", TypeCosignature, "x").Key))
	if len(p.Witnesses) != 4 || p.Witnesses[2].Name != "a\u00a0b" || p.Witnesses[3].Name != "\xff" {
		t.Errorf("witnesses %q", p.Witnesses)
	}
	p = mustParse(t, "\t "+log+" \t http://x \t\n \t\n\t# c\nquorum\tnone\n")
	if p.LogURL(testOrigin) != "http://x" {
		t.Errorf("URL %q", p.LogURL(testOrigin))
	}
}

func TestPO6_ManyLogsWitnessesAndGroups(t *testing.T) {
	var b strings.Builder
	for i := range 100 {
		fmt.Fprintln(&b, "log", newSigner(t, fmt.Sprint("log.example/", i), TypeEd25519, fmt.Sprint("l", i)).Key)
		fmt.Fprintf(&b, "witness w%d %s\n", i, newSigner(t, fmt.Sprint("w.example/", i), TypeCosignature, fmt.Sprint("w", i)).Key)
		if i == 0 {
			fmt.Fprintf(&b, "group g0 any w0\n")
		} else {
			fmt.Fprintf(&b, "group g%d 1 g%d w%d\n", i, i-1, i)
		}
	}
	p := mustParse(t, b.String()+"quorum g99\n")
	if len(p.Logs) != 100 || len(p.Witnesses) != 100 || len(p.Groups) != 100 {
		t.Errorf("%d logs, %d witnesses, %d groups", len(p.Logs), len(p.Witnesses), len(p.Groups))
	}
	if !p.satisfied(map[string]bool{"w0": true}) || p.satisfied(nil) {
		t.Error("the chain of groups does not carry w0, or carries nobody")
	}
}

func FuzzParsePolicy(f *testing.F) {
	for _, b := range vectors(f, "*.policy") {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Parse(b)
		if err != nil {
			return
		}
		text := p.String()
		again, err := Parse([]byte(text))
		if err != nil {
			t.Fatalf("%v of %q, the form of %q", err, text, b)
		}
		if again.String() != text {
			t.Errorf("%q became %q", text, again)
		}
	})
}
