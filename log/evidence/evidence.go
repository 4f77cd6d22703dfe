// Package evidence holds what convicts a log or a witness: two checkpoints
// signed by one key for one origin that no single tree can hold
// (spec/evidence.md). It also reads, writes and keeps what convicts the index of
// a log, which package fraud (log/index/fraud) judges.
//
// Evidence is a small text file that needs nobody's word. Its form is
// firn-evidence@v1: [Parse] reads it, [Evidence.Marshal] writes it, and
// [Evidence.Verify] says offline whom it convicts under a policy. An honest party
// is never convicted: a smaller checkpoint, an unsigned or failing proof, a
// number without a signature, a timestamp or a checkpoint of size 0 proves
// nothing, and there is no way to write them down in this form.
//
// A [Store] keeps evidence in a folder. Nothing in this package talks to a
// network but [Hooks].
package evidence

import (
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log/policy"
)

// A Kind says what role the convicted key had.
type Kind string

// The kinds of evidence.
const (
	KindLog     Kind = "log"     // a log signed two histories
	KindWitness Kind = "witness" // a witness cosigned two histories
	KindIndex   Kind = "index"   // a log committed to a wrong index
)

// MaxSize bounds evidence in bytes.
const MaxSize = 2*policy.MaxNote + 8192

// ErrMalformed is matched by errors for bytes that are not evidence at all.
var ErrMalformed = errors.New("malformed evidence")

// ErrReserved is matched when evidence cannot be judged here: by this package
// alone, or by this version of firn.
var ErrReserved = errors.New("evidence that cannot be judged here")

var errUnjudged = fmt.Errorf("%w: evidence against an index is judged by package fraud", ErrReserved)

// ErrNotEvidence is matched when well-formed evidence convicts nobody: a
// signature is wrong, or one tree can hold both checkpoints.
var ErrNotEvidence = errors.New("convicts nobody")

// ErrUnknownKey is matched when evidence is against a key that the policy does
// not name in that role.
var ErrUnknownKey = errors.New("not a key of the policy")

// Evidence is two checkpoints signed by one key for one origin, or what Index
// says. Each note holds exactly one signature, that of Key.
type Evidence struct {
	Kind Kind
	Key  policy.Key // who signed; for KindLog and KindIndex its name is the origin
	// Small and Large are signed notes. Small has the smaller size, or, if the
	// sizes are equal, the smaller root.
	Small, Large []byte
	// Root and Proof are there if the sizes differ: Root is what the larger tree
	// holds at the smaller size, and Proof is the consistency proof from there
	// to the larger root, of 1 to 63 hashes.
	Root  tlog.Hash
	Proof []tlog.Hash
	// Index is there if and only if the kind is KindIndex, and then none of the
	// four before it.
	Index *Index
}

// A Judge says whom evidence of KindIndex convicts, whoever holds its key. Errors
// match ErrNotEvidence, ErrMalformed or ErrReserved. It is given only what Parse
// has read. There is one, fraud.Judge.
type Judge func(*Evidence) (Verdict, error)

// A Verdict says whom evidence convicts.
type Verdict struct {
	Kind   Kind
	Origin string     // of both checkpoints
	Key    policy.Key // of the policy, if there was one
	Name   string     // what the policy calls the witness; the origin for a log
	// For KindIndex: which revisions are wrong, and how in words.
	MapVersion uint64
	Size       uint64
	Why        string
}
