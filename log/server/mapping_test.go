package server

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/index/triedb"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/server/sample"
	"github.com/firn-log/firn/log/server/store"
	"github.com/firn-log/firn/log/statement"
)

// stated returns the revisions among the first size entries by their index, and
// checks what spec/index.md#revisions says of each.
func (l *testLog) stated(size uint64) map[uint64]*statement.Revision {
	l.t.Helper()
	revisions := make(map[uint64]*statement.Revision)
	roots := []index.Hash{index.EmptyRoot}
	var m index.Memory
	var at, last, news uint64
	for leaf, err := range l.tree.Entries(l.t.Context(), 0, size) {
		if err != nil {
			l.t.Fatal(err)
		}
		m.Add(at, leaf)
		roots = append(roots, m.Root())
		st := want(statement.Parse(leaf))(l.t)
		if r, ok := st.Body.(*statement.Revision); ok {
			switch {
			case r.Size > at || r.Size <= last:
				l.t.Errorf("entry %d: a revision of size %d after one of %d", at, r.Size, last)
			case news <= last:
				l.t.Errorf("entry %d: a revision without news since %d", at, last)
			case roots[r.Size] != r.Root:
				l.t.Errorf("entry %d: a revision of size %d with another root", at, r.Size)
			}
			last = r.Size
			revisions[at] = r
		} else {
			news = at + 1
		}
		at++
	}
	return revisions
}

func (l *testLog) client() *log.Client {
	l.t.Helper()
	pol := want(policy.Parse([]byte("log " + l.VKey() + "\nquorum none\n")))(l.t)
	return want(log.NewClient(l.http.URL, pol, log.Options{}))(l.t)
}

// Whoever looks up while the log grows gets all that was acknowledged before, proven.
func TestLookupsAreWholeWhileTheLogGrows(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, nil)
	o := l.operator("alice")
	key := "key:" + o.Build.PublicKey().ID().String()
	const n = 40
	done := make(chan uint64, n)
	go func() {
		defer close(done)
		for i := range n {
			a := l.must(o.Builds(5*i, 5*i+5)...)
			done <- *a.Results[4].Index
		}
	}()
	c := l.client()
	acked := 0
	for last := range done {
		acked += 5
		a, err := c.Lookup(t.Context(), log.Query{Keys: []string{key, "out:/nix/store/nothing"}})
		if err != nil {
			t.Fatal(err)
		}
		found := a.Of(key)
		if a.Incomplete != "" || len(found) < acked+1 || a.Read <= last || len(a.Of("out:/nix/store/nothing")) != 0 {
			t.Fatalf("%d found of %d, read to %d, last acknowledged %d; %s", len(found), acked, a.Read, last, a.Incomplete)
		}
	}
	l.stated(l.settle())
}

// A revision follows a checkpoint that has news, and nothing follows a revision: an
// idle log does not grow, nor by being started again.
func TestAnIdleLogStatesNothing(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, nil)
	l.grow("alice", 3)
	size := l.settle()
	for range 3 {
		l.close()
		l.open()
		if got := l.settle(); got != size {
			t.Fatalf("%d entries, before %d", got, size)
		}
	}
	if n := len(l.stated(size)); n == 0 || uint64(n) > l.count() {
		t.Errorf("%d revisions for %d statements", n, l.count())
	}
}

// The map is derived: lost, damaged, or of another tree, it is made again, and is the
// same.
func TestTheMapIsMadeAnew(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, nil)
	l.grow("alice", 50)
	size := l.settle()
	before := l.stated(size)
	for name, damage := range map[string]func(dir string){
		"missing": func(dir string) { remove(t, l.dir, mapName) },
		"damaged": func(dir string) {
			files := want(filepath.Glob(filepath.Join(dir, "*")))(t)
			for _, f := range files {
				if b := want(os.ReadFile(f))(t); len(b) > 64 {
					b[len(b)/2] ^= 1
					if err := os.WriteFile(f, b, 0o644); err != nil {
						t.Fatal(err)
					}
				}
			}
		},
		"longer": func(dir string) { // of a tree that is gone
			l.open()
			if err := l.mapper.db.Append(make([]triedb.Row, 10)); err != nil {
				t.Fatal(err)
			}
			l.close()
		},
	} {
		l.close()
		damage(filepath.Join(l.dir, mapName))
		l.open()
		if got := l.settle(); got != size {
			t.Errorf("%s: %d entries, before %d", name, got, size)
		}
		at, _, _ := l.mapper.answer()
		if before[at.revision.index] == nil || at.view.Root() != at.revision.root {
			t.Errorf("%s: answers with the revision at %d", name, at.revision.index)
		}
	}
	l.grow("bob", 3)
	l.stated(l.settle())
}

// lieAboutTheIndex has the log state a revision with a wrong root.
func (l *testLog) lieAboutTheIndex() {
	l.t.Helper()
	l.settle()
	if _, err := l.say(l.t.Context(), &statement.Revision{Origin: l.Origin(), Size: l.db.State().Size, Root: [32]byte{1}, MapVersion: index.MapVersion}); err != nil {
		l.t.Fatal(err)
	}
}

// A map that disagrees with what the log has stated answers nothing and commits to
// nothing more; entries are taken, and an index-reset mends it.
func TestAWrongRevisionEndsLookupsUntilItIsTakenBack(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, nil)
	o := l.operator("alice")
	l.lieAboutTheIndex()
	origin := l.Origin()
	broken := func(when string) {
		t.Helper()
		l.must(o.Builds(len(when), len(when)+1)...)
		for _, _, b := l.mapper.answer(); b == nil; _, _, b = l.mapper.answer() {
			l.get("/healthz")
		}
		status, _, body := l.postLookup("key:x")
		if status != http.StatusServiceUnavailable || !strings.Contains(body, `"index-broken"`) || !strings.Contains(body, "reset-index") {
			t.Errorf("%s: %d %s", when, status, body)
		}
		if status, _, body := l.get("/readyz"); status != http.StatusOK || !strings.Contains(string(body), "the index is wrong") {
			t.Errorf("%s: %d %s", when, status, body)
		}
		if _, _, body := l.get("/metrics"); !strings.Contains(string(body), "firn_log_index_broken 1\n") {
			t.Errorf("%s: the metric says nothing", when)
		}
	}
	l.close()
	l.open()
	broken("first")
	l.close()
	remove(t, l.dir, mapName) // it is not the map that is wrong
	l.open()
	broken("second time")
	size := l.db.State().Size
	l.close()
	if err := ResetIndex(t.Context(), l.dir, "other.example/01234567"); err == nil {
		t.Error("another origin is taken")
	}
	if err := ResetIndex(t.Context(), l.dir, origin); err != nil {
		t.Fatal(err)
	}
	if err := ResetIndex(t.Context(), l.dir, origin); err == nil {
		t.Error("taken back twice")
	}
	marker := want(os.ReadFile(filepath.Join(l.dir, resetName)))(t)
	l.open()
	l.settle()
	var kinds []statement.Kind
	for leaf := range l.tree.Entries(t.Context(), size, l.db.State().Size) {
		kinds = append(kinds, want(statement.Parse(leaf))(t).Kind)
	}
	if len(kinds) != 2 || kinds[0] != statement.KindIndexReset || kinds[1] != statement.KindRevision {
		t.Errorf("added %q", kinds)
	}
	if status, got := l.lookupNow(`{"keys":[{"key":"key:x"}]}`); status != http.StatusOK || got.Lists[0].Present {
		t.Errorf("afterwards: %d", status)
	}
	// A start that was killed before it removed the file states nothing twice.
	now := l.settle()
	l.close()
	if err := os.WriteFile(filepath.Join(l.dir, resetName), marker, 0o644); err != nil {
		t.Fatal(err)
	}
	l.open()
	l.settle()
	resets := 0
	for leaf := range l.tree.Entries(t.Context(), 0, l.db.State().Size) {
		if want(statement.Parse(leaf))(t).Kind == statement.KindIndexReset {
			resets++
		}
	}
	// What it withdrew is withdrawn; the revision since then was not, so there may be one more.
	if resets > 2 {
		t.Errorf("%d resets, and %d entries before", resets, now)
	}
}

func (l *testLog) postLookup(key string) (int, http.Header, string) {
	l.t.Helper()
	resp := want(http.Post(l.http.URL+"/v1/lookup", "application/json", strings.NewReader(fmt.Sprintf(`{"keys":[{"key":%q}]}`, key))))(l.t)
	defer resp.Body.Close()
	var b strings.Builder
	_ = resp.Write(&b)
	return resp.StatusCode, resp.Header, b.String()
}

// A log that has ended goes on answering, and states nothing.
func TestFrozenLogAnswersLookups(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, nil)
	o := l.operator("alice")
	b := sample.Build(1)
	l.settle()
	l.must(o.Claim(b))
	l.close()
	if err := l.freeze(FreezeOptions{}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		l.open()
		key := index.Out(b.Outputs[0].Path)
		a := want(l.client().Lookup(t.Context(), log.Query{Keys: []string{key}}))(t)
		if len(a.Of(key)) != 1 || a.Incomplete != "" {
			t.Errorf("%d found, %s", len(a.Of(key)), a.Incomplete)
		}
		last := want(l.tree.Entry(t.Context(), l.db.State().Size, l.db.State().Size-1))(t)
		if st := want(statement.Parse(last))(t); st.Kind != statement.KindFreeze {
			t.Errorf("the last entry is a %s", st.Kind)
		}
		l.close()
	}
	if err := ResetIndex(t.Context(), l.dir, want(LoadConfig(l.dir))(t).Origin); err == nil || !strings.Contains(err.Error(), "frozen already") {
		t.Errorf("%v", err)
	}
	l.open()
}

// Only the log itself states what is about its index.
func TestRevisionsFromOutsideAreRefused(t *testing.T) {
	t.Parallel()
	l := newQuickLog(t, nil)
	alice := l.operator("alice")
	for _, body := range []statement.Body{
		&statement.Revision{Origin: l.Origin(), Size: 1, MapVersion: 1},
		&statement.Revision{Origin: "other.example/01234567", Size: 1, MapVersion: 9},
		&statement.IndexReset{Origin: l.Origin(), Size: 1, MapVersion: 1},
	} {
		for _, s := range []statement.Signer{l.key.statement, alice.Build, alice.Identity, sample.Signer("nobody")} {
			leaf := want(statement.Sign(t.Context(), s, body, "", nil))(t).Leaf()
			if got := l.code(leaf); got != "log-only" {
				t.Errorf("%s: %q", body.Kind(), got)
			}
		}
	}
}

// A storage failure while a revision is being added takes nothing with it.
func TestRevisionsSurviveStorageFailures(t *testing.T) {
	t.Parallel()
	l, m := newFaultyLog(t)
	o := l.operator("alice")
	for keep := range 2 {
		l.settle()
		l.must(o.Builds(10*keep, 10*keep+1)...)
		m.SetFault(appendFault(store.Fault{Err: errors.New("the cable was pulled"), Keep: keep}))
		for range 20 {
			l.get("/readyz")
		}
		m.SetFault(nil)
	}
	l.stated(l.settle())
	l.close()
	l.open()
	l.must(o.Builds(50, 51)...)
	l.stated(l.settle())
}

// The choice between the newest revision and what auditors vouch for.
func TestChoiceOfARevision(t *testing.T) {
	t.Parallel()
	rev := func(i uint64) revision { return revision{index: i, size: i - 1, checked: true} }
	at := func(size uint64) published { return published{head: policy.Head{Size: size}} }
	m := &mapper{revisions: []revision{rev(10), rev(20), rev(9000), rev(9010)}}
	m.revisions = append(m.revisions, revision{index: 9015, size: 9014})
	for _, tt := range []struct {
		name            string
		old             uint64
		cp, vouched     uint64
		index, vouching uint64
	}{
		{"no auditors", 0, 9012, 0, 9010, 0},
		{"the newest is not in the checkpoint yet", 0, 9010, 0, 9000, 0},
		{"auditors are at the end", 0, 9012, 9012, 9010, 9012},
		{"auditors are a little behind", 0, 9012, 9005, 9000, 9005},
		{"auditors are too far behind", 0, 9012, 21, 9010, 0},
		{"auditors have vouched for none", 0, 9012, 5, 9010, 0},
		{"clients have seen a newer one than they vouch for", 9010, 9014, 9005, 9010, 0},
		{"and then they have", 9010, 9014, 9011, 9010, 9011},
		{"one that was not compared with the map", 0, 9020, 0, 9010, 0},
	} {
		var old *answering
		if tt.old > 0 {
			old = &answering{revision: rev(tt.old)}
		}
		r, v, ok := m.choose(old, at(tt.cp), at(tt.vouched))
		if !ok || r.index != tt.index || v.head.Size != tt.vouching {
			t.Errorf("%s: the one at %d, vouched for at %d, %v", tt.name, r.index, v.head.Size, ok)
		}
	}
	if _, _, ok := m.choose(nil, at(5), at(0)); ok {
		t.Error("there is one before there is one")
	}
}
