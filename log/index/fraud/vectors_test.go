package fraud_test

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/testreq"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/index/fraud"
	"github.com/firn-log/firn/log/policy"
)

var update = flag.Bool("update", false, "write spec/vectors/evidence/index")

var vectorDir = filepath.Join(testreq.Root(), "spec", "vectors", "evidence", "index")

// class sorts an error into the classes of the vectors' names.
func class(err error) string {
	switch {
	case err == nil:
		return "accept"
	case errors.Is(err, evidence.ErrMalformed):
		return "reject-malformed"
	case errors.Is(err, evidence.ErrReserved):
		return "reject-reserved"
	case errors.Is(err, evidence.ErrNotEvidence):
		return "reject-innocent"
	case errors.Is(err, evidence.ErrUnknownKey):
		return "reject-unknown-key"
	}
	return err.Error()
}

func eachVector(t testing.TB, f func(name string, b []byte)) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(vectorDir, "*"+evidence.Suffix))
	if err != nil || len(paths) < 60 {
		t.Fatalf("%d vectors, %v", len(paths), err)
	}
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		f(strings.TrimSuffix(filepath.Base(p), evidence.Suffix), b)
	}
}

func vectorPolicy(t testing.TB) *policy.Policy {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(filepath.Dir(vectorDir), "log.policy"))
	if err != nil {
		t.Fatal(err)
	}
	pol, err := policy.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return pol
}

func TestVectors(t *testing.T) {
	pol := vectorPolicy(t)
	eachVector(t, func(name string, b []byte) {
		e, err := evidence.Parse(b)
		if err == nil {
			if !bytes.Equal(e.Marshal(), b) {
				t.Errorf("%s: encodes to other bytes", name)
			}
			// Nobody convicts by the form alone.
			if _, err := e.Verify(pol); err == nil {
				t.Errorf("%s convicts without a judge", name)
			}
			_, err = fraud.Verify(e, pol)
		}
		if got := class(err); !strings.HasPrefix(name, got+"-") {
			t.Errorf("%s: %s: %v", name, got, err)
		}
	})
}

// neverEvidence are the MUST NOTs of spec/evidence.md#never-against-an-index, each
// with the vectors that show it.
var neverEvidence = map[string][]string{
	"another map version":      {"reject-innocent-two-map-versions", "reject-reserved-map-version"},
	"two sizes":                {"reject-innocent-two-sizes"},
	"one revision twice":       {"reject-innocent-one-root"},
	"another origin":           {"reject-innocent-revisions-of-another-origin", "reject-innocent-map-of-another-origin", "reject-innocent-checkpoint-of-another-origin"},
	"another signer":           {"reject-innocent-revisions-by-another-key", "reject-innocent-map-by-another-key", "reject-innocent-revisions-unsigned", "reject-innocent-checkpoint-unsigned"},
	"a failing proof":          {"reject-innocent-revision-not-included", "reject-innocent-entry-not-included", "reject-innocent-item-not-included", "reject-innocent-path-of-another-map"},
	"a stub":                   {"reject-innocent-stub", "reject-innocent-stub-alone"},
	"an entry beyond":          {"reject-innocent-entry-beyond"},
	"a revision that is early": {"reject-innocent-revision-early"},
	"an entry without keys":    {"reject-innocent-entry-is-a-revision", "reject-innocent-entry-is-no-statement"},
	"a later kind":             {"reject-reserved-kind", "reject-reserved-version"},
	"a list of which the place is not shown": {
		"reject-innocent-gap-elsewhere", "reject-innocent-not-adjacent", "reject-innocent-not-the-last", "reject-innocent-not-the-first",
	},
	"what is true":                     {"reject-innocent-present", "reject-innocent-in-order", "reject-innocent-in-bounds", "reject-innocent-shape", "reject-innocent-pair", "reject-innocent-absent-other-key"},
	"a key that says who it is itself": {"reject-unknown-key"},
}

func TestWhatIsNeverEvidenceHasVectors(t *testing.T) {
	for what, names := range neverEvidence {
		for _, name := range names {
			found, err := filepath.Glob(filepath.Join(vectorDir, name+"*"))
			if err != nil || len(found) == 0 {
				t.Errorf("%s: no vector %s", what, name)
			}
		}
	}
}

func TestVectorsAreUpToDate(t *testing.T) {
	want := makeVectors(t)
	if *update {
		if err := os.RemoveAll(vectorDir); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(vectorDir, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, b := range want {
			if err := os.WriteFile(filepath.Join(vectorDir, name+evidence.Suffix), b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, b := range want {
		if got, err := os.ReadFile(filepath.Join(vectorDir, name+evidence.Suffix)); err != nil || !bytes.Equal(got, b) {
			t.Errorf("%s is not what -update writes: %v", name, err)
		}
	}
	files, err := os.ReadDir(vectorDir)
	if err != nil || len(files) != len(want) {
		t.Errorf("%d files instead of %d, %v", len(files), len(want), err)
	}
}

// No changed byte of evidence convicts anybody of something else.
func TestNoChangedByteConvicts(t *testing.T) {
	for _, name := range []string{"accept-two-revisions", "accept-missing-between", "accept-list-out-of-order"} {
		b, err := os.ReadFile(filepath.Join(vectorDir, name+evidence.Suffix))
		if err != nil {
			t.Fatal(err)
		}
		for i := range b {
			c := bytes.Clone(b)
			c[i] ^= 1
			if e, err := evidence.Parse(c); err == nil {
				if _, err := fraud.VerifySelf(e); err == nil {
					t.Fatalf("%s: byte %d changed convicts:\n%s", name, i, c)
				}
			}
		}
	}
}

func FuzzVerifySelf(f *testing.F) {
	eachVector(f, func(_ string, b []byte) { f.Add(b) })
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := evidence.Parse(b)
		if err != nil {
			return
		}
		if !bytes.Equal(e.Marshal(), b) {
			t.Errorf("%q became %q", b, e.Marshal())
		}
		v, err := fraud.VerifySelf(e)
		if err == nil && e.Kind == evidence.KindIndex && v.Why == "" || err != nil && class(err) == err.Error() {
			t.Errorf("%+v, %v", v, err)
		}
		_ = fraud.ClearedBy(e, b, 1<<62)
	})
}
