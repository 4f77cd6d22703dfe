// Package sample makes growing logs for tests and benchmarks of witnesses:
// checkpoints with real signatures, and real consistency proofs.
package sample

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log/policy"
)

// A Log is a log with a key of its own, which follows from its origin. It may be
// read concurrently, but not while it grows.
type Log struct {
	Origin string
	Key    policy.Key

	private ed25519.PrivateKey
	branch  string // entries are of this history
	from    uint64 // from this index on
	before  *Log   // the history of entries before that, nil if from is 0
	hashes  []tlog.Hash
	size    uint64
}

// New returns an empty log.
func New(origin string) *Log { return newLog(origin, "") }

// Impostor returns an empty log with the origin of another and a key of its own.
func Impostor(origin string) *Log { return newLog(origin, " impostor") }

func newLog(origin, who string) *Log {
	seed := sha256.Sum256([]byte("firn sample log " + origin + who))
	l := &Log{Origin: origin, branch: "main", private: ed25519.NewKeyFromSeed(seed[:])}
	key, err := policy.NewKey(origin, policy.TypeEd25519, l.private.Public().(ed25519.PublicKey))
	if err != nil {
		panic(err) // origin is no name for a key
	}
	l.Key = key
	return l
}

// Fork returns another history of l, signed by the same key: entries before
// index at are those of l, and those from it on are not.
func (l *Log) Fork(branch string, at uint64) *Log {
	f := &Log{Origin: l.Origin, Key: l.Key, private: l.private, branch: branch, from: at, before: l}
	f.Grow(l.size)
	return f
}

// leaf returns the bytes of an entry.
func (l *Log) leaf(i uint64) []byte {
	if i < l.from {
		return l.before.leaf(i)
	}
	return fmt.Appendf(nil, "%s entry %d of %s", l.branch, i, l.Origin)
}

// Size returns how many entries the log has.
func (l *Log) Size() uint64 { return l.size }

// Grow adds entries until there are size.
func (l *Log) Grow(size uint64) {
	for ; l.size < size; l.size++ {
		more, err := tlog.StoredHashes(int64(l.size), l.leaf(l.size), l.reader())
		if err != nil {
			panic(err) // the reader has every hash
		}
		l.hashes = append(l.hashes, more...)
	}
}

func (l *Log) reader() tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, x := range indexes {
			out[i] = l.hashes[x]
		}
		return out, nil
	})
}

// Root returns the root of the first size entries.
func (l *Log) Root(size uint64) tlog.Hash {
	root, err := tlog.TreeHash(int64(size), l.reader())
	if err != nil {
		panic(err)
	}
	if size == 0 {
		root = sha256.Sum256(nil)
	}
	return root
}

// Proof returns the consistency proof between two sizes; it is empty if the
// smaller is 0 or they are equal.
func (l *Log) Proof(old, size uint64) []tlog.Hash {
	if old == 0 || old >= size {
		return nil
	}
	p, err := tlog.ProveTree(int64(size), int64(old), l.reader())
	if err != nil {
		panic(err)
	}
	return p
}

// Sign returns the log's signature on any text.
func (l *Log) Sign(text string) policy.Signature {
	return policy.Signature{Name: l.Key.Name, ID: l.Key.ID, Sig: ed25519.Sign(l.private, []byte(text))}
}

// Text returns the text of the checkpoint of a size, with extension lines.
func (l *Log) Text(size uint64, extensions ...string) string {
	return policy.Head{Origin: l.Origin, Size: size, Root: l.Root(size), Extensions: extensions}.Text()
}

// Note returns the signed checkpoint of a size.
func (l *Log) Note(size uint64) []byte { return l.SignedNote(l.Text(size)) }

// SignedNote returns a text as a note signed by the log.
func (l *Log) SignedNote(text string) []byte {
	return (&policy.Note{Text: text, Signatures: []policy.Signature{l.Sign(text)}}).Marshal()
}

// Request returns the body of an add-checkpoint request.
func (l *Log) Request(old, size uint64) []byte { return Body(old, l.Proof(old, size), l.Note(size)) }

// Body writes the body of an add-checkpoint request.
func Body(old uint64, proof []tlog.Hash, note []byte) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "old %d\n", old)
	for _, h := range proof {
		b.WriteString(base64.StdEncoding.EncodeToString(h[:]) + "\n")
	}
	b.WriteString("\n")
	b.Write(note)
	return []byte(b.String())
}
