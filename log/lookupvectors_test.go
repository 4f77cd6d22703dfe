package log_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/internal/testreq"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/lookup"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/statement"
)

var updateLookups = flag.Bool("update-lookups", false, "write spec/vectors/lookup")

var lookupVectors = filepath.Join(testreq.Root(), "spec", "vectors", "lookup")

// lookupSays is what answers.json says of an answer that is accepted.
type lookupSays struct {
	Size    uint64              `json:"size"`  // of the checkpoint
	Whole   bool                `json:"whole"` // false: the index was taken back, or stated twice
	Entries map[string][]uint64 `json:"entries"`
	Rest    []lookup.Asked      `json:"rest"` // what is to be asked for next
}

// lookupAnswers is answers.json: what all answers are asked for, and what they say.
type lookupAnswers struct {
	Keys   []string              `json:"keys"`
	Accept map[string]lookupSays `json:"accept"`
}

// lookupRefusal sorts an error into the classes of spec/log.md#lookup-vectors.
func lookupRefusal(err error) string {
	var proof *log.ProofError
	var quorum *policy.QuorumError
	switch {
	case err == nil:
		return "accept"
	case errors.Is(err, index.ErrShape):
		return "shape"
	case errors.Is(err, lookup.ErrMalformed):
		return "malformed"
	case errors.As(err, &quorum):
		return "quorum"
	case errors.As(err, &proof):
		return "proof"
	}
	return err.Error()
}

func TestLookupVectors(t *testing.T) {
	if *updateLookups {
		writeLookupVectors(t)
	}
	text, err := os.ReadFile(filepath.Join(lookupVectors, "log.policy"))
	if err != nil {
		t.Fatal(err)
	}
	pol, err := policy.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	js, err := os.ReadFile(filepath.Join(lookupVectors, "answers.json"))
	if err != nil {
		t.Fatal(err)
	}
	var want lookupAnswers
	if err := json.Unmarshal(js, &want); err != nil {
		t.Fatal(err)
	}
	paths, err := filepath.Glob(filepath.Join(lookupVectors, "*.lookup"))
	if err != nil || len(paths) < 40 {
		t.Fatalf("%d vectors, %v", len(paths), err)
	}
	for _, p := range paths {
		name := filepath.Base(p)
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		a, rest, err := takeVector(t, pol, want.Keys, b)
		if got := lookupRefusal(err); !strings.HasPrefix(strings.TrimPrefix(name, "reject-"), got+"-") {
			t.Errorf("%s: %s: %v", name, got, err)
		}
		if err != nil {
			continue
		}
		if d := cmp.Diff(want.Accept[name], saysOf(a, rest)); d != "" {
			t.Errorf("%s: (-want +got)\n%s", name, d)
		}
		if answer, _ := lookup.Parse(b); !bytes.Equal(answer.Marshal(), b) {
			t.Errorf("%s: encodes to other bytes", name)
		}
	}
}

func takeVector(t *testing.T, pol *policy.Policy, keys []string, b []byte) (*log.Answers, []lookup.Asked, error) {
	t.Helper()
	c, err := log.NewClient("http://127.0.0.1:1", pol, log.Options{Now: func() time.Time { return time.Unix(1_800_000_010, 0) }})
	if err != nil {
		t.Fatal(err)
	}
	return c.Take(t.Context(), keys, b)
}

func saysOf(a *log.Answers, rest []lookup.Asked) lookupSays {
	says := lookupSays{Size: a.Checkpoint.Size, Whole: a.Incomplete == "", Entries: make(map[string][]uint64), Rest: rest}
	for _, k := range a.Keys {
		for _, f := range a.Of(k) {
			says.Entries[k] = append(says.Entries[k], f.Index)
		}
	}
	return says
}

// lookupWriter writes the vectors.
type lookupWriter struct {
	t   *testing.T
	pol *policy.Policy
	all lookupAnswers
}

func (w *lookupWriter) file(name string, b []byte) {
	if err := os.WriteFile(filepath.Join(lookupVectors, name), b, 0o644); err != nil {
		w.t.Fatal(err)
	}
}

func (w *lookupWriter) accept(name string, b []byte) {
	name = "accept-" + name + ".lookup"
	a, rest, err := takeVector(w.t, w.pol, w.all.Keys, b)
	if err != nil {
		w.t.Fatalf("%s: %v", name, err)
	}
	w.all.Accept[name] = saysOf(a, rest)
	w.file(name, b)
}

func (w *lookupWriter) reject(name string, b []byte) { w.file("reject-"+name+".lookup", b) }

// changed is an answer that was asked for anew, and changed.
func changed(t *testing.T, l *logtest.Log, keys []string, change func(*lookup.Answer)) []byte {
	a := l.Client("").AskRaw(t, keys...)
	change(a)
	return a.Marshal()
}

func writeLookupVectors(t *testing.T) {
	l, a, _ := library(t)
	l.SetTime(time.Unix(1_800_000_000, 0))
	early := l.Publish()
	x, y, z, none := logtest.ClosureKey("x"), logtest.ClosureKey("y"), logtest.ClosureKey("z"), logtest.ClosureKey("nothing")
	keys := []string{x, y, z, none}
	if err := os.MkdirAll(lookupVectors, 0o755); err != nil {
		t.Fatal(err)
	}
	w := &lookupWriter{t, l.Policy(), lookupAnswers{Keys: keys, Accept: make(map[string]lookupSays)}}
	w.file("log.policy", []byte(l.PolicyText()))
	base := func(change func(*lookup.Answer)) []byte { return changed(t, l, keys, change) }
	same := func(*lookup.Answer) {}
	w.accept("one-answer", base(same))
	w.accept("the-first-keys", base(func(a *lookup.Answer) { a.Lists, a.Bodies = a.Lists[:2], dropBody(a.Bodies, 2) }))
	w.accept("more-in-the-trie", changed(t, l, append(slices.Clone(keys), index.Key(a)), func(a *lookup.Answer) { a.Lists = a.Lists[:4] }))
	l.Lie(func(lies *logtest.Lies) { lies.Cut = 1 })
	w.accept("the-end-of-a-list", base(same))
	l.Lie(func(lies *logtest.Lies) { lies.Cut = 0 })
	writeMalformedLookups(w, base(same))
	writeLyingLookups(w, base, early, a)
	writeOtherRevisions(w, l, base)
	grown, _, _ := library(t) // the same log, as it went on
	grown.SetTime(time.Unix(1_800_000_000, 0))
	grown.Publish()
	writeGrownLookups(w, grown, keys)
	twice, _, _ := library(t) // the same log, with two revisions of one size
	twice.SetTime(time.Unix(1_800_000_000, 0))
	twice.Revise()
	twice.Lie(func(lies *logtest.Lies) { lies.NoRevision = true })
	twice.Add(twice.State(&statement.Revision{Origin: l.Origin(), Size: 5, Root: index.Hash{1}, MapVersion: 1}))
	twice.Publish()
	w.accept("two-indexes-of-one-size", changed(t, twice, keys, same))
	alone := logtest.New(t) // the same log without its witnesses
	alone.Add([]byte("a"))
	alone.Publish()
	w.reject("quorum-no-witness", changed(t, alone, keys, same))
	js, err := json.MarshalIndent(w.all, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	w.file("answers.json", append(js, '\n'))
}

func dropBody(all []lookup.Body, i uint64) []lookup.Body {
	return slices.DeleteFunc(slices.Clone(all), func(b lookup.Body) bool { return b.Index == i })
}

func writeMalformedLookups(w *lookupWriter, good []byte) {
	parse := func(change func(*lookup.Answer)) []byte {
		a, err := lookup.Parse(good)
		if err != nil {
			w.t.Fatal(err)
		}
		change(a)
		return a.Marshal()
	}
	head := bytes.IndexByte(good, '\n') + 1
	for name, b := range map[string][]byte{
		"cut-off":            good[:len(good)-1],
		"more-follows":       append(bytes.Clone(good), 0),
		"version":            bytes.Replace(good, []byte("@v1"), []byte("@v2"), 1),
		"long-number":        append(bytes.Clone(good[:head]), 0x80, 0x00),
		"hash-twice":         append(append(append(bytes.Clone(good[:head]), 2), good[head+1:head+33]...), good[head+1:head+33]...),
		"hash-unused":        append(append(append(bytes.Clone(good[:head]), good[head]+1), bytes.Repeat([]byte{7}, 32)...), good[head+1:]...),
		"bodies-order":       parse(func(a *lookup.Answer) { slices.Reverse(a.Bodies) }),
		"body-twice":         parse(func(a *lookup.Answer) { a.Bodies[1] = a.Bodies[0] }),
		"vouch-of-nothing":   parse(func(a *lookup.Answer) { a.Vouch = []tlog.Hash{{1}} }),
		"leaf-too-large":     parse(func(a *lookup.Answer) { a.Bodies[0].Leaf = make([]byte, 1<<16) }),
		"proof-too-deep":     parse(func(a *lookup.Answer) { a.Bodies[0].Inclusion = make([]tlog.Hash, 64) }),
		"empty-below-branch": bytes.Replace(good, append([]byte{1}, trieStub(w, good)...), []byte{0}, 1),
	} {
		w.reject("malformed-"+name, b)
	}
	w.reject("shape-misplaced-leaf", parse(func(a *lookup.Answer) {
		a.Trie = index.Branch(0, index.Leaf(index.Hash{0x80}, index.Head{Count: 1}), index.Stub(index.Hash{}))
	}))
}

// trieStub is the hash of a stub in the trie of an answer.
func trieStub(w *lookupWriter, good []byte) []byte {
	a, err := lookup.Parse(good)
	if err != nil {
		w.t.Fatal(err)
	}
	var find func(n *index.Node) []byte
	find = func(n *index.Node) []byte {
		if _, l, r, ok := n.AsBranch(); ok {
			if h := find(l); h != nil {
				return h
			}
			return find(r)
		}
		if _, _, leaf := n.AsLeaf(); leaf {
			return nil
		}
		h := n.Hash()
		return h[:]
	}
	return find(a.Trie)
}

func writeLyingLookups(w *lookupWriter, base func(func(*lookup.Answer)) []byte, early []byte, a statement.KeyID) {
	items := func(a *lookup.Answer, i int) *[]index.Item { return &a.Lists[i].Items }
	for name, change := range map[string]func(*lookup.Answer){
		"body-of-another":        func(a *lookup.Answer) { a.Bodies[1].Leaf = a.Bodies[0].Leaf },
		"body-altered":           func(a *lookup.Answer) { a.Bodies[0].Leaf = []byte("AAA") },
		"body-inclusion":         func(a *lookup.Answer) { a.Bodies[0].Inclusion = a.Bodies[1].Inclusion },
		"body-missing":           func(a *lookup.Answer) { a.Bodies = dropBody(a.Bodies, 4) },
		"body-of-no-list":        func(a *lookup.Answer) { a.Lists = a.Lists[:2] },
		"entry-left-out":         func(a *lookup.Answer) { *items(a, 0) = (*items(a, 0))[:1] },
		"entry-added":            func(a *lookup.Answer) { *items(a, 1) = append(*items(a, 1), index.Item{Index: 3}) },
		"other-signer":           func(m *lookup.Answer) { (*items(m, 0))[1].Signer = a },
		"out-of-order":           func(a *lookup.Answer) { slices.Reverse(*items(a, 0)) },
		"key-left-out":           func(a *lookup.Answer) { a.Lists[1] = lookup.List{} },
		"key-made-up":            func(a *lookup.Answer) { a.Lists[3] = a.Lists[1] },
		"lists-swapped":          func(a *lookup.Answer) { a.Lists[0], a.Lists[1] = a.Lists[1], a.Lists[0] },
		"no-list":                func(a *lookup.Answer) { a.Lists, a.Bodies = nil, nil },
		"too-many-lists":         func(a *lookup.Answer) { a.Lists = append(a.Lists, lookup.List{}) },
		"list-before-it-begins":  func(a *lookup.Answer) { skip(&a.Lists[0]); a.Bodies = dropBody(dropBody(a.Bodies, 0), 4) },
		"trie-not-covering":      func(a *lookup.Answer) { a.Trie = index.Stub(a.Trie.Hash()) },
		"trie-of-another-map":    func(a *lookup.Answer) { a.Trie = index.Stub(index.Hash{}) },
		"trie-empty":             func(a *lookup.Answer) { a.Trie = nil },
		"revision-missing":       func(a *lookup.Answer) { a.Revision = a.Bodies[0] },
		"revision-inclusion":     func(a *lookup.Answer) { a.Revision.Inclusion[0][0] ^= 1 },
		"tail-other-entry":       func(a *lookup.Answer) { a.Tail.Leaves = [][]byte{[]byte("x")} },
		"tail-too-short":         func(a *lookup.Answer) { a.Tail.Leaves = nil },
		"tail-too-few-peaks":     func(a *lookup.Answer) { a.Tail.Peaks = a.Tail.Peaks[1:] },
		"vouched-too-small":      func(a *lookup.Answer) { a.Vouched = early },
		"vouched-proof-of-equal": func(a *lookup.Answer) { a.Vouched, a.Vouch = a.Note, []tlog.Hash{{}} },
		"vouched-no-note":        func(a *lookup.Answer) { a.Vouched = []byte("note") },
	} {
		w.reject("proof-"+name, base(change))
	}
}

// skip makes a list begin at its end.
func skip(l *lookup.List) {
	for _, it := range l.Items {
		l.Prefix.Append(it)
	}
	l.Items = nil
}

// writeOtherRevisions writes answers that rest on what is no revision for them.
func writeOtherRevisions(w *lookupWriter, l *logtest.Log, base func(func(*lookup.Answer)) []byte) {
	answer := l.Client("").AskRaw(w.t, w.all.Keys...)
	root := answer.Trie.Hash()
	for _, r := range []struct {
		name string
		leaf []byte
	}{
		{"larger-than-its-index", l.State(&statement.Revision{Origin: l.Origin(), Size: 1000, Root: root, MapVersion: 1})},
		{"of-another-map-version", l.State(&statement.Revision{Origin: l.Origin(), Size: 5, Root: root, MapVersion: 2})},
		{"of-another-origin", l.State(&statement.Revision{Origin: "other.example/00000001", Size: 5, Root: root, MapVersion: 1})},
		{"of-another-map", l.State(&statement.Revision{Origin: l.Origin(), Size: 5, Root: index.Hash{1}, MapVersion: 1})},
		{"by-another-key", logtest.Leaf(w.t, logtest.Signer(w.t, "a"), &statement.Revision{Origin: l.Origin(), Size: 5, Root: root, MapVersion: 1})},
	} {
		at := l.Add(r.leaf)
		l.Lie(func(lies *logtest.Lies) { lies.NoRevision = true })
		note := l.Publish()
		p, err := l.Client("").ProveInclusion(w.t.Context(), checkpoint(w.t, l.Client("")), at)
		if err != nil {
			w.t.Fatal(err)
		}
		w.reject("proof-revision-"+r.name, base(func(a *lookup.Answer) {
			a.Note, a.Revision = note, lookup.Body{Index: at, Leaf: r.leaf, Inclusion: p.Hashes}
		}))
	}
}

// writeGrownLookups writes answers with a longer tail.
func writeGrownLookups(w *lookupWriter, l *logtest.Log, keys []string) {
	l.Revise()
	l.Lie(func(lies *logtest.Lies) { lies.NoRevision = true })
	vouched, size := l.Publish(), l.Size()
	l.Add(logtest.Leaf(w.t, logtest.Signer(w.t, "a"), logtest.Closure("y")))
	l.Publish()
	same := func(*lookup.Answer) {}
	w.accept("an-entry-in-the-tail", changed(w.t, l, keys, same))
	vouch, err := l.Consistency(w.t.Context(), size, l.Size())
	if err != nil {
		w.t.Fatal(err)
	}
	w.accept("vouched-before", changed(w.t, l, keys, func(a *lookup.Answer) { a.Vouched, a.Vouch = vouched, vouch }))
	w.reject("proof-vouched-consistency", changed(w.t, l, keys, func(a *lookup.Answer) { a.Vouched, a.Vouch = vouched, vouch[1:] }))
	l.Add(l.State(&statement.IndexReset{Origin: l.Origin(), MapVersion: 1, Size: 4}))
	l.Publish()
	w.accept("an-older-index-taken-back", changed(w.t, l, keys, same))
	l.Add(l.State(&statement.IndexReset{Origin: l.Origin(), MapVersion: 1, Size: 5}))
	l.Publish()
	w.accept("taken-back", changed(w.t, l, keys, same))
}
