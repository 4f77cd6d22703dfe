package fraud_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/index/fraud"
	"github.com/firn-log/firn/log/statement"
)

// contradiction is evidence of two revisions of a size.
func contradiction(t testing.TB, size, mapVersion uint64, root byte) *evidence.Evidence {
	t.Helper()
	l := newTree(t, testOrigin, "log "+testOrigin)
	of := func(root byte) []byte {
		return l.sign(&statement.Revision{Origin: testOrigin, Size: size, Root: [32]byte{root}, MapVersion: mapVersion})
	}
	e, err := fraud.FromRevisions(l.key(), of(root), of(root+1))
	return convicts(t, e, err)
}

func read(t testing.TB, name string) *evidence.Evidence {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(vectorDir, name+evidence.Suffix))
	if err != nil {
		t.Fatal(err)
	}
	e, err := evidence.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// A store that has no judge keeps no evidence against an index, and does not look at it.
func TestStoreWithoutAJudge(t *testing.T) {
	pol, dir := vectorPolicy(t), t.TempDir()
	blind := evidence.NewStore(dir)
	if _, added, err := blind.Add(contradiction(t, 20, 1, 1), pol); added || !errors.Is(err, evidence.ErrReserved) {
		t.Errorf("added %v, %v", added, err)
	}
	if _, _, err := evidence.NewStore(dir, evidence.WithJudge(fraud.Judge)).Add(contradiction(t, 20, 1, 1), pol); err != nil {
		t.Fatal(err)
	}
	if held, err := blind.List(); err != nil || len(held) != 0 {
		t.Errorf("%v, %v", held, err)
	}
	if _, err := blind.AgainstIndex(pol, testOrigin, 1); !errors.Is(err, evidence.ErrReserved) {
		t.Errorf("it claims to know: %v", err)
	}
}

// Evidence against an index ends no trust in the log's checkpoints.
func TestMemoryHoldsEvidenceAgainstAnIndex(t *testing.T) {
	pol, dir := vectorPolicy(t), t.TempDir()
	m := log.NewMemory(dir)
	for _, name := range []string{"accept-missing-between", "accept-two-revisions", "accept-two-revisions-unknown-map-version"} {
		if _, added, err := m.AddEvidence(read(t, name), pol); err != nil || !added {
			t.Fatalf("%s: %v, %v", name, added, err)
		}
	}
	for version, want := range map[uint64]int{1: 2, 7: 1, 2: 0} {
		held, err := m.Evidence().AgainstIndex(pol, testOrigin, version)
		if err != nil || len(held) != want {
			t.Fatalf("version %d: %d, %v", version, len(held), err)
		}
		for _, h := range held {
			if h.Verdict.Kind != evidence.KindIndex || h.Verdict.Origin != testOrigin || h.Verdict.MapVersion != version || h.Verdict.Size != 20 {
				t.Errorf("%+v", h.Verdict)
			}
		}
	}
	if held, err := m.Evidence().AgainstLog(pol, testOrigin); err != nil || len(held) != 0 {
		t.Errorf("against the log: %v, %v", held, err)
	}
	if held, err := m.Evidence().AgainstIndex(pol, "other.example/00000001", 1); err != nil || len(held) != 0 {
		t.Errorf("against another log: %v, %v", held, err)
	}
	if cp, err := m.Remembered(pol, testOrigin); cp != nil || err != nil {
		t.Errorf("%v, %v", cp, err)
	}
	for _, name := range []string{"reject-innocent-present", "reject-reserved-map-version", "reject-unknown-key-other-log-key"} {
		if _, added, err := m.AddEvidence(read(t, name), pol); err == nil || added {
			t.Errorf("%s was added", name)
		}
	}
	// Who forgets the log, forgets what its old index was.
	if moved, err := m.Evidence().SetAside(testOrigin); err != nil || len(moved) != 3 {
		t.Errorf("%v, %v", moved, err)
	}
	if _, _, err := m.AddEvidence(read(t, "accept-two-revisions"), pol); !errors.Is(err, evidence.ErrSetAside) {
		t.Errorf("%v", err)
	}
}

// Four are enough, but never are all of them older than what a reset answers.
func TestStoreKeepsTheLargestRevisions(t *testing.T) {
	pol := vectorPolicy(t)
	s := evidence.NewStore(t.TempDir(), evidence.WithJudge(fraud.Judge))
	for _, c := range []struct {
		size uint64
		root byte
		want bool
	}{{10, 1, true}, {30, 1, true}, {20, 1, true}, {20, 1, false}, {20, 2, true}, {30, 2, false}, {5, 1, false}, {31, 1, true}, {40, 1, true}} {
		if _, added, err := s.Add(contradiction(t, c.size, 1, c.root), pol); err != nil || added != c.want {
			t.Errorf("size %d: added %v, %v", c.size, added, err)
		}
	}
	if _, added, err := s.Add(contradiction(t, 1, 2, 1), pol); err != nil || !added {
		t.Errorf("another map version has its own four: %v", err)
	}
	sizes := map[uint64]int{}
	held, err := s.AgainstIndex(pol, testOrigin, 1)
	if err != nil || len(held) != evidence.MaxHeld {
		t.Fatalf("%d, %v", len(held), err)
	}
	for _, h := range held {
		sizes[h.Verdict.Size]++
	}
	if sizes[40] != 1 || sizes[31] != 1 || sizes[30] != 1 || sizes[20] != 1 {
		t.Errorf("%v", sizes)
	}
}

// A log can sign revisions of as many map versions as it likes: of four files are kept, the
// smallest, which are those that somebody knows.
func TestStoreKeepsTheSmallestMapVersions(t *testing.T) {
	pol := vectorPolicy(t)
	s := evidence.NewStore(t.TempDir(), evidence.WithJudge(fraud.Judge))
	for _, c := range []struct {
		version uint64
		root    byte
		want    bool
	}{{20, 1, true}, {20, 2, true}, {30, 1, true}, {40, 1, true}, {50, 1, true}, {60, 1, false}, {50, 2, true}, {1, 1, true}, {50, 3, false}, {2, 1, true}, {30, 2, true}} {
		if _, added, err := s.Add(contradiction(t, 10, c.version, c.root), pol); err != nil || added != c.want {
			t.Errorf("version %d: added %v, %v", c.version, added, err)
		}
	}
	for version, want := range map[uint64]int{1: 1, 2: 1, 20: 2, 30: 2, 40: 0, 50: 0, 60: 0} {
		if held, err := s.AgainstIndex(pol, testOrigin, version); err != nil || len(held) != want {
			t.Errorf("version %d: %d, %v", version, len(held), err)
		}
	}
}

func TestClearedBy(t *testing.T) {
	l := newTree(t, testOrigin, "log "+testOrigin)
	reset := func(size uint64) []byte { return l.reset(size) }
	two, missing := contradiction(t, 20, 1, 1), read(t, "accept-missing-between") // the revision is at 20
	innocent := read(t, "reject-innocent-present")
	spoilt := bytes.Clone(reset(20))
	spoilt[len(spoilt)-1] ^= 1
	for name, c := range map[string]struct {
		e    *evidence.Evidence
		leaf []byte
		at   uint64
		want bool
	}{
		"two revisions":             {two, reset(20), 25, true},
		"two revisions, larger":     {two, reset(24), 25, true},
		"two revisions, smaller":    {two, reset(19), 25, false},
		"beyond its own index":      {two, reset(26), 25, false},
		"as large as its index":     {two, reset(25), 25, true},
		"before the revision":       {two, reset(20), 19, false},
		"a map":                     {missing, reset(20), 21, true},
		"a map, before a revision":  {missing, reset(20), 20, true},
		"a map, smaller":            {missing, reset(19), 21, false},
		"other version":             {contradiction(t, 20, 2, 1), reset(20), 25, false},
		"another key":               {two, newTree(t, testOrigin, "stranger").reset(20), 25, false},
		"another origin":            {two, newTree(t, "other.example/00000001", "log "+testOrigin).reset(20), 25, false},
		"unsigned":                  {two, spoilt, 25, false},
		"a revision":                {two, l.revision(20, index.Hash{}), 25, false},
		"no statement":              {two, []byte("x"), 25, false},
		"evidence that is none":     {innocent, reset(20), 25, false},
		"evidence of another world": {&evidence.Evidence{Kind: evidence.KindIndex}, reset(20), 25, false},
	} {
		if got := fraud.ClearedBy(c.e, c.leaf, c.at); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestCheckStatement(t *testing.T) {
	eachVector(t, func(name string, b []byte) {
		want := map[string]string{"accept": "", "reject-unknown-key": "", "reject-innocent": statement.CodeNotEvidence, "reject-reserved": statement.CodeNotYet, "reject-malformed": statement.CodeBadValue}
		err := fraud.CheckStatement(&statement.Evidence{Bytes: b})
		for prefix, code := range want {
			if bytes.HasPrefix([]byte(name), []byte(prefix)) && statement.CodeOf(err) != code {
				t.Errorf("%s: %q, %v", name, statement.CodeOf(err), err)
			}
		}
	})
}

// A caller that fills in the fields by hand is told so, and nothing panics.
func TestHandmadeEvidenceIsRead(t *testing.T) {
	good := read(t, "accept-missing-between")
	for name, e := range map[string]*evidence.Evidence{
		"nothing":  {Kind: evidence.KindIndex, Key: good.Key},
		"empty":    {Kind: evidence.KindIndex, Key: good.Key, Index: &evidence.Index{}},
		"as a log": {Kind: evidence.KindLog, Key: good.Key, Index: good.Index},
	} {
		if _, err := fraud.VerifySelf(e); !errors.Is(err, evidence.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := fraud.Judge(e); err == nil {
			t.Errorf("%s: judged", name)
		}
	}
	if _, err := good.VerifySelf(); !errors.Is(err, evidence.ErrReserved) {
		t.Errorf("without a judge: %v", err)
	}
	if _, err := good.VerifyKey(good.Key); !errors.Is(err, evidence.ErrReserved) {
		t.Errorf("without a judge: %v", err)
	}
}
