package policy

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestCP1_MalformedCheckpointsAreRefused(t *testing.T) {
	root := "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="
	for name, text := range map[string]string{
		"empty":                  "",
		"two lines":              "o\n1\n",
		"no newline":             "o\n1\n" + root,
		"CP2 empty origin":       "\n1\n" + root + "\n",
		"empty size":             "o\n\n" + root + "\n",
		"leading zero":           "o\n01\n" + root + "\n",
		"plus sign":              "o\n+1\n" + root + "\n",
		"minus sign":             "o\n-1\n" + root + "\n",
		"hexadecimal":            "o\n0x1\n" + root + "\n",
		"space after size":       "o\n1 \n" + root + "\n",
		"other digits":           "o\n١\n" + root + "\n",
		"above 2^63-1":           "o\n9223372036854775808\n" + root + "\n",
		"above 2^60":             "o\n1152921504606846977\n" + root + "\n",
		"short root":             "o\n1\nAAAA\n",
		"root with a return":     "o\n1\n" + root[:9] + "\r" + root[9:] + "\n",
		"root not canonical":     "o\n1\n" + root[:42] + "J=\n",
		"empty extension line":   "o\n1\n" + root + "\n\n",
		"empty line in the mid":  "o\n1\n" + root + "\nx\n\ny\n",
		"size 0 with other root": "o\n0\n" + root + "\n",
	} {
		if h, err := ParseCheckpoint(text); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v, error %v, want ErrMalformed", name, h, err)
		}
	}
}

func TestCP1_ExtensionLinesAreToleratedAndSigned(t *testing.T) {
	w := newWorld(t)
	w.text = Head{Origin: testOrigin, Size: 0, Root: sha256.Sum256(nil), Extensions: []string{"ext 1", "ext 2"}}.Text()
	v, err := w.pol.Verify(w.good(), testNow)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(v.Extensions, []string{"ext 1", "ext 2"}) {
		t.Errorf("extensions %q", v.Extensions)
	}
	note := strings.Replace(string(w.good()), "ext 2", "ext 3", 1)
	if _, err := w.pol.Verify([]byte(note), testNow); err == nil {
		t.Error("a changed extension line verifies")
	}
}

func TestCP2_OriginMayBeAnything(t *testing.T) {
	h, err := ParseCheckpoint("a log + spaces\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n")
	if err != nil || h.Origin != "a log + spaces" {
		t.Errorf("%+v, %v", h, err)
	}
}

func TestPO2_LogMustSignUnderItsOwnOrigin(t *testing.T) {
	w := newWorld(t)
	w.text = strings.Replace(w.text, testOrigin, "log.example/ffffffff", 1)
	if _, err := w.pol.Verify(w.good(), testNow); !errors.Is(err, ErrUnknownLog) {
		t.Errorf("error %v, want ErrUnknownLog", err)
	}
}

func TestQuorumIsNotMet(t *testing.T) {
	w := newWorld(t)
	log, w1 := w.log.sign(w.text), w.w[0].cosign(w.text, 9)
	var e *QuorumError
	_, err := w.pol.Verify(w.note(log, w1), testNow)
	if !errors.As(err, &e) || !slices.Equal(e.Have, []string{"w1"}) {
		t.Errorf("error %v, want a QuorumError that names w1", err)
	}
	// One witness counts once, however often it signs.
	_, err = w.pol.Verify(w.note(log, w1, w.w[0].cosign(w.text, 10), w.w[0].cosign(w.text, 11)), testNow)
	if !errors.As(err, &e) {
		t.Errorf("error %v, want a QuorumError", err)
	}
	_, err = w.pol.Verify(w.note(log), testNow)
	if !errors.As(err, &e) {
		t.Errorf("error %v, want a QuorumError", err)
	}
	if _, err := w.pol.VerifyLog(w.note(log)); err != nil {
		t.Errorf("VerifyLog asks for witnesses: %v", err)
	}
}

func TestAgeIsThatOfTheNewestQuorum(t *testing.T) {
	w := newWorld(t)
	at := func(ago time.Duration) int64 { return testNow.Add(-ago).Unix() }
	for name, c := range map[string]struct {
		ago  [3]time.Duration // 0: did not sign
		want time.Duration
	}{
		"two of two":                {[3]time.Duration{10 * time.Second, 20 * time.Second}, 20 * time.Second},
		"third is older":            {[3]time.Duration{10 * time.Second, 20 * time.Second, time.Hour}, 20 * time.Second},
		"one fresh cannot make two": {[3]time.Duration{time.Second, time.Hour, 2 * time.Hour}, time.Hour},
		"from the future":           {[3]time.Duration{-time.Hour, time.Hour, 2 * time.Hour}, time.Hour},
	} {
		sigs := []Signature{w.log.sign(w.text)}
		for i, ago := range c.ago {
			if ago != 0 {
				sigs = append(sigs, w.w[i].cosign(w.text, at(ago)))
			}
		}
		v, err := w.pol.Verify(w.note(sigs...), testNow)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if v.Age != c.want || !v.Dated || !v.Time.Equal(testNow.Add(-c.want)) {
			t.Errorf("%s: age %v at %v, want %v", name, v.Age, v.Time, c.want)
		}
	}
	// The newest of several cosignatures of one witness counts.
	v, err := w.pol.Verify(w.note(w.log.sign(w.text), w.w[0].cosign(w.text, at(time.Hour)), w.w[1].cosign(w.text, at(5*time.Second)), w.w[0].cosign(w.text, at(3*time.Second))), testNow)
	if err != nil || v.Age != 5*time.Second {
		t.Errorf("age %v, error %v, want 5 s", v.Age, err)
	}
}

func TestQuorumNoneHasNoAge(t *testing.T) {
	w := newWorld(t)
	p := mustParse(t, "log "+w.log.String()+"\nquorum none\n")
	v, err := p.Verify(w.note(w.log.sign(w.text)), testNow)
	if err != nil {
		t.Fatal(err)
	}
	if v.Dated || v.Age != 0 || !v.Time.IsZero() {
		t.Errorf("dated %v, age %v, time %v", v.Dated, v.Age, v.Time)
	}
}

func TestNestedGroups(t *testing.T) {
	w := newWorld(t)
	p := mustParse(t, fmt.Sprintf("log %s\nwitness a %s\nwitness b %s\nwitness c %s\ngroup ab any a b\ngroup both all ab c\nquorum both\n",
		w.log.Key, w.w[0].Key, w.w[1].Key, w.w[2].Key))
	for set, want := range map[string]bool{"": false, "0": false, "2": false, "01": false, "02": true, "12": true, "012": true} {
		sigs := []Signature{w.log.sign(w.text)}
		for _, c := range set {
			sigs = append(sigs, w.w[c-'0'].cosign(w.text, 9))
		}
		if _, err := p.Verify(w.note(sigs...), testNow); (err == nil) != want {
			t.Errorf("cosigned by %q: %v, want ok = %v", set, err, want)
		}
	}
}

func TestMLDSAIsCarriedAndNeverCounted(t *testing.T) {
	w := newWorld(t)
	pq, err := NewKey("pq.example", TypeMLDSA, make([]byte, 1312))
	if err != nil {
		t.Fatal(err)
	}
	p := mustParse(t, fmt.Sprintf("log %s\nwitness pq %s\nquorum pq\n", w.log.Key, pq))
	note := w.note(w.log.sign(w.text), Signature{pq.Name, pq.ID, make([]byte, 8+2420)})
	var e *QuorumError
	if _, err := p.Verify(note, testNow); !errors.As(err, &e) || len(e.Have) != 0 {
		t.Errorf("error %v, want a QuorumError without witnesses", err)
	}
	// The same for a log that signs with ML-DSA only.
	lp, err := NewKey(testOrigin, TypeMLDSA, make([]byte, 1312))
	if err != nil {
		t.Fatal(err)
	}
	p = mustParse(t, fmt.Sprintf("log %s\nquorum none\n", lp))
	if _, err := p.Verify(w.note(Signature{lp.Name, lp.ID, make([]byte, 8+2420)}), testNow); !errors.Is(err, ErrUnknownLog) {
		t.Errorf("error %v, want ErrUnknownLog", err)
	}
}

func TestAnyLogOfThePolicyIsAccepted(t *testing.T) {
	w := newWorld(t)
	second := newSigner(t, testOrigin, TypeEd25519, "second key of one origin")
	p := mustParse(t, fmt.Sprintf("log %s\nlog %s\nquorum none\n", w.log.Key, second.Key))
	for _, s := range []signer{w.log, second} {
		if v, err := p.Verify(w.note(s.sign(w.text)), testNow); err != nil || v.LogKeys[0].String() != s.String() {
			t.Errorf("%v, %v", v, err)
		}
	}
}
