package log

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/firn-log/firn/log/evidence"
)

// ErrUnreachable is matched by every error that means that the log, or a part
// of it, could not be read just now: another try may succeed.
var ErrUnreachable = errors.New("log is unreachable")

// ErrNotFound is matched when the log answered that it does not have a thing.
var ErrNotFound = errors.New("not found in the log")

// ErrUnproven is matched when the log did not prove that its checkpoint goes on
// from the remembered one. The new checkpoint is then neither remembered nor
// believed, and nobody is convicted of anything.
var ErrUnproven = errors.New("consistency is not proven")

// ErrStale is matched by a *StaleError.
var ErrStale = errors.New("checkpoint is older than the remembered one")

// ErrTooLarge is matched when an answer is longer than what it can need.
var ErrTooLarge = errors.New("answer is too large")

// A StaleError says that the log showed a smaller checkpoint than the one
// remembered, of the same history. That is not misbehaviour: caches and mirrors
// lag. The remembered checkpoint is kept.
type StaleError struct {
	Remembered *Checkpoint
	Shown      *Checkpoint
}

func (e *StaleError) Error() string {
	return fmt.Sprintf("%s shows size %d, and size %d was seen before", e.Shown.Origin, e.Shown.Size, e.Remembered.Size)
}

// Is makes a StaleError match ErrStale.
func (e *StaleError) Is(target error) bool { return target == ErrStale }

// A ForkError says that two notes signed by one log belong to no single
// history: see spec/proofs.md#forks.
type ForkError struct {
	Origin   string
	Old, New []byte // signed notes; Old was remembered
	// Evidence convicts the log by itself (spec/evidence.md#form).
	Evidence []byte
	// Path is the file that holds Evidence, "" if there is no folder for it.
	Path string

	all []*evidence.Evidence // against the log first, then against witnesses
}

func (e *ForkError) Error() string {
	s := fmt.Sprintf("%s shows two histories", e.Origin)
	if e.Path != "" {
		s += "; both signed checkpoints are kept in " + e.Path
	}
	return s
}

// A ProofError says that an answer of the log does not hold together: a proof
// that does not verify, a tile that does not hash to its parent, an entry that
// was not asked for. Such an answer is worth nothing, and proves nothing against
// the log either, because nobody signed it.
type ProofError struct {
	Origin string
	Key    string // the lookup key or statement id, "" if none was asked for
	Index  uint64 // of the entry; meaningful if HasIndex
	// HasIndex is false when the fault is not about one entry.
	HasIndex bool
	Reason   string
	Err      error // may be nil
}

func (e *ProofError) Error() string {
	s := e.Origin + ": "
	if e.HasIndex {
		s += fmt.Sprintf("entry %d: ", e.Index)
	}
	if e.Key != "" {
		s += fmt.Sprintf("asked for %s: ", e.Key)
	}
	s += e.Reason
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *ProofError) Unwrap() error { return e.Err }

// ErrDeleted is matched when the log answered that its operator has deleted a blob.
var ErrDeleted = errors.New("deleted by the operator of the log")

// A RequestError is the log's refusal of a whole request. It matches
// ErrUnreachable if the log asks to come back later (429, 5xx), ErrNotFound
// for 404, and ErrDeleted for a blob that was deleted (410).
type RequestError struct {
	URL        string
	Status     int           // HTTP status
	Code       string        // error code of spec/log.md, "" if the answer had none
	Message    string        // one sentence of the log, "" if none
	RetryAfter time.Duration // 0 if the log did not say
}

func (e *RequestError) Error() string {
	s := fmt.Sprintf("%s answered %d", e.URL, e.Status)
	if e.Code != "" {
		s += " " + e.Code
	}
	if e.Message != "" {
		s += fmt.Sprintf(": %q", e.Message)
	}
	return s
}

// Is implements the matches described above.
func (e *RequestError) Is(target error) bool {
	switch target {
	case ErrUnreachable:
		return e.Status == 429 || e.Status >= 500
	case ErrNotFound:
		return e.Status == 404
	case ErrDeleted:
		return e.Status == 410 && e.Code == "deleted"
	}
	return false
}

// words is text of a log that is fit to be shown: what cannot be seen, or moves
// the cursor or the order of letters, is replaced.
func words(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) { // control and format characters, line breaks
			return '?'
		}
		return r
	}, s)
}
