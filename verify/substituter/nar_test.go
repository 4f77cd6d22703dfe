package substituter

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/firn-log/firn/internal/bincache"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/internal/testreq"
)

// packedAs is a NAR as caches have it; xz and bzip2 are made by the real programs.
func packedAs(t testing.TB, compression string, nar []byte) []byte {
	t.Helper()
	switch compression {
	case "none":
		return bytes.Clone(nar)
	case "zstd":
		return zstdOf(nar)
	}
	cmd := exec.Command(testreq.Command(t, compression, compression), "-c", "-1")
	cmd.Stdin = bytes.NewReader(nar)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// ofFile makes n name a file.
func ofFile(n *nix.NarInfo, compression string, file []byte) {
	n.Compression, n.URL, n.FileSize = compression, "nar/"+n.Path.Name(), uint64(len(file))
	n.FileHash = nix.Hash(sha256.Sum256(file)).String()
}

// longText is half words and half nothing that can be packed.
func longText(n int) string {
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	b := make([]byte, 0, n+8)
	for len(b) < n {
		if rng.IntN(2) == 0 {
			b = append(b, "a word, "...)
		} else {
			b = append(b, byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32()))
		}
	}
	return string(b[:n])
}

// However an upstream packs a NAR, Nix gets it unpacked, and knows its size before.
func TestNarArrivesUnpacked(t *testing.T) {
	for _, compression := range compressions {
		for _, size := range []int{0, 4, heldBack - 200, heldBack, heldBack + 1, 3*heldBack + 5} {
			t.Run(compression+" "+strconv.Itoa(size), func(t *testing.T) {
				w := newWorld(t)
				text := longText(size)
				nar := narOf(t, text)
				n := info(t, "app", text)
				file := packedAs(t, compression, nar)
				ofFile(n, compression, file)
				w.caches[0].set(n.URL, file)
				w.caches[0].set(n.Path.HashPart()+".narinfo", n.Marshal())
				w.builds("a b", n)
				w.start(refuseRule)
				got := w.served(n)
				if got.Compression != "none" || got.FileSize != n.NarSize || got.FileHash != n.NarHash.String() || !strings.HasSuffix(got.URL, ".nar") {
					t.Errorf("the narinfo: %+v", got)
				}
				if status, body, err := w.get(got.URL); err != nil || status != http.StatusOK || body != string(nar) {
					t.Errorf("%d, %d of %d bytes, %v", status, len(body), len(nar), err)
				}
				if status, body, _ := w.get(got.URL + ".xz"); status != http.StatusInternalServerError || !strings.Contains(body, "remove binary-cache-v*.sqlite") {
					t.Errorf("as a narinfo of before names it: %d %s", status, body)
				}
				resp, err := http.Head(w.url + "/" + got.URL)
				if err != nil || resp.ContentLength != int64(len(nar)) {
					t.Errorf("HEAD: %+v, %v", resp, err)
				}
			})
		}
	}
}

// Nothing that is not the NAR that was judged arrives whole, whatever is wrong with its file and wherever;
// and it is the upstream that is blamed.
func TestWrongFilesNeverArriveWhole(t *testing.T) {
	for _, compression := range compressions {
		for _, size := range []int{4, 3 * heldBack} {
			text := longText(size)
			nar := narOf(t, text)
			file := packedAs(t, compression, nar)
			for name, bad := range wrongFiles(t, compression, text, file) {
				t.Run(compression+" "+strconv.Itoa(size)+" "+name, func(t *testing.T) {
					n := info(t, "app", text)
					ofFile(n, compression, file)
					if !strings.HasPrefix(name, "file ") {
						n.FileHash, n.FileSize = "", 0 // then only its content is wrong
					}
					got, begun, err := copyOf(io.NopCloser(bytes.NewReader(bad)), n)
					if err == nil || !isWrong(err) {
						t.Errorf("%v", err)
					}
					if begun != (len(got) > 0) || len(got) > len(nar)-min(len(nar), heldBack) {
						t.Errorf("begun %v, %d of %d bytes were sent", begun, len(got), len(nar))
					}
				})
			}
		}
	}
}

// wrongFiles are files that are not the file of this text; those whose NAR is right are named "file ".
func wrongFiles(t *testing.T, compression, text string, file []byte) map[string][]byte {
	flipped := func(at int) []byte {
		b := bytes.Clone(file)
		b[at] ^= 4
		return b
	}
	other := []byte(text)
	other[len(other)-1] ^= 1
	all := map[string][]byte{
		"nothing":                 {},
		"a bit at the beginning":  flipped(1),
		"a bit in the middle":     flipped(len(file) / 2),
		"half of it":              file[:len(file)/2],
		"all but a byte":          file[:len(file)-1],
		"another text at the end": packedAs(t, compression, narOf(t, string(other))),
		"a shorter text":          packedAs(t, compression, narOf(t, text[1:])),
		"a longer text":           packedAs(t, compression, narOf(t, text+text)),
		"bytes after the NAR":     packedAs(t, compression, append(narOf(t, text), 0)),
		"bytes after the file":    append(bytes.Clone(file), "more"...),
		"two of it":               append(bytes.Clone(file), file...),
	}
	switch compression {
	case "zstd": // skips a frame of nobody
		all["file and an empty frame"] = append(bytes.Clone(file), 0x50, 0x2A, 0x4D, 0x18, 0, 0, 0, 0)
	case "xz": // pads
		all["file and padding"] = append(bytes.Clone(file), 0, 0, 0, 0)
	}
	return all
}

// An error of reading counts, also where it comes with the last bytes, a decoder asks for no more, and the next
// one would be the end.
func TestAnErrorThatComesWithBytesCounts(t *testing.T) {
	for _, size := range []int{4, 3 * heldBack} {
		text := longText(size)
		nar := narOf(t, text)
		for _, compression := range compressions {
			n := info(t, "app", text)
			file := packedAs(t, compression, nar)
			ofFile(n, compression, file)
			gone := errors.New("the cache is gone")
			r := iotest.DataErrReader(io.MultiReader(bytes.NewReader(file), errOnce(gone)))
			if got, _, err := copyOf(io.NopCloser(r), n); !errors.Is(err, gone) || len(got) == len(nar) {
				t.Errorf("%s: %d of %d bytes, %v", compression, len(got), len(nar), err)
			}
		}
	}
}

// errOnce is an error, and then the end.
func errOnce(err error) io.Reader {
	return readerFunc(func([]byte) (int, error) {
		now := err
		err = io.EOF
		return 0, now
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// copyOf is what is sent of a file.
func copyOf(file io.ReadCloser, n *nix.NarInfo) (sent []byte, begun bool, err error) {
	nar, err := unpack(file, n)
	if err != nil {
		return nil, false, err
	}
	defer nar.Close()
	var b bytes.Buffer
	begun, err = copyChecked(&b, nar, n.NarSize)
	return b.Bytes(), begun, err
}

// However little comes at once, what is sent is the NAR.
func TestPiecesOfAFile(t *testing.T) {
	text := longText(2*heldBack + 100)
	nar := narOf(t, text)
	for _, compression := range compressions {
		n := info(t, "app", text)
		file := packedAs(t, compression, nar)
		ofFile(n, compression, file)
		for name, r := range map[string]io.Reader{
			"one byte":        iotest.OneByteReader(bytes.NewReader(file)),
			"half":            iotest.HalfReader(bytes.NewReader(file)),
			"end with a byte": iotest.DataErrReader(bytes.NewReader(file)),
		} {
			if got, _, err := copyOf(io.NopCloser(r), n); err != nil || !bytes.Equal(got, nar) {
				t.Errorf("%s, %s: %d of %d bytes, %v", compression, name, len(got), len(nar), err)
			}
		}
	}
}

// A file that cannot be read to its end is nobody's lie, also where its end would be one.
func TestAFileThatCannotBeReadBlamesNobody(t *testing.T) {
	text := longText(2 * heldBack)
	nar := narOf(t, text)
	for _, compression := range compressions {
		n := info(t, "app", text)
		file := packedAs(t, compression, nar)
		ofFile(n, compression, file)
		for _, size := range []int{0, 1, 20, len(file) / 2, len(file) - 1, len(file)} {
			for _, why := range []error{io.ErrUnexpectedEOF, errors.New("the cache is gone")} {
				r := io.MultiReader(bytes.NewReader(file[:size]), iotest.ErrReader(why))
				if got, _, err := copyOf(io.NopCloser(r), n); !errors.Is(err, why) || isWrong(err) || len(got) == len(nar) {
					t.Errorf("%s, %d bytes: %d bytes were sent, %v", compression, size, len(got), err)
				}
			}
		}
	}
}

// A connection that breaks is nobody's lie: the next try finds the same.
func TestNarThatBreaksOff(t *testing.T) {
	long := longText(1 << 20)
	for _, compression := range compressions {
		w := newWorld(t)
		n := info(t, "app", long)
		file := packedAs(t, compression, narOf(t, long))
		ofFile(n, compression, file)
		n.FileHash, n.FileSize = "", 0
		w.caches[0].set(n.Path.HashPart()+".narinfo", n.Marshal())
		w.caches[0].set(n.URL, file)
		w.builds("a b", n)
		w.start(refuseRule)
		url := w.served(n).URL
		w.caches[0].breaks = true
		w.narRefused(url, narOf(t, long))
		w.caches[0].breaks = false
		if status, body, err := w.get(url); err != nil || status != 200 || body != string(narOf(t, long)) {
			t.Errorf("%s: %d, %d bytes, %v", compression, status, len(body), err)
		}
	}
}

// That nobody takes what is sent is not the fault of the upstream.
func TestWhoeverDoesNotTakeANarBlamesNobody(t *testing.T) {
	for _, size := range []int{4, 2 * heldBack} {
		text := longText(size)
		n := info(t, "app", text)
		file := pack(n, narOf(t, text))
		nar, err := unpack(io.NopCloser(bytes.NewReader(file)), n)
		if err != nil {
			t.Fatal(err)
		}
		gone := errors.New("gone")
		if _, err := copyChecked(writerFunc(func([]byte) (int, error) { return 0, gone }), nar, n.NarSize); err != gone || isWrong(err) {
			t.Error(err)
		}
		nar.Close()
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// No narinfo says how large a file or a NAR is in a way that keeps its reader from coming to an end.
func TestFileSizesAtTheirBounds(t *testing.T) {
	nar := narOf(t, "text")
	whole := uint64(len(nar))
	for _, size := range []uint64{0, 1, whole, heldBack - 1, heldBack, heldBack + 1, math.MaxInt64, math.MaxInt64 + 1, math.MaxUint64 - 1, math.MaxUint64} {
		for _, ofNar := range []bool{false, true} {
			n := &nix.NarInfo{Compression: "none", FileSize: size}
			n.Path, n.NarHash, n.NarSize = pathOf(t, "app"), sha256.Sum256(nar), whole
			if ofNar {
				n.NarSize, n.FileSize = size, 0
			}
			_, _, err := copyOf(io.NopCloser(bytes.NewReader(nar)), n)
			if good := size == 0 && !ofNar || size == whole; good != (err == nil) || !good && !isWrong(err) {
				t.Errorf("size %d, of the NAR %v: %v", size, ofNar, err)
			}
		}
	}
}

// FuzzNarIsWholeOrRefused sends any file for a NAR: what arrives whole is that NAR, and what is refused
// lacks its end.
func FuzzNarIsWholeOrRefused(f *testing.F) {
	text := strings.Repeat("text of some length ", heldBack/20+9) // whose files are small
	nar := narOf(f, text)
	f.Add([]byte("not packed"), uint8(0))
	for i, compression := range compressions[1:] {
		file := packedAs(f, compression, nar)
		f.Add(file, uint8(i+1))
		f.Add(file[:len(file)-1], uint8(i+1))
		f.Add(append(bytes.Clone(file), 0), uint8(i+1))
	}
	n := info(f, "app", text)
	f.Fuzz(func(t *testing.T, file []byte, kind uint8) {
		n := *n
		n.Compression = compressions[int(kind)%len(compressions)]
		got, _, err := copyOf(io.NopCloser(bytes.NewReader(file)), &n)
		switch {
		case err == nil && !bytes.Equal(got, nar):
			t.Errorf("%d bytes arrived as the NAR of %d", len(got), len(nar))
		case err != nil && (!isWrong(err) || len(got) > len(nar)-heldBack):
			t.Errorf("%d bytes were sent: %v", len(got), err)
		}
	})
}

// The error of a file that is longer than it can be is one of content, though it comes from reading.
func TestAFileLongerThanItCanBeIsWrong(t *testing.T) {
	w := newWorld(t)
	n := info(t, "app", "text")
	w.caches[0].has(n, "text", cacheKey)
	w.builds("a b", n)
	w.start(refuseRule)
	url := w.served(n).URL
	w.caches[0].set(n.URL, append(zstdOf(narOf(t, "text")), make([]byte, 3<<20)...))
	w.narRefused(url, narOf(t, "text"))
	if !w.s.isBlamed(w.caches[0].url, hashOf(t, n.Path)) {
		t.Error("nobody is blamed")
	}
	if !isWrong(&contentError{bincache.ErrNar}) {
		t.Error("a wrong NAR is not wrong")
	}
}
