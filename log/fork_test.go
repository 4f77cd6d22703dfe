package log_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/policy"
)

// twoHistories are two logs with one key whose first same leaves agree.
func twoHistories(t *testing.T, same int) (a, b *logtest.Log) {
	a, b = logtest.New(t, logtest.Witnesses(3, 2)), logtest.New(t, logtest.Witnesses(3, 2))
	grow(a, 0, same, "leaf")
	grow(b, 0, same, "leaf")
	return a, b
}

// checkFork expects a fork with evidence on disk that convicts offline.
func checkFork(t *testing.T, err error, l *logtest.Log, dir string, oldNote, newNote []byte) {
	t.Helper()
	var fork *log.ForkError
	if !errors.As(err, &fork) {
		t.Fatalf("error %v, want a ForkError", err)
	}
	if !bytes.Equal(fork.Old, oldNote) || !bytes.Equal(fork.New, newNote) {
		t.Errorf("notes %q and %q", fork.Old, fork.New)
	}
	if filepath.Dir(fork.Path) != filepath.Join(dir, "evidence") {
		t.Errorf("evidence in %q", fork.Path)
	}
	b, err := os.ReadFile(fork.Path)
	if err != nil {
		t.Fatal(err)
	}
	e, err := evidence.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if v, err := e.Verify(l.Policy()); err != nil || v.Kind != evidence.KindLog || v.Origin != l.Origin() {
		t.Errorf("the evidence does not convict the log: %+v, %v", v, err)
	}
	for _, note := range [][]byte{oldNote, newNote} {
		if text := note[:bytes.Index(note, []byte("\n\n"))]; !bytes.Contains(b, text) {
			t.Error("the evidence does not hold both checkpoints")
		}
	}
	if !bytes.Equal(b, fork.Evidence) {
		t.Error("the file is not what the error holds")
	}
	if got := remembered(t, dir, l); !bytes.Equal(got, oldNote) {
		t.Error("the remembered checkpoint changed")
	}
}

func TestForkIsKeptAsTwoNotesAndRefused(t *testing.T) {
	for _, c := range []struct {
		name          string
		same, old, to int
	}{
		{"one size, two roots", 100, 300, 300},
		{"larger", 100, 300, 700},
		{"larger, all different", 0, 1, 2},
		{"smaller", 100, 700, 300},
	} {
		a, b := twoHistories(t, c.same)
		dir := t.TempDir()
		oldNote := grow(a, c.same, c.old, "one")
		newNote := grow(b, c.same, c.to, "another")
		checkpoint(t, a.Client(dir))
		client := b.Client(dir)
		if c.to < c.old {
			// A liar that shows the larger tree's tiles with the other checkpoint.
			a.Lie(func(lies *logtest.Lies) { lies.Checkpoint = newNote })
			client = a.Client(dir)
		}
		_, err := client.Checkpoint(t.Context())
		t.Run(c.name, func(t *testing.T) { checkFork(t, err, a, dir, oldNote, newNote) })

		// From now on the log is refused, whatever it shows.
		a.Lie(func(lies *logtest.Lies) { lies.Checkpoint = nil })
		var fork *log.ForkError
		if _, err := a.Client(dir).Checkpoint(t.Context()); !errors.As(err, &fork) || fork.Path == "" {
			t.Errorf("%s: after the fork: %v", c.name, err)
		}
	}
}

// Whoever cosigned both histories is convicted beside the log.
func TestForkConvictsTheWitnessesThatCosignedBoth(t *testing.T) {
	a, b := twoHistories(t, 10)
	dir := t.TempDir()
	grow(a, 10, 20, "one")
	grow(b, 10, 30, "another")
	checkpoint(t, a.Client(dir))
	var told []evidence.Verdict
	mem := log.NewMemory(dir)
	mem.OnEvidence(func(h evidence.Held) { told = append(told, h.Verdict) })
	c, err := log.NewClient(b.URL(), b.Policy(), log.Options{Memory: mem})
	if err != nil {
		t.Fatal(err)
	}
	var fork *log.ForkError
	for range 2 { // the second time there is nothing new
		if _, err := c.Checkpoint(t.Context()); !errors.As(err, &fork) {
			t.Fatal(err)
		}
	}
	if len(told) != 4 || told[0].Kind != evidence.KindLog || told[3].Name != "w3" {
		t.Errorf("told of %+v, want the log and three witnesses", told)
	}
	held, err := mem.Evidence().AgainstWitnesses(a.Policy())
	if err != nil || len(held) != 3 {
		t.Errorf("%d, %v", len(held), err)
	}
}

// fewer returns the note without the signatures of some witnesses.
func fewer(t *testing.T, note []byte, without ...string) []byte {
	t.Helper()
	n, err := policy.ParseNote(note)
	if err != nil {
		t.Fatal(err)
	}
	n.Signatures = slices.DeleteFunc(n.Signatures, func(s policy.Signature) bool { return slices.Contains(without, s.Name) })
	return n.Marshal()
}

// A witness that evidence is held against does not count, as if it were not there.
func TestConvictedWitnessDoesNotCount(t *testing.T) {
	a, b := twoHistories(t, 10)
	dir := t.TempDir()
	one := grow(a, 10, 20, "one")
	two := grow(b, 10, 20, "another")
	all, err := evidence.FromNotes(a.Policy(), one, two, [32]byte{}, nil)
	if err != nil || len(all) != 4 {
		t.Fatal(err)
	}
	mem := log.NewMemory(dir)
	c, err := log.NewClient(a.URL(), a.Policy(), log.Options{Memory: mem})
	if err != nil {
		t.Fatal(err)
	}
	a.Lie(func(lies *logtest.Lies) { lies.Checkpoint = fewer(t, one, "witness.example/w3") })
	if cp := checkpoint(t, c); len(cp.Verified.Cosignatures) != 2 {
		t.Fatalf("%+v", cp.Verified)
	}
	// While the client lives, evidence against w2 comes in.
	if _, added, err := mem.AddEvidence(all[2], a.Policy()); !added || err != nil {
		t.Fatal(added, err)
	}
	var q *policy.QuorumError
	if _, err := c.Checkpoint(t.Context()); !errors.As(err, &q) || !slices.Equal(q.Ignored, []string{"w2"}) {
		t.Errorf("error %v, want a QuorumError that names w2", err)
	}
	if _, err := mem.Remembered(a.Policy(), a.Origin()); !errors.As(err, &q) {
		t.Errorf("remembered: error %v, want a QuorumError", err)
	}
	a.Lie(func(lies *logtest.Lies) { lies.Checkpoint = nil })
	if cp := checkpoint(t, c); len(cp.Verified.Cosignatures) != 2 {
		t.Errorf("%+v, want w1 and w3", cp.Verified.Cosignatures)
	}
	pol, err := c.Believed()
	if err != nil || !slices.Equal(pol.Ignored(), []string{"w2"}) {
		t.Errorf("%v, %v", pol.Ignored(), err)
	}
}

// Evidence that somebody else found refuses the log, whatever it shows, until the
// log is forgotten on purpose.
func TestForgettingIsTheOnlyWayOut(t *testing.T) {
	a, b := twoHistories(t, 10)
	dir := t.TempDir()
	one := grow(a, 10, 20, "one")
	two := grow(b, 10, 30, "another")
	mem := log.NewMemory(dir)
	checkpoint(t, a.Client(dir))
	var fork *log.ForkError
	if _, err := b.Client(dir).Checkpoint(t.Context()); !errors.As(err, &fork) {
		t.Fatal(err)
	}
	e, err := evidence.Parse(fork.Evidence)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []*logtest.Log{a, b} {
		if _, err := l.Client(dir).Checkpoint(t.Context()); !errors.As(err, &fork) || fork.Path == "" {
			t.Errorf("%v", err)
		}
	}
	if _, err := mem.Remembered(a.Policy(), a.Origin()); !errors.As(err, &fork) {
		t.Errorf("remembered: %v", err)
	}

	// What does not convict this log does not make it forgotten.
	witnesses, err := mem.Evidence().AgainstWitnesses(a.Policy())
	if err != nil || len(witnesses) != 3 {
		t.Fatal(len(witnesses), err)
	}
	stranger, other := logtest.New(t, logtest.OtherKey()), logtest.New(t, logtest.OtherKey())
	made, err := evidence.FromNotes(stranger.Policy(), grow(stranger, 0, 5, "x"), grow(other, 0, 5, "y"), [32]byte{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for what, bad := range map[string]*evidence.Evidence{"against a witness": witnesses[0].Evidence, "against a key of nobody": made[0]} {
		if _, err := mem.Forget(a.Policy(), a.Origin(), bad); !errors.Is(err, evidence.ErrUnknownKey) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := mem.Forget(a.Policy(), "other.example/00000000", e); !errors.Is(err, evidence.ErrUnknownKey) {
		t.Errorf("of another origin: %v", err)
	}
	if !bytes.Equal(remembered(t, dir, a), one) {
		t.Error("a refused forgetting forgot")
	}

	aside, err := mem.Forget(a.Policy(), a.Origin(), e)
	if err != nil || len(aside) != 2 {
		t.Fatalf("%q, %v", aside, err)
	}
	if got, err := os.ReadFile(aside[0]); err != nil || !bytes.Equal(got, one) {
		t.Errorf("the checkpoint is not in the archive: %v", err)
	}
	if got, err := os.ReadFile(aside[1]); err != nil || !bytes.Equal(got, e.Marshal()) {
		t.Errorf("the evidence is not in the archive: %v", err)
	}
	// The witnesses cosigned both; they are not forgiven with the log.
	var q *policy.QuorumError
	if _, err := b.Client(dir).Checkpoint(t.Context()); !errors.As(err, &q) {
		t.Errorf("%v", err)
	}
	lone, err := policy.Parse([]byte("log " + a.VKey() + "\nquorum none\n"))
	if err != nil {
		t.Fatal(err)
	}
	client := func(l *logtest.Log) *log.Client {
		c, err := log.NewClient(l.URL(), lone, log.Options{Memory: log.NewMemory(dir)})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if cp := checkpoint(t, client(b)); !bytes.Equal(cp.Note, two) {
		t.Error("not remembered afresh")
	}
	// The log does again what it was forgiven: the evidence is on disk already.
	b.Lie(func(lies *logtest.Lies) { lies.Checkpoint = one })
	for range 2 {
		if _, err := client(b).Checkpoint(t.Context()); !errors.As(err, &fork) || filepath.Dir(fork.Path) != filepath.Dir(aside[0]) {
			t.Errorf("the older history again: %v", err)
		}
	}
	b.Lie(func(lies *logtest.Lies) { lies.Checkpoint = nil })
	checkpoint(t, client(b))
}

// Without witnesses of a quorum nothing is remembered and nothing is a fork.
func TestForkWithoutQuorumIsNotBelievedEither(t *testing.T) {
	a, _ := twoHistories(t, 10)
	lone := logtest.New(t) // the same key, no cosignatures
	dir := t.TempDir()
	grow(a, 10, 20, "leaf")
	grow(lone, 0, 20, "fork")
	checkpoint(t, a.Client(dir))
	c, err := log.NewClient(lone.URL(), a.Policy(), log.Options{Memory: log.NewMemory(dir)})
	if err != nil {
		t.Fatal(err)
	}
	var q *policy.QuorumError
	if _, err := c.Checkpoint(t.Context()); !errors.As(err, &q) {
		t.Errorf("error %v, want a QuorumError", err)
	}
}

// Two keys under one origin are not one key that signed two histories.
func TestTwoKeysOfOneOriginConvictNobody(t *testing.T) {
	a, b := logtest.New(t), logtest.New(t, logtest.OtherKey())
	grow(a, 0, 5, "one")
	grow(b, 0, 5, "two")
	both, err := policy.Parse([]byte("log " + a.VKey() + "\nlog " + b.VKey() + "\nquorum none\n"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for i, l := range []*logtest.Log{a, b} {
		c, err := log.NewClient(l.URL(), both, log.Options{Memory: log.NewMemory(dir)})
		if err != nil {
			t.Fatal(err)
		}
		var fork *log.ForkError
		_, err = c.Checkpoint(t.Context())
		if i == 0 && err != nil || i == 1 && (!errors.Is(err, log.ErrUnproven) || errors.As(err, &fork)) {
			t.Errorf("log %d: %v", i, err)
		}
	}
}
