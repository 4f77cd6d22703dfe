package log_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/lookup"
	"github.com/firn-log/firn/log/statement"
)

// What is truncated, reordered, twice or foreign, is about another key, map version or log, or is too large is refused
// with an error that says which.
func TestEachBadInputHasAnErrorOfItsOwn(t *testing.T) {
	l, _, _ := library(t)
	l.Revise()
	x, y, none := logtest.ClosureKey("x"), logtest.ClosureKey("y"), logtest.ClosureKey("nothing")
	of := func(r statement.Revision) lookup.Body { // a revision that the log has stated, whatever it says
		r.Size = l.Size()
		at := l.Add(l.State(&r))
		l.Publish()
		return lookup.Body{Index: at}
	}
	revisions := map[string]lookup.Body{
		"of another map version": of(statement.Revision{Origin: l.Origin(), Root: index.Hash{1}, MapVersion: 2}),
		"of another log":         of(statement.Revision{Origin: "other.example/00000001", Root: index.Hash{1}, MapVersion: 1}),
		"of another map":         of(statement.Revision{Origin: l.Origin(), Root: index.Hash{1}, MapVersion: 1}),
	}
	l.Lie(func(lies *logtest.Lies) { lies.NoRevision = true })
	c := l.Client("")
	for name, b := range revisions {
		cp := checkpoint(t, c)
		e, err := c.Entry(t.Context(), cp, b.Index)
		if err != nil {
			t.Fatal(err)
		}
		p, err := c.ProveInclusion(t.Context(), cp, b.Index)
		if err != nil {
			t.Fatal(err)
		}
		revisions[name] = lookup.Body{Index: b.Index, Leaf: e.Leaf, Inclusion: p.Hashes}
	}
	foreign := logtest.New(t, logtest.Origin("other.example/00000001"))
	foreign.Add(logtest.Leaf(t, logtest.Signer(t, "a"), logtest.Closure("x")))
	foreign.Publish()
	theirs := foreign.Client("").AskRaw(t, x)
	raw := func(f func(b []byte) []byte) func(*logtest.Lies) {
		return func(lies *logtest.Lies) {
			lies.Edit = func(path string, status int, body []byte) (int, []byte) {
				if path == "v1/lookup" {
					body = f(slices.Clone(body))
				}
				return status, body
			}
		}
	}
	answer := func(f func(a *lookup.Answer)) func(*logtest.Lies) {
		return func(lies *logtest.Lies) { lies.Answer = f }
	}
	errs := make(map[string]string)
	for what, bad := range map[string]struct {
		lie  func(*logtest.Lies)
		want string
	}{
		"a truncated answer":         {raw(func(b []byte) []byte { return b[:len(b)-1] }), "what it sent is no answer to a lookup"},
		"an answer with more":        {raw(func(b []byte) []byte { return append(b, 0) }), "1 bytes follow it"},
		"an answer of another form":  {raw(func(b []byte) []byte { return []byte("{}") }), "it does not begin with"},
		"a truncated proof":          {answer(func(a *lookup.Answer) { a.Bodies[0].Inclusion = a.Bodies[0].Inclusion[1:] }), "that it is in the tree of size"},
		"a truncated list":           {answer(func(a *lookup.Answer) { a.Lists[0].Items = a.Lists[0].Items[:1] }), "1 items with root"},
		"a truncated tail":           {answer(func(a *lookup.Answer) { a.Tail.Leaves = a.Tail.Leaves[1:] }), "entries between size 5 and"},
		"a reordered list":           {answer(func(a *lookup.Answer) { slices.Reverse(a.Lists[0].Items) }), "its list does not belong to the revision of its index"},
		"a reordered tail":           {answer(func(a *lookup.Answer) { a.Tail.Leaves = slices.Clone(a.Tail.Leaves); slices.Reverse(a.Tail.Leaves) }), "are not those of its tree"},
		"reordered bodies":           {answer(func(a *lookup.Answer) { slices.Reverse(a.Bodies) }), "bodies: index 1 follows 4"},
		"an item twice":              {answer(func(a *lookup.Answer) { a.Lists[0].Items = append(a.Lists[0].Items, a.Lists[0].Items[1]) }), "3 items with root"},
		"a body twice":               {answer(func(a *lookup.Answer) { a.Bodies = append(a.Bodies, a.Bodies[2]) }), "bodies: index 4 follows 4"},
		"a list twice":               {answer(func(a *lookup.Answer) { a.Lists = append(a.Lists, a.Lists[0]) }), "4 lists for 3 keys"},
		"a foreign body":             {answer(func(a *lookup.Answer) { a.Bodies[0] = theirs.Bodies[0] }), "that it is in the tree of size"},
		"a foreign map":              {answer(func(a *lookup.Answer) { a.Trie = theirs.Trie }), "the proof does not belong to the revision of its index at entry 5"},
		"a foreign checkpoint":       {answer(func(a *lookup.Answer) { a.Note = theirs.Note }), "other.example/00000001"},
		"a proof of another key":     {answer(func(a *lookup.Answer) { a.Trie = log.Pruned(a.Trie, y) }), "the proof says nothing about this key"},
		"a list of another key":      {answer(func(a *lookup.Answer) { a.Lists[0], a.Bodies = a.Lists[1], a.Bodies[1:2] }), "1 items with root"},
		"a list of an absent key":    {answer(func(a *lookup.Answer) { a.Lists[2] = a.Lists[1] }), "says whether it has entries, and the answer says otherwise"},
		"of another map version":     {answer(func(a *lookup.Answer) { a.Revision = revisions["of another map version"] }), "its index is of map version 2, and this firn reads version 1"},
		"of another log":             {answer(func(a *lookup.Answer) { a.Revision = revisions["of another log"] }), `the revision of its index is that of the log "other.example/00000001"`},
		"of another map":             {answer(func(a *lookup.Answer) { a.Revision = revisions["of another map"] }), "the proof does not belong to the revision of its index at entry 8"},
		"a body that nobody lists":   {answer(func(a *lookup.Answer) { a.Lists[1] = lookup.List{} }), "the answer says otherwise"},
		"a list that is never there": {answer(func(a *lookup.Answer) { a.Lists[0].Present = false; a.Lists[0].Items = nil }), "the answer says otherwise"},
	} {
		l.Lie(func(lies *logtest.Lies) { lies.Answer, lies.Edit = nil, nil; bad.lie(lies) })
		_, err := l.Client("").Lookup(t.Context(), log.Query{Keys: []string{x, y, none}})
		if err == nil || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("%s: %v, want %q", what, err, bad.want)
			continue
		}
		var fork *log.ForkError
		if errors.As(err, &fork) {
			t.Errorf("%s convicts the log: %v", what, err)
		}
		errs[what] = err.Error()
	}
	for what, e := range errs {
		for other, f := range errs {
			alike := what != other && e == f
			absent := strings.Contains(e, "the answer says otherwise") // one list that is not there, twice
			proof := strings.Contains(e, "that it is in the tree of size")
			if alike && !absent && !proof {
				t.Errorf("%s and %s are refused alike: %s", what, other, e)
			}
		}
	}
}
