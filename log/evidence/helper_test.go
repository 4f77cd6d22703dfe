package evidence_test

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/policy"
)

// world is a log with two histories, one and two, that agree on 10 leaves. Three
// witnesses cosign both.
type world struct {
	t        testing.TB
	one, two *logtest.Log
	// Checkpoints of the two histories by size.
	a5, a12, a20, b12, b20 []byte
	// The proof from size 12 to 20 of two, and what is at 12 there; the same of one.
	root, trueRoot   tlog.Hash
	proof, trueProof []tlog.Hash
}

func grow(l *logtest.Log, from, to int, what string) []byte {
	for i := from; i < to; i++ {
		l.Add(fmt.Appendf(nil, "%s %d", what, i))
	}
	return l.Publish()
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, one: logtest.New(t, logtest.Witnesses(3, 2)), two: logtest.New(t, logtest.Witnesses(3, 2))}
	for i, l := range []*logtest.Log{w.one, w.two} {
		l.SetTime(time.Unix(1_800_000_000+int64(i), 0))
	}
	w.a5 = grow(w.one, 0, 5, "same")
	grow(w.one, 5, 10, "same")
	grow(w.two, 0, 10, "same")
	w.a12, w.b12 = grow(w.one, 10, 12, "one"), grow(w.two, 10, 12, "two")
	w.a20, w.b20 = grow(w.one, 12, 20, "one"), grow(w.two, 12, 20, "two")
	w.root, w.proof = prove(t, w.two, 12)
	w.trueRoot, w.trueProof = prove(t, w.one, 12)
	return w
}

// prove returns what a log holds at a smaller size, and the proof to its size.
func prove(t testing.TB, l *logtest.Log, size uint64) (tlog.Hash, []tlog.Hash) {
	t.Helper()
	c := l.Client("")
	cp, err := c.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	proof, root, err := c.ProveConsistency(t.Context(), size, cp)
	if err != nil {
		t.Fatal(err)
	}
	return root, proof
}

func (w *world) logKey() policy.Key { return w.one.Policy().Logs[0].Key }

func (w *world) witnessKey(i int) policy.Key { return w.one.Policy().Witnesses[i].Key }

// strip keeps one signature of a note.
func strip(t testing.TB, note []byte, k policy.Key) []byte {
	t.Helper()
	n, err := policy.ParseNote(note)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range n.Signatures {
		if s.Name == k.Name && s.ID == k.ID {
			n.Signatures = []policy.Signature{s}
			return n.Marshal()
		}
	}
	t.Fatalf("no signature of %s", k)
	return nil
}

// rename keeps the signature of one key of a note, and says that it is another's.
func rename(t testing.TB, note []byte, from, to policy.Key) []byte {
	t.Helper()
	n, err := policy.ParseNote(strip(t, note, from))
	if err != nil {
		t.Fatal(err)
	}
	n.Signatures[0].Name, n.Signatures[0].ID = to.Name, to.ID
	return n.Marshal()
}

// forged is text in the form of evidence, whatever it proves.
func (w *world) forged(kind evidence.Kind, k policy.Key, a, b []byte, root tlog.Hash, proof []tlog.Hash) []byte {
	w.t.Helper()
	return (&evidence.Evidence{Kind: kind, Key: k, Small: strip(w.t, a, k), Large: strip(w.t, b, k), Root: root, Proof: proof}).Marshal()
}

func (w *world) forgedLog(a, b []byte, root tlog.Hash, proof []tlog.Hash) []byte {
	w.t.Helper()
	return w.forged(evidence.KindLog, w.logKey(), a, b, root, proof)
}

// evidence is true evidence.
func (w *world) evidence(kind evidence.Kind, k policy.Key, a, b []byte) *evidence.Evidence {
	w.t.Helper()
	e, err := evidence.New(kind, k, a, b, w.root, w.proof)
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}
