package log_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/lookup"
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
