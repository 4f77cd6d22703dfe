package nix

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/testreq"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// corpus reads a file of the corpus.
func corpus(t testing.TB, elem ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(append([]string{testreq.Corpus(t)}, elem...)...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// corpusSeeds adds every file that matches to a fuzz target, if the corpus is
// here.
func corpusSeeds(f *testing.F, pattern string) {
	dir := os.Getenv("FIRN_CORPUS")
	if dir == "" {
		dir = filepath.Join(testreq.Root(), "..", "shared", "corpus")
	}
	files, _ := filepath.Glob(filepath.Join(dir, pattern))
	for _, name := range files {
		if b, err := os.ReadFile(name); err == nil && len(b) < 64<<10 {
			f.Add(b)
		}
	}
}

func mustPath(t testing.TB, s string) StorePath {
	t.Helper()
	p, err := ParseStorePath(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// narBytes builds a NAR from strings, as a test writes one by hand. A string
// that begins with "=" is raw; numbers are file lengths.
func narBytes(parts ...any) []byte {
	var b bytes.Buffer
	for _, p := range parts {
		switch p := p.(type) {
		case int:
			b.Write(binary.LittleEndian.AppendUint64(nil, uint64(p)))
		case string:
			if raw, ok := strings.CutPrefix(p, "="); ok {
				b.WriteString(raw)
			} else {
				b.WriteString(narString(p))
			}
		}
	}
	return b.Bytes()
}

// recode reads a NAR and writes it again file by file.
func recode(r io.Reader) ([]byte, error) {
	var out bytes.Buffer
	n, w := NewNarReader(r), NewNarWriter(&out)
	for {
		h, err := n.Next()
		if err == io.EOF {
			err := w.Close()
			return out.Bytes(), err
		}
		if err != nil {
			return nil, err
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := io.Copy(w, n); err != nil {
			return nil, err
		}
	}
}
