package log

import (
	"fmt"

	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/statement"
)

// A Query is a lookup whose answer is to be proven whole (spec/index.md#checking-an-answer).
type Query struct {
	Keys []string
	// Signers are those whose bodies are wanted; nil is everybody, an empty list
	// that is not nil nobody.
	Signers []statement.KeyID
	// Known is what is remembered of the lists of some of the keys: they are asked
	// for from there on only, and must begin with what is known.
	Known map[string]Known
	// Tail is how many of the entries between the revision and the checkpoint may
	// stay unread, the newest of them (spec/index.md#the-tail).
	Tail uint64
}

// Known is what was proven of the list of a key: its head in a revision of the
// index about the first Size entries of the log. The zero Known is that of a key
// of which nothing is known, or that had no list.
type Known struct {
	index.Head
	Size uint64
}

// Proven are answers with what proves that they are whole.
type Proven struct {
	Checkpoint *Checkpoint // the tree that holds the bodies, as in Answers
	// Lists has the list of each key: the items of the revision from position
	// Known.Count on, and those of the tail as far as it was read.
	Lists map[string][]Found
	// Heads are those of all keys, each as of the revision that answered it.
	Heads map[string]Known
	// Read says how far the lists are whole: everything below this size is in
	// them. It is the size of the checkpoint unless some of the tail was not read.
	Read uint64
	// Vouched has, for each revision that the answers rest on, the checkpoint
	// whose cosignatures vouch for it: signed by the log, consistent with
	// Checkpoint, and with the revision below its size. Whether they make up a quorum of
	// auditors is for the caller to say.
	Vouched [][]byte
	// Incomplete says why something may be missing, in one clause that names the
	// log; "" if the proof holds. The fields above but Checkpoint and Lists mean
	// nothing then.
	Incomplete string
}

// PrefixError says that a list does not begin with what was known of it: one of
// two revisions is wrong, or the index was reset between them.
type PrefixError struct {
	Origin, Key string
}

func (e *PrefixError) Error() string {
	return fmt.Sprintf("log %s: the list of %s does not begin with what it held before", e.Origin, e.Key)
}

// IndexTrust is what this machine holds for and against the index of a log,
// whatever the log says.
type IndexTrust struct {
	// Auditors is the index policy without those auditors that evidence is held
	// against; nil if there is none.
	Auditors *policy.Policy
	// Faults are what the index of the log's origin was convicted of in the map
	// version that is asked for, and what no index-reset has withdrawn since.
	Faults []IndexFault
}

// An IndexFault is evidence on disk that convicts the index of a log. It ends
// trust in its answers being whole, not in the log.
type IndexFault struct {
	File       string
	MapVersion uint64
	// What the index did, a clause that goes after "the index of log X": for
	// instance "hides entry 17 from out:/nix/store/…".
	What string
	// Key and Leaf are the index key and the entry concerned. Key is "" if the
	// evidence is about no entry: two revisions, or a malformed trie.
	Key  string
	Leaf uint64
}
