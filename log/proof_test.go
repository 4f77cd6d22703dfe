package log_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/statement"
)

func statementID(t *testing.T, leaf []byte) statement.ID {
	t.Helper()
	s, err := statement.Parse(leaf)
	if err != nil {
		t.Fatal(err)
	}
	return s.ID()
}

func TestPF_MalformedProofsAreRefused(t *testing.T) {
	l := logtest.New(t)
	note := string(grow(l, 0, 3, "leaf"))
	h := "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"
	head := "c2sp.org/tlog-proof@v1\n"
	good := head + "extra AAAA\nindex 1\n" + h + h + "\n" + note
	if _, err := log.ParseProof([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{
		"empty":                     "",
		"PF1 another version":       strings.Replace(good, "@v1", "@v2", 1),
		"PF1 space after it":        strings.Replace(good, "@v1", "@v1 ", 1),
		"PF1 carriage return":       strings.ReplaceAll(good, "\n", "\r\n"),
		"PF2 extra not base64":      strings.Replace(good, "AAAA", "????", 1),
		"PF2 extra not canonical":   strings.Replace(good, "AAAA", "AAB=", 1),
		"PF2 extra empty":           strings.Replace(good, "AAAA", "", 1),
		"PF2 extra twice":           strings.Replace(good, "extra AAAA\n", "extra AAAA\nextra AAAA\n", 1),
		"PF2 extra after index":     head + "index 1\nextra AAAA\n" + h + "\n" + note,
		"PF3 no index":              strings.Replace(good, "index 1\n", "", 1),
		"PF3 index twice":           strings.Replace(good, "index 1\n", "index 1\nindex 1\n", 1),
		"PF3 leading zero":          strings.Replace(good, "index 1", "index 01", 1),
		"PF3 sign":                  strings.Replace(good, "index 1", "index +1", 1),
		"PF3 two spaces":            strings.Replace(good, "index 1", "index  1", 1),
		"PF3 above 2^64":            strings.Replace(good, "index 1", "index 18446744073709551616", 1),
		"PF4 short hash":            strings.Replace(good, h, "AAAA\n", 1),
		"PF4 not canonical":         strings.Replace(good, "uFU=\n", "uFV=\n", 1),
		"PF4 64 hashes":             head + "index 1\n" + strings.Repeat(h, 64) + "\n" + note,
		"PF2 return in extra":       strings.Replace(good, "AAAA", "AA\rAA", 1),
		"PF4 return in a hash":      strings.Replace(good, h, "\r"+h, 1),
		"PF5 no empty line":         strings.Replace(good, h+"\n", h, 1),
		"PF5 no checkpoint":         head + "index 1\n" + h + "\n",
		"PF5 note, no checkpoint":   head + "index 1\n" + h + "\nhello\n\n— a AAAAAAE=\n",
		"PF5 text after checkpoint": good + "\n",
		"longer than the bound":     good + strings.Repeat("— a AAAAAAE=\n", log.MaxProof/15),
	} {
		if _, err := log.ParseProof([]byte(text)); !errors.Is(err, policy.ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", what, err)
		}
	}
}

func TestPF_ProofVerifiesOfflineAndOnlyForItsLeaf(t *testing.T) {
	l := logtest.New(t, logtest.Witnesses(3, 2))
	grow(l, 0, 600, "leaf")
	c := l.Client("")
	p, err := c.ProveInclusion(t.Context(), checkpoint(t, c), 400)
	if err != nil {
		t.Fatal(err)
	}
	p.Extra = []byte("not believed")
	file := p.Marshal()
	p, err = log.ParseProof(file)
	if err != nil || !bytes.Equal(p.Marshal(), file) {
		t.Fatalf("%v\n%s", err, file)
	}
	now := time.Now()
	cp, err := p.Verify(l.Policy(), []byte("leaf 400"), now)
	if err != nil || cp.Size != 600 {
		t.Fatalf("%v, %v", cp, err)
	}
	var bad *log.ProofError
	if _, err := p.Verify(l.Policy(), []byte("leaf 401"), now); !errors.As(err, &bad) || bad.Index != 400 {
		t.Errorf("another leaf: %v", err)
	}
	strict := logtest.New(t, logtest.Witnesses(4, 4)).Policy()
	if _, err := p.Verify(strict, []byte("leaf 400"), now); err == nil {
		t.Error("verifies without its quorum")
	}
	other := logtest.New(t, logtest.Origin("other.example/00000000")).Policy()
	if _, err := p.Verify(other, []byte("leaf 400"), now); !errors.Is(err, policy.ErrUnknownLog) {
		t.Errorf("under a policy of another log: %v", err)
	}
	for what, change := range map[string]func(*log.Proof){
		"other index":    func(p *log.Proof) { p.Index++ },
		"index of size":  func(p *log.Proof) { p.Index = 600 },
		"huge index":     func(p *log.Proof) { p.Index = 1 << 63 },
		"missing hash":   func(p *log.Proof) { p.Hashes = p.Hashes[1:] },
		"hash too many":  func(p *log.Proof) { p.Hashes = append(p.Hashes, p.Hashes[0]) },
		"changed hash":   func(p *log.Proof) { p.Hashes[3][5] ^= 1 },
		"smaller tree":   func(p *log.Proof) { p.Note = bytes.Replace(p.Note, []byte("\n600\n"), []byte("\n599\n"), 1) },
		"hashes swapped": func(p *log.Proof) { p.Hashes[0], p.Hashes[1] = p.Hashes[1], p.Hashes[0] },
	} {
		q, err := log.ParseProof(file)
		if err != nil {
			t.Fatal(err)
		}
		change(q)
		if _, err := q.Verify(l.Policy(), []byte("leaf 400"), now); err == nil {
			t.Errorf("%s: verifies", what)
		}
	}
}

func TestProofOfATreeOfOne(t *testing.T) {
	l := logtest.New(t)
	grow(l, 0, 1, "leaf")
	c := l.Client("")
	p, err := c.ProveInclusion(t.Context(), checkpoint(t, c), 0)
	if err != nil {
		t.Fatal(err)
	}
	q, err := log.ParseProof(p.Marshal())
	if err != nil || len(q.Hashes) != 0 {
		t.Fatalf("%+v, %v", q, err)
	}
	if _, err := q.Verify(l.Policy(), []byte("leaf 0"), time.Now()); err != nil {
		t.Error(err)
	}
}

func TestProofByID(t *testing.T) {
	l := logtest.New(t, logtest.Witnesses(1, 1))
	grow(l, 0, 10, "leaf")
	leaf := logtest.Leaf(t, logtest.Signer(t, "a"), logtest.Closure("x"))
	other := logtest.Leaf(t, logtest.Signer(t, "a"), logtest.Closure("y"))
	id := statementID(t, leaf)
	c := l.Client("")

	if _, err := c.Proof(t.Context(), id, leaf, 0); !errors.Is(err, log.ErrNotFound) {
		t.Errorf("before: %v, want ErrNotFound", err)
	}
	l.Add(leaf)
	var pending *log.PendingError
	if _, err := c.Proof(t.Context(), id, leaf, time.Second); !errors.As(err, &pending) || pending.Index != 10 {
		t.Errorf("not covered: %v, want a PendingError", err)
	}
	l.Add(other)
	l.Publish()
	for what, guess := range map[string][]byte{"with the leaf": leaf, "without": nil, "with another leaf of the id": []byte("another signature")} {
		p, err := c.Proof(t.Context(), id, guess, 0)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		if _, err := p.Verify(l.Policy(), leaf, time.Now()); err != nil || p.Index != 10 {
			t.Errorf("%s: %+v, %v", what, p, err)
		}
	}
}

func TestLyingProofByIDIsRefused(t *testing.T) {
	leaf := logtest.Leaf(t, logtest.Signer(t, "a"), logtest.Closure("x"))
	other := logtest.Leaf(t, logtest.Signer(t, "a"), logtest.Closure("y"))
	id := statementID(t, leaf)
	for what, lie := range map[string]func(l *logtest.Log, lies *logtest.Lies){
		"wrong hashes": func(_ *logtest.Log, lies *logtest.Lies) { lies.WrongInclusion = true },
		"not a proof":  func(_ *logtest.Log, lies *logtest.Lies) { lies.Edit = answerWith("v1/proof", "hello") },
		"202 of no JSON": func(_ *logtest.Log, lies *logtest.Lies) {
			lies.Edit = func(path string, status int, b []byte) (int, []byte) {
				if path == "v1/proof" {
					return http.StatusAccepted, []byte("soon")
				}
				return status, b
			}
		},
	} {
		l := logtest.New(t)
		l.Add(leaf)
		l.Add(other)
		l.Publish()
		l.Lie(func(lies *logtest.Lies) { lie(l, lies) })
		var bad *log.ProofError
		if _, err := l.Client("").Proof(t.Context(), id, leaf, 0); !errors.As(err, &bad) || bad.Origin != l.Origin() {
			t.Errorf("%s: %v, want a ProofError", what, err)
		}
	}
	// The proof of another statement, which is itself right.
	l := logtest.New(t)
	l.Add(leaf)
	l.Add(other)
	l.Publish()
	c := l.Client("")
	p, err := c.Proof(t.Context(), statementID(t, other), other, 0)
	if err != nil {
		t.Fatal(err)
	}
	l.Lie(func(lies *logtest.Lies) { lies.Edit = answerWith("v1/proof", string(p.Marshal())) })
	for _, guess := range [][]byte{leaf, nil, other} {
		var bad *log.ProofError
		if _, err := c.Proof(t.Context(), id, guess, 0); !errors.As(err, &bad) || bad.Key != id.String() || bad.Index != 1 {
			t.Errorf("the proof of another statement: %v", err)
		}
	}
}

func answerWith(path, body string) func(string, int, []byte) (int, []byte) {
	return func(p string, status int, b []byte) (int, []byte) {
		if p == path {
			return status, []byte(body)
		}
		return status, b
	}
}

func TestRefusalOfTheLogIsReported(t *testing.T) {
	l := logtest.New(t)
	c := l.Client("")
	l.Lie(func(lies *logtest.Lies) {
		lies.Edit = func(path string, _ int, _ []byte) (int, []byte) {
			return http.StatusTooManyRequests, []byte(`{"schema":1,"error":"budget","message":"Come back tomorrow."}`)
		}
	})
	_, err := c.Submit(t.Context(), [][]byte{{1}}, 0)
	var r *log.RequestError
	if !errors.As(err, &r) || r.Code != "budget" || r.Message != "Come back tomorrow." || r.Status != 429 || !errors.Is(err, log.ErrUnreachable) {
		t.Errorf("%v", err)
	}
	l.Lie(func(lies *logtest.Lies) {
		lies.Edit = func(string, int, []byte) (int, []byte) { return http.StatusBadRequest, []byte("<html>") }
	})
	_, err = c.Submit(t.Context(), [][]byte{{1}}, 0)
	if !errors.As(err, &r) || r.Status != 400 || errors.Is(err, log.ErrUnreachable) {
		t.Errorf("%v", err)
	}
}

func FuzzParseProof(f *testing.F) {
	l := logtest.New(f, logtest.Witnesses(1, 1))
	for i := range 5 {
		l.Add(fmt.Appendf(nil, "leaf %d", i))
	}
	f.Add((&log.Proof{Index: 2, Note: l.Publish()}).Marshal())
	c := l.Client("")
	cp, err := c.Checkpoint(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	p, err := c.ProveInclusion(f.Context(), cp, 2)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(p.Marshal())
	p.Extra = []byte("extra")
	f.Add(p.Marshal())
	eachVector(f, ".tlog-proof", func(_ string, b []byte) { f.Add(b) })
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := log.ParseProof(b); err == nil && !bytes.Equal(p.Marshal(), b) {
			t.Errorf("%q became %q", b, p.Marshal())
		}
	})
}

func FuzzParseLeaves(f *testing.F) {
	f.Add([]byte{0, 1, 2, 0, 0})
	f.Add([]byte{0, 3, 2, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		leaves, err := log.ParseLeaves(b)
		if err != nil {
			return
		}
		if got, err := log.MarshalLeaves(leaves); err != nil || !bytes.Equal(got, b) {
			t.Errorf("%x became %x, %v", b, got, err)
		}
	})
}
