package evidence_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/policy"
)

// many returns n different pieces of evidence against one key.
func (w *world) many(n int, kind evidence.Kind, k policy.Key) []*evidence.Evidence {
	w.t.Helper()
	var all []*evidence.Evidence
	for i := range n {
		l := logtest.New(w.t, logtest.Witnesses(3, 2))
		e, err := evidence.New(kind, k, w.a12, grow(l, 0, 12, fmt.Sprint("other ", i)), tlog.Hash{}, nil)
		if err != nil {
			w.t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

func add(t testing.TB, s *evidence.Store, e *evidence.Evidence, pol *policy.Policy, want bool) evidence.Held {
	t.Helper()
	held, added, err := s.Add(e, pol)
	if err != nil || added != want {
		t.Fatalf("added %v, %v, want %v", added, err, want)
	}
	return held
}

func TestStoreKeepsWhatConvicts(t *testing.T) {
	w := newWorld(t)
	pol := w.one.Policy()
	dir := filepath.Join(t.TempDir(), "deep", "evidence")
	s := evidence.NewStore(dir)
	if held, err := s.List(); err != nil || len(held) != 0 {
		t.Errorf("an empty store: %v, %v", held, err)
	}
	e := w.evidence(evidence.KindLog, w.logKey(), w.a12, w.b20)
	held := add(t, s, e, pol, true)
	if again := add(t, s, e, pol, false); again.Path != held.Path {
		t.Errorf("%s and %s", again.Path, held.Path)
	}
	st, err := os.Stat(held.Path)
	if err != nil || st.Mode().Perm() != 0o600 || filepath.Dir(held.Path) != dir {
		t.Errorf("%v, %v", st, err)
	}
	if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", st, err)
	}
	if b, err := os.ReadFile(held.Path); err != nil || !bytes.Equal(b, e.Marshal()) {
		t.Errorf("%q, %v", b, err)
	}
	against, err := evidence.NewStore(dir).AgainstLog(pol, w.one.Origin())
	if err != nil || len(against) != 1 || against[0].Verdict.Origin != w.one.Origin() {
		t.Errorf("%v, %v", against, err)
	}
	if got, err := s.AgainstLog(pol, "other.example/00000000"); err != nil || len(got) != 0 {
		t.Errorf("%v, %v", got, err)
	}
	other := logtest.New(t, logtest.OtherKey()).Policy()
	if got, err := s.AgainstLog(other, w.one.Origin()); err != nil || len(got) != 0 {
		t.Errorf("evidence against another key of the origin: %v, %v", got, err)
	}
}

func TestStoreRefusesWhatConvictsNobodyOfThePolicy(t *testing.T) {
	w := newWorld(t)
	s := evidence.NewStore(t.TempDir())
	e := w.evidence(evidence.KindLog, w.logKey(), w.a12, w.b20)
	if _, _, err := s.Add(e, logtest.New(t, logtest.OtherKey()).Policy()); !errors.Is(err, evidence.ErrUnknownKey) {
		t.Errorf("%v", err)
	}
	e.Root[0] ^= 1
	if _, _, err := s.Add(e, w.one.Policy()); !errors.Is(err, evidence.ErrNotEvidence) {
		t.Errorf("%v", err)
	}
	if held, err := s.List(); err != nil || len(held) != 0 {
		t.Errorf("%v, %v", held, err)
	}
}

func TestStoreKeepsFourPerKey(t *testing.T) {
	w := newWorld(t)
	pol := w.one.Policy()
	dir := t.TempDir()
	s := evidence.NewStore(dir)
	// Files that are not evidence are neither counted nor named.
	for i := range 6 {
		junk := filepath.Join(dir, fmt.Sprintf("%s-junk%d%s", evidence.OriginName(w.one.Origin()), i, evidence.Suffix))
		if err := os.WriteFile(junk, []byte("junk"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i, e := range w.many(7, evidence.KindWitness, w.witnessKey(0)) {
		if held := add(t, s, e, pol, i < evidence.MaxHeld); strings.Contains(held.Path, "junk") || held.Verdict.Name != "w1" {
			t.Errorf("%+v", held)
		}
	}
	// What one key did leaves room for what others did, for the same origin.
	for i, e := range w.many(7, evidence.KindLog, w.logKey()) {
		add(t, s, e, pol, i < evidence.MaxHeld)
	}
	add(t, s, w.many(1, evidence.KindWitness, w.witnessKey(1))[0], pol, true)
	if held, err := s.List(); err != nil || len(held) != 2*evidence.MaxHeld+1 {
		t.Errorf("%d files, %v", len(held), err)
	}
	if held, err := s.AgainstWitnesses(pol); err != nil || len(held) != evidence.MaxHeld+1 {
		t.Errorf("%d files, %v", len(held), err)
	}
}

func TestStoreIsSharedByGoroutines(t *testing.T) {
	w := newWorld(t)
	pol := w.one.Policy()
	dir := t.TempDir()
	all := w.many(8, evidence.KindLog, w.logKey())
	var mu sync.Mutex
	n := 0
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Go(func() {
			_, added, err := evidence.NewStore(dir).Add(all[i%len(all)], pol)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if added {
				n++
			}
		})
	}
	wg.Wait()
	if held, err := evidence.NewStore(dir).List(); err != nil || len(held) != evidence.MaxHeld || n != evidence.MaxHeld {
		t.Errorf("%d files, %d added, %v", len(held), n, err)
	}
}

func TestWhatCannotBeReadIsNotPassedOver(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	s := evidence.NewStore(dir)
	// A folder with the name of evidence cannot be read as a file, by root either.
	if err := os.Mkdir(filepath.Join(dir, evidence.OriginName(w.one.Origin())+"-x"+evidence.Suffix), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := s.AgainstLog(w.one.Policy(), w.one.Origin()); err == nil {
		t.Error("unreadable evidence against a log is passed over")
	}
	if _, err := s.Apply(w.one.Policy()); err == nil {
		t.Error("unreadable evidence is passed over")
	}
}

func TestApplyIgnoresConvictedWitnesses(t *testing.T) {
	w := newWorld(t)
	pol := w.one.Policy()
	s := evidence.NewStore(t.TempDir())
	if got, err := s.Apply(pol); err != nil || got != pol {
		t.Errorf("%v, %v", got, err)
	}
	add(t, s, w.evidence(evidence.KindLog, w.logKey(), w.a12, w.b20), pol, true)
	if got, err := s.Apply(pol); err != nil || len(got.Ignored()) != 0 {
		t.Errorf("evidence against a log: %v, %v", got, err)
	}
	for i, want := range [][]string{{"w1"}, {"w1", "w2"}} {
		add(t, s, w.evidence(evidence.KindWitness, w.witnessKey(i), w.a12, w.b20), pol, true)
		got, err := s.Apply(pol)
		if err != nil || !slices.Equal(got.Ignored(), want) {
			t.Fatalf("ignored %v, %v, want %v", got.Ignored(), err, want)
		}
		var q *policy.QuorumError
		if _, err := got.Verify(w.a20, time.Unix(1_800_000_000, 0)); (i == 0) != (err == nil) || i == 1 && !errors.As(err, &q) {
			t.Errorf("with %v ignored: %v", want, err)
		}
	}
}

func TestSetAside(t *testing.T) {
	w := newWorld(t)
	pol := w.one.Policy()
	s := evidence.NewStore(t.TempDir())
	all := w.many(3, evidence.KindLog, w.logKey())
	add(t, s, all[0], pol, true)
	add(t, s, all[1], pol, true)
	wit := w.evidence(evidence.KindWitness, w.witnessKey(0), w.a12, w.b20)
	add(t, s, wit, pol, true)
	moved, err := s.SetAside(w.one.Origin())
	if err != nil || len(moved) != 2 {
		t.Fatalf("%q, %v", moved, err)
	}
	if b, err := os.ReadFile(moved[0]); err != nil || len(b) == 0 {
		t.Error(err)
	}
	if held, err := s.List(); err != nil || len(held) != 1 || held[0].Evidence.Kind != evidence.KindWitness {
		t.Errorf("%v, %v: the evidence against the witness must stay", held, err)
	}
	// What was set aside is not taken again; new evidence is.
	if _, added, err := s.Add(all[0], pol); added || !errors.Is(err, evidence.ErrSetAside) {
		t.Errorf("%v, %v", added, err)
	}
	add(t, s, all[2], pol, true)
	if held, err := s.AgainstLog(pol, w.one.Origin()); err != nil || len(held) != 1 {
		t.Errorf("%v, %v", held, err)
	}
}

// A file that somebody put there by hand counts under any name.
func TestNamesOfFilesDoNotMatter(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	e := w.evidence(evidence.KindLog, w.logKey(), w.a12, w.b20)
	if err := os.WriteFile(filepath.Join(dir, "mine"+evidence.Suffix), e.Marshal(), 0o600); err != nil {
		t.Fatal(err)
	}
	s := evidence.NewStore(dir)
	if held, err := s.AgainstLog(w.one.Policy(), w.one.Origin()); err != nil || len(held) != 1 {
		t.Errorf("%v, %v", held, err)
	}
	if _, err := s.SetAside(w.one.Origin()); err != nil {
		t.Fatal(err)
	}
	if held, err := s.List(); err != nil || len(held) != 0 {
		t.Errorf("%v, %v", held, err)
	}
}

func TestStoreWithoutAFolder(t *testing.T) {
	w := newWorld(t)
	s := evidence.NewStore("")
	held, added, err := s.Add(w.evidence(evidence.KindLog, w.logKey(), w.a12, w.b20), w.one.Policy())
	if err != nil || added || held.Path != "" || len(held.Bytes) == 0 {
		t.Errorf("%+v, %v, %v", held, added, err)
	}
	if held, err := s.List(); err != nil || held != nil {
		t.Errorf("%v, %v", held, err)
	}
}
