package verify

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/firn-log/firn/internal/testreq"
	"github.com/firn-log/firn/log/policy"
)

// The sets of witnesses and auditors have the sizes that the lint of a quorum computes.
func TestSmallestSetsOfWitnessesAgreeWithTheLintOfAQuorum(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(testreq.Root(), "spec/vectors/policy/accept-*.policy"))
	if err != nil {
		t.Fatal(err)
	}
	shipped, err := filepath.Glob(filepath.Join(testreq.Root(), "docs/policies/*/*.policy"))
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	for _, file := range append(files, shipped...) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		pol, err := policy.Parse(data)
		if err != nil { // a firn.policy
			continue
		}
		lint := pol.Lint()
		overlaps, ok := SmallestOverlaps(pol, 3)
		quorums, _ := SmallestQuorums(pol, 3)
		if ok != lint.Satisfiable || ok && (overlaps.Size != lint.Overlap || quorums.Size != lint.Needed) {
			t.Errorf("%s: %+v and %+v, and lint says %+v", file, overlaps, quorums, lint)
		}
		for _, set := range quorums.Examples {
			asked++
			if len(set) != lint.Needed {
				t.Errorf("%s: %v has not %d members", file, set, lint.Needed)
			}
		}
	}
	if asked < 8 {
		t.Errorf("only %d sets", asked)
	}
}
