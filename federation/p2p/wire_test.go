package p2p

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
)

func exchangeSeeds() []*exchange {
	return []*exchange{
		{},
		{logs: []logState{stateOf("log.example/1", []byte("latest"), nil)}, evidence: [][32]byte{{1}, {2}}},
		{evidence: [][32]byte{{3}}, notes: [][]byte{[]byte("a note\n"), []byte("another\n")}},
	}
}

func FuzzExchange(f *testing.F) {
	for _, x := range exchangeSeeds() {
		f.Add(x.marshal(), true)
		f.Add(x.marshal(), false)
	}
	f.Fuzz(func(t *testing.T, b []byte, request bool) {
		r := bytes.NewReader(b)
		x, err := readExchange(r, request)
		if err != nil {
			if !errors.Is(err, errFrame) {
				t.Errorf("error %v does not match errFrame", err)
			}
			return
		}
		read := b[:len(b)-r.Len()]
		if !bytes.Equal(x.marshal(), read) {
			t.Errorf("%x reads as %x", read, x.marshal())
		}
	})
}

func TestExchangeRefuses(t *testing.T) {
	frame := func(typ byte, size int) []byte { return appendFrame(nil, typ, make([]byte, size)) }
	end := frame(frameEnd, 0)
	tests := []struct {
		name    string
		request bool
		b       []byte
	}{
		{"nothing", true, nil},
		{"no end", true, frame(frameLog, 96)},
		{"cut off", true, frame(frameLog, 96)[:50]},
		{"unknown type", true, append(frame('x', 0), end...)},
		{"short log", true, append(frame(frameLog, 95), end...)},
		{"long hash", false, append(frame(frameEvidence, 33), end...)},
		{"empty note", false, append(frame(frameNote, 0), end...)},
		{"note in a request", true, append(frame(frameNote, 5), end...)},
		{"log in an answer", false, append(frame(frameLog, 96), end...)},
		{"disorder", true, append(append(frame(frameEvidence, 32), frame(frameLog, 96)...), end...)},
		{"end with bytes", true, frame(frameEnd, 1)},
		{"a length of gigabytes", false, binary.BigEndian.AppendUint32([]byte{frameNote}, 1<<31)},
		{"too many hashes", true, append(bytes.Repeat(frame(frameEvidence, 32), maxHashes+1), end...)},
		{"too many logs", true, append(bytes.Repeat(frame(frameLog, 96), maxLogs+1), end...)},
		{"too many bytes", false, append(bytes.Repeat(frame(frameNote, 128<<10), 40), end...)},
	}
	for _, tt := range tests {
		if _, err := readExchange(bytes.NewReader(tt.b), tt.request); !errors.Is(err, errFrame) {
			t.Errorf("%s: error %v, want errFrame", tt.name, err)
		}
	}
	most := &exchange{evidence: make([][32]byte, maxHashes)}
	for range maxLogs {
		most.logs = append(most.logs, logState{})
	}
	if _, err := readExchange(bytes.NewReader(most.marshal()), true); err != nil {
		t.Errorf("as much as is allowed: %v", err)
	}
}
