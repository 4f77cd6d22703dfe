package interop

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/firn-log/firn/log/policy"
)

// An ML-DSA line that a witness answers beside its cosignature goes through log and
// firn-peer to a reader as it is, byte for byte, and makes no quorum anywhere. It only has the
// form of one: nobody on the way can tell.
func TestMLDSALinesGoFromTheWitnessToTheReader(t *testing.T) {
	l := initLog(t)
	w := startWitness(t, "witness.example/w1", l.vkey)
	pq, err := policy.NewKey("witness.example/w1-pq", policy.TypeMLDSA, bytes.Repeat([]byte{7}, 1312))
	if err != nil {
		t.Fatal(err)
	}
	front := mldsaFront(t, w.url, pq)
	// Of a quorum of one of them the Ed25519 line is enough; that of both is never met.
	l.serve(t, 1, fmt.Sprintf("witness w1 %s %s\n", w.vkey, front), fmt.Sprintf("witness pq %s %s\n", pq, front))

	lineOf := func(note []byte) string {
		for line := range strings.Lines(string(note)) {
			if strings.Contains(line, pq.Name+" ") {
				return line
			}
		}
		return ""
	}
	onDisk, err := os.ReadFile(filepath.Join(l.dir, "public/checkpoint"))
	if err != nil || lineOf(onDisk) == "" {
		t.Fatalf("the log's checkpoint has no ML-DSA line (%v):\n%s", err, onDisk)
	}
	at, dir := freeAddress(t), filepath.Join(t.TempDir(), "peer")
	watch := write(t, "watch.policy", strings.Replace(readFile(t, l.policy), "log "+l.vkey, "log "+l.vkey+" "+l.url, 1))
	run(t, ours(t, "firn-peer"), "init", "--name", "p", "--listen", at, "--policy", watch, "--mirror", dir)
	start(t, ours(t, "firn-peer"), "serve", dir).hears(t, address)
	origin, _, _ := strings.Cut(l.vkey, "+")
	mirror := "http://" + at + "/mirror" + strings.TrimSuffix(monitoringURL("/", origin), "/checkpoint")
	eventually(t, "the mirror", func() error { _, err := get(mirror + "/checkpoint"); return err })
	for name, from := range map[string]string{"log": l.url, "mirror": mirror} {
		reader := *l
		reader.url, reader.home = from, t.TempDir()
		out, err := reader.firn(t, "log", "checkpoint", "--json")
		var cp struct {
			Note         string
			Cosignatures []struct{ Witness string }
		}
		if err != nil || json.Unmarshal([]byte(out), &cp) != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		line := lineOf([]byte(cp.Note))
		raw, err := policy.ParseNote([]byte(cp.Note))
		if err != nil || line == "" || !wholeLine(raw, pq) {
			t.Errorf("from the %s: no whole ML-DSA line (%v):\n%s", name, err, cp.Note)
		}
		if len(cp.Cosignatures) != 1 || cp.Cosignatures[0].Witness != "w1" {
			t.Errorf("from the %s: counted are %+v", name, cp.Cosignatures)
		}
	}
	// Nobody counts it: the same policy with a quorum of two.
	reader := *l
	reader.home = t.TempDir()
	reader.policy = write(t, "two.policy", strings.Replace(readFile(t, l.policy), "group witnesses 1 ", "group witnesses 2 ", 1))
	if out, err := reader.firn(t, "log", "checkpoint"); err == nil || !strings.Contains(err.Error(), "does not satisfy the quorum") {
		t.Errorf("%v\n%s", err, out)
	}
}

// wholeLine reports whether a note has a line of k as mldsaFront made it.
func wholeLine(n *policy.Note, k policy.Key) bool {
	for _, s := range n.Signatures {
		if s.Name == k.Name && s.ID == k.ID {
			return len(s.Sig) == 8+2420 && bytes.Equal(s.Sig[8:], bytes.Repeat([]byte{0xa5}, 2420))
		}
	}
	return false
}

// mldsaFront stands before a witness and adds a line of k to what it cosigns.
func mldsaFront(t *testing.T, witness string, k policy.Key) string {
	t.Helper()
	to, err := url.Parse(witness)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.ModifyResponse = func(resp *http.Response) error {
		if resp.StatusCode != http.StatusOK || resp.Request.Method != http.MethodPost {
			return nil
		}
		body, err := io.ReadAll(resp.Body)
		sig := binary.BigEndian.AppendUint64(nil, uint64(time.Now().Unix()))
		line := policy.Signature{Name: k.Name, ID: k.ID, Sig: append(sig, bytes.Repeat([]byte{0xa5}, 2420)...)}
		body = append(body, line.String()...)
		resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		resp.Header.Set("Content-Length", fmt.Sprint(len(body)))
		return err
	}
	srv := httptest.NewServer(proxy)
	t.Cleanup(srv.Close)
	return srv.URL + "/"
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
