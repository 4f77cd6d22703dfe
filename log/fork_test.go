package log_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firn-log/firn/log"
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
	f, err := log.ParseFork(b)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Verify(l.Policy()); err != nil {
		t.Errorf("the evidence does not convict: %v", err)
	}
	if !bytes.Contains(b, oldNote) || !bytes.Contains(b, newNote) {
		t.Error("the evidence does not hold both notes")
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

func TestAtMostFourFilesOfEvidence(t *testing.T) {
	a, _ := twoHistories(t, 0)
	dir := t.TempDir()
	grow(a, 0, 3, "one")
	mem := log.NewMemory(dir)
	for i := range 7 {
		// Files that are not evidence are neither counted nor named.
		name := fmt.Sprintf("%x-junk%d.firn-fork", sha256.Sum256([]byte(a.Origin())), i)
		if err := os.MkdirAll(filepath.Join(dir, "evidence"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "evidence", name), []byte("junk"), 0o600); err != nil {
			t.Fatal(err)
		}
		b := logtest.New(t, logtest.Witnesses(3, 2))
		grow(b, 0, 3, fmt.Sprint("other ", i))
		alone := log.NewMemory("")
		for _, l := range []*logtest.Log{a, b} {
			c, err := log.NewClient(l.URL(), l.Policy(), log.Options{Memory: alone})
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.Checkpoint(t.Context())
			var fork *log.ForkError
			if l == a && err != nil || l == b && !errors.As(err, &fork) {
				t.Fatal(err)
			}
			if fork == nil {
				continue
			}
			if err := mem.Keep(c, fork); !errors.As(err, &fork) || fork.Path == "" || strings.Contains(fork.Path, "junk") {
				t.Errorf("%v, in %q", err, fork.Path)
			}
		}
		held, err := mem.Evidence(a.Origin())
		if want := i + 1 + min(i+1, 4); err != nil || len(held) != want {
			t.Errorf("%d files, want %d, %v", len(held), want, err)
		}
	}
	var fork *log.ForkError
	if _, err := a.Client(dir).Checkpoint(t.Context()); !errors.As(err, &fork) || strings.Contains(fork.Path, "junk") {
		t.Errorf("%v", err)
	}
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

func TestForgedEvidenceConvictsNobody(t *testing.T) {
	a, b := twoHistories(t, 10)
	early := grow(a, 10, 20, "leaf")
	late := grow(a, 20, 30, "leaf")
	other := logtest.New(t, logtest.Origin("other.example/00000000"))
	otherNote := grow(other, 0, 30, "x")
	c := a.Client("")
	cp := checkpoint(t, c)
	proof, root, err := c.ProveConsistency(t.Context(), 20, cp)
	if err != nil {
		t.Fatal(err)
	}
	wrongRoot := root
	wrongRoot[0] ^= 1
	fork := grow(b, 10, 20, "fork")
	unsigned := bytes.Replace(fork, []byte("\n20\n"), []byte("\n21\n"), 1)
	for what, f := range map[string]log.Fork{
		"two sizes of one history": {Small: early, Large: late, Root: root, Proof: proof},
		"two sizes, no proof":      {Small: early, Large: late},
		"another root, no proof":   {Small: early, Large: late, Root: wrongRoot, Proof: proof},
		"the same note twice":      {Small: early, Large: early},
		"two origins":              {Small: early, Large: otherNote},
		"not signed":               {Small: early, Large: unsigned},
		"larger first":             {Small: late, Large: early},
		"size 0":                   {Small: logtest.New(t, logtest.Witnesses(3, 2)).Publish(), Large: early},
	} {
		if f.Verify(a.Policy()) == nil {
			t.Errorf("%s: convicts", what)
		}
	}
	good := log.Fork{Small: early, Large: fork}
	if err := good.Verify(a.Policy()); err != nil {
		t.Errorf("a true fork: %v", err)
	}
	if good.Verify(other.Policy()) == nil {
		t.Error("a fork convicts under a policy that does not know the log")
	}
}

// Two keys under one origin are not one key that signed two histories.
func TestTwoKeysOfOneOriginConvictNobody(t *testing.T) {
	a, b := logtest.New(t), logtest.New(t, logtest.OtherKey())
	one, two := grow(a, 0, 5, "one"), grow(b, 0, 5, "two")
	both, err := policy.Parse([]byte("log " + a.VKey() + "\nlog " + b.VKey() + "\nquorum none\n"))
	if err != nil {
		t.Fatal(err)
	}
	if (&log.Fork{Small: one, Large: two}).Verify(both) == nil {
		t.Error("two keys convict")
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
