package follow

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/policy"
)

// A Status is how far a log is followed, and what happened since the start.
type Status struct {
	Origin, URL    string
	Size           uint64 // of the newest checkpoint that is believed
	Replayed       uint64 // entries that are in the database
	CheckpointTime time.Time
	Frozen         bool
	Checked        time.Time // when the log last showed a checkpoint that is believed
	Updated        time.Time // when entries were last added
	Error          string    // why it does not go on, one sentence; "" if it does

	// Behind is how long it has been known that there is more than was replayed.
	Behind time.Duration
	// Entries were read, Kept of them not verified again, Left of them left out, and
	// Unverified of them taken though nothing is known by which they could be.
	Entries, Kept, Left, Unverified uint64
	Errors                          map[string]uint64 // by what it was: see Kinds
}

// Kinds are the sorts of errors that a Status counts.
var Kinds = []string{"unreachable", "stale", "fork", "quorum", "proof", "database", "other"}

// A databaseError says that the database, and not the log, is the trouble.
type databaseError struct{ error }

func (e databaseError) Error() string {
	return "the database does not take what the log holds, which is tried again: " + e.error.Error()
}
func (e databaseError) Unwrap() error { return e.error }

// A historyError says that the database holds something else than the log.
type historyError struct {
	replayed, size uint64
}

func (e *historyError) Error() string {
	if e.size < e.replayed {
		return fmt.Sprintf("the database holds %d entries, and the log shows only %d; if that is right, run: firn-tracker rebuild", e.replayed, e.size)
	}
	return fmt.Sprintf("the first %d entries of the log are not those in the database; it must be made again: firn-tracker rebuild", e.replayed)
}

// An ageError says that a checkpoint is too old.
type ageError struct{ age, most time.Duration }

func (e *ageError) Error() string {
	return fmt.Sprintf("its newest checkpoint is %v old, and the policy wants one of the last %v", e.age.Round(time.Second), e.most)
}

// kindOf sorts an error.
func kindOf(err error) string {
	var (
		fork    *log.ForkError
		quorum  *policy.QuorumError
		proof   *log.ProofError
		history *historyError
		age     *ageError
		db      databaseError
	)
	switch {
	case errors.As(err, &db):
		return "database"
	case errors.As(err, &fork):
		return "fork"
	case errors.Is(err, log.ErrStale), errors.As(err, &history), errors.As(err, &age):
		return "stale"
	case errors.As(err, &quorum), errors.Is(err, policy.ErrUnknownLog):
		return "quorum"
	case errors.As(err, &proof), errors.Is(err, log.ErrUnproven), errors.Is(err, log.ErrNotFound):
		return "proof"
	case errors.Is(err, log.ErrUnreachable):
		return "unreachable"
	}
	return "other"
}

// sentence says for people why a log does not go on. Everybody sees it: of the machine it names no path.
func sentence(err error) string {
	var fork *log.ForkError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &fork) && fork.Path != "":
		return "The log showed two histories, so nothing more is taken from it; both signed checkpoints are kept in the data folder, as evidence/" + filepath.Base(fork.Path) + "."
	case errors.Is(err, log.ErrStale):
		return "The log went back: " + err.Error() + "; it is asked again until it has caught up."
	case kindOf(err) == "unreachable":
		return "The log cannot be read: " + err.Error() + "; it is tried again."
	}
	return "The log is not followed: " + err.Error() + "."
}

// Status returns how far each log is, in the order of Options.Logs.
func (f *Follower) Status() []Status {
	all := make([]Status, len(f.logs))
	for i, l := range f.logs {
		all[i] = l.now()
	}
	return all
}

func (l *follower) now() Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.status
	s.Errors = make(map[string]uint64, len(Kinds))
	for _, k := range Kinds {
		s.Errors[k] = l.status.Errors[k]
	}
	if !l.since.IsZero() {
		s.Behind = time.Since(l.since)
	}
	return s
}

// set changes the status.
func (l *follower) set(change func(*Status)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&l.status)
	switch {
	case l.status.Replayed >= l.status.Size:
		l.since = time.Time{}
	case l.since.IsZero():
		l.since = time.Now()
	}
}
