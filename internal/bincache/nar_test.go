package bincache

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/firn-log/firn/internal/bincache/cachetest"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/internal/testreq"
)

// narOf is some content and a narinfo of it. It is not a NAR, which nothing here
// looks at.
func narOf(t testing.TB, content []byte, compression string) *nix.NarInfo {
	n := cachetest.NarInfo(t, "app", nil)
	n.NarHash, n.NarSize, n.Compression, n.URL = sha256.Sum256(content), uint64(len(content)), compression, "nar/app"
	n.Sigs = []string{cachetest.Mine.Sign(n.Fingerprint())}
	return n
}

func zstdOf(content []byte) []byte {
	e, _ := zstd.NewWriter(nil)
	return e.EncodeAll(content, nil)
}

var (
	lines    = bytes.Repeat([]byte("firn\n"), 1000)
	narTypes = []string{"none", "zstd", "xz", "bzip2"}
)

// pack compresses with the real program, for xz and bzip2.
func pack(t testing.TB, compression string, content []byte) []byte {
	t.Helper()
	switch compression {
	case "none":
		return content
	case "zstd":
		return zstdOf(content)
	}
	cmd := exec.Command(testreq.Command(t, compression, compression), "-c")
	cmd.Stdin = bytes.NewReader(content)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func readNar(t *testing.T, f *cachetest.Cache, n *nix.NarInfo) ([]byte, error) {
	t.Helper()
	r, err := open(t, f).OpenNar(t.Context(), n)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func TestNarIsUnpackedAndChecked(t *testing.T) {
	for _, compression := range narTypes {
		t.Run(compression, func(t *testing.T) {
			f := cachetest.New(t)
			b := pack(t, compression, lines)
			f.Files["nar/app"] = b
			n := narOf(t, lines, compression)
			if got, err := readNar(t, f, n); err != nil || !bytes.Equal(got, lines) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			refused := func(what string, n *nix.NarInfo, want string) {
				t.Helper()
				got, err := readNar(t, f, n)
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%s: %v, want %q", what, err, want)
				}
				if uint64(len(got)) > n.NarSize {
					t.Errorf("%s: %d bytes of a NAR of %d", what, len(got), n.NarSize)
				}
			}
			longer, shorter, other, file := *n, *n, *n, *n
			longer.NarSize++
			shorter.NarSize -= 7
			other.NarHash[3] ^= 1
			file.FileSize = uint64(len(b) - 1)
			refused("signed as longer", &longer, "5000 of 5001 bytes")
			refused("signed as shorter", &shorter, "more than 4993 bytes")
			refused("another hash", &other, "its hash is")
			refused("a longer file than said", &file, "longer than it can be")
			f.Files["nar/app"] = b[:len(b)-3]
			refused("truncated", n, "")
			delete(f.Files, "nar/app")
			refused("missing", n, ErrMissing.Error())
		})
	}
	n := narOf(t, lines, "br")
	f := cachetest.New(t)
	f.Files["nar/app"] = lines
	if _, err := readNar(t, f, n); err == nil || !strings.Contains(err.Error(), `"br" is not xz, zstd, bzip2 or none`) {
		t.Errorf("another compression: %v", err)
	}
}

// What unpacks to much more than was signed is not unpacked.
func TestBombIsNotUnpacked(t *testing.T) {
	f := cachetest.New(t)
	f.Files["nar/app"] = zstdOf(make([]byte, 64<<20))
	n := narOf(t, lines, "zstd")
	if got, err := readNar(t, f, n); !errors.Is(err, ErrNar) || len(got) > len(lines) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	// Padding that unpacks to nothing ends too.
	skip := append([]byte{0x50, 0x2a, 0x4d, 0x18, 0, 0, 1, 0}, make([]byte, 1<<16)...)
	f.Files["nar/app"] = append(bytes.Repeat(skip, 64), zstdOf(lines)...)
	if _, err := readNar(t, f, n); err == nil {
		t.Errorf("padding: %v", err)
	}
}

func TestNarElsewhere(t *testing.T) {
	f, other := cachetest.New(t), cachetest.New(t)
	other.Files["there"] = lines
	n := narOf(t, lines, "none")
	n.URL = other.URL + "/there"
	if got, err := readNar(t, f, n); err != nil || len(got) != len(lines) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	for _, url := range []string{"file:///etc/passwd", "ftp://x/y", "%zz"} {
		n.URL = url
		if _, err := readNar(t, f, n); err == nil {
			t.Errorf("%s was read", url)
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, infoName), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := Open(t.Context(), "file://"+dir, ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, url := range []string{"../../etc/passwd", "/etc/passwd", "http://127.0.0.1/"} {
		n.URL = url
		if _, err := c.OpenNar(t.Context(), n); err == nil {
			t.Errorf("%s was read by a cache in a folder", url)
		}
	}
}

// Whatever the bytes of a file, unpacking it ends, within its bounds.
func FuzzOpenNar(f *testing.F) {
	for _, compression := range []string{"zstd", "none"} {
		f.Add(pack(f, compression, lines), compression)
	}
	for _, compression := range []string{"xz", "bzip2"} {
		if _, err := exec.LookPath(compression); err == nil {
			f.Add(pack(f, compression, lines), compression)
		}
	}
	dir := f.TempDir()
	c := &Client{url: "file://" + dir, dir: nix.DefaultStoreDir, src: &folder{dir: dir}}
	f.Fuzz(func(t *testing.T, b []byte, compression string) {
		n := narOf(t, lines, compression)
		if err := os.WriteFile(filepath.Join(dir, "x"), b, 0o644); err != nil {
			t.Fatal(err)
		}
		n.URL = "x"
		r, err := c.OpenNar(t.Context(), n)
		if err != nil {
			return
		}
		defer r.Close()
		got, err := io.ReadAll(r)
		if len(got) > len(lines) || err == nil && !bytes.Equal(got, lines) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
}

type panics struct{}

func (panics) Read([]byte) (int, error) { panic("index out of range") }

// A decoder that fails on the bytes of a stranger ends nothing but their NAR.
func TestDecoderThatPanics(t *testing.T) {
	n := cachetest.NarInfo(t, "app", nil, cachetest.Mine)
	n.Compression = "none"
	r, err := Unpack(io.NopCloser(panics{}), n)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, r); !errors.Is(err, ErrNar) {
		t.Errorf("%v", err)
	}
}
