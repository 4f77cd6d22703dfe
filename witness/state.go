package witness

import (
	"crypto/sha256"
	"encoding/hex"
	"sync/atomic"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log/policy"
)

// A State is what a witness knows about one origin. The zero State is that of
// an origin it never cosigned.
type State struct {
	Size uint64
	Root tlog.Hash
	// Note is the checkpoint cosigned last, with the signatures of its log that
	// were verified and the cosignature of this witness; nil if there is none.
	Note []byte
	// Refused names the evidence for which the origin is refused for good, ""
	// if it is not.
	Refused string
}

// withNote returns s with another note.
func (s State) withNote(origin string, note []byte) (State, error) {
	n, err := policy.ParseNote(note)
	if err != nil {
		return s, err
	}
	head, err := policy.ParseCheckpoint(n.Text)
	if err != nil {
		return s, err
	}
	if head.Origin != origin {
		return s, errOtherOrigin
	}
	s.Size, s.Root, s.Note = head.Size, head.Root, note
	return s, nil
}

// entry is one origin in a store.
type entry struct {
	origin string
	// busy is held, as its one element, from reading the state to the moment
	// when its successor is durable: check and set are one step (W8).
	busy chan struct{}
	// state is only set by the goroutine that writes, after what it says is
	// durable.
	state atomic.Pointer[State]
}

func newEntry(origin string) *entry {
	e := &entry{origin: origin, busy: make(chan struct{}, 1)}
	e.state.Store(new(State))
	return e
}

// OriginHash names an origin in URLs (c2sp.org/tlog-witness#monitor-retrieval-mechanism).
func OriginHash(origin string) string {
	h := sha256.Sum256([]byte(origin))
	return hex.EncodeToString(h[:])
}
