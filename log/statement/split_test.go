package statement

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// What is split the short way is what CBOR's decoder reads.
func TestSplitPayloadIsWhatIsDecoded(t *testing.T) {
	n := 0
	for _, folder := range []string{"accept", "reject"} {
		files, err := filepath.Glob(filepath.Join("../../spec/vectors/statement", folder, "*.json"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%d vectors: %v", len(files), err)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			var v struct{ Leaf string }
			if json.Unmarshal(b, &v) != nil || v.Leaf == "" {
				continue
			}
			leaf, err := hex.DecodeString(v.Leaf)
			if err != nil {
				t.Fatal(err)
			}
			s := &Statement{}
			if s.splitLeaf(leaf) == nil && checkSplit(t, s.Payload) {
				n++
			}
		}
	}
	if n < 20 {
		t.Errorf("only %d payloads were split", n)
	}
}

func checkSplit(t *testing.T, payload []byte) bool {
	t.Helper()
	if checkCanonical(payload) != nil {
		return false
	}
	kind, got, ok := splitPayload(payload)
	if !ok {
		return false
	}
	var want wirePayload
	peeked, err := peekKind(payload)
	if err == nil {
		err = decodeWire("payload", payload, &want)
	}
	switch {
	case err != nil:
		t.Errorf("%x was split and is refused: %v", payload, err)
	case peeked != kind, got.Version != want.Version, got.Kind != want.Kind, !bytes.Equal(got.Body, want.Body),
		(got.For == nil) != (want.For == nil), got.For != nil && *got.For != *want.For,
		(got.Prev == nil) != (want.Prev == nil), got.Prev != nil && !bytes.Equal(*got.Prev, *want.Prev):
		t.Errorf("%x: split into %+v, decoded %+v", payload, got, want)
	}
	return true
}

func FuzzSplitPayload(f *testing.F) {
	f.Add([]byte{0xa3, 1, 1, 2, 0x65, 'b', 'u', 'i', 'l', 'd', 3, 0xa0})
	f.Add([]byte{0xa5, 1, 1, 2, 0x65, 'b', 'u', 'i', 'l', 'd', 3, 0xa0, 4, 0x61, 'x', 5, 0x41, 0})
	f.Fuzz(func(t *testing.T, payload []byte) { checkSplit(t, payload) })
}
