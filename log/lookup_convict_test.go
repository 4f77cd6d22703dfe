package log_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/lookup"
	"github.com/firn-log/firn/log/statement"
)

// faults are what is held against the index of a log by who remembers in dir.
func faults(t *testing.T, l *logtest.Log, dir string) []log.IndexFault {
	t.Helper()
	trust, err := l.Client(dir).IndexTrust(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return trust.Faults
}

// An answer that shows that the log has signed a wrong map is refused, and convicts it.
func TestAWrongMapInAnAnswerIsKeptAsEvidence(t *testing.T) {
	x, y, none := logtest.ClosureKey("x"), logtest.ClosureKey("y"), logtest.ClosureKey("nothing")
	signer := logtest.Signer(t, "a").PublicKey().ID()
	for what, c := range map[string]struct {
		lie   func(l *logtest.Lies)
		keys  func(a string) []string
		says  string // the error
		fault string
	}{
		"a list that is not there": {
			func(l *logtest.Lies) { l.Hide = map[string]bool{y: true} },
			func(a string) []string { return []string{y, a} },
			"does not list this entry", "the map has no",
		},
		"an entry left out of a list": {
			func(l *logtest.Lies) {
				l.Index = func(key string, it index.Item) (index.Item, bool) { return it, key != x || it.Index != 0 }
			},
			func(a string) []string { return []string{x, a} },
			"does not list this entry", "lacks",
		},
		"another signer": {
			func(l *logtest.Lies) {
				l.Index = func(key string, it index.Item) (index.Item, bool) {
					if key == y {
						it.Signer[0] ^= 1
					}
					return it, true
				}
			},
			func(string) []string { return []string{y} },
			"not by the signer in the list", "",
		},
		"an entry that does not belong there": {
			func(l *logtest.Lies) { l.Extra = map[string][]index.Item{none: {{Index: 1}}} },
			func(string) []string { return []string{none} },
			"", "",
		},
		"an entry that is listed where it belongs and elsewhere, too": {
			func(l *logtest.Lies) { l.Extra = map[string][]index.Item{none: {{Index: 1, Signer: signer}}} },
			func(a string) []string { return []string{y, none, a} },
			"does not belong under this key", "does not belong there",
		},
		"a list out of order": {
			func(l *logtest.Lies) {
				l.Index = func(key string, it index.Item) (index.Item, bool) {
					if key == x {
						it.Index = 4 - it.Index
					}
					return it, true
				}
			},
			func(string) []string { return []string{x} },
			"no map has this shape", "",
		},
	} {
		l, a, _ := library(t)
		l.Lie(c.lie)
		dir := t.TempDir()
		var bad *log.ProofError
		_, err := l.Client(dir).Lookup(t.Context(), log.Query{Keys: c.keys(index.Key(a))})
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", what, err, c.says)
		}
		l.Lie(func(lies *logtest.Lies) { lies.NoRevision = true })
		if got := faults(t, l, dir); len(got) != 1 || !strings.Contains(got[0].What, c.fault) {
			t.Errorf("%s: held against the index: %+v, want %q", what, got, c.fault)
		}
	}
}

func TestATrieThatNoMapHasIsKeptAsEvidence(t *testing.T) {
	l, _, _ := library(t)
	x := logtest.ClosureKey("x")
	var wrong *index.Node
	l.Lie(func(lies *logtest.Lies) {
		lies.Trie = func(n *index.Node) *index.Node {
			_, left, right, _ := n.AsBranch()
			wrong = index.Branch(0, right, left)
			return wrong
		}
		lies.Answer = func(a *lookup.Answer) { a.Trie = wrong }
	})
	dir := t.TempDir()
	if _, err := l.Client(dir).Lookup(t.Context(), log.Query{Keys: []string{x}}); !errors.Is(err, index.ErrShape) {
		t.Error(err)
	}
	l.Lie(func(lies *logtest.Lies) { lies.NoRevision = true })
	if got := faults(t, l, dir); len(got) != 1 {
		t.Errorf("held against the index: %+v", got)
	}
	// The same trie under another revision proves nothing.
	l, _, _ = library(t)
	l.Lie(func(lies *logtest.Lies) { lies.Answer = func(a *lookup.Answer) { a.Trie = wrong } })
	dir = t.TempDir()
	if _, err := l.Client(dir).Lookup(t.Context(), log.Query{Keys: []string{x}}); !errors.Is(err, index.ErrShape) {
		t.Error(err)
	}
	if got := faults(t, l, dir); len(got) != 0 {
		t.Errorf("held against the index: %+v", got)
	}
}

// An answer that was believed convicts the log once an entry comes to light that it hid, also
// where the list came in parts; and nothing else convicts it.
func TestWhatAnAnswerHidConvictsWhenItComesToLight(t *testing.T) {
	x, y, none := logtest.ClosureKey("x"), logtest.ClosureKey("y"), logtest.ClosureKey("nothing")
	drop := func(hidden string, at uint64) func(*logtest.Lies) {
		return func(l *logtest.Lies) {
			l.Index = func(key string, it index.Item) (index.Item, bool) { return it, key != hidden || it.Index != at }
		}
	}
	_, a, b := library(t)
	for what, c := range map[string]struct {
		lie   func(l *logtest.Lies)
		cut   int
		key   string
		entry uint64
		fault string // "" if it is innocent
	}{
		"a list that is not there":  {lie: func(l *logtest.Lies) { l.Hide = map[string]bool{y: true} }, key: y, entry: 1, fault: "the map has no"},
		"the first entry":           {lie: drop(x, 0), key: x, entry: 0, fault: "lacks the entry 0"},
		"the last entry":            {lie: drop(x, 4), key: x, entry: 4, fault: "lacks the entry 4"},
		"an entry in the middle":    {lie: drop(index.Key(a), 1), key: index.Key(a), entry: 1, fault: "lacks the entry 1"},
		"between two parts":         {lie: drop(index.Key(a), 1), cut: 1, key: index.Key(a), entry: 1, fault: "lacks the entry 1"},
		"before the first part":     {lie: drop(index.Key(a), 0), cut: 1, key: index.Key(a), entry: 0, fault: "lacks the entry 0"},
		"an entry of somebody else": {lie: func(l *logtest.Lies) { l.Extra = map[string][]index.Item{none: {{Index: 1, Signer: b}}} }, key: none, entry: 1, fault: "does not belong there"},
		"another signer": {lie: func(l *logtest.Lies) {
			l.Index = func(key string, it index.Item) (index.Item, bool) { it.Signer[0] ^= 1; return it, true }
		}, key: y, entry: 1, fault: "under another key"},
		"what is listed":                 {key: x, entry: 4},
		"what belongs elsewhere":         {key: y, entry: 0},
		"what has no key":                {key: x, entry: 3},
		"a key that was not asked for":   {lie: drop(x, 0), key: "key:" + strings.Repeat("0", 64), entry: 0},
		"what came after the revision":   {key: x, entry: 5},
		"what is not in the tree at all": {key: x, entry: 1000},
	} {
		l, _, _ := library(t)
		if c.lie != nil {
			l.Lie(c.lie)
		}
		l.Lie(func(lies *logtest.Lies) { lies.Cut = c.cut })
		dir := t.TempDir()
		for _, in := range []string{"", dir} {
			client := l.Client(in)
			answers, err := client.Lookup(t.Context(), log.Query{Keys: []string{x, y, index.Key(a), none}, Signers: []statement.KeyID{}})
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			kept, err := client.Convict(t.Context(), answers, c.key, c.entry)
			if err != nil || kept != (c.fault != "" && in != "") {
				t.Errorf("%s: kept %v, %v", what, kept, err)
			}
		}
		l.Lie(func(lies *logtest.Lies) { lies.NoRevision = true })
		switch got := faults(t, l, dir); {
		case c.fault == "" && len(got) > 0:
			t.Errorf("%s: held against the index: %+v", what, got)
		case c.fault != "" && (len(got) != 1 || !strings.Contains(got[0].What, c.fault)):
			t.Errorf("%s: held against the index: %+v, want %q", what, got, c.fault)
		}
	}
}

// Of a list that was asked for from where it was known the last known item is asked for again.
func TestWhatIsHiddenRightAfterAKnownListConvicts(t *testing.T) {
	for _, last := range []bool{false, true} {
		l, _, _ := library(t)
		x := logtest.ClosureKey("x")
		dir := t.TempDir()
		c := l.Client(dir)
		before, err := c.Lookup(t.Context(), log.Query{Keys: []string{x}})
		if err != nil {
			t.Fatal(err)
		}
		hidden := l.Add(logtest.Leaf(t, logtest.Signer(t, "a"), logtest.Closure("x")))
		if !last {
			l.Add(logtest.Leaf(t, logtest.Signer(t, "b"), logtest.Closure("x")))
		}
		l.Lie(func(lies *logtest.Lies) {
			lies.Index = func(key string, it index.Item) (index.Item, bool) { return it, it.Index != hidden }
		})
		l.Publish()
		a, err := c.Lookup(t.Context(), log.Query{Keys: []string{x}, Known: before.Heads})
		if err != nil || len(a.Of(x)) == 1 == last {
			t.Fatalf("%+v, %v", a.Of(x), err)
		}
		if kept, err := c.Convict(t.Context(), a, x, hidden); !kept || err != nil {
			t.Errorf("last %v: %v, %v", last, kept, err)
		}
		l.Lie(func(lies *logtest.Lies) { lies.NoRevision = true })
		if got := faults(t, l, dir); len(got) != 1 || !strings.Contains(got[0].What, "lacks the entry 6") {
			t.Errorf("last %v: held against the index: %+v", last, got)
		}
	}
}

// A log that does not show the entry cannot be convicted of hiding it.
func TestAnEntryThatIsWithheldConvictsNobody(t *testing.T) {
	l, _, _ := library(t)
	y := logtest.ClosureKey("y")
	l.Lie(func(lies *logtest.Lies) {
		lies.Hide = map[string]bool{y: true}
		lies.Edit = func(path string, status int, body []byte) (int, []byte) {
			if strings.HasPrefix(path, "tile/entries/") {
				return http.StatusServiceUnavailable, nil
			}
			return status, body
		}
	})
	dir := t.TempDir()
	c := l.Client(dir)
	answers, err := c.Lookup(t.Context(), log.Query{Keys: []string{y}})
	if err != nil {
		t.Fatal(err)
	}
	if kept, err := c.Convict(t.Context(), answers, y, 1); kept || !errors.Is(err, log.ErrUnreachable) {
		t.Errorf("kept %v, %v", kept, err)
	}
	if got := faults(t, l, dir); len(got) != 0 {
		t.Errorf("held against the index: %+v", got)
	}
}

// Two revisions of one size with two roots are seen where the second is read in a tail.
func TestTwoIndexesOfOneSizeInATailConvict(t *testing.T) {
	for what, c := range map[string]struct {
		leaf func(l *logtest.Log, root index.Hash) []byte
		want bool
	}{
		"another root": {func(l *logtest.Log, root index.Hash) []byte {
			return l.State(&statement.Revision{Origin: l.Origin(), Size: 5, Root: index.Hash{1}, MapVersion: 1})
		}, true},
		"the same root": {func(l *logtest.Log, root index.Hash) []byte {
			return l.State(&statement.Revision{Origin: l.Origin(), Size: 5, Root: root, MapVersion: 1})
		}, false},
		"another size": {func(l *logtest.Log, root index.Hash) []byte {
			return l.State(&statement.Revision{Origin: l.Origin(), Size: 4, Root: index.Hash{1}, MapVersion: 1})
		}, false},
		"another map version": {func(l *logtest.Log, root index.Hash) []byte {
			return l.State(&statement.Revision{Origin: l.Origin(), Size: 5, Root: index.Hash{1}, MapVersion: 2})
		}, false},
		"another log": {func(l *logtest.Log, root index.Hash) []byte {
			return l.State(&statement.Revision{Origin: "other.example/00000001", Size: 5, Root: index.Hash{1}, MapVersion: 1})
		}, false},
		"a stranger": {func(l *logtest.Log, root index.Hash) []byte {
			return logtest.Leaf(t, logtest.Signer(t, "a"), &statement.Revision{Origin: l.Origin(), Size: 5, Root: index.Hash{1}, MapVersion: 1})
		}, false},
	} {
		l, _, _ := library(t)
		l.Revise()
		x := logtest.ClosureKey("x")
		l.Lie(func(lies *logtest.Lies) { lies.NoRevision = true })
		root := l.Client("").AskRaw(t, x).Trie.Hash()
		l.Add(c.leaf(l, root))
		l.Publish()
		dir := t.TempDir()
		answers, err := l.Client(dir).Lookup(t.Context(), log.Query{Keys: []string{x}})
		if err != nil || strings.Contains(answers.Incomplete, "has stated two indexes of its first 5 entries") != c.want {
			t.Errorf("%s: %q, %v", what, answers.Incomplete, err)
		}
		if got := faults(t, l, dir); len(got) == 1 != c.want {
			t.Errorf("%s: held against the index: %+v", what, got)
		}
	}
}
