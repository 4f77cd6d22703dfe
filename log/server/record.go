package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/internal/place"
	"github.com/firn-log/firn/log/policy"
)

// record is the compare-and-swap record of the last checkpoint whose signature
// may have left this program, with the place it was signed at. It is the
// file that a log must not lose (spec/log.md#record).
type record struct {
	place place.Place
	head  policy.Head // Size 0: nothing was signed yet
}

const recordHeader = "firn-log record v1"

// text returns the file: the header, the place, an empty line, and the text of
// the checkpoint.
func (r *record) text() string {
	return fmt.Sprintf("%s\nmachine %s\nfilesystem %s\ndirectory %s\n\n%s",
		recordHeader, r.place.Machine, r.place.FileSystem, r.place.Directory, r.head.Text())
}

// parseRecord accepts exactly what text writes.
func parseRecord(s string) (*record, error) {
	top, text, _ := strings.Cut(s, "\n\n")
	lines := strings.Split(top, "\n")
	if len(lines) != 4 || lines[0] != recordHeader {
		return nil, errors.New("not a record of a firn log")
	}
	r := new(record)
	for i, f := range []struct {
		name string
		v    *string
	}{{"machine", &r.place.Machine}, {"filesystem", &r.place.FileSystem}, {"directory", &r.place.Directory}} {
		v, ok := strings.CutPrefix(lines[i+1], f.name+" ")
		if !ok {
			return nil, fmt.Errorf("line %d: want %q", i+2, f.name)
		}
		*f.v = v
	}
	var err error
	if r.head, err = policy.ParseCheckpoint(text); err != nil {
		return nil, err
	}
	if r.text() != s {
		return nil, errors.New("not in the form in which it was written")
	}
	return r, nil
}

// errNoRecord says that there is no record.
var errNoRecord = errors.New("there is no record of what this log has signed")

func readRecord(path string) (*record, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoRecord
	}
	if err != nil {
		return nil, fmt.Errorf("reading the record: %w", err)
	}
	r, err := parseRecord(string(b))
	if err != nil {
		return nil, fmt.Errorf("reading the record %s: %w", path, err)
	}
	return r, nil
}

// writeRecord makes r durable.
func writeRecord(path string, r *record) error {
	if err := durable.WriteFile(path, []byte(r.text()), 0o600); err != nil {
		return fmt.Errorf("writing the record: %w", err)
	}
	return nil
}

// extender says whether one tree continues another; *store.Tree does.
type extender interface {
	CheckExtends(ctx context.Context, old uint64, oldRoot tlog.Hash, size uint64, root tlog.Hash) error
}

// checkpointSigner is the only thing that signs checkpoints with the log key.
// It signs a text only if it is a checkpoint of this origin that continues,
// by the hashes in the tree, the one in the record; and only after the record
// of it is durable. It may be used concurrently.
type checkpointSigner struct {
	note.Signer
	path   string
	signed func(head policy.Head, note []byte) // called in the order of signing
	failed func(why error)                     // called when a checkpoint could not be signed; may be nil

	mu   sync.Mutex // guards what follows, and the record file
	rec  record
	tree extender // nil until start-up has passed: nothing is signed
	held bool     // witnesses have not answered yet: nothing new is signed
	ours bool     // what the record has was signed before, and may be again
}

// errNotStarted is why nothing is signed before start-up has passed.
var errNotStarted = errors.New("not signing: the checks at start have not passed")

// errHeld is why nothing new is signed before witnesses have answered.
var errHeld = errors.New("not signing: too few witnesses have answered since start")

// start lets the signer sign checkpoints of tree that continue rec; only those of
// rec itself while it is held.
func (s *checkpointSigner) start(rec record, tree extender) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rec, s.tree = rec, tree
}

// hold keeps the signer from signing anything but what the record has; ours
// reports whether this log has signed that.
func (s *checkpointSigner) hold(ours bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held, s.ours = true, ours
}

// free ends hold: the record is made durable as of this place, and signed again.
func (s *checkpointSigner) free(here place.Place) error {
	s.mu.Lock()
	if !s.held || s.tree == nil {
		s.mu.Unlock()
		return nil
	}
	next := record{place: here, head: s.rec.head}
	err := writeRecord(s.path, &next)
	if err == nil {
		s.rec, s.held = next, false
	}
	s.mu.Unlock()
	if err != nil || next.head.Size == 0 {
		return err
	}
	_, err = s.Sign([]byte(next.head.Text()))
	return err
}

// stop ends signing.
func (s *checkpointSigner) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tree = nil
}

// Sign implements note.Signer.
func (s *checkpointSigner) Sign(msg []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tree == nil {
		return nil, errNotStarted
	}
	sig, err := s.sign(msg)
	if err != nil && s.failed != nil && !errors.Is(err, errHeld) { // that is said by the gate
		s.failed(err)
	}
	return sig, err
}

// sign signs msg if it may. The caller holds mu.
func (s *checkpointSigner) sign(msg []byte) ([]byte, error) {
	head, err := policy.ParseCheckpoint(string(msg))
	if err != nil {
		return nil, fmt.Errorf("not signing: %w", err)
	}
	if err := s.permit(head); err != nil {
		return nil, fmt.Errorf("not signing a checkpoint of size %d: %w", head.Size, err)
	}
	if s.held && (head.Size != s.rec.head.Size || !s.ours) {
		return nil, errHeld
	}
	if head.Size != s.rec.head.Size {
		next := record{place: s.rec.place, head: head}
		if err := writeRecord(s.path, &next); err != nil {
			return nil, fmt.Errorf("not signing a checkpoint of size %d: %w", head.Size, err)
		}
		s.rec = next
	}
	sig, err := s.Signer.Sign(msg)
	if err != nil {
		return nil, err
	}
	n, err := note.Sign(&note.Note{Text: string(msg)}, fixedSignature{s.Signer, sig})
	if err != nil {
		return nil, err
	}
	if s.signed != nil {
		s.signed(head, n)
	}
	return sig, nil
}

// permit says whether head may follow the record.
func (s *checkpointSigner) permit(head policy.Head) error {
	switch {
	case head.Origin != s.Name():
		return fmt.Errorf("its origin is %q, not %q", head.Origin, s.Name())
	case len(head.Extensions) > 0:
		return errors.New("it has lines after the root")
	case head.Size == 0:
		return errors.New("a checkpoint of an empty tree can break witnesses")
	case head.Size < s.rec.head.Size:
		return fmt.Errorf("one of size %d was signed already", s.rec.head.Size)
	}
	return s.tree.CheckExtends(context.Background(), s.rec.head.Size, s.rec.head.Root, head.Size, head.Root)
}

// fixedSignature gives note.Sign a signature that was already made.
type fixedSignature struct {
	note.Signer
	sig []byte
}

func (f fixedSignature) Sign([]byte) ([]byte, error) { return f.sig, nil }
