package log

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"

	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/lookup"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/statement"
)

const (
	// lookupBatch is how many keys go into one request; a log takes 10,000.
	lookupBatch = 5000
	// maxLookupEntries and maxLookupBytes bound what one Lookup takes in, so that a
	// log cannot go on for ever.
	maxLookupEntries = 1 << 22
	maxLookupBytes   = 1 << 30 // of answers, whose bodies are kept
	// maxTail bounds how many entries are read between a revision and the
	// checkpoint that holds it.
	maxTail = 1 << 18
)

// A Leaf is a logged statement whose inclusion was verified.
type Leaf struct {
	Index     uint64
	Bytes     []byte
	Statement *statement.Statement // parsed; its signature is not verified here
	// Proof is against the checkpoint of its answer; nil for an entry that was
	// read in the tail (spec/index.md#the-tail).
	Proof *Proof
}

// Found is one entry of the list of a key.
type Found struct {
	Index uint64
	// Signer is the key id in the list. It is verified where Leaf is there.
	Signer statement.KeyID
	// Leaf is nil if the signer was not among those asked for.
	Leaf *Leaf
}

// A Query is a lookup (spec/proofs.md#lookup).
type Query struct {
	Keys []string
	// Signers are those whose bodies are wanted; nil is everybody, an empty list
	// that is not nil nobody.
	Signers []statement.KeyID
	// Known is what is remembered of the lists of some of the keys: they are asked
	// for from there on only, and must begin with what is known.
	Known map[string]Known
	// Tail is how many entries between the revision and the checkpoint may stay
	// unread. If there are more, all of them are read.
	Tail uint64
	// Audited says that the cosignatures of Answers.Vouched are to count. Entries below
	// such a checkpoint are read then, whatever Tail says: an index-reset among them would
	// mean that auditors cosigned it without a word about the revision.
	Audited bool
}

// Known is what was proven of the list of a key: its head in a revision of the
// index about the first Size entries of the log. The zero Known is that of a key
// of which nothing is known, or that had no list.
type Known struct {
	index.Head
	Size uint64
}

// Answers are what a log holds under a set of keys, proven to be whole as far as
// the revisions of its index are right (spec/proofs.md#lookup).
type Answers struct {
	// Checkpoint is the tree that holds everything below: that of the oldest answer,
	// if there were several requests.
	Checkpoint *Checkpoint
	Keys       []string // as asked, each once
	// Heads are those of all keys, each as of the revision that answered it; the zero
	// Known of one that has no list, or whose head is about a larger tree than Checkpoint.
	Heads map[string]Known
	// Read says how far the lists are whole: everything below this size is in
	// them. It is the size of the checkpoint unless the tail was not read.
	Read uint64
	// Vouched has, for each revision that the answers rest on, the checkpoint
	// whose cosignatures vouch for it: signed by the log, consistent with
	// Checkpoint, and with the revision below its size. Whether they make up a quorum of
	// auditors is for the caller to say.
	Vouched [][]byte
	// Incomplete says why something may be missing, in one clause that names the
	// log; "" if nothing is, given that the revisions are right.
	Incomplete string

	lists   map[string][]Found
	entries int // in all lists
	bytes   int // of all answers
	shown   []believed
}

// Of returns the list of a key in the order of the log: the items from position
// Known.Count on, and those of the tail as far as it was read. It is shared and
// must not be changed.
func (a *Answers) Of(key string) []Found { return a.lists[key] }

// PrefixError says that a list does not begin with what was known of it: one of
// two revisions is wrong, or the index was reset between them.
type PrefixError struct {
	Origin, Key string
}

func (e *PrefixError) Error() string {
	return fmt.Sprintf("log %s: the list of %s does not begin with what it held before", e.Origin, e.Key)
}

// Lookup asks the log which entries lie under each key, and verifies that these
// are all, as of the newest revision that the log answers with; what came
// after it is read from the log itself. Every body is verified to be in the tree, to
// be a statement of the signer that the list names, and to map to the key.
//
// Errors: ErrUnreachable, a *RequestError, a *ProofError that names the key and
// the index, a *PrefixError, and those of [Client.Checkpoint].
func (c *Client) Lookup(ctx context.Context, q Query) (*Answers, error) {
	return newLooking(c, q).run(ctx)
}

func (l *looking) run(ctx context.Context) (*Answers, error) {
	if len(l.a.Keys) == 0 {
		cp, err := l.c.Checkpoint(ctx)
		if err == nil {
			l.a.Checkpoint, l.a.Read = cp, cp.Size
		}
		return l.a, err
	}
	for len(l.queue) > 0 {
		if err := l.ask(ctx); err != nil {
			return nil, err
		}
	}
	l.trim()
	return l.a, nil
}

func newLooking(c *Client, q Query) *looking {
	n := len(q.Keys)
	l := &looking{
		c: c, q: &q, a: &Answers{Keys: make([]string, 0, n), lists: make(map[string][]Found, n), Heads: make(map[string]Known, n), Read: math.MaxUint64},
		wanted: make(map[statement.KeyID]bool), queue: make([]question, 0, n),
	}
	for _, s := range q.Signers {
		l.wanted[s] = true
	}
	for _, k := range q.Keys {
		if _, again := l.a.lists[k]; !again {
			l.a.lists[k] = nil
			l.a.Keys = append(l.a.Keys, k)
			l.queue = append(l.queue, question{Asked: lookup.Asked{Key: k, From: q.Known[k].Count}})
		}
	}
	if c.offline != nil {
		c.offline.sort(l.queue)
	}
	return l
}

// looking is a Lookup on its way.
type looking struct {
	c      *Client
	q      *Query
	a      *Answers
	wanted map[statement.KeyID]bool
	queue  []question
	// record, if not nil, is called with every answer that was verified.
	record func(cp *Checkpoint, asked []question, answer *lookup.Answer) error
}

// question is a part of a list that is still to be asked for.
type question struct {
	lookup.Asked
	hash index.Hash // of Key, in an answer that was verified
	// head is that of the list up to position To, from an answer before.
	head index.Head
	// below is the index of the item at position To.
	below uint64
}

// ask sends one request for what is at the front of the queue, and leaves in the
// queue what the answer does not hold.
func (l *looking) ask(ctx context.Context) error {
	asked := l.queue[:min(len(l.queue), l.c.batch)] // what comes after it gets another queue
	r := lookup.Request{Tail: l.q.Tail == 0 || l.q.Audited, Keys: make([]lookup.Asked, len(asked))}
	for i := range asked {
		r.Keys[i] = asked[i].Asked
	}
	if l.q.Signers != nil {
		hex := make([]string, len(l.q.Signers))
		for i, s := range l.q.Signers {
			hex[i] = s.String()
		}
		r.Signers = &hex
	}
	body, err := json.Marshal(&r)
	if err != nil {
		return err
	}
	before := l.c.seen()
	b, _, err := l.c.src.call(ctx, request{
		method: http.MethodPost, path: "v1/lookup", contentType: "application/json", body: body, limit: lookup.MaxAnswer,
	})
	if err != nil {
		return fmt.Errorf("looking up %d keys in %s: %w", len(r.Keys), l.c.origin, err)
	}
	if l.a.bytes += len(b); l.a.bytes > maxLookupBytes {
		return &ProofError{Origin: l.c.origin, Reason: fmt.Sprintf("its answers have more than %d bytes", maxLookupBytes)}
	}
	answer, err := lookup.Parse(b)
	if err != nil {
		err = &ProofError{Origin: l.c.origin, Reason: "what it sent is no answer to a lookup", Err: err}
	}
	if answer == nil {
		return err
	}
	cp, err2 := l.c.acceptSince(ctx, answer.Note, before)
	if err2 != nil {
		return err2
	}
	if err == nil {
		err = l.take(ctx, cp, asked, answer)
	}
	if err != nil {
		if err2 := l.convict(cp, asked, answer); err2 != nil {
			return errors.Join(err, err2)
		}
		return err
	}
	if l.c.mem.dir != "" {
		l.a.shown = append(l.a.shown, believed{cp, asked, answer})
	}
	if l.record == nil {
		return nil
	}
	return l.record(cp, asked, answer)
}

// trim cuts every list at the size of the oldest answer, so that all are about
// one tree. A head that counts what is cut off is not known afterwards.
func (l *looking) trim() {
	for key, head := range l.a.Heads {
		if head.Size > l.a.Checkpoint.Size {
			l.a.Heads[key] = Known{}
		}
	}
	for key, list := range l.a.lists {
		n := len(list)
		for n > 0 && list[n-1].Index >= l.a.Checkpoint.Size {
			n--
		}
		l.a.lists[key] = list[:n]
	}
	l.a.Read = min(l.a.Read, l.a.Checkpoint.Size)
}

// readTail reads what came after the revision of an answer, and adds it to the
// lists of those of the keys asked for whose lists end in that answer: they are not pages before.
func (l *looking) readTail(ctx context.Context, cp *Checkpoint, on *basis, t *lookup.Tail, asked []question) error {
	end := l.tailEnd(cp, on)
	switch {
	case end == on.Size:
		l.a.Read = min(l.a.Read, on.Size)
		return nil
	}
	keys := make(map[string]bool, len(asked))
	for i := range asked {
		keys[asked[i].Key] = asked[i].To == 0
	}
	switch {
	case t != nil: // it is all there
		for i, leaf := range t.Leaves {
			if err := l.addTail(on, on.Size+uint64(i), leaf, keys); err != nil {
				return err
			}
		}
		return nil
	case end-on.Size > maxTail:
		l.a.Incomplete = fmt.Sprintf("the newest revision of the index of log %s is %d entries behind its checkpoint", l.c.origin, cp.Size-on.Size)
		return nil
	}
	for e, err := range l.c.Entries(ctx, cp, on.Size, end) {
		if err != nil {
			return fmt.Errorf("reading what %s added after the revision of its index: %w", l.c.origin, err)
		}
		if err := l.addTail(on, e.Index, e.Leaf, keys); err != nil {
			return err
		}
	}
	l.a.Read = min(l.a.Read, end)
	return nil
}

// tailEnd returns up to where the tail must be read: what comes after may stay unread.
func (l *looking) tailEnd(cp *Checkpoint, on *basis) uint64 {
	end := on.Size
	if l.q.Audited && on.vouched > on.at+1 {
		end = on.vouched
	}
	if cp.Size-end > l.q.Tail {
		return cp.Size
	}
	return end
}

// addTail adds an entry of a tail to the lists of those of its keys that are asked for.
func (l *looking) addTail(on *basis, at uint64, leaf []byte, keys map[string]bool) error {
	st, err := statement.Parse(leaf)
	if err != nil {
		return nil // it is under no key
	}
	switch twice, err := l.restated(on, leaf, st); {
	case err != nil:
		return err
	case twice:
		l.a.Incomplete = fmt.Sprintf("log %s has stated two indexes of its first %d entries, at entry %d and at entry %d", l.c.origin, on.Size, on.at, at)
	}
	if l.withdraws(on, at, st) {
		l.a.Incomplete = fmt.Sprintf("log %s has taken its index back at entry %d and has not stated a new one yet", l.c.origin, at)
	}
	for _, key := range index.StatementKeys(st) {
		if !keys[key] {
			continue
		}
		f := Found{Index: at, Signer: st.Signer}
		if l.q.Signers == nil || l.wanted[st.Signer] {
			f.Leaf = &Leaf{Index: at, Bytes: leaf, Statement: st}
		}
		l.a.lists[key] = append(l.a.lists[key], f)
		if err := l.count(1); err != nil {
			return err
		}
	}
	return nil
}

// withdraws reports whether the entry at an index takes back the revision that an answer
// rests on, which may come before or after it (spec/index.md#index-reset).
func (l *looking) withdraws(on *basis, at uint64, st *statement.Statement) bool {
	r, ok := st.Body.(*statement.IndexReset)
	if !ok || r.Size > at || !r.Withdraws(on.Revision) {
		return false
	}
	key, err := l.c.logKey()
	return err == nil && st.Verify(key) == nil
}

func (l *looking) count(n int) error {
	if l.a.entries += n; l.a.entries > maxLookupEntries {
		return &ProofError{Origin: l.c.origin, Reason: fmt.Sprintf("the answer has more than %d entries", maxLookupEntries)}
	}
	return nil
}

// logKeyID returns the key id of the log's Ed25519 key; zero if the policy has none.
func (c *Client) logKeyID() statement.KeyID {
	k, err := c.logKey()
	if err != nil {
		return statement.KeyID{}
	}
	return k.ID()
}

var errNoLogKey = errors.New("the policy has no Ed25519 key of the log")

// logKey returns the key that signs what the log itself states.
func (c *Client) logKey() (statement.PublicKey, error) {
	for _, l := range c.pol.Logs {
		if l.Key.Name == c.origin && l.Key.Type == policy.TypeEd25519 {
			return statement.Ed25519Key(l.Key.Public)
		}
	}
	return statement.PublicKey{}, errNoLogKey
}
