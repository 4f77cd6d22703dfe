package p2p

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/firn-log/firn/log/policy"
)

// Frames of an exchange (spec/gossip.md#frames): a type byte, a length of four
// bytes, big-endian, and so many bytes.
const (
	frameLog      = 'l' // what the asker has of a log: three SHA-256
	frameEvidence = 'e' // the SHA-256 of evidence that is held
	frameNote     = 'n' // a signed note
	frameEnd      = 'z' // empty
)

const (
	maxLogs     = 1024    // log frames of one request
	maxHashes   = 1024    // evidence frames of one message
	maxNotes    = 2048    // note frames of one answer
	maxExchange = 4 << 20 // bytes of one message
)

var errFrame = errors.New("malformed exchange")

// A logState is what an asker has of a log. The zero hash is nothing.
type logState struct {
	origin, latest, best [32]byte // SHA-256 of the origin and of two notes
}

func stateOf(origin string, latest, best []byte) logState {
	return logState{sha256.Sum256([]byte(origin)), noteHash(latest), noteHash(best)}
}

func noteHash(note []byte) [32]byte {
	if note == nil {
		return [32]byte{}
	}
	return sha256.Sum256(note)
}

// An exchange is a request or an answer.
type exchange struct {
	logs     []logState // requests only
	evidence [][32]byte
	notes    [][]byte // answers only
}

func appendFrame(b []byte, typ byte, payload []byte) []byte {
	b = append(b, typ)
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	return append(b, payload...)
}

// marshal returns the frames of x.
func (x *exchange) marshal() []byte {
	var b []byte
	for _, l := range x.logs {
		b = appendFrame(b, frameLog, bytes.Join([][]byte{l.origin[:], l.latest[:], l.best[:]}, nil))
	}
	for _, e := range x.evidence {
		b = appendFrame(b, frameEvidence, e[:])
	}
	for _, note := range x.notes {
		b = appendFrame(b, frameNote, note)
	}
	return appendFrame(b, frameEnd, nil)
}

// readExchange reads frames up to the end frame. They come in the order of the
// types above. What it accepts, marshal gives back byte by byte. Errors match
// errFrame or are those of r.
func readExchange(r io.Reader, request bool) (*exchange, error) {
	r = io.LimitReader(r, maxExchange)
	x := &exchange{}
	last := byte(0)
	order := map[byte]byte{frameLog: 1, frameEvidence: 2, frameNote: 3, frameEnd: 4}
	for {
		var head [5]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return nil, fmt.Errorf("%w: it is cut off: %w", errFrame, err)
		}
		typ, size := head[0], binary.BigEndian.Uint32(head[1:])
		if order[typ] == 0 || order[typ] < last || request && typ == frameNote || !request && typ == frameLog {
			return nil, fmt.Errorf("%w: a frame of type 0x%02x", errFrame, typ)
		}
		last = order[typ]
		if err := x.room(typ, size); err != nil {
			return nil, err
		}
		payload := make([]byte, size)
		if _, err := io.ReadFull(r, payload); err != nil {
			return nil, fmt.Errorf("%w: it is cut off: %w", errFrame, err)
		}
		switch typ {
		case frameLog:
			x.logs = append(x.logs, logState{[32]byte(payload[:32]), [32]byte(payload[32:64]), [32]byte(payload[64:])})
		case frameEvidence:
			x.evidence = append(x.evidence, [32]byte(payload))
		case frameNote:
			x.notes = append(x.notes, payload)
		case frameEnd:
			return x, nil
		}
	}
}

// room reports whether one more frame of a type and size may come.
func (x *exchange) room(typ byte, size uint32) error {
	ok := false
	switch typ {
	case frameLog:
		ok = size == 96 && len(x.logs) < maxLogs
	case frameEvidence:
		ok = size == 32 && len(x.evidence) < maxHashes
	case frameNote:
		ok = size > 0 && size <= policy.MaxNote && len(x.notes) < maxNotes
	case frameEnd:
		ok = size == 0
	}
	if !ok {
		return fmt.Errorf("%w: a frame of type 0x%02x with %d bytes is too long, or one too many", errFrame, typ, size)
	}
	return nil
}

func hexHash(h [32]byte) string { return hex.EncodeToString(h[:]) }
