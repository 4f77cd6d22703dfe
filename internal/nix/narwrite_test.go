package nix

import (
	"errors"
	"os"
	"testing"
)

// TestNarWriterFailsOnce: after a failed write nothing more is written,
// wherever in the format the buffer fills up.
func TestNarWriterFailsOnce(t *testing.T) {
	buf := make([]byte, narBufSize)
	for size := narBufSize - 700; size < narBufSize; size += 8 {
		w := failing(0)
		n := NewNarWriter(&w)
		err := n.WriteHeader(&NarHeader{Type: Directory})
		if err == nil {
			err = n.WriteHeader(&NarHeader{Path: "a", Size: int64(size)})
		}
		if err == nil {
			_, err = n.Write(buf[:size])
		}
		for _, name := range []string{"b", "c", "d"} {
			if err == nil {
				err = n.WriteHeader(&NarHeader{Path: name, Type: Symlink, Target: "some/where"})
			}
		}
		if closed := n.Close(); err == nil {
			err = closed
		}
		if !errors.Is(err, os.ErrClosed) || w != -1 {
			t.Fatalf("%d bytes: %v after %d writes", size, err, -w)
		}
	}
}
