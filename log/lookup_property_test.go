package log_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
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

// randomLog is an honest log of random entries, with revisions of map version 1 that its server states and
// others of version 2 beside them.
type randomLog struct {
	*logtest.Log
	t       *testing.T
	rng     *rand.Rand
	signers []statement.Signer
	keys    []string // that may have entries, and one that has none
}

func newRandomLog(t *testing.T, seed uint64) *randomLog {
	l := &randomLog{Log: logtest.New(t), t: t, rng: rand.New(rand.NewPCG(seed, 7))}
	l.Add([]byte("the first entry"))
	l.Publish()
	for _, name := range []string{"a", "b", "c"} {
		s := logtest.Signer(t, name)
		l.signers = append(l.signers, s)
		l.keys = append(l.keys, index.Key(s.PublicKey().ID()))
	}
	for i := range 6 {
		l.keys = append(l.keys, logtest.ClosureKey(fmt.Sprint(i)))
	}
	l.keys = append(l.keys, logtest.ClosureKey("nothing"))
	return l
}

// grow adds a few entries and publishes them, sometimes in a revision.
func (l *randomLog) grow() {
	for range 1 + l.rng.IntN(6) {
		s, size := l.signers[l.rng.IntN(len(l.signers))], l.Size()
		switch l.rng.IntN(8) {
		case 0:
			l.Add(fmt.Appendf(nil, "no statement %d", l.rng.Uint64()))
		case 1: // of a map version that this reader does not know
			l.Add(l.State(&statement.Revision{Origin: l.Origin(), Size: size, Root: index.Hash{byte(size)}, MapVersion: 2}))
		case 2:
			l.Add(l.State(&statement.IndexReset{Origin: l.Origin(), MapVersion: 2, Size: size}))
		case 3: // by a stranger, of the log's index
			l.Add(logtest.Leaf(l.t, s, &statement.Revision{Origin: l.Origin(), Size: size, Root: index.Hash{9}, MapVersion: 1}))
		default:
			l.Add(logtest.Leaf(l.t, s, logtest.Closure(fmt.Sprint(l.rng.IntN(6)))))
		}
	}
	l.Publish()
	if l.rng.IntN(2) == 0 {
		l.Revise()
	}
	yes := l.rng.IntN(2) == 0
	l.Lie(func(lies *logtest.Lies) {
		lies.NoRevision, lies.Cut, lies.NoTail = yes, l.rng.IntN(5), l.rng.IntN(4) == 0
	})
}

// truth is the map of the first n entries, read without any index.
func (l *randomLog) truth(n uint64) map[string][]index.Item {
	l.t.Helper()
	c := l.Client("")
	m := make(map[string][]index.Item)
	for e, err := range c.Entries(l.t.Context(), checkpoint(l.t, c), 0, n) {
		if err != nil {
			l.t.Fatal(err)
		}
		s, err := statement.Parse(e.Leaf)
		if err != nil {
			continue
		}
		for _, k := range index.StatementKeys(s) {
			m[k] = append(m[k], index.Item{Index: e.Index, Signer: s.Signer})
		}
	}
	return m
}

// question is about some keys, from where they are known, with bodies of some.
func (l *randomLog) question(known map[string]log.Known) log.Query {
	q := log.Query{Known: make(map[string]log.Known), Tail: uint64(l.rng.IntN(3)), Audited: l.rng.IntN(2) == 0}
	for _, k := range l.keys {
		if l.rng.IntN(2) == 0 {
			q.Keys = append(q.Keys, k)
		}
		if h, ok := known[k]; ok && l.rng.IntN(2) == 0 {
			q.Known[k] = h
		}
	}
	if len(q.Keys) == 0 {
		q.Keys = l.keys[:1]
	}
	switch l.rng.IntN(3) {
	case 0:
		q.Signers = []statement.KeyID{}
	case 1:
		q.Signers = []statement.KeyID{l.signers[0].PublicKey().ID()}
	}
	return q
}

// compare says how answers differ from what the log holds.
func (l *randomLog) compare(q log.Query, a *log.Answers) error {
	l.t.Helper()
	truth := l.truth(a.Read)
	for _, k := range a.Keys {
		want, got := truth[k], a.Of(k)
		want = want[min(q.Known[k].Count, uint64(len(want))):]
		if len(got) != len(want) {
			return fmt.Errorf("%s: %d entries below %d, want %d", k, len(got), a.Read, len(want))
		}
		for i, f := range got {
			asked := q.Signers == nil || slices.Contains(q.Signers, f.Signer)
			if f.Index != want[i].Index || f.Signer != want[i].Signer || asked != (f.Leaf != nil) {
				return fmt.Errorf("%s: %+v, want %+v, asked for %v", k, f, want[i], asked)
			}
		}
	}
	return nil
}

// serverLies change an answer that was true. They sign nothing.
var serverLies = map[string]func(r *rand.Rand, a, other *lookup.Answer){
	"an item is dropped": func(r *rand.Rand, a, _ *lookup.Answer) {
		l := anyList(r, a)
		if n := len(l.Items); n > 0 {
			i := r.IntN(n)
			l.Items = slices.Delete(l.Items, i, i+1)
		}
	},
	"an item is added": func(r *rand.Rand, a, _ *lookup.Answer) {
		l := anyList(r, a)
		l.Present, l.Items = true, append(l.Items, index.Item{Index: uint64(r.IntN(50))})
	},
	"an item twice": func(r *rand.Rand, a, _ *lookup.Answer) {
		l := anyList(r, a)
		if n := len(l.Items); n > 0 {
			l.Items = append(l.Items, l.Items[n-1])
		}
	},
	"items out of order":  func(r *rand.Rand, a, _ *lookup.Answer) { slices.Reverse(anyList(r, a).Items) },
	"another signer":      func(r *rand.Rand, a, _ *lookup.Answer) { anyItem(r, a).Signer[3] ^= 1 },
	"another entry":       func(r *rand.Rand, a, _ *lookup.Answer) { anyItem(r, a).Index++ },
	"a list is left out":  func(r *rand.Rand, a, _ *lookup.Answer) { *anyList(r, a) = lookup.List{} },
	"lists are swapped":   func(r *rand.Rand, a, _ *lookup.Answer) { x, y := anyList(r, a), anyList(r, a); *x, *y = *y, *x },
	"fewer lists":         func(_ *rand.Rand, a, _ *lookup.Answer) { a.Lists = a.Lists[:len(a.Lists)-1] },
	"more lists":          func(_ *rand.Rand, a, _ *lookup.Answer) { a.Lists = append(a.Lists, a.Lists[0]) },
	"a list of another":   func(r *rand.Rand, a, o *lookup.Answer) { *anyList(r, a) = o.Lists[r.IntN(len(o.Lists))] },
	"the end is left out": func(r *rand.Rand, a, _ *lookup.Answer) { skip(anyList(r, a)) },
	"the map of another":  func(_ *rand.Rand, a, o *lookup.Answer) { a.Trie = o.Trie },
	"no map":              func(_ *rand.Rand, a, _ *lookup.Answer) { a.Trie = nil },
	"the hash of a map":   func(_ *rand.Rand, a, _ *lookup.Answer) { a.Trie = index.Stub(a.Trie.Hash()) },
	"a map of its own": func(r *rand.Rand, a, _ *lookup.Answer) {
		a.Trie = index.Leaf(index.Hash{byte(r.IntN(9))}, index.Head{Count: 1})
	},
	"the revision before":   func(_ *rand.Rand, a, o *lookup.Answer) { a.Revision = o.Revision },
	"all but the note":      func(_ *rand.Rand, a, o *lookup.Answer) { note := a.Note; *a = *o; a.Note = note },
	"all of another":        func(_ *rand.Rand, a, o *lookup.Answer) { *a = *o },
	"no bodies":             func(_ *rand.Rand, a, _ *lookup.Answer) { a.Bodies = nil },
	"a body is left out":    func(r *rand.Rand, a, _ *lookup.Answer) { a.Bodies = dropBody(a.Bodies, uint64(r.IntN(40))) },
	"bodies of another":     func(_ *rand.Rand, a, o *lookup.Answer) { a.Bodies = o.Bodies },
	"a body twice":          func(_ *rand.Rand, a, _ *lookup.Answer) { a.Bodies = append(a.Bodies, a.Bodies...) },
	"bodies out of order":   func(_ *rand.Rand, a, _ *lookup.Answer) { slices.Reverse(a.Bodies) },
	"a body of another log": func(r *rand.Rand, a, _ *lookup.Answer) { anyBody(r, a).Leaf = []byte("a body of another log") },
	"a proof of another":    func(r *rand.Rand, a, _ *lookup.Answer) { anyBody(r, a).Inclusion = a.Revision.Inclusion },
	"a proof cut short": func(r *rand.Rand, a, _ *lookup.Answer) {
		if b := anyBody(r, a); len(b.Inclusion) > 0 {
			b.Inclusion = b.Inclusion[1:]
		}
	},
	"a proof without end": func(r *rand.Rand, a, _ *lookup.Answer) {
		b := anyBody(r, a)
		b.Inclusion = append(b.Inclusion, tlog.Hash{1})
	},
	"the tail is cut":      func(_ *rand.Rand, a, _ *lookup.Answer) { cutTail(a, 0) },
	"the tail is reversed": func(_ *rand.Rand, a, _ *lookup.Answer) { cutTail(a, 1) },
	"the tail twice":       func(_ *rand.Rand, a, _ *lookup.Answer) { cutTail(a, 2) },
	"vouched by itself":    func(_ *rand.Rand, a, o *lookup.Answer) { a.Vouched, a.Vouch = o.Note, []tlog.Hash{{1}} },
}

func anyList(r *rand.Rand, a *lookup.Answer) *lookup.List { return &a.Lists[r.IntN(len(a.Lists))] }

func anyItem(r *rand.Rand, a *lookup.Answer) *index.Item {
	l := anyList(r, a)
	if len(l.Items) == 0 {
		return new(index.Item)
	}
	return &l.Items[r.IntN(len(l.Items))]
}

func anyBody(r *rand.Rand, a *lookup.Answer) *lookup.Body {
	if len(a.Bodies) == 0 {
		return new(lookup.Body)
	}
	return &a.Bodies[r.IntN(len(a.Bodies))]
}

func cutTail(a *lookup.Answer, how int) {
	if a.Tail == nil {
		return
	}
	leaves := slices.Clone(a.Tail.Leaves)
	switch how {
	case 0:
		leaves = leaves[:len(leaves)/2]
	case 1:
		slices.Reverse(leaves)
	default:
		leaves = append(leaves, leaves...)
	}
	a.Tail = &lookup.Tail{Peaks: a.Tail.Peaks, Leaves: leaves}
}

// rawLies change the bytes of an answer.
var rawLies = map[string]func(r *rand.Rand, b []byte) []byte{
	"bytes: one is changed": func(r *rand.Rand, b []byte) []byte { b[r.IntN(len(b))] ^= 1 << r.IntN(8); return b },
	"bytes: cut off":        func(r *rand.Rand, b []byte) []byte { return b[:r.IntN(len(b))] },
	"bytes: more":           func(r *rand.Rand, b []byte) []byte { return append(b, byte(r.IntN(256))) },
	"bytes: a part twice":   func(r *rand.Rand, b []byte) []byte { i := r.IntN(len(b)); return slices.Insert(b, i, b[i/2:i]...) },
}

// Whatever a server that signs nothing answers with, for a random log and a random question, it is refused or it is
// what the log holds; and the log is not convicted for its server.
func TestNoLieOfARandomServerIsBelieved(t *testing.T) {
	refused := make(map[string]int)
	for seed := range uint64(8) {
		l := newRandomLog(t, seed)
		for range 6 {
			l.grow()
		}
		before, err := l.Client("").Lookup(t.Context(), log.Query{Keys: l.keys, Signers: []statement.KeyID{}})
		if err != nil {
			t.Fatal(err)
		}
		other := l.Client("").AskRaw(t, l.keys...)
		l.grow()
		dir := t.TempDir()
		try := func(name string) {
			q := l.question(before.Heads)
			a, err := l.Client(dir).Lookup(t.Context(), q)
			var fork *log.ForkError
			if errors.As(err, &fork) {
				t.Errorf("seed %d: %s: %v", seed, name, err)
			}
			l.Lie(func(lies *logtest.Lies) { lies.Answer, lies.Edit = nil, nil })
			if err != nil {
				refused[name]++
				return
			}
			if err := l.compare(q, a); err != nil && a.Incomplete == "" {
				t.Errorf("seed %d: %s is believed: %v", seed, name, err)
			}
		}
		for range 3 {
			for _, name := range slices.Sorted(maps.Keys(serverLies)) {
				lie := serverLies[name]
				l.Lie(func(lies *logtest.Lies) {
					lies.Answer = func(a *lookup.Answer) {
						if len(a.Lists) > 0 && l.rng.IntN(3) > 0 {
							lie(l.rng, a, other)
						}
					}
				})
				try(name)
			}
			for _, name := range slices.Sorted(maps.Keys(rawLies)) {
				lie := rawLies[name]
				l.Lie(func(lies *logtest.Lies) {
					lies.Edit = func(path string, status int, body []byte) (int, []byte) {
						if path == "v1/lookup" && status == 200 {
							body = lie(l.rng, bytes.Clone(body))
						}
						return status, body
					}
				})
				try(name)
			}
		}
		if got := faults(t, l.Log, dir); len(got) != 0 {
			t.Errorf("seed %d: held against the index: %+v", seed, got)
		}
	}
	for name := range serverLies {
		if refused[name] == 0 {
			t.Errorf("%s: it never lied", name)
		}
	}
}

// A map that the log has signed is believed as long as nobody knows better. Whoever does convicts it: whatever the
// answer lacks, or has too much, the entry proves it.
func TestEveryLieThatWasBelievedConvicts(t *testing.T) {
	lied := 0
	for seed := range uint64(24) {
		l := newRandomLog(t, seed)
		for range 6 {
			l.grow()
		}
		key, at := l.keys[l.rng.IntN(len(l.keys))], l.rng.Uint64N(l.Size())
		l.Lie(func(lies *logtest.Lies) {
			lies.NoRevision = false
			switch l.rng.IntN(4) {
			case 0:
				lies.Hide = map[string]bool{key: true}
			case 1:
				lies.Index = func(_ string, it index.Item) (index.Item, bool) { return it, it.Index != at }
			case 2:
				lies.Index = func(k string, it index.Item) (index.Item, bool) {
					if k == key && it.Index >= at {
						it.Signer[0] ^= 1
					}
					return it, true
				}
			default:
				lies.Extra = map[string][]index.Item{l.keys[len(l.keys)-1]: {{Index: at}}}
			}
		})
		l.Revise()
		l.Lie(func(lies *logtest.Lies) { lies.NoRevision = true })
		dir := t.TempDir()
		c := l.Client(dir)
		a, err := c.Lookup(t.Context(), log.Query{Keys: l.keys, Signers: []statement.KeyID{}})
		if err != nil {
			t.Fatal(err)
		}
		truth := l.truth(a.Read)
		for _, k := range a.Keys {
			got := make(map[index.Item]bool)
			for _, f := range a.Of(k) {
				got[index.Item{Index: f.Index, Signer: f.Signer}] = true
			}
			for _, it := range truth[k] {
				if lacks := !got[it]; lacks && l.proves(c, a, k, it.Index) {
					lied++
				}
				delete(got, it)
			}
			for it := range got {
				if l.proves(c, a, k, it.Index) {
					lied++
				}
			}
		}
	}
	if lied < 20 {
		t.Errorf("only %d lies", lied)
	}
}

// proves requires that an entry convicts the log of what it answered about a key.
func (l *randomLog) proves(c *log.Client, a *log.Answers, key string, at uint64) bool {
	l.t.Helper()
	kept, err := c.Convict(l.t.Context(), a, key, at)
	if !kept && (err == nil || !strings.Contains(err.Error(), "at most")) { // as many files are held as may be
		l.t.Errorf("the entry %d and what was said of %s convict nobody: %v", at, key, err)
	}
	return kept
}

// An honest log is never refused and never convicted, whatever is asked, with whatever is known from before; also while
// it states indexes of a later map version beside those that this reader knows, and after it has gone over to that version.
func TestAnHonestServerIsNeverConvictedAlsoAcrossAMapVersionChange(t *testing.T) {
	for seed := range uint64(10) {
		l := newRandomLog(t, seed)
		dir := t.TempDir()
		known := make(map[string]log.Known)
		for range 12 {
			l.grow()
			q := l.question(known)
			c := l.Client(dir)
			a, err := c.Lookup(t.Context(), q)
			if err != nil || a.Incomplete != "" {
				t.Fatalf("seed %d: %v, %+v", seed, err, a)
			}
			if err := l.compare(q, a); err != nil {
				t.Errorf("seed %d: %v", seed, err)
			}
			for k, h := range a.Heads {
				if h.Count > 0 {
					known[k] = h
				}
			}
			for range 6 {
				k, at := l.keys[l.rng.IntN(len(l.keys))], l.rng.Uint64N(l.Size()+2)
				if kept, err := c.Convict(t.Context(), a, k, at); kept || err != nil {
					t.Errorf("seed %d: entry %d and %s convict: %v, %v", seed, at, k, kept, err)
				}
			}
		}
		later := l.Add(l.State(&statement.Revision{Origin: l.Origin(), Size: l.Size(), Root: index.Hash{1}, MapVersion: 2}))
		l.Publish()
		p, err := l.Client("").ProveInclusion(t.Context(), checkpoint(t, l.Client("")), later)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := l.Client("").Entry(t.Context(), checkpoint(t, l.Client("")), later)
		if err != nil {
			t.Fatal(err)
		}
		l.Lie(func(lies *logtest.Lies) {
			lies.NoRevision = true
			lies.Answer = func(a *lookup.Answer) {
				a.Revision = lookup.Body{Index: later, Leaf: leaf.Leaf, Inclusion: p.Hashes}
				a.Trie, a.Tail = index.Branch(9, index.Stub(index.Hash{1}), index.Stub(index.Hash{2})), nil
			}
		})
		if _, err := l.Client(dir).Lookup(t.Context(), log.Query{Keys: l.keys}); err == nil || !strings.Contains(err.Error(), "map version 2, and this firn reads version 1") {
			t.Errorf("seed %d: %v", seed, err)
		}
		l.Lie(func(lies *logtest.Lies) { lies.Answer = nil })
		if got := faults(t, l.Log, dir); len(got) != 0 {
			t.Errorf("seed %d: held against the index: %+v", seed, got)
		}
	}
}
