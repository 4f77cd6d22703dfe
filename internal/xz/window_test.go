package xz

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"testing"
)

// packed is what the real xz makes of b with a dictionary of that size, or the test is skipped.
func packed(t testing.TB, b []byte, dict string) []byte {
	t.Helper()
	cmd := exec.Command("xz", "-c", "--lzma2=preset=0,dict="+dict)
	cmd.Stdin = bytes.NewReader(b)
	out, err := cmd.Output()
	if err != nil {
		t.Skip("no xz here: ", err)
	}
	return out
}

// However a dictionary and chunks compare, there is room for the next chunk, also in a window that
// another file left.
func TestRoomForEveryChunk(t *testing.T) {
	zeros := make([]byte, 5<<20)
	mixed := bytes.Clone(zeros)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range mixed {
		if i>>19&1 == 1 {
			mixed[i] = byte(r.Uint32() >> 30)
		}
	}
	reader := NewReader(64 << 20)
	for _, dict := range []string{"4KiB", "8MiB", "1MiB", "4KiB"} {
		for name, text := range map[string][]byte{"zeros": zeros, "mixed": mixed} {
			t.Run(fmt.Sprint(dict, " ", name), func(t *testing.T) {
				file := packed(t, text, dict)
				for _, xz := range []*Reader{reader, NewReader(64 << 20)} {
					xz.Reset(bufio.NewReader(bytes.NewReader(file)))
					got, err := io.ReadAll(xz)
					if err != nil || !bytes.Equal(got, text) {
						t.Errorf("%d of %d bytes, %v", len(got), len(text), err)
					}
				}
			})
		}
	}
}

// Whatever the bytes of a file, reading it ends and nothing is out of bounds.
func FuzzReader(f *testing.F) {
	f.Add(packed(f, make([]byte, 5000), "4KiB"))
	f.Add(packed(f, bytes.Repeat([]byte("text of some length, and numbers 123 "), 500), "64KiB"))
	r := NewReader(1 << 20)
	f.Fuzz(func(t *testing.T, b []byte) {
		r.Reset(bufio.NewReader(bytes.NewReader(b)))
		if n, err := io.Copy(io.Discard, io.LimitReader(r, 1<<20)); err == nil && n == 0 && len(b) == 0 {
			t.Error("nothing is a file")
		}
	})
}
