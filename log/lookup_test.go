package log_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/lookup"
	"github.com/firn-log/firn/log/statement"
)

// library is a log with closures x, y and z by a, and x by b.
func library(t testing.TB) (l *logtest.Log, a, b statement.KeyID) {
	l = logtest.New(t, logtest.Witnesses(3, 2))
	sa, sb := logtest.Signer(t, "a"), logtest.Signer(t, "b")
	for _, name := range []string{"x", "y", "z"} {
		l.Add(logtest.Leaf(t, sa, logtest.Closure(name)))
	}
	l.Add([]byte("not a statement"))
	l.Add(logtest.Leaf(t, sb, logtest.Closure("x")))
	l.Publish()
	return l, sa.PublicKey().ID(), sb.PublicKey().ID()
}

func indexes(list []log.Found) string {
	var s []string
	for _, f := range list {
		body := ""
		if f.Leaf != nil {
			body = "+"
		}
		s = append(s, fmt.Sprint(f.Index, body))
	}
	return strings.Join(s, " ")
}

func TestLookup(t *testing.T) {
	l, a, b := library(t)
	x, y, none := logtest.ClosureKey("x"), logtest.ClosureKey("y"), logtest.ClosureKey("nothing")
	for _, c := range []struct {
		what    string
		signers []statement.KeyID
		known   map[string]log.Known
		want    map[string]string
	}{
		{"all bodies", nil, nil, map[string]string{x: "0+ 4+", y: "1+", none: "", index.Key(a): "0+ 1+ 2+"}},
		{"bodies of b", []statement.KeyID{b}, nil, map[string]string{x: "0 4+", y: "1", index.Key(b): "4+"}},
		{"no bodies", []statement.KeyID{}, nil, map[string]string{x: "0 4", y: "1"}},
		{"from where a is known", nil, map[string]log.Known{x: head(a, 0)}, map[string]string{x: "4+", y: "1+"}},
		{"nothing new", nil, map[string]log.Known{y: head(a, 1), index.Key(a): head(a, 0, 1, 2)}, map[string]string{y: "", index.Key(a): ""}},
	} {
		var keys []string
		for k := range c.want {
			keys = append(keys, k, k)
		}
		answers, err := l.Client("").Lookup(t.Context(), log.Query{Keys: keys, Signers: c.signers, Known: c.known})
		if err != nil {
			t.Errorf("%s: %v", c.what, err)
			continue
		}
		if len(answers.Keys) != len(c.want) || answers.Checkpoint.Size != 6 || answers.Read != 6 {
			t.Errorf("%s: %d keys at size %d", c.what, len(answers.Keys), answers.Checkpoint.Size)
		}
		for k, want := range c.want {
			if got := indexes(answers.Of(k)); got != want {
				t.Errorf("%s: %s has %q, want %q", c.what, k, got, want)
			}
			for _, f := range answers.Of(k) {
				if f.Leaf != nil && f.Leaf.Statement.Signer != f.Signer {
					t.Errorf("%s: %s: entry %d names another signer", c.what, k, f.Index)
				}
			}
		}
	}
}

// head is what is known of a list of entries by one signer.
func head(signer statement.KeyID, entries ...uint64) log.Known {
	var f index.Frontier
	for _, i := range entries {
		f.Append(index.Item{Index: i, Signer: signer})
	}
	return log.Known{Head: f.Root(), Size: 5}
}

func TestLookupOfNothingIsACheckpoint(t *testing.T) {
	l, _, _ := library(t)
	answers, err := l.Client("").Lookup(t.Context(), log.Query{Keys: nil})
	if err != nil || answers.Checkpoint.Size != 5 || len(answers.Keys) != 0 {
		t.Errorf("%+v, %v", answers, err)
	}
}

func TestLookupProofsVerifyByThemselves(t *testing.T) {
	l, _, _ := library(t)
	answers, err := l.Client("").Lookup(t.Context(), log.Query{Keys: []string{logtest.ClosureKey("x")}})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range answers.Of(logtest.ClosureKey("x")) {
		if _, err := f.Leaf.Proof.Verify(l.Policy(), f.Leaf.Bytes, answers.Checkpoint.Verified.Time); err != nil {
			t.Error(err)
		}
	}
}

// The lists of several requests are cut at the size of the oldest answer.
func TestLookupInBatchesIsAboutOneTree(t *testing.T) {
	l, a, _ := library(t)
	sa := logtest.Signer(t, "a")
	requests := 0
	l.Lie(func(lies *logtest.Lies) {
		lies.Edit = func(path string, status int, body []byte) (int, []byte) {
			if path == "v1/lookup" {
				requests++
			}
			return status, body
		}
	})
	keys := []string{index.Key(a)}
	for i := range 120 {
		keys = append(keys, logtest.ClosureKey(fmt.Sprint(i)))
	}
	c := l.Client("")
	c.Shrink(50)
	answers, err := c.Lookup(t.Context(), log.Query{Keys: keys})
	if err != nil || requests != 3 || len(answers.Keys) != 121 {
		t.Fatalf("%d requests, %d keys, %v", requests, len(answers.Keys), err)
	}
	// The log grows after every answer.
	grown := 0
	l.Lie(func(lies *logtest.Lies) { lies.Edit = nil })
	hook := &growing{l: l, leaf: func() []byte {
		grown++
		return logtest.Leaf(t, sa, logtest.Closure(fmt.Sprint("grown-", grown)))
	}}
	c, err = log.NewClient(hook.serve(t), l.Policy(), log.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c.Shrink(50)
	keys = append(keys[1:], index.Key(a))
	answers, err = c.Lookup(t.Context(), log.Query{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	got, size := indexes(answers.Of(index.Key(a))), answers.Checkpoint.Size
	if got != "0+ 1+ 2+" || size != 6 || answers.Read != 6 || l.Size() != 11 {
		t.Errorf("%q at size %d of %d", got, size, l.Size())
	}
}

// An answer has bounds, and a log says where it cut a list short. Such a list is
// not complete, and is asked for again from there.
func TestLookupGoesOnWhereListsAreCutShort(t *testing.T) {
	l, a, b := library(t)
	keys := []string{logtest.ClosureKey("nothing"), logtest.ClosureKey("x"), index.Key(a), logtest.ClosureKey("y"), index.Key(b)}
	want := []string{"", "0+ 4+", "0+ 1+ 2+", "1+", "4+"}
	for cut := 1; cut < 9; cut++ {
		requests := 0
		l.Lie(func(lies *logtest.Lies) {
			lies.Cut = cut
			lies.Edit = func(path string, status int, body []byte) (int, []byte) {
				if path == "v1/lookup" {
					requests++
				}
				return status, body
			}
		})
		answers, err := l.Client("").Lookup(t.Context(), log.Query{Keys: keys})
		if err != nil {
			t.Errorf("%d entries in an answer: %v", cut, err)
			continue
		}
		for i, k := range keys {
			if got := indexes(answers.Of(k)); got != want[i] {
				t.Errorf("%d entries in an answer: %s has %q, want %q", cut, k, got, want[i])
			}
		}
		if cut < 7 == (requests == 1) {
			t.Errorf("%d entries in an answer: %d requests", cut, requests)
		}
	}
}

func TestLookupThatNeverEndsIsRefused(t *testing.T) {
	l, a, _ := library(t)
	requests := 0
	l.Lie(func(lies *logtest.Lies) {
		lies.Answer = func(answer *lookup.Answer) {
			list := &answer.Lists[0]
			for _, it := range list.Items {
				list.Prefix.Append(it)
			}
			list.Items, answer.Bodies = nil, nil
			if requests++; requests > 100 {
				t.Fatal("it was asked for ever")
			}
		}
	})
	var bad *log.ProofError
	_, err := l.Client("").Lookup(t.Context(), log.Query{Keys: []string{index.Key(a)}})
	if !errors.As(err, &bad) || bad.Key == "" || !strings.Contains(err.Error(), "before it begins") {
		t.Errorf("%v, want a ProofError that names a key", err)
	}
}

func FuzzLookupAnswer(f *testing.F) {
	l, _, _ := library(f)
	x := logtest.ClosureKey("x")
	c := l.Client("")
	cp, answer := c.RawLookup(f, []string{x})
	f.Add(answer)
	f.Fuzz(func(t *testing.T, b []byte) {
		answers, err := c.CheckRawLookup(cp, []string{x}, b)
		if err != nil {
			return
		}
		for _, found := range answers.Of(x) {
			if found.Index != 0 && found.Index != 4 {
				t.Errorf("%s: entry %d", b, found.Index)
			}
		}
	})
}

func BenchmarkLookup8000(b *testing.B) {
	l := logtest.New(b)
	s := logtest.Signer(b, "a")
	var keys []string
	for i := range 8000 {
		l.Add(logtest.Leaf(b, s, logtest.Closure(fmt.Sprint(i))))
		keys = append(keys, logtest.ClosureKey(fmt.Sprint(i)))
	}
	for i := range 62_000 {
		l.Add(fmt.Appendf(nil, "%d", i))
	}
	l.Publish()
	c := l.Client("")
	cp, answer := c.RawLookup(b, keys)
	b.ResetTimer()
	for b.Loop() {
		if _, err := c.CheckRawLookup(cp, keys, answer); err != nil {
			b.Fatal(err)
		}
	}
}

// A head that counts entries which are cut off would lose them for good.
func TestHeadsNeverCountWhatIsCutOff(t *testing.T) {
	l, a, _ := library(t)
	hook := &growing{l: l, leaf: func() []byte {
		return logtest.Leaf(t, logtest.Signer(t, "a"), logtest.Closure(fmt.Sprint("grown-", l.Size())))
	}}
	c, err := log.NewClient(hook.serve(t), l.Policy(), log.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c.Shrink(1)
	key := index.Key(a)
	answers, err := c.Lookup(t.Context(), log.Query{Keys: []string{logtest.ClosureKey("x"), logtest.ClosureKey("y"), key}})
	if err != nil {
		t.Fatal(err)
	}
	if n := uint64(len(answers.Of(key))); answers.Heads[key].Count > n {
		t.Errorf("%d entries, and a head of %d", n, answers.Heads[key].Count)
	}
}
