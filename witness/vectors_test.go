package witness

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/internal/testreq"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/witness/sample"
)

var update = flag.Bool("update", false, "write spec/vectors/witness anew")

// vectors is spec/vectors/witness/add-checkpoint.json (spec/witness.md#vectors).
type vectors struct {
	Log   string       `json:"log"` // vkey of the only log that is known
	Steps []vectorStep `json:"steps"`
}

// vectorStep is a request and what is answered, in the order of the file.
type vectorStep struct {
	Name   string `json:"name"`
	Rule   string `json:"rule"`
	Body   string `json:"body,omitempty"`
	Bytes  []byte `json:"bytes,omitempty"` // instead of body, if that is not UTF-8
	Status int    `json:"status"`
	Answer string `json:"answer,omitempty"` // exact, for 409
	Note   string `json:"note,omitempty"`   // text that is cosigned, for 200
}

func (s *vectorStep) body() []byte {
	if s.Bytes != nil {
		return s.Bytes
	}
	return []byte(s.Body)
}

func vectorFile() string {
	return filepath.Join(testreq.Root(), "spec", "vectors", "witness", "add-checkpoint.json")
}

func readVectors(t testing.TB) *vectors {
	t.Helper()
	v := new(vectors)
	if err := json.Unmarshal(want(os.ReadFile(vectorFile()))(t), v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestAddCheckpointVectors(t *testing.T) {
	w := newWorld(t)
	if *update {
		writeVectors(t, w.log)
	}
	v := readVectors(t)
	if v.Log != w.log.Key.String() || len(v.Steps) < 32 {
		t.Fatalf("%s, %d steps", v.Log, len(v.Steps))
	}
	for _, s := range v.Steps {
		status, answer, _ := w.AddCheckpoint(t.Context(), s.body())
		if status != s.Status || s.Answer != "" && string(answer) != s.Answer {
			t.Errorf("%s (%s): status %d: %s; want %d %q", s.Name, s.Rule, status, answer, s.Status, s.Answer)
		}
		if status == 200 {
			w.verifyLine(s.Note, string(answer))
			w.again()
		}
	}
}

// writeVectors makes the battery.
func writeVectors(t *testing.T, l *sample.Log) {
	t.Helper()
	v := &vectors{Log: l.Key.String()}
	add := func(status int, rule, name string, body []byte) *vectorStep {
		s := vectorStep{Name: name, Rule: rule, Status: status}
		if utf8.Valid(body) {
			s.Body = string(body)
		} else {
			s.Bytes = body
		}
		if status == 200 {
			s.Note = want(ParseRequest(body))(t).Note.Text
		}
		v.Steps = append(v.Steps, s)
		return &v.Steps[len(v.Steps)-1]
	}
	stranger := sample.New("stranger.example/log")
	wrongEmpty := l.SignedNote(policy.Head{Origin: l.Origin, Root: sha256.Sum256([]byte("x"))}.Text())

	add(404, "W1", "unknown origin", stranger.Request(0, 0))
	add(403, "W2", "signed by a stranger", sample.Body(0, nil, stranger.SignedNote(l.Text(3))))
	bad := l.Sign(l.Text(3))
	bad.Sig[20] ^= 1
	add(403, "W2", "wrong signature of the log's key", sample.Body(0, nil, (&policy.Note{Text: l.Text(3), Signatures: []policy.Signature{bad}}).Marshal()))
	add(403, "W2", "a good and a wrong signature of the log's key", sample.Body(0, nil, (&policy.Note{Text: l.Text(3), Signatures: []policy.Signature{l.Sign(l.Text(3)), bad}}).Marshal()))
	add(409, "W4", "old size where nothing was cosigned", l.Request(2, 3)).Answer = "0\n"
	add(422, "W5", "size 0 with another root", sample.Body(0, nil, wrongEmpty))
	add(422, "W6", "a proof from size 0", sample.Body(0, []tlog.Hash{{1}}, l.Note(3)))
	add(200, "W5", "size 0", l.Request(0, 0))
	add(200, "W5", "size 0 again", l.Request(0, 0))
	add(422, "W5", "size 0 with another root, after size 0", sample.Body(0, nil, wrongEmpty))
	add(422, "W6", "a proof from size 0, after size 0", sample.Body(0, l.Proof(2, 3), l.Note(3)))
	add(200, "W6", "from size 0 to 3", l.Request(0, 3))
	add(409, "W4", "from size 0 once more", l.Request(0, 3)).Answer = "3\n"
	add(409, "W4", "old size too small", l.Request(2, 5)).Answer = "3\n"
	add(409, "W4", "old size too large", l.Request(4, 5)).Answer = "3\n"
	add(400, "W3", "old size above the checkpoint's", sample.Body(6, nil, l.Note(5)))
	add(422, "W6", "no proof", sample.Body(3, nil, l.Note(5)))
	proof := l.Proof(3, 5)
	proof[0][0] ^= 1
	add(422, "W6", "a wrong proof", sample.Body(3, proof, l.Note(5)))
	add(422, "W6", "a proof that is too long", sample.Body(3, append(l.Proof(3, 5), tlog.Hash{}), l.Note(5)))
	add(422, "W6", "63 lines of proof", sample.Body(3, make([]tlog.Hash, 63), l.Note(5)))
	add(200, "W6", "the same checkpoint again", l.Request(3, 3))
	add(422, "W6", "the same size with a proof", sample.Body(3, l.Proof(2, 3), l.Note(3)))
	add(200, "W6", "a good proof", l.Request(3, 5))
	add(200, "SN6", "three signatures of strangers", sample.Body(5, l.Proof(5, 6), (&policy.Note{Text: l.Text(6), Signatures: []policy.Signature{
		stranger.Sign("a"), stranger.Sign("b"), l.Sign(l.Text(6)), stranger.Sign("c"),
	}}).Marshal()))
	big := &policy.Note{Text: l.Text(7)}
	for range 16 {
		big.Signatures = append(big.Signatures, policy.Signature{Name: "pq.example", ID: 7, Sig: make([]byte, 8+2420)})
	}
	big.Signatures = append(big.Signatures, l.Sign(big.Text))
	add(200, "SN8", "16 signatures of the size of ML-DSA", sample.Body(6, l.Proof(6, 7), big.Marshal()))
	add(200, "CP1", "an extension line", sample.Body(7, l.Proof(7, 9), l.SignedNote(l.Text(9, "an extension"))))
	add(200, "CP1", "and on from there", l.Request(9, 12))
	bodies := malformed(string(l.Note(12)))
	names := make([]string, 0, len(bodies))
	for name := range bodies {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		add(400, "W12", name, []byte(bodies[name]))
	}
	add(200, "W6", "and on after all that", l.Request(12, 20))
	add(422, "W6", "another root at the same size: evidence", l.Fork("fork", 2).Request(20, 20))
	add(403, "W9", "nothing any more after that", l.Request(20, 20))

	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", " ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(vectorFile()), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(vectorFile(), []byte(strings.TrimSuffix(b.String(), "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}
