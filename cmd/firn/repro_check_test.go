package main

import (
	"testing"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/statement"
	"github.com/firn-log/firn/tracker/api"
	"github.com/firn-log/firn/verify"
)

// A tracker that says that it does not list all claims hides none of those that say what others
// say that it lists.
func TestWhoDoesNotListAllHidesNothing(t *testing.T) {
	nar := nix.Hash{1}
	proven := []verify.Claim{{Operator: "a", ID: statement.ID{1}, About: verify.Fingerprint{NarHash: nar}}}
	says := []api.Claim{{Statement: statement.ID{2}.String(), NarHash: nar.String()}}
	other := []api.Claim{{Statement: statement.ID{2}.String(), NarHash: nix.Hash{2}.String()}}
	for _, tt := range []struct {
		o    reproOutput
		want int
	}{
		{reproOutput{State: api.Agree, claims: says}, 1},
		{reproOutput{State: api.Agree, claims: says, more: true}, 0},
		{reproOutput{State: api.Agree, claims: other, more: true}, 1},
		{reproOutput{State: api.Differ, claims: other, more: true}, 0},
		{reproOutput{State: api.Differ, claims: other}, 1},
	} {
		if got := disagreements(&tt.o, proven, &verify.Report{}); len(got) != tt.want {
			t.Errorf("%+v: %q", tt.o, got)
		}
	}
}
