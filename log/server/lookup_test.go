package server

import (
	"fmt"
	"testing"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/lookup"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/server/sample"
	"github.com/firn-log/firn/log/statement"
)

// However little fits in one answer, a client that goes on asking gets all of it.
func TestAnswersThatAreCutShortAddUp(t *testing.T) {
	t.Parallel()
	l := newQuickLog(t, nil)
	alice, bob := l.operator("alice"), l.operator("bob")
	for i := range 6 {
		l.must(alice.Claim(sample.Again(1, i)), bob.Claim(sample.Again(1, 10+i)), alice.Claim(sample.Build(2+i)))
	}
	pol := want(policy.Parse([]byte("log " + l.VKey() + "\nquorum none\n")))(t)
	key := alice.Build.PublicKey().ID()
	keys := []string{index.Out(sample.Build(1).Outputs[0].Path), "out:/nix/store/nothing", "key:" + key.String(), index.Out(sample.Build(3).Outputs[0].Path)}
	l.settle()
	ask := func(signers []statement.KeyID) (found []string) {
		a, err := want(log.NewClient(l.http.URL, pol, log.Options{}))(t).Lookup(t.Context(), log.Query{Keys: keys, Signers: signers})
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range keys {
			for _, f := range a.Of(k) {
				found = append(found, fmt.Sprint(k, f.Index, f.Leaf != nil))
			}
		}
		return found
	}
	for _, signers := range [][]statement.KeyID{nil, {key}, {}} {
		l.room.entries, l.room.bytes = lookup.MaxItems, lookup.MaxLeaves
		all := ask(signers)
		if len(all) != 12+13+1 { // the key-add names alice's key
			t.Fatalf("%d entries: %q", len(all), all)
		}
		for _, room := range []struct{ entries, bytes int }{{1, lookup.MaxLeaves}, {5, lookup.MaxLeaves}, {lookup.MaxItems, 1}, {lookup.MaxItems, 3000}, {12, 1}} {
			l.room = room
			if got := ask(signers); fmt.Sprint(got) != fmt.Sprint(all) {
				t.Errorf("%d signers, room for %+v: %q, want %q", len(signers), room, got, all)
			}
		}
	}
}
