package web

import (
	"testing"

	"github.com/firn-log/firn/tracker/store"
)

// Claims of one NAR with other references are other contents.
func TestOtherReferencesAreAnotherCamp(t *testing.T) {
	claim := func(id, content string) store.ClaimView {
		return store.ClaimView{By: store.OperatorRef{ID: id}, Content: content, NarHash: "sha256:x", NarSize: 1, Counts: true}
	}
	o := outputOf(store.OutputView{State: store.Differ, Claims: []store.ClaimView{claim("a", "1"), claim("b", "2"), claim("c", "2")}})
	if len(o.Camps) != 2 || o.Camps[0].Operators != 2 || o.Camps[1].Operators != 1 || o.Claims[0].Operator.ID == "a" || o.Claims[2].Camp != "B" {
		t.Errorf("%+v", o)
	}
}
