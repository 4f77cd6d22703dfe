// Package lookup is what a client of a log asks about keys of its index and
// what the log answers: the form of both, and nothing about belief. Package log
// decides what of an answer is believed; log/server makes answers.
//
// The document is spec/log.md#looking-up. Everything here may be called
// concurrently.
package lookup

import (
	"errors"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log/index"
)

// ContentType is the media type of an answer.
const ContentType = "application/vnd.firn.lookup"

// Bounds of one request and of one answer (spec/log.md#looking-up).
const (
	MaxKeys     = 10_000
	MaxKeyBytes = 512
	MaxRequest  = 8 << 20  // bytes
	MaxItems    = 100_000  // in all lists of one answer together
	MaxLeaves   = 16 << 20 // bytes of bodies in one answer
	MaxTail     = 4_096    // leaves of the tail of one answer
	MaxTailSize = 4 << 20  // bytes of these
	MaxAnswer   = 64 << 20 // bytes; more than all of the above
)

// ErrMalformed is matched by the error for bytes that are no answer.
var ErrMalformed = errors.New("malformed answer to a lookup")

// A Request is the JSON body of POST /v1/lookup.
type Request struct {
	Keys []Asked `json:"keys,omitempty"`
	// Prefix asks for all keys whose hashes begin with it, instead of Keys
	// (spec/index.md#prefixes).
	Prefix *Prefix `json:"prefix,omitempty"`
	// Signers are the key ids, in hexadecimal, whose bodies are sent; null asks
	// for those of every signer, an empty list for none.
	Signers *[]string `json:"signers"`
	// Tail asks for the entries between the revision and the checkpoint.
	Tail bool `json:"tail,omitempty"`
}

// A Prefix is the first bits of key hashes.
type Prefix struct {
	Bits   int    `json:"bits"`   // 0 to 256
	Prefix string `json:"prefix"` // 64 hexadecimal digits; the bits from Bits on are 0
}

// Asked is one key of a request and the part of its list that is wanted.
type Asked struct {
	Key string `json:"key"`
	// From is the position in the list from which items are wanted, To the one
	// before which they end; To 0 is the end of the list. Positions count from 0
	// and never change, because lists only grow.
	From uint64 `json:"from,omitempty"`
	To   uint64 `json:"to,omitempty"`
}

// An Answer says what lies under the first len(Lists) keys of a request, or under
// its prefix, as of one revision of the index.
type Answer struct {
	Note []byte // signed checkpoint, size m
	// Vouched is a signed checkpoint of a size v, revision index < v ≤ m, that the
	// quorum of the log's auditors has cosigned, if Note is not one; else nil.
	Vouched []byte
	Vouch   []tlog.Hash // consistency proof from size v to size m
	// Revision is the revision statement, of a size n ≤ its index.
	Revision Body
	Trie     *index.Node // of the revision, pruned to the keys; nil if it is empty
	// Lists are in the order of the request: those of its first keys, at least
	// one. Those of a prefix are in the order of their key hashes, and are all that
	// there are.
	Lists  []List
	Bodies []Body // of the asked signers, by index
	// Tail holds the entries n to m−1, if they were asked for and are not too
	// many; else nil.
	Tail *Tail
}

// A Body is an entry and its inclusion in the tree of Note.
type Body struct {
	Index     uint64
	Leaf      []byte
	Inclusion []tlog.Hash
}

// A List is a part of the list of a key: the items to where the request ends it,
// and the frontier of those before. That frontier counts more items than the position asked
// for if the answer would have become too large: the positions before are asked
// for next, with To as its count.
type List struct {
	Present bool // false: the key has no list, and List is zero
	index.List
}

// A Tail is the entries from a size on to the end of a tree.
type Tail struct {
	Peaks  []tlog.Hash // roots of the perfect subtrees of the first n entries, the largest first
	Leaves [][]byte
}
