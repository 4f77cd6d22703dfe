package interop

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// A batteryCase is a request to a witness that has cosigned size 600 of a tree
// of 1000 entries (or nothing, if fresh), and the status that the documents ask
// for. The rules are those of spec/CONFORMANCE.md: W1 to W12, SN6 to SN8.
type batteryCase struct {
	name   string
	fresh  bool
	body   func(l *tree) string
	status int
	after  int // the status of an honest request afterwards, 0 is 200
}

var battery = []batteryCase{
	{"first checkpoint", true, func(l *tree) string { return l.advance(0, 600) }, 200, 0},
	{"first checkpoint is of the empty tree", true, func(l *tree) string { return l.advance(0, 0) }, 200, 0},
	{"growth", false, func(l *tree) string { return l.advance(600, 1000) }, 200, 0},
	{"the same size again", false, func(l *tree) string { return l.advance(600, 600) }, 200, 0},
	{"W1 unknown origin", false, func(l *tree) string {
		return newTree(l.t, "unknown.example/"+l.origin).advance(0, 0)
	}, 404, 0},
	{"W2 another key of the same name", false, func(l *tree) string {
		other := newTree(l.t, l.origin)
		return request("600", l.proof(600, 1000), other.sign(body(l.origin, 1000, l.root(1000))))
	}, 403, 0},
	{"W2 signature of another text", false, func(l *tree) string {
		return request("600", l.proof(600, 1000), l.graft(l.checkpoint(999), body(l.origin, 1000, l.root(1000))))
	}, 403, 0},
	{"SN7 a good and a bad signature of one key", false, func(l *tree) string {
		_, bad, _ := strings.Cut(l.checkpoint(999), "\n\n")
		return request("600", l.proof(600, 1000), l.checkpoint(1000)+bad)
	}, 403, 0},
	{"W2 no signature but those of strangers", false, func(l *tree) string {
		return request("600", l.proof(600, 1000), body(l.origin, 1000, l.root(1000))+"\n"+stranger("s.example", 64))
	}, 403, 0},
	{"SN6 signatures of strangers beside", false, func(l *tree) string {
		return request("600", l.proof(600, 1000), l.checkpoint(1000)+stranger("s.example", 64)+stranger(l.origin, 64))
	}, 200, 0},
	{"SN8 sixteen signatures of ML-DSA size", false, func(l *tree) string {
		cp := l.checkpoint(1000)
		for i := range 15 {
			cp += stranger("s.example/"+strconv.Itoa(i), 8+2420)
		}
		return request("600", l.proof(600, 1000), cp)
	}, 200, 0},
	{"W3 old is larger than the checkpoint", false, func(l *tree) string { return request("601", nil, l.checkpoint(600)) }, 400, 0},
	{"W4 old is smaller than the latest", false, func(l *tree) string { return l.advance(599, 1000) }, 409, 0},
	{"W4 old is larger than the latest", false, func(l *tree) string { return l.advance(601, 1000) }, 409, 0},
	{"W4 old is 0 although there is a latest", false, func(l *tree) string { return l.advance(0, 1000) }, 409, 0},
	{"W4 going back to a consistent smaller size", false, func(l *tree) string { return l.advance(300, 300) }, 409, 0},
	{"W4 old is not 0 although there is no latest", true, func(l *tree) string { return l.advance(1, 600) }, 409, 0},
	{"W5 empty tree with another root", true, func(l *tree) string {
		return request("0", nil, l.sign(body(l.origin, 0, l.root(1))))
	}, 422, 0},
	{"W6 old 0 with a proof", true, func(l *tree) string { return request("0", l.proof(300, 600), l.checkpoint(600)) }, 422, 0},
	{"W6 no proof", false, func(l *tree) string { return request("600", nil, l.checkpoint(1000)) }, 422, 0},
	{"W6 one bit of the proof", false, func(l *tree) string {
		p := l.proof(600, 1000)
		b, _ := base64.StdEncoding.DecodeString(p[0])
		b[7] ^= 1
		p[0] = base64.StdEncoding.EncodeToString(b)
		return request("600", p, l.checkpoint(1000))
	}, 422, 0},
	{"W6 one hash too many", false, func(l *tree) string {
		return request("600", append(l.proof(600, 1000), l.root(1).String()), l.checkpoint(1000))
	}, 422, 0},
	{"W6 the same size with another root", false, func(l *tree) string {
		return request("600", nil, l.sign(body(l.origin, 600, l.root(601))))
	}, 422, 403}, // the log has signed two histories
	{"W6 the same size with a proof", false, func(l *tree) string {
		return request("600", l.proof(600, 1000), l.checkpoint(600))
	}, 422, 0},
	{"63 lines of proof are read", false, func(l *tree) string { return request("600", lines(63), l.checkpoint(1000)) }, 422, 0},
	{"64 lines of proof", false, func(l *tree) string { return request("600", lines(64), l.checkpoint(1000)) }, 400, 0},
	{"W12 old with a leading zero", false, func(l *tree) string {
		return request("0600", l.proof(600, 1000), l.checkpoint(1000))
	}, 400, 0},
	{"W12 old with a sign", false, func(l *tree) string {
		return request("+600", l.proof(600, 1000), l.checkpoint(1000))
	}, 400, 0},
	{"W12 old beyond 64 bits", false, func(l *tree) string {
		return request("18446744073709551616", l.proof(600, 1000), l.checkpoint(1000))
	}, 400, 0},
	{"W12 CRLF", false, func(l *tree) string { return strings.ReplaceAll(l.advance(600, 1000), "\n", "\r\n") }, 400, 0},
	{"W12 a proof line that is no hash", false, func(l *tree) string {
		return request("600", []string{"AAAA"}, l.checkpoint(1000))
	}, 400, 0},
	{"W12 size with a leading zero", false, func(l *tree) string {
		return request("600", l.proof(600, 1000), l.sign(fmt.Sprintf("%s\n01000\n%s\n", l.origin, l.root(1000))))
	}, 400, 0},
	{"W12 root of the wrong length", false, func(l *tree) string {
		return request("600", l.proof(600, 1000), l.sign(l.origin+"\n1000\nAAAA\n"))
	}, 400, 0},
	{"W12 a note without a signature", false, func(l *tree) string {
		return request("600", l.proof(600, 1000), body(l.origin, 1000, l.root(1000))+"\n")
	}, 400, 0},
	{"W12 no checkpoint", false, func(*tree) string { return "old 600\n\n" }, 400, 0},
	{"W12 nothing", false, func(*tree) string { return "" }, 400, 0},
	{"W12 a control character", false, func(l *tree) string {
		return request("600", l.proof(600, 1000), l.graft(l.checkpoint(1000), body(l.origin, 1000, l.root(1000))+"\x01\n"))
	}, 400, 0},
	{"a body beyond every bound", false, func(l *tree) string {
		return request("600", lines(63), l.checkpoint(1000)+strings.Repeat(stranger("s.example", 9000), 20))
	}, 413, 0},
	{"an extension line", false, func(l *tree) string {
		return request("600", l.proof(600, 1000), l.sign(body(l.origin, 1000, l.root(1000))+"an extension\n"))
	}, 200, 0},
}

// graft puts the signatures of a signed note under another text.
func (l *tree) graft(signed, text string) string {
	_, sigs, _ := strings.Cut(signed, "\n\n")
	return text + "\n" + sigs
}

// stranger is a signature line by nobody.
func stranger(name string, n int) string {
	sig := sha256.Sum256([]byte(name))
	blob := bytes.Repeat(sig[:], n/len(sig)+1)[:4+n]
	return "— " + name + " " + base64.StdEncoding.EncodeToString(blob) + "\n"
}

// lines are n proof lines that prove nothing.
func lines(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = tlog.Hash(sha256.Sum256([]byte{byte(i)})).String()
	}
	return out
}

// TestWitnessBattery goes through the rules for witnesses with one origin a
// case. After each case the log must be able to go on, unless it has signed two
// histories: nothing else that a log, or somebody in its name, sends may leave
// a witness stuck.
func TestWitnessBattery(t *testing.T) {
	trees, vkeys := make([]*tree, len(battery)), make([]string, len(battery))
	for i := range battery {
		trees[i] = newTree(t, fmt.Sprintf("log.example/battery-%d", i))
		trees[i].grow(1000)
		vkeys[i] = trees[i].vkey
	}
	w := startWitness(t, "witness.example/battery", vkeys...)
	for i, tt := range battery {
		t.Run(tt.name, func(t *testing.T) {
			l := trees[i]
			l.t = t
			latest := int64(0)
			if !tt.fresh {
				if a := post(t, w.url, l.advance(0, 600)); a.status != 200 {
					t.Fatalf("size 600 was answered with %+v", a)
				}
				latest = 600
			}
			req := tt.body(l)
			a := post(t, w.url, req)
			if a.status != tt.status {
				t.Fatalf("answer %+v, want status %d", a, tt.status)
			}
			latest = checkAnswer(t, w, req, a, latest)
			l.grow(100)
			if a := post(t, w.url, l.advance(latest, l.size)); a.status != max(tt.after, 200) {
				t.Errorf("the log goes on from size %d: %+v, want status %d", latest, a, max(tt.after, 200))
			}
		})
	}
}

// checkAnswer checks what is beside the status and returns the size that the
// witness must have cosigned last.
func checkAnswer(t *testing.T, w *witness, req string, a answer, latest int64) int64 {
	t.Helper()
	_, signed, _ := strings.Cut(req, "\n\n")
	text, _, _ := strings.Cut(signed, "\n\n")
	text += "\n"
	switch at, err := cosignature(w.vkey, text, a.body); {
	case a.status != 200 && err == nil:
		t.Error("a refusal holds a cosignature")
	case a.status == 409:
		if want := strconv.FormatInt(latest, 10) + "\n"; a.body != want || a.contentType != "text/x.tlog.size" {
			t.Errorf("409 with %q of type %q, want %q of type text/x.tlog.size", a.body, a.contentType, want)
		}
	case a.status == 200 && err != nil:
		t.Error(err)
	case a.status == 200 && at == 0:
		t.Error("the cosignature has no time")
	case a.status == 200:
		size, err := strconv.ParseInt(strings.Split(text, "\n")[1], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return size
	}
	return latest
}

// monitoringURL is where a witness shows what it cosigned (W10).
func monitoringURL(prefix, origin string) string {
	return fmt.Sprintf("%s%x/checkpoint", prefix, sha256.Sum256([]byte(origin)))
}

func TestWitnessShowsWhatItCosigned(t *testing.T) {
	l := newTree(t, "log.example/monitored")
	l.grow(10)
	w := startWitness(t, "witness.example/monitored", l.vkey)
	if resp, err := http.Get(monitoringURL(w.url, l.origin)); err != nil || resp.StatusCode != http.StatusNotFound {
		t.Fatalf("before any cosignature: %v, %v, want 404", resp, err)
	}
	post(t, w.url, l.advance(0, 10))
	shown, err := get(monitoringURL(w.url, l.origin))
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(l.vkey)
	if err != nil {
		t.Fatal(err)
	}
	n, err := note.Open(shown, note.VerifierList(v))
	if err != nil {
		t.Fatalf("the shown checkpoint: %v", err)
	}
	if want := body(l.origin, 10, l.root(10)); n.Text != want {
		t.Errorf("shown %q, want %q", n.Text, want)
	}
	if _, err := cosignature(w.vkey, n.Text, string(shown)); err != nil {
		t.Error(err)
	}
}

// Two histories of one log, sent at once from many sides: one of them is
// cosigned (W8), the log is refused from then on, and after a kill -9 that is
// still so.
func TestWitnessCosignsOneOfTwoHistories(t *testing.T) {
	l := newTree(t, "log.example/two-faced")
	l.grow(9)
	texts := [2]string{body(l.origin, 8, l.root(8)), body(l.origin, 8, l.root(9))}
	w := startWitness(t, "witness.example/race", l.vkey)

	var wg sync.WaitGroup
	answers := make([]answer, 64)
	for i := range answers {
		req := request("0", nil, l.sign(texts[i%2]))
		wg.Go(func() { answers[i] = post(t, w.url, req) })
	}
	wg.Wait()
	var histories [2]bool
	for i, a := range answers {
		if a.status == 200 {
			histories[i%2] = true
		}
	}
	if histories[0] == histories[1] {
		t.Fatalf("cosigned: %v, want one of the two histories", histories)
	}
	for _, text := range texts {
		// Whoever knows what the witness has cosigned shows it the other history.
		post(t, w.url, request("8", nil, l.sign(text)))
	}
	if err := w.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	w.stop()
	w.serve(t)
	for i, text := range texts {
		if a := post(t, w.url, request("8", nil, l.sign(text))); a.status != 403 {
			t.Errorf("history %d after a kill -9: %+v, want status 403", i, a)
		}
	}
	shown, err := get(monitoringURL(w.url, l.origin))
	if err != nil {
		t.Fatal(err)
	}
	if cosigned := texts[0]; histories[0] != strings.HasPrefix(string(shown), cosigned) {
		t.Errorf("after a kill -9 another history is shown than was cosigned:\n%s", shown)
	}
}
