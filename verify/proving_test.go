package verify

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/index/fraud"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/lookup"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/statement"
)

// audited makes a world with one log and an index policy: 2 of a1, a2 and a3, of
// whom some are absent.
func audited(t testing.TB, options, absent string) *world {
	w := newWorld(t, logtest.New(t, logtest.Witnesses(1, 1), logtest.Auditors(3, 2)))
	w.files = map[string]string{"ix": w.logs[0].IndexPolicyText()}
	w.lines = []string{"index ix " + options}
	w.absent(0, absent)
	return w
}

// absent makes the named auditors of log n cosign nothing from now on, and all others
// its newest checkpoint.
func (w *world) absent(n int, names string) {
	w.logs[n].Lie(func(l *logtest.Lies) {
		l.Absent = make(map[string]bool)
		for _, name := range strings.Fields(names) {
			l.Absent[name] = true
		}
	})
	w.logs[n].Publish()
}

// noRevision makes log 0 state no revision of what comes, or all of them again.
func (w *world) noRevision(yes bool) {
	w.logs[0].Revise()
	w.logs[0].Lie(func(l *logtest.Lies) { l.NoRevision = yes })
}

// vouchedUntilNow makes log 0 show what auditors cosigned so far beside every answer, and
// no auditor cosign anything later.
func (w *world) vouchedUntilNow() {
	l := w.logs[0]
	note, size := l.Publish(), l.Size()
	w.absent(0, "a1 a2 a3")
	l.Lie(func(lies *logtest.Lies) {
		lies.Answer = func(a *lookup.Answer) {
			cp, err := l.Policy().Verify(a.Note, time.Now())
			if err != nil {
				w.t.Error(err)
				return
			}
			a.Vouched = note
			if a.Vouch, err = l.ConsistencyInLies(size, cp.Size); err != nil {
				w.t.Error(err)
			}
		}
	})
}

// vouchedAlways undoes vouchedUntilNow.
func (w *world) vouchedAlways() {
	w.logs[0].Lie(func(lies *logtest.Lies) { lies.Answer = nil })
	w.absent(0, "")
}

// reset takes the index of log 0 back, signed by its key.
func (w *world) reset(size uint64) uint64 {
	w.t.Helper()
	s, err := statement.Parse(w.logs[0].State(&statement.IndexReset{Origin: w.logs[0].Origin(), MapVersion: 1, Size: size}))
	if err != nil {
		w.t.Fatal(err)
	}
	return w.put(0, s)
}

func indexPolicy(t testing.TB, l *logtest.Log) *policy.Policy {
	t.Helper()
	pol, err := policy.Parse([]byte(l.IndexPolicyText()))
	if err != nil {
		t.Fatal(err)
	}
	return pol
}

// convictAuditors keeps evidence that auditors of log 0 vouched for two histories.
func (w *world) convictAuditors(numbers ...int) {
	w.t.Helper()
	l := w.logs[0]
	other := logtest.New(w.t, logtest.Witnesses(1, 1), logtest.Auditors(3, 2))
	for range l.Size() {
		other.Add([]byte("another history"))
	}
	w.absent(0, "")
	pol := indexPolicy(w.t, l)
	all, err := evidence.FromNotes(pol, l.Publish(), other.Publish(), [32]byte{}, nil)
	if err != nil || len(all) != 4 {
		w.t.Fatal(len(all), err)
	}
	for _, n := range numbers {
		if _, _, err := log.NewMemory(w.state).Evidence().Add(all[n], pol); err != nil {
			w.t.Fatal(err)
		}
	}
}

// edited has log n sign an index without a key, and returns the evidence that an
// entry gives against it. The index is right again afterwards.
func (w *world) edited(n int, key string, entry uint64) *evidence.Evidence {
	w.t.Helper()
	l := w.logs[n]
	l.Lie(func(lies *logtest.Lies) { lies.Hide = map[string]bool{key: true} })
	l.Revise()
	a := ask(w.t, l, key)
	l.Lie(func(lies *logtest.Lies) { lies.Hide = nil })
	c := l.Client("")
	cp, err := c.Accept(context.Background(), a.Note)
	if err != nil {
		w.t.Fatal(err)
	}
	p, err := c.ProveInclusion(context.Background(), cp, entry)
	if err != nil {
		w.t.Fatal(err)
	}
	in := evidence.Included{Index: entry, Proof: p.Hashes}
	for e, err := range c.Entries(context.Background(), cp, entry, entry+1) {
		if err != nil {
			w.t.Fatal(err)
		}
		in.Leaf = e.Leaf
	}
	e, err := fraud.FromEntry(&fraud.Map{
		Key: l.Policy().Logs[0].Key, Checkpoint: a.Note, Trie: a.Trie,
		Revision: evidence.Included{Index: a.Revision.Index, Leaf: a.Revision.Leaf, Proof: a.Revision.Inclusion},
	}, in)
	if err != nil {
		w.t.Fatal(err)
	}
	l.Add([]byte("something new, so that the index is stated again"))
	l.Publish()
	return e
}

// ask returns what a log answers about a key, unverified.
func ask(t testing.TB, l *logtest.Log, key string) *lookup.Answer {
	t.Helper()
	body, err := json.Marshal(lookup.Request{Keys: []lookup.Asked{{Key: key}}, Signers: &[]string{}})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post(l.URL()+"/v1/lookup", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	a, err := lookup.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// hold keeps evidence against a log of the world.
func (w *world) hold(n int, e *evidence.Evidence) string {
	w.t.Helper()
	held, added, err := log.NewMemory(w.state).Evidence().Add(e, w.logs[n].Policy())
	if err != nil || !added {
		w.t.Fatal(added, err)
	}
	return held.Path
}

// asking records what a log is asked.
type asking struct {
	Log
	mu      *sync.Mutex
	queries *[]log.Query
	after   func(*log.Answers) // changes answers; nil does not
}

func (a asking) Lookup(ctx context.Context, q log.Query) (*log.Answers, error) {
	a.mu.Lock()
	*a.queries = append(*a.queries, q)
	a.mu.Unlock()
	answers, err := a.Log.Lookup(ctx, q)
	if err == nil && a.after != nil {
		a.after(answers)
	}
	return answers, err
}

// record makes the world record what logs are asked. The function that it
// returns gives the queries about a key since its last call.
func (w *world) record() func(key string) []log.Query {
	var mu sync.Mutex
	var queries []log.Query
	w.wrap = func(l Log) Log { return asking{Log: l, mu: &mu, queries: &queries} }
	return func(key string) (qs []log.Query) {
		mu.Lock()
		defer mu.Unlock()
		for _, q := range queries {
			if slices.Contains(q.Keys, key) {
				qs = append(qs, q)
			}
		}
		queries = nil
		return qs
	}
}
