package cache

import (
	"bufio"
	"bytes"
	"testing"
)

func FuzzRecord(f *testing.F) {
	whole := filled(f, f.TempDir())[len(magic):]
	for len(whole) > 8 {
		n := 8 + int(whole[3]) // all are short
		f.Add(whole[8:n])
		whole = whole[n:]
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := parseRecord(body)
		if err != nil {
			return
		}
		if got := r.append(nil); !bytes.Equal(got, body) {
			t.Errorf("%x is written back as %x", body, got)
		}
	})
}

// Whatever is in a journal, what is kept of it is all that is kept of that.
func FuzzJournal(f *testing.F) {
	whole := filled(f, f.TempDir())
	f.Add(whole)
	f.Add(whole[:len(whole)-3])
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, b []byte) {
		st := newState()
		if err := st.load(bufio.NewReader(bytes.NewReader(b))); err != nil {
			return
		}
		for _, text := range st.texts {
			_ = hashPart(text)
		}
		again := newState()
		if err := again.load(bufio.NewReader(bytes.NewReader(b[:st.size]))); err != nil || again.size != st.size {
			t.Errorf("of %x %d bytes are kept, and of these %d: %v", b, st.size, again.size, err)
		}
	})
}
