package log_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/firn-log/firn/internal/testreq"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/policy"
)

var vectorDir = filepath.Join(testreq.Root(), "spec", "vectors", "proofs")

func readVector(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(vectorDir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// eachVector calls f with every vector of an extension.
func eachVector(t testing.TB, ext string, f func(name string, b []byte)) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(vectorDir, "*"+ext))
	if err != nil || len(paths) < 5 {
		t.Fatalf("%d vectors *%s, %v", len(paths), ext, err)
	}
	for _, p := range paths {
		f(filepath.Base(p), readVector(t, filepath.Base(p)))
	}
}

func vectorPolicy(t testing.TB) *policy.Policy {
	t.Helper()
	pol, err := policy.Parse(readVector(t, "log.policy"))
	if err != nil {
		t.Fatal(err)
	}
	return pol
}

// refusal sorts an error into the classes of the vectors' names.
func refusal(err error) string {
	var (
		sig       *policy.SignatureError
		quorum    *policy.QuorumError
		inclusion *log.ProofError
	)
	switch {
	case err == nil:
		return "accept"
	case errors.Is(err, policy.ErrMalformed):
		return "malformed"
	case errors.Is(err, policy.ErrUnknownLog):
		return "unknown-log"
	case errors.As(err, &sig):
		return "signature"
	case errors.As(err, &quorum):
		return "quorum"
	case errors.As(err, &inclusion):
		return "inclusion"
	}
	return err.Error()
}

func TestPF_Vectors(t *testing.T) {
	pol, leaf := vectorPolicy(t), readVector(t, "leaf")
	eachVector(t, ".tlog-proof", func(name string, b []byte) {
		p, err := log.ParseProof(b)
		if err == nil {
			if !bytes.Equal(p.Marshal(), b) {
				t.Errorf("%s: encodes to other bytes", name)
			}
			_, err = p.Verify(pol, leaf, time.Unix(1_800_000_010, 0))
		}
		want := strings.TrimPrefix(name, "reject-")
		if got := refusal(err); !strings.HasPrefix(want, got+"-") {
			t.Errorf("%s: %s: %v", name, got, err)
		}
		if err == nil {
			if _, err := p.Verify(pol, append(leaf, 0), time.Unix(1_800_000_010, 0)); err == nil {
				t.Errorf("%s: verifies for another leaf", name)
			}
		}
	})
}
