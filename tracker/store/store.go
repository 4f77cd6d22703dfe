package store

import (
	"context"
	"errors"
	"io"
	"iter"
	"log/slog"

	"github.com/firn-log/firn/log/statement"
	"github.com/firn-log/firn/tracker/eval"
	"github.com/firn-log/firn/verify"
)

// Options configure a database. They are part of what it is a function of:
// opening a database with others than it was filled with is ErrConfiguration.
type Options struct {
	// Policy decides which operators count and when outputs agree. Nil: every
	// registered operator counts, and two that built the same agree.
	Policy     *verify.Policy
	PolicyName string
	// Random are attribute globs (* and ?) whose outputs are random by construction.
	Random []string
	Log    *slog.Logger // nil: silent
}

// ErrConfiguration says that a database was filled under another configuration;
// Reset and a replay bring it up to date.
var ErrConfiguration = errors.New("the database was filled under another configuration")

// A DB is an open database. All its methods may be called concurrently; Write
// lets one writer in at a time.
type DB struct{}

// Open opens, and if need be creates, a database: a file of SQLite, or
// PostgreSQL if dsn begins with postgres://. It holds a lock until Close, so that
// there is one writer.
func Open(ctx context.Context, dsn string, o Options) (*DB, error) {
	return nil, errors.ErrUnsupported
}

// Close lets go of the database.
func (db *DB) Close() error { return errors.ErrUnsupported }

// Reset drops everything that the database holds and takes over the configuration.
func (db *DB) Reset(ctx context.Context) error { return errors.ErrUnsupported }

// Dump writes everything by natural keys, each table in one order: two databases
// that hold the same write the same bytes (spec/tracker.md#database).
func (db *DB) Dump(ctx context.Context, w io.Writer) error { return errors.ErrUnsupported }

// Write runs f in one transaction. If f fails, nothing of it is kept.
func (db *DB) Write(ctx context.Context, f func(*Tx) error) error { return errors.ErrUnsupported }

// Progress returns the index of the first entry of a log that is not in the
// database, and the root that the last SetCheckpoint gave; 0 and zero if there is none.
func (db *DB) Progress(ctx context.Context, origin string) (next uint64, root [32]byte, err error) {
	return 0, root, errors.ErrUnsupported
}

// Evaluated returns the newest evaluation of a channel and tier that the database
// holds, 0 if there is none.
func (db *DB) Evaluated(ctx context.Context, channel string, tier eval.Tier) (seq int64, err error) {
	return 0, errors.ErrUnsupported
}

// Keys calls f with every public key that people statements have proven so far,
// also those of operators that do not count. With them a follower verifies claims.
func (db *DB) Keys(f func(statement.PublicKey)) {}

// An Entry is one entry of a log whose inclusion is verified.
type Entry struct {
	Index     uint64
	Leaf      []byte
	Statement *statement.Statement // nil if Leaf does not parse
	// Verified says that the signature was verified. If not, the database verifies it as soon
	// as it knows the key, which may come later.
	Verified bool
}

// A Tx is a write transaction. It is for one goroutine.
type Tx struct{}

// AddEntries adds entries of a log, which follow what is there without a gap:
// anything else is an error. Leaves are kept; do not change them.
func (tx *Tx) AddEntries(ctx context.Context, origin string, entries []Entry) error {
	return errors.ErrUnsupported
}

// SetCheckpoint replaces what is known of the health of a log. root is that of
// the newest verified checkpoint.
func (tx *Tx) SetCheckpoint(ctx context.Context, v LogView, root [32]byte) error {
	return errors.ErrUnsupported
}

// AddEvaluation adds an evaluation, newer than those of its channel and tier, whose attributes are
// sorted by name. An error of attrs is returned as it is.
func (tx *Tx) AddEvaluation(ctx context.Context, h eval.Header, attrs iter.Seq2[eval.Attribute, error]) error {
	return errors.ErrUnsupported
}
