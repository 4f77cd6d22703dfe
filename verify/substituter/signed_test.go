package substituter

import (
	"bytes"
	"io"
	"testing"

	"github.com/firn-log/firn/verify"
)

// A signature that was kept is served, unless another key signs now.
func TestKeptSignaturesAreOfTheKeyOfNow(t *testing.T) {
	n := info(t, "app", "text")
	pack(n, narOf(t, "text"))
	d := &decision{info: n, action: verify.Serve, verdict: verify.Trusted}
	s := &Substituter{o: Options{Key: localKey}, keyID: keyIDOf(localKey)}
	s.sign(d)
	kept, err := decodeDecision(storeDir, d.encode())
	if err != nil {
		t.Fatal(err)
	}
	if sig := s.derive(kept).Sigs[0]; kept.signed != s.keyID+sig || !localKey.Public().Verify(n.Fingerprint(), sig) {
		t.Errorf("kept %q, served %q", kept.signed, sig)
	}
	other := secret("another")
	other.Name = localKey.Name
	after := &Substituter{o: Options{Key: other}, keyID: keyIDOf(other)}
	if sig := after.derive(kept).Sigs[0]; !other.Public().Verify(n.Fingerprint(), sig) {
		t.Errorf("a signature of the key before is served: %q", sig)
	}
	after.sign(kept)
	if sig := after.derive(kept).Sigs[0]; !other.Public().Verify(n.Fingerprint(), sig) {
		t.Errorf("a signature of the key before is kept: %q", sig)
	}
}

// What is not served is not signed.
func TestRefusalsAreNotSigned(t *testing.T) {
	d := &decision{info: info(t, "app", "text"), action: verify.Refuse}
	s := &Substituter{o: Options{Key: localKey}, keyID: keyIDOf(localKey)}
	if s.sign(d); d.signed != "" {
		t.Errorf("signed %q", d.signed)
	}
}

// An end is held back whatever the sizes of the pieces are.
func TestTheEndIsHeldBack(t *testing.T) {
	for _, sizes := range [][]int{{1}, {heldBack}, {heldBack + 1}, {heldBack, 1}, {chunk, 1, chunk, heldBack - 1, heldBack + 1, 3}, {1, 2, 3, chunk}} {
		var all, got []byte
		var last []byte
		for i, n := range sizes {
			piece := make([]byte, n)
			for j := range piece {
				piece[j] = byte(i + j*7)
			}
			all = append(all, piece...)
			w := writerFunc(func(b []byte) (int, error) { got = append(got, b...); return len(b), nil })
			sent, err := sendBut(w, &last, piece)
			if want := len(all) > heldBack; err != nil || sent && !want || len(last) != min(len(all), heldBack) || string(got)+string(last) != string(all) {
				t.Errorf("%v, piece %d: sent %v, held back %d of %d: %v", sizes, i, sent, len(last), len(all), err)
			}
		}
	}
}

// Whatever the sizes of writes and reads are, what comes out of a pipe is what went in.
func TestPipeKeepsOrder(t *testing.T) {
	p := newPipe()
	var want []byte
	for i := range 3000 {
		want = append(want, byte(i), byte(i>>8), byte(i*i))
	}
	go func() {
		for rest, n := want, 1; len(rest) > 0; n = n*3%1000 + 1 {
			n = min(n, len(rest))
			_, _ = p.Write(rest[:n])
			rest = rest[n:]
		}
		p.end(io.EOF)
	}()
	var got []byte
	for n := 1; ; n = n*7%300 + 1 {
		b := make([]byte, n)
		k, err := p.Read(b)
		if got = append(got, b[:k]...); err != nil {
			break
		}
	}
	if !bytes.Equal(got, want) {
		t.Errorf("got %d of %d bytes, or others", len(got), len(want))
	}
	p.stop(io.ErrUnexpectedEOF)
	if _, err := p.Write([]byte("x")); err != io.ErrUnexpectedEOF {
		t.Errorf("nobody reads, and writing says %v", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
