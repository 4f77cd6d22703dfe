package interop

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// tree is a log of the battery: a Merkle tree in memory and the key that signs
// its checkpoints, with nothing of firn in it.
type tree struct {
	t      *testing.T
	origin string
	signer note.Signer
	vkey   string
	hashes []tlog.Hash
	size   int64
}

func newTree(t *testing.T, origin string) *tree {
	t.Helper()
	skey, vkey, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		t.Fatal(err)
	}
	s, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	return &tree{t: t, origin: origin, signer: s, vkey: vkey}
}

func (l *tree) reader() tlog.HashReaderFunc {
	return func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, x := range indexes {
			out[i] = l.hashes[x]
		}
		return out, nil
	}
}

// grow adds n entries.
func (l *tree) grow(n int) {
	l.t.Helper()
	for range n {
		hashes, err := tlog.StoredHashes(l.size, fmt.Appendf(nil, "entry %d", l.size), l.reader())
		if err != nil {
			l.t.Fatal(err)
		}
		l.hashes = append(l.hashes, hashes...)
		l.size++
	}
}

func (l *tree) root(size int64) tlog.Hash {
	l.t.Helper()
	if size == 0 {
		return sha256.Sum256(nil)
	}
	h, err := tlog.TreeHash(size, l.reader())
	if err != nil {
		l.t.Fatal(err)
	}
	return h
}

// proof returns the lines of the consistency proof between two sizes.
func (l *tree) proof(from, to int64) []string {
	l.t.Helper()
	if from == 0 || from == to {
		return nil
	}
	p, err := tlog.ProveTree(to, from, l.reader())
	if err != nil {
		l.t.Fatal(err)
	}
	var lines []string
	for _, h := range p {
		lines = append(lines, h.String())
	}
	return lines
}

// body is the text of a checkpoint.
func body(origin string, size int64, root tlog.Hash) string {
	return fmt.Sprintf("%s\n%d\n%s\n", origin, size, root)
}

// sign signs a text as the log.
func (l *tree) sign(text string) string {
	l.t.Helper()
	b, err := note.Sign(&note.Note{Text: text}, l.signer)
	if err != nil {
		l.t.Fatal(err)
	}
	return string(b)
}

func (l *tree) checkpoint(size int64) string { return l.sign(body(l.origin, size, l.root(size))) }

// request is the body of add-checkpoint.
func request(old string, proof []string, checkpoint string) string {
	var b strings.Builder
	b.WriteString("old " + old + "\n")
	for _, line := range proof {
		b.WriteString(line + "\n")
	}
	return b.String() + "\n" + checkpoint
}

// advance is the request that a well-behaved log makes.
func (l *tree) advance(from, to int64) string {
	return request(strconv.FormatInt(from, 10), l.proof(from, to), l.checkpoint(to))
}

// answer is what a witness answered.
type answer struct {
	status      int
	contentType string
	body        string
}

func post(t *testing.T, url, body string) answer {
	t.Helper()
	resp, err := http.Post(url+"add-checkpoint", "text/plain", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header.Get("Content-Type"), string(b)}
}

// cosignature checks a cosignature/v1 line over text by the key vkey, as the
// document says it and without firn's code, and returns its time.
func cosignature(vkey, text, lines string) (uint64, error) {
	name, rest, _ := strings.Cut(vkey, "+")
	id, key64, _ := strings.Cut(rest, "+")
	key, err := base64.StdEncoding.DecodeString(key64)
	if err != nil || len(key) != 1+ed25519.PublicKeySize || key[0] != 4 {
		return 0, fmt.Errorf("%q is not a vkey of type 0x04", vkey)
	}
	sum := sha256.Sum256(append([]byte(name+"\n"), key...))
	if hex.EncodeToString(sum[:4]) != id {
		return 0, fmt.Errorf("the key id in %q is not that of the key", vkey)
	}
	for line := range strings.Lines(lines) {
		fields := strings.Fields(line)
		if len(fields) != 3 || fields[0] != "—" || fields[1] != name {
			continue
		}
		sig, err := base64.StdEncoding.DecodeString(fields[2])
		if err != nil || len(sig) != 4+8+ed25519.SignatureSize || !bytes.Equal(sig[:4], sum[:4]) {
			continue
		}
		at := binary.BigEndian.Uint64(sig[4:12])
		if !ed25519.Verify(key[1:], fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", at, text), sig[12:]) {
			return 0, fmt.Errorf("the signature in %q does not verify", line)
		}
		return at, nil
	}
	return 0, fmt.Errorf("no line by %s in %q", name, lines)
}
