package policy

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/ed25519x"
)

// The example of c2sp.org/signed-note.
const (
	exampleVKey = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
	exampleNote = "This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)

func TestSN_ExampleOfTheDocumentVerifies(t *testing.T) {
	k, err := ParseKey(exampleVKey)
	if err != nil {
		t.Fatal(err)
	}
	n, err := ParseNote([]byte(exampleNote))
	if err != nil {
		t.Fatal(err)
	}
	s := n.Signatures[0]
	if s.Name != k.Name || s.ID != k.ID {
		t.Errorf("signature of %s %08x, key %s %08x", s.Name, s.ID, k.Name, k.ID)
	}
	if !ed25519x.Verify(k.Public, []byte(n.Text), s.Sig) {
		t.Error("the signature does not verify")
	}
	if got := k.String(); got != exampleVKey {
		t.Errorf("vkey %s, want %s", got, exampleVKey)
	}
}

func TestSN1_SN2_SN3_SN4_MalformedNotesAreRefused(t *testing.T) {
	sig := "— a AAAAAAE=\n"
	for name, note := range map[string]string{
		"SN1 not UTF-8":               "text\xff\n\n" + sig,
		"SN1 carriage return":         "text\r\n\n" + sig,
		"SN1 tab":                     "te\txt\n\n" + sig,
		"SN1 zero byte":               "te\x00xt\n\n" + sig,
		"SN2 no text":                 "\n" + sig,
		"SN2 no empty line":           "text\n" + sig,
		"SN2 no signature":            "text\n\n",
		"SN2 cut off":                 "text\n\n— a AAAAAAE=",
		"SN2 hyphen for dash":         "text\n\n- a AAAAAAE=\n",
		"SN2 words after signatures":  "text\n\n" + sig + "more\n",
		"SN3 empty key name":          "text\n\n—  AAAAAAE=\n",
		"SN3 plus in key name":        "text\n\n— a+b AAAAAAE=\n",
		"SN3 no-break space in name":  "text\n\n— a\u00a0b AAAAAAE=\n",
		"SN4 no signature bytes":      "text\n\n— a AAAAAA==\n",
		"SN4 not base64":              "text\n\n— a !!!!\n",
		"SN4 base64 without padding":  "text\n\n— a AAAAAAE\n",
		"SN4 base64 not canonical":    "text\n\n— a AAAAAAF=\n",
		"SN4 url-safe base64":         "text\n\n— a AAAAAA-_\n",
		"SN4 two spaces":              "text\n\n— a  AAAAAAE=\n",
		"SN4 space after signature":   "text\n\n— a AAAAAAE= \n",
		"SN8 longer than the bound":   strings.Repeat("x", MaxNote) + "\n\n" + sig,
		"empty line after signatures": "text\n\n" + sig + "\n",
	} {
		if _, err := ParseNote([]byte(note)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: error %v, want ErrMalformed", name, err)
		}
	}
}

func TestSN2_TextIsSplitAtTheLastEmptyLine(t *testing.T) {
	n, err := ParseNote([]byte("one\n\n— a AAAAAAE=\n\n— b AAAAAAE=\n"))
	if err != nil {
		t.Fatal(err)
	}
	if n.Text != "one\n\n— a AAAAAAE=\n" || len(n.Signatures) != 1 || n.Signatures[0].Name != "b" {
		t.Errorf("text %q, signatures %v", n.Text, n.Signatures)
	}
}

func TestSN5_SN7_NoteWithoutKnownSignatureIsRefused(t *testing.T) {
	w := newWorld(t)
	other := newSigner(t, testOrigin, TypeEd25519, "somebody else")
	_, err := w.pol.Verify(w.note(other.sign(w.text)), testNow)
	if !errors.Is(err, ErrUnknownLog) {
		t.Errorf("error %v, want ErrUnknownLog", err)
	}
	// Cosignatures alone do not make a checkpoint.
	_, err = w.pol.Verify(w.note(w.w[0].cosign(w.text, 1), w.w[1].cosign(w.text, 1)), testNow)
	if !errors.Is(err, ErrUnknownLog) {
		t.Errorf("error %v, want ErrUnknownLog", err)
	}
}

func TestSN6_SignaturesOfUnknownKeysAreIgnored(t *testing.T) {
	w := newWorld(t)
	good, err := ParseNote(w.good())
	if err != nil {
		t.Fatal(err)
	}
	junk := make([]byte, 64)
	for name, s := range map[string]Signature{
		"name of the log, other id":        {testOrigin, w.log.ID + 1, junk},
		"id of the log, other name":        {"log.example/other", w.log.ID, junk},
		"name of a witness, other id":      {w.w[0].Name, w.w[0].ID + 1, junk},
		"id of a witness, other name":      {"x", w.w[0].ID, junk},
		"grease":                           {"grease.invalid", 7, []byte{1}},
		"five kilobytes of a type unknown": {"pq.example", 9, make([]byte, 5000)},
	} {
		note := (&Note{good.Text, append([]Signature{s}, good.Signatures...)}).Marshal()
		if _, err := w.pol.Verify(note, testNow); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSN7_WrongSignatureOfAKnownKeyRefusesTheNote(t *testing.T) {
	w := newWorld(t)
	flip := func(s Signature) Signature {
		s.Sig = bytes.Clone(s.Sig)
		s.Sig[len(s.Sig)-1] ^= 1
		return s
	}
	log, w1, w2, w3 := w.log.sign(w.text), w.w[0].cosign(w.text, 9), w.w[1].cosign(w.text, 9), w.w[2].cosign(w.text, 9)
	late := w.w[2].cosign(w.text, math.MinInt64) // signed at 2^63
	for name, sigs := range map[string][]Signature{
		"log":                                 {flip(log), w1, w2},
		"log, after a good one":               {log, flip(log), w1, w2},
		"witness that the quorum needs":       {log, w1, flip(w2)},
		"witness that it could do without":    {log, w1, w2, flip(w3)},
		"SN7 second line of a witness":        {log, w1, w2, flip(w1)},
		"CS2 cosignature without its time":    {log, w1, w2, {w3.Name, w3.ID, w3.Sig[8:]}},
		"CS2 bytes after the cosignature":     {log, w1, w2, {w3.Name, w3.ID, append(bytes.Clone(w3.Sig), 0)}},
		"CS2 time above 2^63-1":               {log, w1, w2, late},
		"CS2 time after the year 9999":        {log, w1, w2, w.w[2].cosign(w.text, 253402300800)},
		"CS3 another time than the one named": {log, w1, w2, {w3.Name, w3.ID, append([]byte{0, 0, 0, 0, 0, 0, 0, 8}, w3.Sig[8:]...)}},
		"CS3 note signature as cosignature":   {log, w1, w2, {w3.Name, w3.ID, append(make([]byte, 8), w.w[2].sign(w.text).Sig...)}},
	} {
		_, err := w.pol.Verify(w.note(sigs...), testNow)
		var bad *SignatureError
		if !errors.As(err, &bad) {
			t.Errorf("%s: error %v, want a SignatureError", name, err)
		}
	}
}

func TestSN8_SixteenSignaturesOfFiveKilobytesAreAccepted(t *testing.T) {
	w := newWorld(t)
	n, err := ParseNote(w.good())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 16 {
		n.Signatures = append(n.Signatures, Signature{fmt.Sprintf("pq.example/%d", i), 6, make([]byte, 5000)})
	}
	if _, err := w.pol.Verify(n.Marshal(), testNow); err != nil {
		t.Error(err)
	}
}

func TestSN9_SN10_BadVerifierKeysAreRefused(t *testing.T) {
	name, id, b64 := "example.com/foo", "530d903a", "AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
	small := base64.StdEncoding.EncodeToString(append([]byte{1, 1}, make([]byte, 31)...)) // the neutral point
	for what, vkey := range map[string]string{
		"no parts":               name,
		"two parts":              name + "+" + id,
		"empty name":             "+" + id + "+" + b64,
		"space in name":          "example com+" + id + "+" + b64,
		"SN10 id of another":     name + "+530d903b+" + b64,
		"SN10 id of other name":  "example.com/bar+" + id + "+" + b64,
		"upper-case hex":         name + "+530D903A+" + b64,
		"short id":               name + "+530d903+" + b64,
		"not base64":             name + "+" + id + "+?",
		"base64 cut":             name + "+" + id + "+" + b64[:len(b64)-1],
		"newline in base64":      name + "+" + id + "+" + b64[:8] + "\n" + b64[8:],
		"plus in name":           "a+b+" + id + "+" + b64,
		"type 0x02":              name + "+" + id + "+Aq==",
		"Ed25519 of small order": name + "+" + id + "+" + small,
	} {
		if k, err := ParseKey(vkey); err == nil {
			t.Errorf("%s: accepted as %+v", what, k)
		}
	}
}

func TestSN9_OneKeyHasAnIDPerType(t *testing.T) {
	a := newSigner(t, "n", TypeEd25519, "k")
	b := newSigner(t, "n", TypeCosignature, "k")
	if a.ID == b.ID {
		t.Error("the two types have one key id")
	}
}

func FuzzParseNote(f *testing.F) {
	f.Add([]byte(exampleNote))
	f.Add(newWorld(f).good())
	f.Add([]byte("a\n\n\n— b AAAAAAE=\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := ParseNote(b)
		if err != nil {
			return
		}
		if got := n.Marshal(); !bytes.Equal(got, b) {
			t.Errorf("%q became %q", b, got)
		}
		if h, err := ParseCheckpoint(n.Text); err == nil && h.Text() != n.Text {
			t.Errorf("%q became %q", n.Text, h.Text())
		}
	})
}

func FuzzParseKey(f *testing.F) {
	f.Add(exampleVKey)
	f.Add(newWorld(f).w[0].Key.String())
	f.Fuzz(func(t *testing.T, s string) {
		if k, err := ParseKey(s); err == nil && k.String() != s {
			t.Errorf("%q became %q", s, k)
		}
	})
}
