package verify

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/lookup"
)

// A server that leaves something out, adds or moves something in what the log has
// signed is refused, and convicts nobody: it has signed no lie.
func TestAServerThatChangesTheListIsRefused(t *testing.T) {
	w := audited(t, "", "")
	ps := w.people("a b")
	ps["a"].builds("hello", "hello")
	ps["b"].builds("hello", "evil")
	s := helloSubject(t)
	key := s.keys()[0]
	pol := w.policy(ps, "completeness proven", "group g any a b")
	w.expect(pol, s, Trusted, "1 found")
	kh := index.KeyHash(key)
	for what, change := range map[string]func(*lookup.List, *lookup.Answer){
		"omits an entry":    func(l *lookup.List, _ *lookup.Answer) { l.Items = l.Items[:1] },
		"omits the list":    func(l *lookup.List, _ *lookup.Answer) { *l = lookup.List{} },
		"adds an entry":     func(l *lookup.List, _ *lookup.Answer) { l.Items = append(l.Items, index.Item{Index: 9}) },
		"reorders entries":  func(l *lookup.List, _ *lookup.Answer) { slices.Reverse(l.Items) },
		"shows another map": func(_ *lookup.List, a *lookup.Answer) { a.Trie = index.Leaf(kh, index.Head{Count: 1}) },
		"cuts the tail":     func(_ *lookup.List, a *lookup.Answer) { a.Tail.Leaves = nil },
	} {
		w.logs[0].Lie(func(l *logtest.Lies) {
			l.Answer = func(a *lookup.Answer) {
				if h, present, err := a.Trie.Find(kh); err == nil && present && h.Count == 2 {
					change(&a.Lists[0], a)
				}
			}
		})
		w.state = t.TempDir()
		_, err := Verify(context.Background(), pol, []Subject{s}, w.options())
		var refused *RefusedError
		var proof *log.ProofError
		if !errors.As(err, &refused) || !errors.As(err, &proof) {
			t.Errorf("a server that %s: %v", what, err)
		}
		if held, err := log.NewMemory(w.state).Evidence().List(); err != nil || len(held) != 0 {
			t.Errorf("a server that %s: evidence %v, %v", what, held, err)
		}
	}
}

// An old revision hides nothing: what came after it is read.
func TestAnOldRevisionIsHarmless(t *testing.T) {
	w := audited(t, "", "")
	ps := w.people("a b")
	ps["a"].builds("hello", "hello")
	ps["a"].builds("third", "third")
	w.logs[0].Revise()
	old := w.logs[0].Size() - 1
	for i := range 3 {
		ps["b"].builds(fmt.Sprint("more-", i), "x")
	}
	pol := w.policy(ps, "completeness proven", "group g any a b")
	s := helloSubject(t)
	w.expect(pol, subject(t, "third", "third"), Trusted, "") // lists are remembered as of the new revision
	ps["b"].builds("hello", "evil")
	ps["b"].builds("third", "evil")
	for what, lies := range map[string]logtest.Lies{
		"with its tail":             {Old: old},
		"whose tail is in tiles":    {Old: old, NoTail: true},
		"is the newest there is":    {},
		"and no new one is stated":  {NoRevision: true},
		"and none is, without tail": {NoRevision: true, NoTail: true},
	} {
		w.logs[0].Lie(func(l *logtest.Lies) { *l = lies })
		for _, s := range []Subject{s, subject(t, "third", "third")} {
			r := w.verify(pol, s)
			if p := r.Paths[0]; p.Verdict != Trusted || len(p.Dissent) != 1 || r.ExitStatus() != 0 {
				t.Errorf("an old revision %s: %v %s, %+v, exit %d", what, p.Verdict, p.Reason, p.Dissent, r.ExitStatus())
			}
			says(t, r, "complete according to auditors a1, a2, a3 (", BasisAuditors)
		}
		w.state = filepath.Join(t.TempDir(), what)
	}
	// Where the tail cannot be had, the answer is missing.
	w.logs[0].Lie(func(l *logtest.Lies) {
		*l = logtest.Lies{Old: old, NoTail: true, Edit: func(path string, status int, body []byte) (int, []byte) {
			if strings.HasPrefix(path, "tile/") {
				return 503, nil
			}
			return status, body
		}}
	})
	r := w.verify(pol, s)
	if r.Paths[0].Verdict != Inconclusive || r.ExitStatus() != 4 {
		t.Errorf("without the tail: %v %s, exit %d", r.Paths[0].Verdict, r.Paths[0].Reason, r.ExitStatus())
	}
}

// A revision that is further behind than a client reads is no complete answer.
func TestARevisionThatIsTooOldIsNotComplete(t *testing.T) {
	if testing.Short() {
		t.Skip("a log of 262,145 entries")
	}
	w := newWorld(t)
	ps := helloBuilt(w)
	w.noRevision(true)
	for i := range 1 << 18 {
		w.logs[0].Add(fmt.Appendf(nil, "%d", i))
	}
	w.logs[0].Lie(func(l *logtest.Lies) { l.NoTail = true })
	w.logs[0].Publish()
	w.expect(w.policy(ps, "completeness proven", "group g 1 a"), helloSubject(t), Inconclusive,
		fmt.Sprintf("the newest revision of the index of log %s is 262145 entries behind its checkpoint", w.logs[0].Origin()))
}

// flooded is a world in which somebody claims something about hello with n keys
// that are used once, before a and b claim it.
func flooded(tb testing.TB, n int) (*world, *Policy, map[string]*person) {
	w := newWorld(tb)
	for i := range n {
		key := signer(tb, fmt.Sprint("throw-away ", i))
		w.logs[0].Add(w.sign(key, buildOf(tb, "hello", "flood"), nil).Leaf())
	}
	ps := w.people("a b")
	ps["a"].builds("hello", "hello")
	ps["b"].builds("hello", "evil")
	w.logs[0].Lie(func(l *logtest.Lies) { l.Cut = lookup.MaxItems })
	w.logs[0].Revise()
	return w, w.policy(ps, "completeness proven", "group g any a b"), ps
}

// Keys that nobody knows make a list longer. Their statements are neither sent nor
// read, and the two that count are found.
func TestThrowAwayKeysBuryNothing(t *testing.T) {
	const n = 500
	w, pol, ps := flooded(t, n)
	seen := watch(w.logs[0])
	asked := w.record()
	s := helloSubject(t)
	p := w.expect(pol, s, Trusted, "1 found")
	quiet, quietPol, _ := flooded(t, 0)
	if q := quiet.expect(quietPol, s, Trusted, "1 found"); !reflect.DeepEqual(p.Supports, q.Supports) || p.Reason != q.Reason || p.dissentWords() != q.dissentWords() {
		t.Errorf("%+v, and without the flood %+v", p.Judgement, q.Judgement)
	}
	if len(p.Dissent) != 1 || len(p.Claims) != 2 || seen.bodies != 6 { // four of people, two of builds
		t.Errorf("%+v, %d claims, %d bodies", p.Dissent, len(p.Claims), seen.bodies)
	}
	qs := asked(s.keys()[0])
	if len(qs) != 1 || len(qs[0].Signers) != 2 || !slices.Contains(qs[0].Signers, ps["a"].build.PublicKey().ID()) {
		t.Errorf("asked for %+v", qs)
	}
	if a := ask(t, w.logs[0], s.keys()[0]); len(a.Lists[0].Items) != n+2 || len(a.Bodies) != 0 {
		t.Errorf("%d items, %d bodies", len(a.Lists[0].Items), len(a.Bodies))
	}
	b, err := readState(t, w)
	if err != nil || len(b) > 4000 {
		t.Errorf("%d bytes are remembered, %v", len(b), err)
	}
}

func readState(t *testing.T, w *world) ([]byte, error) {
	m, err := loadMemory(stateFiles(t, w.state)[0])
	return m.encode(), err
}

// BenchmarkFlooded judges one path on which 100,000 keys that nobody knows have
// said something, beside the same path without them.
func BenchmarkFlooded(b *testing.B) {
	for _, n := range []int{0, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w, pol, _ := flooded(b, n)
			var sent int
			w.logs[0].Lie(func(l *logtest.Lies) {
				l.Edit = func(path string, status int, body []byte) (int, []byte) {
					if path == "v1/lookup" {
						sent += len(body)
					}
					return status, body
				}
			})
			server := httptest.NewServer(ready(w.logs[0]))
			b.Cleanup(server.Close)
			pol.Logs[0].URL = server.URL
			for run := 0; b.Loop(); run++ {
				r, err := Verify(b.Context(), pol, []Subject{helloSubject(b)}, Options{})
				if err != nil || r.Paths[0].Verdict != Trusted || len(r.Paths[0].Dissent) != 1 {
					b.Fatal(err, r)
				}
			}
			b.ReportMetric(float64(sent), "bytes-sent")
		})
	}
}
