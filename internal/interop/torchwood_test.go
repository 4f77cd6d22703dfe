package interop

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/testreq"
)

// differs are the policies of spec/vectors that torchwood v0.9.0 reads
// otherwise than the document says, and what it does. What firn accepts,
// torchwood accepts, up to keys of a kind that it does not know.
var differs = map[string]string{
	"accept-ml-dsa-carried.policy":                "it refuses keys of type 0x06",
	"reject-PO1-quorum-of-two-names.policy":       "it ignores what follows on a line",
	"reject-PO3-log-key-under-two-origins.policy": "it does not compare keys",
	"reject-PO3-log-twice.policy":                 "it does not compare keys",
	"reject-PO3-witness-key-twice.policy":         "it does not compare keys",
	"reject-PO4-k-leading-zero.policy":            "it reads numbers leniently",
	"reject-PO4-k-sign.policy":                    "it reads numbers leniently",
	"reject-PO4-member-of-two-groups.policy":      "it lets a name be a member twice",
	"reject-PO4-member-twice-in-group.policy":     "it lets a name be a member twice",
	"reject-PO4-none-as-group.policy":             "it lets anything be named none",
	"reject-PO4-none-as-witness.policy":           "it lets anything be named none",
	"reject-PO4-quorum-defined-later.policy":      "it reads the quorum last",
	"reject-PO5-vertical-tab.policy":              "it takes any space of Unicode",
	"reject-log-with-comment.policy":              "it ignores what follows on a line",
}

// torchwood's parser and ours agree about the policies of the vectors, up to
// differs.
func TestTorchwoodReadsPolicies(t *testing.T) {
	check := peer(t, "torchcheck")
	files, err := filepath.Glob(filepath.Join(testreq.Root(), "spec/vectors/policy/*.policy"))
	if err != nil || len(files) < 30 {
		t.Fatalf("%d policies, %v", len(files), err)
	}
	for _, path := range files {
		name := filepath.Base(path)
		_, err := try(check, "policy", path)
		accepts := err == nil
		want := strings.HasPrefix(name, "accept-")
		why, known := differs[name]
		switch {
		case known && accepts == want:
			t.Errorf("%s: torchwood now agrees; %q is out of date", name, why)
		case !known && accepts != want:
			t.Errorf("%s: torchwood accepts: %v, want %v; %v", name, accepts, want, err)
		}
	}
}
