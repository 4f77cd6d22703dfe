package evidence_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/internal/testreq"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/policy"
)

var update = flag.Bool("update", false, "write spec/vectors/evidence")

var vectorDir = filepath.Join(testreq.Root(), "spec", "vectors", "evidence")

// class sorts an error into the classes of the vectors' names.
func class(err error) string {
	switch {
	case err == nil:
		return "accept"
	case errors.Is(err, evidence.ErrMalformed):
		return "reject-malformed"
	case errors.Is(err, evidence.ErrNotEvidence):
		return "reject-innocent"
	case errors.Is(err, evidence.ErrUnknownKey):
		return "reject-unknown-key"
	}
	return err.Error()
}

func eachVector(t testing.TB, f func(name string, b []byte)) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(vectorDir, "*"+evidence.Suffix))
	if err != nil || len(paths) < 20 {
		t.Fatalf("%d vectors, %v", len(paths), err)
	}
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		f(strings.TrimSuffix(filepath.Base(p), evidence.Suffix), b)
	}
}

// seeds calls f with every vector, those of evidence against an index included.
func seeds(t testing.TB, f func(b []byte)) {
	eachVector(t, func(_ string, b []byte) { f(b) })
	paths, err := filepath.Glob(filepath.Join(vectorDir, "index", "*"+evidence.Suffix))
	if err != nil || len(paths) < 20 {
		t.Fatalf("%d vectors, %v", len(paths), err)
	}
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		f(b)
	}
}

func TestVectors(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(vectorDir, "log.policy"))
	if err != nil {
		t.Fatal(err)
	}
	pol, err := policy.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	eachVector(t, func(name string, b []byte) {
		e, err := evidence.Parse(b)
		if err == nil {
			if !bytes.Equal(e.Marshal(), b) {
				t.Errorf("%s: encodes to other bytes", name)
			}
			var v evidence.Verdict
			if v, err = e.Verify(pol); err == nil && !strings.HasPrefix(name, "accept-"+string(v.Kind)) {
				t.Errorf("%s: convicts a %s", name, v.Kind)
			}
		}
		if got := class(err); !strings.HasPrefix(name, got+"-") {
			t.Errorf("%s: %s: %v", name, got, err)
		}
	})
}

// neverEvidence are the MUST NOTs of spec/evidence.md#never-evidence, each with
// the vectors that show it.
var neverEvidence = map[string][]string{
	"a smaller checkpoint of the same history": {"reject-innocent-smaller", "reject-innocent-two-sizes-no-proof", "reject-innocent-witness-smaller"},
	"an unsigned checkpoint":                   {"reject-innocent-unsigned", "reject-innocent-witness-unsigned", "reject-innocent-signed-by-other-key", "reject-malformed-no-signature"},
	"a failing proof":                          {"reject-innocent-failing-proof", "reject-innocent-proof-of-other-size", "reject-innocent-witness-failing-proof"},
	"a number in an answer":                    {"reject-malformed-409-number"},
	"a timestamp":                              {"reject-innocent-timestamps"},
	"a checkpoint of size 0":                   {"reject-innocent-size-0", "reject-malformed-size-0-other-root"},
	"one cache key over two NAR hashes":        {"reject-malformed-two-nar-hashes"},
	"other extension lines":                    {"reject-innocent-extension-lines"},
	"two origins":                              {"reject-innocent-two-origins", "reject-innocent-witness-two-origins"},
	"two keys":                                 {"reject-malformed-two-keys", "reject-unknown-key-other-log-key"},
	"a key that says who it is itself":         {"reject-unknown-key-witness", "reject-unknown-key-witness-as-log", "reject-unknown-key-log"},
}

func TestWhatIsNeverEvidenceHasVectors(t *testing.T) {
	for what, names := range neverEvidence {
		for _, name := range names {
			if _, err := os.Stat(filepath.Join(vectorDir, name+evidence.Suffix)); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
}

func TestVectorsAreUpToDate(t *testing.T) {
	want := makeVectors(t)
	if *update {
		if err := os.MkdirAll(vectorDir, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, b := range want {
			if err := os.WriteFile(filepath.Join(vectorDir, name), b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, b := range want {
		if got, err := os.ReadFile(filepath.Join(vectorDir, name)); err != nil || !bytes.Equal(got, b) {
			t.Errorf("%s is not what -update writes: %v", name, err)
		}
	}
	files, err := filepath.Glob(filepath.Join(vectorDir, "*.*"))
	if err != nil || len(files) != len(want) {
		t.Errorf("%d files instead of %d, %v", len(files), len(want), err)
	}
}

func makeVectors(t *testing.T) map[string][]byte {
	w := newWorld(t)
	v := map[string][]byte{
		"accept-log-one-size":      w.evidence(evidence.KindLog, w.logKey(), w.a12, w.b12).Marshal(),
		"accept-log-two-sizes":     w.evidence(evidence.KindLog, w.logKey(), w.a12, w.b20).Marshal(),
		"accept-witness-one-size":  w.evidence(evidence.KindWitness, w.witnessKey(0), w.a12, w.b12).Marshal(),
		"accept-witness-two-sizes": w.evidence(evidence.KindWitness, w.witnessKey(1), w.a12, w.b20).Marshal(),
	}
	w.acceptMore(v)
	w.innocent(v)
	w.unknown(v)
	w.malformed(v)
	files := map[string][]byte{"log.policy": []byte(w.one.PolicyText())}
	for name, b := range v {
		files[name+evidence.Suffix] = b
	}
	return files
}

// head parses the text of a note.
func head(t testing.TB, note []byte) policy.Head {
	t.Helper()
	n, err := policy.ParseNote(note)
	if err != nil {
		t.Fatal(err)
	}
	h, err := policy.ParseCheckpoint(n.Text)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func (w *world) acceptMore(v map[string][]byte) {
	h := head(w.t, w.b12)
	h.Extensions = []string{"an extension line"}
	v["accept-log-extension-line"] = w.evidence(evidence.KindLog, w.logKey(), w.a12, w.one.Sign(h)).Marshal()
	// The name of a witness's key is not part of what it signs.
	k := w.witnessKey(2)
	other, err := policy.NewKey("another.example/name", k.Type, k.Public)
	if err != nil {
		w.t.Fatal(err)
	}
	v["accept-witness-under-another-name"] = w.evidence(evidence.KindWitness, other, rename(w.t, w.a12, k, other), rename(w.t, w.b12, k, other)).Marshal()
}

func (w *world) innocent(v map[string][]byte) {
	k, wk := w.logKey(), w.witnessKey(0)
	none := tlog.Hash{}
	wrong := w.trueRoot
	wrong[0] ^= 1
	put := func(name string, a, b []byte, root tlog.Hash, proof []tlog.Hash) {
		v["reject-innocent-"+name] = w.forgedLog(a, b, root, proof)
		v["reject-innocent-witness-"+name] = w.forged(evidence.KindWitness, wk, a, b, root, proof)
	}
	put("smaller", w.a12, w.a20, w.trueRoot, w.trueProof)
	put("two-sizes-no-proof", w.a12, w.b20, none, nil)
	put("failing-proof", w.a12, w.a20, wrong, w.trueProof)
	put("same-checkpoint", w.a12, w.a12, none, nil)
	short := slices.Clone(w.proof[:len(w.proof)-1])
	put("proof-cut-off", w.a12, w.b20, w.root, short)
	put("proof-too-long", w.a12, w.b20, w.root, append(slices.Clone(w.proof), w.root))
	_, other := prove(w.t, w.two, 5)
	put("proof-of-other-size", w.a12, w.b20, w.root, other)

	h := head(w.t, w.a12)
	w.one.SetTime(time.Unix(1_700_000_000, 0)) // a clock that went back
	v["reject-innocent-timestamps"] = w.forged(evidence.KindWitness, wk, w.a12, w.one.Sign(h), none, nil)
	h.Extensions = []string{"an extension line"}
	put("extension-lines", w.a12, w.one.Sign(h), none, nil)

	empty := logtest.New(w.t, logtest.Witnesses(3, 2))
	empty.SetTime(time.Unix(1_800_000_000, 0))
	put("size-0", empty.Publish(), w.a12, wrong, w.trueProof)

	elsewhere := logtest.New(w.t, logtest.Witnesses(3, 2), logtest.Origin("other.example/00000000"))
	elsewhere.SetTime(time.Unix(1_800_000_000, 0))
	foreign := grow(elsewhere, 0, 12, "x")
	v["reject-innocent-witness-two-origins"] = w.forged(evidence.KindWitness, wk, w.a12, foreign, none, nil)
	h = head(w.t, w.b12)
	h.Origin = "other.example/00000000" // signed with the same key under two origins
	v["reject-innocent-two-origins"] = w.forgedLog(w.a12, w.one.Sign(h), none, nil)
	h = head(w.t, w.a12)
	h.Origin = "other.example/00000000"
	h2 := head(w.t, w.b12)
	h2.Origin = h.Origin
	v["reject-innocent-key-of-another-origin"] = w.forgedLog(w.one.Sign(h), w.one.Sign(h2), none, nil)

	unsigned := bytes.Replace(w.b12, []byte("\n12\n"), []byte("\n13\n"), 1)
	put("unsigned", w.a12, unsigned, w.trueRoot, w.trueProof)
	sig := strip(w.t, w.a12, k)
	swapped := append(slices.Clone(w.b12[:bytes.Index(w.b12, []byte("\n\n"))+2]), sig[bytes.Index(sig, []byte("\n\n"))+2:]...)
	v["reject-innocent-signature-of-another-checkpoint"] = w.forgedLog(w.a12, swapped, none, nil)
	// Somebody else signs under the name and the id of the log's key.
	n, err := policy.ParseNote(strip(w.t, w.b12, wk))
	if err != nil {
		w.t.Fatal(err)
	}
	n.Signatures[0].Name, n.Signatures[0].ID, n.Signatures[0].Sig = k.Name, k.ID, n.Signatures[0].Sig[8:]
	v["reject-innocent-signed-by-other-key"] = w.forgedLog(w.a12, n.Marshal(), none, nil)
	n.Signatures[0].Name, n.Signatures[0].ID = wk.Name, wk.ID // without a time (CS2)
	v["reject-innocent-witness-no-time"] = w.forged(evidence.KindWitness, wk, w.a12, n.Marshal(), none, nil)
	w.sortRoots(v)
}

// sortRoots puts what is of one size in the order that the form asks for, so that
// the vectors say what their names say.
func (w *world) sortRoots(v map[string][]byte) {
	for name, b := range v {
		parts := bytes.SplitAfter(b, []byte("\n\n"))
		if len(parts) != 5 || bytes.Count(parts[0], []byte("\n")) != 4 {
			continue
		}
		a := slices.Concat(parts[1], bytes.TrimSuffix(parts[2], []byte("\n")))
		c := slices.Concat(parts[3], parts[4])
		x, y := head(w.t, a), head(w.t, c)
		if x.Size == y.Size && bytes.Compare(x.Root[:], y.Root[:]) > 0 {
			v[name] = slices.Concat(parts[0], c, []byte("\n"), a)
		}
	}
}

func (w *world) unknown(v map[string][]byte) {
	l := logtest.New(w.t, logtest.OtherKey(), logtest.Witnesses(5, 2))
	m := logtest.New(w.t, logtest.OtherKey(), logtest.Witnesses(5, 2))
	for _, l := range []*logtest.Log{l, m} {
		l.SetTime(time.Unix(1_800_000_000, 0))
	}
	a, b := grow(l, 0, 12, "x"), grow(m, 0, 12, "y")
	make := func(kind evidence.Kind, k policy.Key) []byte {
		e, err := evidence.New(kind, k, a, b, tlog.Hash{}, nil)
		if err != nil {
			w.t.Fatal(err)
		}
		return e.Marshal()
	}
	v["reject-unknown-key-other-log-key"] = make(evidence.KindLog, l.Policy().Logs[0].Key)
	v["reject-unknown-key-witness"] = make(evidence.KindWitness, l.Policy().Witnesses[4].Key)
	elsewhere := logtest.Origin("other.example/00000000")
	l, m = logtest.New(w.t, elsewhere), logtest.New(w.t, elsewhere)
	a, b = grow(l, 0, 12, "x"), grow(m, 0, 12, "y")
	v["reject-unknown-key-log"] = make(evidence.KindLog, l.Policy().Logs[0].Key)
	// The public key of a witness, in the role of a log.
	wk := w.witnessKey(0)
	asLog, err := policy.NewKey(logtest.DefaultOrigin, policy.TypeEd25519, wk.Public)
	if err != nil {
		w.t.Fatal(err)
	}
	v["reject-unknown-key-witness-as-log"] = (&evidence.Evidence{
		Kind: evidence.KindLog, Key: asLog,
		Small: rename(w.t, w.a12, w.logKey(), asLog), Large: rename(w.t, w.b12, w.logKey(), asLog),
	}).Marshal()
}

func (w *world) malformed(v map[string][]byte) {
	one, two := string(v["accept-log-one-size"]), string(v["accept-log-two-sizes"])
	put := func(name, text string) { v["reject-malformed-"+name] = []byte(text) }
	replace := func(name, in, old, text string) {
		if !strings.Contains(in, old) {
			w.t.Fatalf("%s: no %q to replace", name, old)
		}
		put(name, strings.Replace(in, old, text, 1))
	}
	put("empty", "")
	replace("version", one, "@v1", "@v2")
	replace("older-form", one, "firn-evidence@v1\nkind log\nkey "+w.logKey().String()+"\n", "firn-log-fork@v1\n")
	replace("no-kind", one, "kind log\n", "")
	replace("kind-unknown", one, "kind log", "kind mirror")
	replace("kind-upper-case", one, "kind log", "kind Log")
	replace("two-kinds", one, "kind log", "kind log witness")
	replace("no-key", one, "key "+w.logKey().String()+"\n", "")
	replace("key-without-word", one, "key ", "")
	replace("key-of-a-witness", one, w.logKey().String(), w.witnessKey(0).String())
	replace("key-of-a-log", string(v["accept-witness-one-size"]), w.witnessKey(0).String(), w.logKey().String())
	replace("key-id", one, fmt.Sprintf("+%08x+", w.logKey().ID), "+00000000+")
	replace("root-without-proof", one, "\n\n", "\nroot "+base64.StdEncoding.EncodeToString(w.root[:])+"\n\n")
	hash := "proof " + base64.StdEncoding.EncodeToString(w.root[:]) + "\n"
	replace("one-size-with-proof", one, "\n\n", "\nroot "+hash[6:]+hash+"\n")
	replace("64-hashes", two, "\nproof ", "\n"+strings.Repeat(hash, 63)+"proof ")
	replace("return-in-a-hash", two, "\nproof ", "\nproof \r")
	replace("hash-without-word", two, "\nproof ", "\n")
	replace("root-after-proof", two, "\nroot ", "\nproof ")
	put("returns", strings.ReplaceAll(one, "\n", "\r\n"))
	put("cut-off", one[:len(one)-1])
	put("bytes-after-it", one+"\n")
	put("third-note", one+"\n"+string(strip(w.t, w.a20, w.logKey())))
	put("one-note", one[:strings.LastIndex(one, "\n\n"+logtest.DefaultOrigin)+1])
	replace("not-utf-8", one, "\n12\n", "\n12\n\xff\n")
	put("larger-first", string(w.forgedLog(w.b20, w.a12, w.root, w.proof)))
	parts := strings.SplitAfter(one, "\n\n")
	put("roots-not-sorted", parts[0]+parts[3]+parts[4]+"\n"+parts[1]+strings.TrimSuffix(parts[2], "\n"))
	put("no-signature", parts[0]+parts[1]+"\n"+parts[3]+parts[4])
	sig := strings.TrimSuffix(parts[2], "\n")
	put("two-signatures", parts[0]+parts[1]+sig+parts[2]+parts[3]+parts[4])
	put("unknown-signature-too", parts[0]+parts[1]+"— grease.invalid AAAAAAAA\n"+parts[2]+parts[3]+parts[4])
	put("two-keys", parts[0]+parts[1]+parts[2]+string(strip(w.t, w.b12, w.witnessKey(0))))
	replace("size-leading-zero", one, "\n12\n", "\n012\n")
	replace("size-0-other-root", one, "\n12\n", "\n0\n")
	put("409-number", parts[0]+parts[1]+parts[2]+"20\n")
	fingerprint := "1;/nix/store/00000000000000000000000000000000-x;sha256:%s;1;\n\n— cache.example-1 AAAAAAAA\n"
	put("two-nar-hashes", "firn-evidence@v1\nkind cache\nkey "+w.logKey().String()+"\n\n"+
		fmt.Sprintf(fingerprint, strings.Repeat("0", 52))+"\n"+fmt.Sprintf(fingerprint, strings.Repeat("1", 52)))
	replace("index-of-checkpoints", one, "kind log", "kind index")
	for _, name := range slices.Collect(maps.Keys(v)) {
		if strings.HasPrefix(name, "accept-") && !bytes.HasPrefix(v[name], []byte("firn-evidence@v1\n")) {
			w.t.Fatalf("%s: %q", name, v[name])
		}
	}
}
