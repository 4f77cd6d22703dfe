package witness

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/witness/sample"
)

func TestW1UnknownOriginIs404(t *testing.T) {
	w := newWorld(t)
	other := sample.New("other.example/log")
	other.Grow(3)
	w.must(404, other.Request(0, 3))
	// The signature of a known log on another origin makes it no more known.
	text := strings.Replace(w.log.Text(3), testOrigin, "other.example/log", 1)
	w.must(404, sample.Body(0, nil, w.log.SignedNote(text)))
	w.cosigned(w.log.Request(0, 3))
}

func TestW2NoSignatureOfATrustedKeyIs403(t *testing.T) {
	w := newWorld(t)
	text := w.log.Text(3)
	stranger := sample.New("other.example/log")
	n := &policy.Note{Text: text, Signatures: []policy.Signature{stranger.Sign(text)}}
	w.must(403, sample.Body(0, nil, n.Marshal()))
	if w.latest() != "" {
		t.Error("something was kept")
	}
}

func TestW2WrongSignatureOfATrustedKeyIs403(t *testing.T) {
	w := newWorld(t)
	text := w.log.Text(3)
	good := w.log.Sign(text)
	bad := policy.Signature{Name: good.Name, ID: good.ID, Sig: slices.Clone(good.Sig)}
	bad.Sig[10] ^= 1
	w.must(403, sample.Body(0, nil, (&policy.Note{Text: text, Signatures: []policy.Signature{bad}}).Marshal()))
	// Also beside a good one: such a note is malformed.
	w.must(403, sample.Body(0, nil, (&policy.Note{Text: text, Signatures: []policy.Signature{good, bad}}).Marshal()))
	short := policy.Signature{Name: good.Name, ID: good.ID, Sig: good.Sig[:63]}
	w.must(403, sample.Body(0, nil, (&policy.Note{Text: text, Signatures: []policy.Signature{good, short}}).Marshal()))
	w.cosigned(w.log.Request(0, 3))
}

func TestW2OneOfTwoKeysIsEnoughAndUnknownOnesAreIgnored(t *testing.T) {
	w := newWorld(t)
	second := sample.New("second.example/key")
	w.logs[0].Keys = append(w.logs[0].Keys, second.Key)
	w.again()
	text := w.log.Text(3)
	stranger := sample.New("stranger.example/key")
	n := &policy.Note{Text: text, Signatures: []policy.Signature{stranger.Sign("another text"), second.Sign(text)}}
	w.cosigned(sample.Body(0, nil, n.Marshal()))
	if strings.Contains(w.latest(), "stranger") {
		t.Error("a signature that was not verified is kept")
	}
	// The other key's signature on the same text joins it.
	w.cosigned(sample.Body(3, nil, w.log.Note(3)))
	contains(t, w.latest(), "\n— second.example/key ")
	contains(t, w.latest(), "\n— "+testOrigin+" ")
}

func TestW3OldSizeAboveTheCheckpointIs400(t *testing.T) {
	w := newWorld(t)
	w.cosigned(w.log.Request(0, 5))
	w.must(400, sample.Body(6, nil, w.log.Note(5)))
	w.must(400, sample.Body(6, w.log.Proof(5, 6), w.log.Note(5)))
	w.cosigned(w.log.Request(5, 6))
}

func TestW4OldSizeThatIsNotTheLatestIs409WithTheSize(t *testing.T) {
	w := newWorld(t)
	if got := w.must(409, w.log.Request(2, 5)); got != "0\n" {
		t.Errorf("before anything was cosigned: %q, want 0", got)
	}
	w.cosigned(w.log.Request(0, 5))
	for _, old := range []uint64{0, 4, 6} {
		if got := w.must(409, w.log.Request(old, 9)); got != "5\n" {
			t.Errorf("old %d: %q, want 5", old, got)
		}
	}
	w.cosigned(w.log.Request(5, 9))
	if got := w.must(409, w.log.Request(5, 9)); got != "9\n" {
		t.Errorf("%q, want 9", got)
	}
}

func TestW5Size0(t *testing.T) {
	w := newWorld(t)
	wrong := policy.Head{Origin: testOrigin, Root: sha256.Sum256([]byte("x"))}.Text()
	w.must(422, sample.Body(0, nil, w.log.SignedNote(wrong)))
	if w.latest() != "" {
		t.Error("a wrong empty tree was kept")
	}
	// The true empty tree is cosigned, and the log is not stuck then.
	w.cosigned(w.log.Request(0, 0))
	w.must(422, sample.Body(0, nil, w.log.SignedNote(wrong)))
	w.cosigned(w.log.Request(0, 0))
	w.must(422, sample.Body(0, w.log.Proof(3, 7), w.log.Note(0)))
	w.cosigned(w.log.Request(0, 7))
	if got := w.must(409, w.log.Request(0, 0)); got != "7\n" {
		t.Errorf("%q, want 7", got)
	}
}

func TestW5WrongEmptyRootStillNeedsASignature(t *testing.T) {
	w := newWorld(t)
	wrong := policy.Head{Origin: testOrigin, Root: sha256.Sum256([]byte("x"))}.Text()
	stranger := sample.New("other.example/log")
	w.must(403, sample.Body(0, nil, stranger.SignedNote(wrong)))
}

func TestW6ProofFromSize0MustBeEmpty(t *testing.T) {
	w := newWorld(t)
	w.must(422, sample.Body(0, []tlog.Hash{{1}}, w.log.Note(5)))
	w.must(422, sample.Body(0, w.log.Proof(3, 5), w.log.Note(5)))
	w.cosigned(w.log.Request(0, 5))
}

func TestW6ProofThatDoesNotVerifyIs422(t *testing.T) {
	w := newWorld(t)
	w.cosigned(w.log.Request(0, 5))
	good := w.log.Proof(5, 9)
	for i := range good {
		bad := slices.Clone(good)
		bad[i][0] ^= 1
		w.must(422, sample.Body(5, bad, w.log.Note(9)))
	}
	w.must(422, sample.Body(5, good[1:], w.log.Note(9)))
	w.must(422, sample.Body(5, append(slices.Clone(good), tlog.Hash{}), w.log.Note(9)))
	w.must(422, sample.Body(5, nil, w.log.Note(9)))
	w.must(422, sample.Body(5, good, w.log.Note(10)))
	if w.latest() == "" || !strings.HasPrefix(w.latest(), w.log.Text(5)) {
		t.Errorf("something else is kept: %s", w.latest())
	}
	w.cosigned(w.log.Request(5, 9))
}

func TestW6AnotherRootAtTheSameSizeIs422(t *testing.T) {
	w := newWorld(t)
	w.cosigned(w.log.Request(0, 5))
	w.must(422, w.log.Fork("fork", 2).Request(5, 5))
	contains(t, w.latest(), w.log.Text(5))
}

func TestW6TheSameSizeNeedsNoProof(t *testing.T) {
	w := newWorld(t)
	w.cosigned(w.log.Request(0, 5))
	w.must(422, sample.Body(5, w.log.Proof(3, 5), w.log.Note(5)))
	w.pass(time.Hour)
	w.cosigned(w.log.Request(5, 5)) // fresh time
}

func TestW7TheAnswerIsOneCosignatureWithATime(t *testing.T) {
	w := newWorld(t)
	line := w.must(200, w.log.Request(0, 5))
	n := want(policy.ParseNote([]byte("x\n\n" + line)))(t)
	if len(n.Signatures) != 1 || len(n.Signatures[0].Sig) != 72 || bytes.Equal(n.Signatures[0].Sig[:8], make([]byte, 8)) {
		t.Errorf("%q is not one timestamped signature", line)
	}
	w.now = time.Unix(0, 0)
	w.must(503, w.log.Request(5, 6))
	w.now = time.Unix(-5, 0)
	w.must(503, w.log.Request(5, 6))
	w.now = time.Unix(1, 0)
	w.cosigned(w.log.Request(5, 6))
}

func TestW9NothingIsCosignedOrKeptOnFailure(t *testing.T) {
	w := newWorld(t)
	w.cosigned(w.log.Request(0, 5))
	before := w.latest()
	for _, body := range [][]byte{
		[]byte("garbage"), w.log.Request(4, 9), sample.Body(5, nil, w.log.Note(9)), sample.Body(6, nil, w.log.Note(5)),
	} {
		status, response, _ := w.AddCheckpoint(t.Context(), body)
		if status == 200 || bytes.Contains(response, []byte("—")) {
			t.Errorf("status %d: %s", status, response)
		}
	}
	if w.latest() != before {
		t.Error("what is kept has changed")
	}
}

func TestW10MonitoringServesLogSignatureAndCosignature(t *testing.T) {
	w := newWorld(t)
	if w.latest() != "" || w.Monitoring("nothing") != nil {
		t.Error("a checkpoint before one was cosigned")
	}
	for _, size := range []uint64{0, 3, 8} {
		old := uint64(0)
		if size == 8 {
			old = 3
		}
		line := w.must(200, w.log.Request(old, size))
		if want := string(w.log.Note(size)) + line; w.latest() != want {
			t.Errorf("%q, want %q", w.latest(), want)
		}
		w.again()
		contains(t, w.latest(), line)
	}
}

func TestW10SameCheckpointAgainReplacesTheCosignature(t *testing.T) {
	w := newWorld(t)
	w.must(200, w.log.Request(0, 3))
	w.pass(time.Minute)
	line := w.must(200, w.log.Request(3, 3))
	if want := string(w.log.Note(3)) + line; w.latest() != want {
		t.Errorf("%q, want %q", w.latest(), want)
	}
}

// malformed bodies; note is a good note.
func malformed(note string) map[string]string {
	hash := base64.StdEncoding.EncodeToString(make([]byte, 32))
	text, sig, _ := strings.Cut(note, "\n\n")
	lines := strings.Split(text, "\n")
	change := func(i int, to string) string {
		l := slices.Clone(lines)
		l[i] = to
		return "old 0\n\n" + strings.Join(l, "\n") + "\n\n" + sig
	}
	return map[string]string{
		"nothing":                      "",
		"a newline":                    "\n",
		"no old line":                  "\n" + note,
		"only an old line":             "old 0\n\n",
		"old without a size":           "old \n\n" + note,
		"old with a leading zero":      "old 0600\n\n" + note,
		"old 00":                       "old 00\n\n" + note,
		"old with a plus":              "old +600\n\n" + note,
		"old with a minus":             "old -1\n\n" + note,
		"old in hexadecimal":           "old 0x5\n\n" + note,
		"old with an underscore":       "old 1_0\n\n" + note,
		"old with two spaces":          "old  0\n\n" + note,
		"old with a space behind":      "old 0 \n\n" + note,
		"old with a tab":               "old\t0\n\n" + note,
		"OLD":                          "OLD 0\n\n" + note,
		"old beyond 64 bits":           "old 18446744073709551616\n\n" + note,
		"CRLF everywhere":              strings.ReplaceAll("old 0\n\n"+note, "\n", "\r\n"),
		"CRLF after old":               "old 0\r\n\n" + note,
		"CRLF in the proof":            "old 0\n" + hash + "\r\n\n" + note,
		"no empty line":                "old 0\n" + note,
		"a proof line that is no hash": "old 0\nAAAA\n\n" + note,
		"a proof line of 33 bytes":     "old 0\n" + base64.StdEncoding.EncodeToString(make([]byte, 33)) + "\n\n" + note,
		"proof without padding":        "old 0\n" + strings.TrimRight(hash, "=") + "\n\n" + note,
		"proof not canonical":          "old 0\n" + hash[:42] + "B=\n\n" + note,
		"64 proof lines":               "old 0\n" + strings.Repeat(hash+"\n", 64) + "\n" + note,
		"no checkpoint text":           "old 0\n\n\n" + sig,
		"no signature":                 "old 0\n\n" + text + "\n\n",
		"no signature, no empty line":  "old 0\n\n" + text + "\n",
		"signature cut off":            "old 0\n\n" + note[:len(note)-1],
		"signature not base64":         "old 0\n\n" + text + "\n\n— name !!!!\n",
		"two lines only":               "old 0\n\n" + lines[0] + "\n" + lines[1] + "\n\n" + sig,
		"empty origin":                 change(0, ""),
		"size with a leading zero":     change(1, "03"),
		"size with a plus":             change(1, "+3"),
		"size 2^60 and one":            change(1, "1152921504606846977"),
		"size beyond 64 bits":          change(1, "99999999999999999999"),
		"no size":                      change(1, ""),
		"root that is no hash":         change(2, "AAAA"),
		"root not canonical":           change(2, hash[:42]+"B="),
		"control character":            change(0, testOrigin+"\x01"),
		"NUL":                          change(0, testOrigin+"\x00"),
		"not UTF-8":                    change(0, testOrigin+"\xff"),
		"empty extension line":         "old 0\n\n" + text + "\n\nx\n\n" + sig,
	}
}

func TestW12MalformedIs400(t *testing.T) {
	w := newWorld(t)
	for name, body := range malformed(string(w.log.Note(3))) {
		if status, response, err := w.AddCheckpoint(t.Context(), []byte(body)); status != 400 {
			t.Errorf("%s: status %d: %s (%v), want 400", name, status, response, err)
		}
	}
	w.must(400, bytes.Repeat([]byte("a"), MaxBody+1))
	w.cosigned(w.log.Request(0, 3))
}

func TestW12SixtyThreeProofLinesAreRead(t *testing.T) {
	w := newWorld(t)
	w.cosigned(w.log.Request(0, 3))
	w.must(422, sample.Body(3, make([]tlog.Hash, 63), w.log.Note(5)))
}

func TestW12NeverA500(t *testing.T) {
	w := newWorld(t)
	good := w.log.Request(0, 3)
	for i := range good {
		for _, b := range []byte{0, '\n', '\r', ' ', '+', '0', 0xff, good[i] ^ 1} {
			body := slices.Clone(good)
			body[i] = b
			if status, _, err := w.AddCheckpoint(t.Context(), body); status >= 500 {
				t.Fatalf("byte %d as %q: status %d, %v", i, b, status, err)
			}
		}
		if status, _, err := w.AddCheckpoint(t.Context(), good[:i]); status >= 500 {
			t.Fatalf("cut at %d: status %d, %v", i, status, err)
		}
	}
}

func TestSN8SixteenSignaturesOfMLDSASizeAreAccepted(t *testing.T) {
	w := newWorld(t)
	text := w.log.Text(5)
	n := &policy.Note{Text: text}
	for i := range 16 {
		n.Signatures = append(n.Signatures, policy.Signature{Name: fmt.Sprintf("witness.example/pq%d", i), ID: uint32(i), Sig: make([]byte, 8+2420)})
	}
	n.Signatures = append(n.Signatures, w.log.Sign(text))
	body := sample.Body(0, nil, n.Marshal())
	if len(body) < 48<<10 {
		t.Fatalf("the body has only %d bytes", len(body))
	}
	w.cosigned(body)
	w.cosigned(w.log.Request(5, 9))
}

func TestBodyOf128KiBIsAccepted(t *testing.T) {
	w := newWorld(t)
	text := w.log.Text(5)
	n := &policy.Note{Text: text, Signatures: []policy.Signature{w.log.Sign(text), {Name: "x", Sig: make([]byte, 1)}}}
	fill := func(size int) []byte {
		n.Signatures[1].Sig = make([]byte, size)
		return sample.Body(0, nil, n.Marshal())
	}
	size := (MaxBody - len(fill(2))) / 4 * 3
	body := fill(size)
	for len(body) < MaxBody {
		n.Signatures[1].Name += "x"
		body = fill(size)
	}
	if len(body) != MaxBody {
		t.Fatalf("%d bytes, want %d", len(body), MaxBody)
	}
	w.cosigned(body)
	n.Signatures[1].Name += "x"
	w.must(400, fill(size))
}

func TestMLDSALinesOfTheLogAreCarriedAndNeverCounted(t *testing.T) {
	w := newWorld(t)
	pq := want(policy.NewKey(testOrigin, policy.TypeMLDSA, make([]byte, 1312)))(t)
	w.logs[0].Keys = append(w.logs[0].Keys, pq)
	w.again()
	text := w.log.Text(5)
	line := policy.Signature{Name: pq.Name, ID: pq.ID, Sig: make([]byte, 8+2420)}
	w.must(403, sample.Body(0, nil, (&policy.Note{Text: text, Signatures: []policy.Signature{line}}).Marshal()))
	short := policy.Signature{Name: pq.Name, ID: pq.ID, Sig: make([]byte, 64)}
	w.must(403, sample.Body(0, nil, (&policy.Note{Text: text, Signatures: []policy.Signature{short, w.log.Sign(text)}}).Marshal()))
	w.cosigned(sample.Body(0, nil, (&policy.Note{Text: text, Signatures: []policy.Signature{line, w.log.Sign(text)}}).Marshal()))
	contains(t, w.latest(), line.String())
	// A key has one line, however many somebody has added.
	text = w.log.Text(6)
	more := policy.Note{Text: text, Signatures: []policy.Signature{line, w.log.Sign(text)}}
	for i := range byte(10) {
		sig := slices.Clone(line.Sig)
		sig[100] = i + 1
		more.Signatures = append(more.Signatures, policy.Signature{Name: pq.Name, ID: pq.ID, Sig: sig})
	}
	w.cosigned(sample.Body(5, w.log.Proof(5, 6), more.Marshal()))
	if n := strings.Count(w.latest(), line.String()[:30]); n != 1 {
		t.Errorf("%d lines of one ML-DSA key", n)
	}
}

func TestExtensionLinesAreCosignedAndTheLogGoesOn(t *testing.T) {
	w := newWorld(t)
	w.cosigned(sample.Body(0, nil, w.log.SignedNote(w.log.Text(5, "an extension", "another"))))
	contains(t, w.latest(), "\nan extension\nanother\n\n")
	w.again()
	w.cosigned(w.log.Request(5, 5))
	w.cosigned(sample.Body(5, w.log.Proof(5, 8), w.log.SignedNote(w.log.Text(8, "an extension"))))
	w.again()
	w.cosigned(w.log.Request(8, 12))
}

func TestACheckpointThatCannotBeKeptIsNotSigned(t *testing.T) {
	w := newWorld(t)
	long := strings.Repeat("x", MaxBody)
	over := len(sample.Body(0, nil, w.log.SignedNote(w.log.Text(5, long)))) - MaxBody
	body := sample.Body(0, nil, w.log.SignedNote(w.log.Text(5, long[over:])))
	if len(body) != MaxBody {
		t.Fatal(len(body))
	}
	w.must(400, body)
	w.again()
	w.cosigned(w.log.Request(0, 5))
}

func TestOriginMayDifferFromTheNameOfTheKey(t *testing.T) {
	w := newWorld(t)
	key := sample.New("key.example/name")
	w.logs[0].Keys = []policy.Key{key.Key}
	w.again()
	text := w.log.Text(5)
	w.must(200, sample.Body(0, nil, key.SignedNote(text)))
	w.must(403, w.log.Request(5, 6))
}

// A clock that was a year ahead and is put right is named; the tree does not depend on
// it, and nothing inconsistent is signed.
func TestAClockThatGoesBackIsNamedAndStopsNothing(t *testing.T) {
	w := newWorld(t)
	w.pass(365 * 24 * time.Hour)
	w.cosigned(w.log.Request(0, 3))
	w.pass(-365 * 24 * time.Hour)
	w.cosigned(w.log.Request(3, 5))
	if got := w.ClockBehind(); got != 365*24*time.Hour {
		t.Errorf("behind by %v, want a year", got)
	}
	contains(t, w.words.String(), "behind the last cosignature")
	w.pass(time.Second)
	w.cosigned(w.log.Request(5, 6))
	if got := w.ClockBehind(); got != 0 {
		t.Errorf("behind by %v, want 0", got)
	}
	w.must(422, w.log.Fork("fork", 2).Request(6, 8))
}
