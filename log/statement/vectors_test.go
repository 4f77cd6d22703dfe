package statement

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/firn-log/firn/internal/testreq"
)

var update = flag.Bool("update", false, "write spec/vectors/statement again")

// A vector is one file of spec/vectors/statement (spec/statement.md#vectors).
type vector struct {
	Comment   string `json:"comment"`
	Leaf      string `json:"leaf,omitempty"`       // hex
	PublicKey string `json:"public_key,omitempty"` // hex preimage: verify with it; in keys/, the key itself
	Kind      string `json:"kind,omitempty"`
	Form      string `json:"form,omitempty"`
	Signer    string `json:"signer,omitempty"` // key id
	ID        string `json:"id,omitempty"`     // statement id
	// Code is the code of the refusal, and Stage what refuses: parse, verify
	// (with PublicKey) or proof (of a key-add, or by the Nix keys of a realisation).
	Code  string `json:"code,omitempty"`
	Stage string `json:"stage,omitempty"`
}

func vectorDir() string { return filepath.Join(testreq.Root(), "spec", "vectors", "statement") }

func readVectors(t testing.TB, sub string) map[string]vector {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(vectorDir(), sub, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors in %s: %v", sub, err)
	}
	out := make(map[string]vector)
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var v vector
		dec := json.NewDecoder(bytes.NewReader(b))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&v); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		out[strings.TrimSuffix(filepath.Base(f), ".json")] = v
	}
	return out
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The vectors are what this package makes from fixed keys; -update writes them.
func TestVectorsAreCurrent(t *testing.T) {
	want := map[string]map[string]vector{"accept": acceptVectors(t), "reject": rejectVectors(t), "keys": keyVectors(t)}
	for sub, vectors := range want {
		if *update {
			writeVectors(t, filepath.Join(vectorDir(), sub), vectors)
		}
		if diff := cmp.Diff(vectors, readVectors(t, sub)); diff != "" {
			t.Errorf("spec/vectors/statement/%s differs; run go test ./log/statement -run Vectors -update\n%s", sub, diff)
		}
	}
}

func writeVectors(t *testing.T, dir string, vectors map[string]vector) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, v := range vectors {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(v); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name+".json"), b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAcceptVectors(t *testing.T) {
	for name, v := range readVectors(t, "accept") {
		t.Run(name, func(t *testing.T) {
			leaf := unhex(t, v.Leaf)
			s, err := Parse(leaf)
			if err != nil {
				t.Fatal(err)
			}
			key, err := ParsePublicKey(unhex(t, v.PublicKey))
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Verify(key); err != nil {
				t.Error(err)
			}
			if string(s.Kind) != v.Kind || s.Form.String() != v.Form || s.Signer.String() != v.Signer || s.ID().String() != v.ID {
				t.Errorf("got %s %s %s %s, want %+v", s.Kind, s.Form, s.Signer, s.ID(), v)
			}
			if err := verifyProof(s.Body); err != nil {
				t.Error(err)
			}
			if s.SignerKey != nil && s.SignerKey.ID() != s.Signer {
				t.Error("the signer's key does not have the signer's id")
			}
			checkRoundTrip(t, s, leaf)
		})
	}
}

// checkRoundTrip requires that encoding what was parsed gives the same bytes.
func checkRoundTrip(t testing.TB, s *Statement, leaf []byte) {
	t.Helper()
	if !bytes.Equal(s.Leaf(), leaf) {
		t.Errorf("the leaf encodes as %x, was %x", s.Leaf(), leaf)
	}
	payload, err := EncodePayload(s.Body, s.For, s.Prev)
	if err != nil || !bytes.Equal(payload, s.Payload) {
		t.Errorf("the payload encodes as %x (%v), was %x", payload, err, s.Payload)
	}
	if s.ssh != nil && !bytes.Equal(s.ssh.blob(Namespace), s.Sig) {
		t.Errorf("the SSHSIG encodes as %x, was %x", s.ssh.blob(Namespace), s.Sig)
	}
}

func TestRejectVectors(t *testing.T) {
	for name, v := range readVectors(t, "reject") {
		t.Run(name, func(t *testing.T) {
			s, err := Parse(unhex(t, v.Leaf))
			if v.Stage != "parse" {
				if err != nil {
					t.Fatalf("parse refuses it: %v", err)
				}
				if v.Stage == "verify" {
					key, keyErr := ParsePublicKey(unhex(t, v.PublicKey))
					if keyErr != nil {
						t.Fatal(keyErr)
					}
					err = s.Verify(key)
				} else {
					err = verifyProof(s.Body)
				}
			}
			if err == nil || CodeOf(err) != v.Code {
				t.Fatalf("got %q (%v), want %q", CodeOf(err), err, v.Code)
			}
			checkSentence(t, err)
		})
	}
}

// verifyProof verifies the signatures that a body holds.
func verifyProof(body Body) error {
	switch b := body.(type) {
	case *KeyAdd:
		return b.VerifyProof()
	case *Realisation:
		return b.VerifyNixSigs()
	}
	return nil
}

// checkSentence requires one line in house style.
func checkSentence(t testing.TB, err error) {
	t.Helper()
	msg := err.Error()
	if msg == "" || len(msg) > 400 || strings.ContainsAny(msg, "\n\r\x00") || strings.HasSuffix(msg, ".") || strings.Contains(msg, "statement.") {
		t.Errorf("not one sentence for people: %q", msg)
	}
}

func TestKeyVectors(t *testing.T) {
	for name, v := range readVectors(t, "keys") {
		t.Run(name, func(t *testing.T) {
			pre := unhex(t, v.PublicKey)
			k, err := ParsePublicKey(pre)
			if CodeOf(err) != v.Code {
				t.Fatalf("got %q (%v), want %q", CodeOf(err), err, v.Code)
			}
			if err != nil {
				checkSentence(t, err)
				return
			}
			if k.ID().String() != v.ID || string(k.Type()) != v.Kind || !bytes.Equal(k.Preimage(), pre) {
				t.Errorf("got %s %s", k.ID(), k.Type())
			}
			again, err := PublicKeyFromText(k.Text() + " a comment")
			if err != nil || !again.Equal(k) {
				t.Errorf("the text form does not read back: %v", err)
			}
			again, err = PublicKeyFromText(v.PublicKey)
			if err != nil || !again.Equal(k) {
				t.Errorf("the hexadecimal form does not read back: %v", err)
			}
		})
	}
}
