package log_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/lookup"
	"github.com/firn-log/firn/log/statement"
)

func TestLyingAnswersToALookupAreRefused(t *testing.T) {
	l, a, _ := library(t)
	x, y, z, none := logtest.ClosureKey("x"), logtest.ClosureKey("y"), logtest.ClosureKey("z"), logtest.ClosureKey("nothing")
	early := l.Publish()
	l.Revise()
	junk, err := l.Client("").ProveInclusion(t.Context(), checkpoint(t, l.Client("")), 3)
	if err != nil {
		t.Fatal(err)
	}
	other := logtest.New(t, logtest.Origin("log.example/89abcdef"))
	otherRevision := other.State(&statement.Revision{Origin: l.Origin(), Size: 5, Root: index.Hash{1}, MapVersion: 1})
	entries := func(a *lookup.Answer, i int) *[]index.Item { return &a.Lists[i].Items }
	for what, c := range map[string]struct {
		change func(*lookup.Answer)
		want   string // what the error says
		key    string // that it names
		index  uint64
	}{
		"body of another entry": {func(a *lookup.Answer) { a.Bodies[1].Leaf = a.Bodies[0].Leaf }, "does not verify", y, 1},
		"altered body":          {func(a *lookup.Answer) { a.Bodies[0].Leaf = []byte("AAA") }, "does not verify", x, 0},
		"hashes of another":     {func(a *lookup.Answer) { a.Bodies[0].Inclusion = a.Bodies[1].Inclusion }, "does not verify", x, 0},
		"no hashes":             {func(a *lookup.Answer) { a.Bodies[0].Inclusion = nil }, "does not verify", x, 0},
		"missing body":          {func(a *lookup.Answer) { a.Bodies = slices.Delete(a.Bodies, 3, 4) }, "body is missing", x, 4},
		"body not asked for": {func(a *lookup.Answer) {
			a.Bodies = slices.Insert(a.Bodies, 3, lookup.Body{Index: 3, Leaf: []byte("not a statement"), Inclusion: junk.Hashes})
		}, "without being listed", "", 3},
		"an entry left out":                  {func(a *lookup.Answer) { *entries(a, 0) = (*entries(a, 0))[:1] }, "does not belong to the revision", x, 0},
		"an entry added":                     {func(a *lookup.Answer) { *entries(a, 1) = append(*entries(a, 1), index.Item{Index: 3}) }, "does not belong to the revision", y, 0},
		"wrong signer":                       {func(m *lookup.Answer) { (*entries(m, 0))[1].Signer = a }, "does not belong to the revision", x, 0},
		"out of order":                       {func(a *lookup.Answer) { slices.Reverse(*entries(a, 0)) }, "does not belong to the revision", x, 0},
		"a key left out":                     {func(a *lookup.Answer) { a.Lists[1] = lookup.List{} }, "the answer says otherwise", y, 0},
		"a key made up":                      {func(a *lookup.Answer) { a.Lists[3] = a.Lists[1] }, "the answer says otherwise", none, 0},
		"lists swapped":                      {func(a *lookup.Answer) { a.Lists[0], a.Lists[1] = a.Lists[1], a.Lists[0] }, "does not belong to the revision", x, 0},
		"no list":                            {func(a *lookup.Answer) { a.Lists, a.Bodies = nil, nil }, "0 lists for 4 keys", "", 0},
		"a list too many":                    {func(a *lookup.Answer) { a.Lists = append(a.Lists, lookup.List{}) }, "5 lists for 4 keys", "", 0},
		"a proof of other keys":              {func(a *lookup.Answer) { a.Trie = index.Stub(a.Trie.Hash()) }, "says nothing about this key", x, 0},
		"a proof of another map":             {func(a *lookup.Answer) { a.Trie = index.Stub(index.Hash{}) }, "does not belong to the revision", "", 0},
		"an empty map":                       {func(a *lookup.Answer) { a.Trie = nil }, "does not belong to the revision", "", 0},
		"no revision":                        {func(a *lookup.Answer) { a.Revision = a.Bodies[0] }, "not the revision of its index", "", 0},
		"a revision that is not in the tree": {func(a *lookup.Answer) { a.Revision.Leaf = otherRevision }, "does not verify", "", 5},
		"a tail with another entry": {func(a *lookup.Answer) {
			a.Tail = &lookup.Tail{Peaks: a.Tail.Peaks, Leaves: [][]byte{[]byte("x")}}
		}, "not those of its tree", "", 0},
		"a tail that is too short":     {func(a *lookup.Answer) { a.Tail = &lookup.Tail{Peaks: a.Tail.Peaks} }, "0 entries between", "", 0},
		"a tail with too few peaks":    {func(a *lookup.Answer) { a.Tail = &lookup.Tail{Peaks: a.Tail.Peaks[1:], Leaves: a.Tail.Leaves} }, "not those of its tree", "", 0},
		"vouched by another log":       {func(a *lookup.Answer) { a.Vouched = other.Publish() }, "auditors vouch for", "", 0},
		"vouched before the revision":  {func(a *lookup.Answer) { a.Vouched = early }, "the revision is entry 5", "", 0},
		"vouched without the revision": {func(a *lookup.Answer) { a.Vouched, a.Vouch = a.Note, []tlog.Hash{{}} }, "not that of the answer", "", 0},
	} {
		t.Run(what, func(t *testing.T) {
			l.Lie(func(lies *logtest.Lies) { lies.Answer = c.change })
			dir := t.TempDir()
			answers, err := l.Client(dir).Lookup(t.Context(), log.Query{Keys: []string{x, y, z, none}})
			if held := faults(t, l, dir); len(held) > 0 {
				t.Errorf("it convicts the log: %+v", held)
			}
			var bad *log.ProofError
			if answers != nil || !errors.As(err, &bad) {
				t.Fatalf("%+v, %v, want a ProofError", answers, err)
			}
			if !strings.Contains(err.Error(), c.want) || bad.Key != c.key || bad.Index != c.index || bad.Origin != l.Origin() {
				t.Errorf("%v (key %q, index %d), want %q about %q, %d", err, bad.Key, bad.Index, c.want, c.key, c.index)
			}
		})
	}
}

// Whoever edits the signed index is found out by auditors, not by who asks; but what
// was known of a list before cannot be taken back.
func TestEditedIndexIsNoticedByWhoKnewTheList(t *testing.T) {
	l, a, _ := library(t)
	x := logtest.ClosureKey("x")
	c := l.Client("")
	before, err := c.Lookup(t.Context(), log.Query{Keys: []string{x}})
	if err != nil {
		t.Fatal(err)
	}
	l.Add(logtest.Leaf(t, logtest.Signer(t, "a"), logtest.Closure("new")))
	l.Publish()
	l.Lie(func(lies *logtest.Lies) { lies.Hide = map[string]bool{x: true} })
	fresh, err := c.Lookup(t.Context(), log.Query{Keys: []string{x}})
	if err != nil || len(fresh.Of(x)) != 0 {
		t.Errorf("%v, %v", fresh, err)
	}
	var prefix *log.PrefixError
	if _, err := c.Lookup(t.Context(), log.Query{Keys: []string{x}, Known: before.Heads}); !errors.As(err, &prefix) || prefix.Key != x {
		t.Errorf("%v, want a PrefixError", err)
	}
	l.Lie(func(lies *logtest.Lies) { lies.Hide = nil })
	l.Add(logtest.Leaf(t, logtest.Signer(t, "a"), logtest.Closure("newer")))
	l.Publish()
	wrong := map[string]log.Known{x: head(a, 1)}
	if _, err := c.Lookup(t.Context(), log.Query{Keys: []string{x}, Known: wrong}); !errors.As(err, &prefix) {
		t.Errorf("%v, want a PrefixError", err)
	}
}

func TestLookupWithAForkedOrStaleCheckpointIsRefused(t *testing.T) {
	l, _, _ := library(t)
	x := logtest.ClosureKey("x")
	dir := t.TempDir()
	early := l.Publish()
	checkpoint(t, l.Client(dir))
	other := logtest.New(t, logtest.Witnesses(3, 2))
	for i := range 5 {
		other.Add([]byte{byte(i)})
	}
	other.Publish()
	var fork *log.ForkError
	if _, err := other.Client(dir).Lookup(t.Context(), log.Query{Keys: []string{x}}); !errors.As(err, &fork) {
		t.Errorf("%v, want a ForkError", err)
	}
	dir = t.TempDir()
	grow(l, 0, 300, "more")
	checkpoint(t, l.Client(dir))
	l.Lie(func(lies *logtest.Lies) { lies.Checkpoint = early })
	if _, err := l.Client(dir).Lookup(t.Context(), log.Query{Keys: []string{x}}); !errors.Is(err, log.ErrStale) {
		t.Errorf("%v, want ErrStale", err)
	}
}
