package evidence_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/policy"
)

func FuzzParse(f *testing.F) {
	seeds(f, func(b []byte) { f.Add(b) })
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := evidence.Parse(b)
		if err != nil {
			return
		}
		if !bytes.Equal(e.Marshal(), b) {
			t.Errorf("%q became %q", b, e.Marshal())
		}
		if _, err := e.VerifySelf(); err == nil && e.Kind == evidence.KindIndex {
			t.Errorf("an index is convicted without a judge: %q", b)
		}
	})
}

func TestFromNotesConvictsLogAndWitnesses(t *testing.T) {
	w := newWorld(t)
	pol := w.one.Policy()
	for _, pair := range [][2][]byte{{w.a12, w.b12}, {w.b12, w.a12}, {w.a12, w.b20}, {w.b20, w.a12}} {
		all, err := evidence.FromNotes(pol, pair[0], pair[1], w.root, w.proof)
		if err != nil || len(all) != 4 {
			t.Fatalf("%d, %v, want the log and three witnesses", len(all), err)
		}
		for i, e := range all {
			v, err := e.Verify(pol)
			want := evidence.KindWitness
			if i == 0 {
				want = evidence.KindLog
			}
			if err != nil || v.Kind != want || v.Origin != w.one.Origin() || i > 0 && v.Name != fmt.Sprintf("w%d", i) {
				t.Errorf("%d: %+v, %v", i, v, err)
			}
			back, err := evidence.Parse(e.Marshal())
			if err != nil || !bytes.Equal(back.Marshal(), e.Marshal()) {
				t.Errorf("%d: %v", i, err)
			}
			if len(e.Marshal()) > 1500 {
				t.Errorf("%d: %d bytes", i, len(e.Marshal()))
			}
		}
	}
	// The order of the notes makes no second form.
	a, _ := evidence.FromNotes(pol, w.a12, w.b12, tlog.Hash{}, nil)
	b, _ := evidence.FromNotes(pol, w.b12, w.a12, w.root, w.proof)
	if !bytes.Equal(a[0].Marshal(), b[0].Marshal()) {
		t.Error("the same evidence has two forms")
	}
}

func TestFromNotesConvictsNobodyWhoIsHonest(t *testing.T) {
	w := newWorld(t)
	pol := w.one.Policy()
	for name, c := range map[string]struct {
		a, b  []byte
		root  tlog.Hash
		proof []tlog.Hash
	}{
		"the same":            {w.a12, w.a12, tlog.Hash{}, nil},
		"smaller":             {w.a12, w.a20, w.trueRoot, w.trueProof},
		"smaller, no proof":   {w.a5, w.a20, tlog.Hash{}, nil},
		"common, larger":      {w.a5, w.b20, w.root, w.proof},
		"proof of the other":  {w.a12, w.b20, w.trueRoot, w.trueProof},
		"proof of some hash":  {w.a12, w.b20, w.root, []tlog.Hash{{1}}},
		"not even signed":     {w.a12, bytes.Replace(w.b12, []byte("\n12\n"), []byte("\n14\n"), 1), w.root, w.proof},
		"a hundred of hashes": {w.a12, w.b20, w.root, make([]tlog.Hash, 100)},
	} {
		all, err := evidence.FromNotes(pol, c.a, c.b, c.root, c.proof)
		if len(all) > 0 || !errors.Is(err, evidence.ErrNotEvidence) && !errors.Is(err, evidence.ErrMalformed) {
			t.Errorf("%s: %d, %v", name, len(all), err)
		}
	}
	for _, junk := range []string{"", "x", "x\n\n— y AAAAAAAA\n"} {
		if all, err := evidence.FromNotes(pol, []byte(junk), w.a12, tlog.Hash{}, nil); len(all) > 0 || !errors.Is(err, evidence.ErrMalformed) {
			t.Errorf("%q: %v", junk, err)
		}
	}
}

// However an honest log grows and whatever of it is seen, nothing is evidence.
func TestHonestHistoriesAreNeverEvidence(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	l := logtest.New(t, logtest.Witnesses(2, 1))
	var notes [][]byte
	for n := 0; n < 300; n += 1 + r.IntN(40) {
		notes = append(notes, grow(l, int(l.Size()), n, "leaf"))
	}
	c := l.Client("")
	cp, err := c.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pol := l.Policy()
	for range 400 {
		a, b := notes[r.IntN(len(notes))], notes[r.IntN(len(notes))]
		size := head(t, notes[1+r.IntN(len(notes)-1)]).Size
		proof, root, err := c.ProveConsistency(t.Context(), size, cp)
		if err != nil {
			t.Fatal(err)
		}
		if r.IntN(2) == 0 {
			root[r.IntN(32)] ^= 1 << r.IntN(8)
		}
		if all, err := evidence.FromNotes(pol, a, b, root, proof); err == nil {
			t.Fatalf("%s", all[0].Marshal())
		}
	}
}

// Two keys under one origin are not one key that signed two histories.
func TestTwoKeysOfOneOriginConvictOnlyWitnesses(t *testing.T) {
	a, b := logtest.New(t, logtest.Witnesses(1, 1)), logtest.New(t, logtest.OtherKey(), logtest.Witnesses(1, 1))
	one, two := grow(a, 0, 5, "one"), grow(b, 0, 5, "two")
	both, err := policy.Parse([]byte("log " + a.VKey() + "\nlog " + b.VKey() + "\nwitness w " + a.Policy().Witnesses[0].Key.String() + "\nquorum w\n"))
	if err != nil {
		t.Fatal(err)
	}
	all, err := evidence.FromNotes(both, one, two, tlog.Hash{}, nil)
	if err != nil || len(all) != 1 || all[0].Kind != evidence.KindWitness {
		t.Errorf("%d, %v, want the witness alone", len(all), err)
	}
}

func TestVerifyKey(t *testing.T) {
	w := newWorld(t)
	e := w.evidence(evidence.KindLog, w.logKey(), w.a12, w.b20)
	if v, err := e.VerifyKey(w.logKey()); err != nil || v.Key.String() != w.logKey().String() {
		t.Errorf("%+v, %v", v, err)
	}
	renamed, err := policy.NewKey("other.example/00000000", policy.TypeEd25519, w.logKey().Public)
	if err != nil {
		t.Fatal(err)
	}
	asWitness, err := policy.NewKey(w.logKey().Name, policy.TypeCosignature, w.logKey().Public)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []policy.Key{w.witnessKey(0), renamed, asWitness} {
		if _, err := e.VerifyKey(k); !errors.Is(err, evidence.ErrUnknownKey) {
			t.Errorf("%s: %v", k, err)
		}
	}
	ew := w.evidence(evidence.KindWitness, w.witnessKey(1), w.a12, w.b20)
	if _, err := ew.VerifyKey(w.witnessKey(1)); err != nil {
		t.Error(err)
	}
	if _, err := ew.VerifyKey(w.witnessKey(0)); !errors.Is(err, evidence.ErrUnknownKey) {
		t.Error(err)
	}
}

// A wrong signature beside the right one, under the same name, protects nobody.
func TestOfSeveralSignaturesTheRightOneIsTaken(t *testing.T) {
	w := newWorld(t)
	n, err := policy.ParseNote(w.a12)
	if err != nil {
		t.Fatal(err)
	}
	var decoys []policy.Signature
	for _, s := range n.Signatures {
		s.Sig = bytes.Clone(s.Sig)
		s.Sig[len(s.Sig)-1] ^= 1
		decoys = append(decoys, s)
	}
	n.Signatures = append(decoys, n.Signatures...)
	all, err := evidence.FromNotes(w.one.Policy(), n.Marshal(), w.b12, tlog.Hash{}, nil)
	if err != nil || len(all) != 4 {
		t.Errorf("%d, %v", len(all), err)
	}
}

func BenchmarkVerify(b *testing.B) {
	w := newWorld(b)
	pol, text := w.one.Policy(), w.evidence(evidence.KindLog, w.logKey(), w.a12, w.b20).Marshal()
	for b.Loop() {
		e, err := evidence.Parse(text)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := e.Verify(pol); err != nil {
			b.Fatal(err)
		}
	}
}

// Every byte of evidence matters: no changed one convicts anybody but as another
// true evidence, of which there is none here.
func TestNoChangedByteConvicts(t *testing.T) {
	w := newWorld(t)
	pol := w.one.Policy()
	for _, e := range []*evidence.Evidence{
		w.evidence(evidence.KindLog, w.logKey(), w.a12, w.b20),
		w.evidence(evidence.KindLog, w.logKey(), w.a12, w.b12),
	} {
		b := e.Marshal()
		for i := range b {
			for _, bit := range []byte{1, 4, 0x20} {
				c := bytes.Clone(b)
				c[i] ^= bit
				if e, err := evidence.Parse(c); err == nil {
					if _, err := e.Verify(pol); err == nil {
						t.Fatalf("byte %d changed convicts:\n%s", i, c)
					}
				}
			}
		}
	}
}
