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
