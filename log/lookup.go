package log

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/firn-log/firn/log/statement"
)

const (
	// lookupBatch is how many keys go into one request; a log takes 10,000.
	lookupBatch = 5000
	// maxLookupAnswer bounds one answer in bytes: what a log may send
	// (spec/log.md#looking-up), in JSON. A batch whose answer is longer is asked
	// in halves.
	maxLookupAnswer = 128 << 20
	// maxLookupEntries bounds what one Lookup takes in, so that a log cannot go on
	// for ever.
	maxLookupEntries = 1 << 22
)

// A Leaf is a logged statement whose inclusion was verified.
type Leaf struct {
	Index     uint64
	Bytes     []byte
	Statement *statement.Statement // parsed; its signature is not verified here
	Proof     *Proof               // against the checkpoint of its answer
}

// Found is one entry of the list of a key.
type Found struct {
	Index uint64
	// Signer is the key id in the list. It is verified where Leaf is there.
	Signer statement.KeyID
	// Leaf is nil if the signer was not among those asked for.
	Leaf *Leaf
}

// Answers hold what a log says about a set of keys.
type Answers struct {
	// Checkpoint is the tree that the answers are about: they are the log's
	// lists as of its size. That nothing is missing from them is the log's
	// word (spec/proofs.md#lookup).
	Checkpoint *Checkpoint
	Keys       []string // as asked, each once
	lists      map[string][]Found
	entries    int // in all lists
}

// Of returns the list of a key in the order of the log. The list is shared and
// must not be changed.
func (a *Answers) Of(key string) []Found { return a.lists[key] }

type lookupRequest struct {
	Keys    []string          `json:"keys"`
	Signers []statement.KeyID `json:"-"`
	Hex     []string          `json:"signers"`
	After   uint64            `json:"after,omitempty"`
}

// Lookup asks the log which entries it lists under each key, from index after
// on. Bodies come with the entries of signers, or with all if signers is nil;
// an empty list that is not nil asks for none. Every body is verified to be
// in the tree, to be a statement of the signer that the list names, and to map
// to the key.
//
// Errors: ErrUnreachable, a *RequestError, a *ProofError that names the key and
// the index, and those of [Client.Checkpoint].
func (c *Client) Lookup(ctx context.Context, keys []string, signers []statement.KeyID, after uint64) (*Answers, error) {
	a := &Answers{lists: make(map[string][]Found)}
	asked := make(map[string]bool)
	for _, k := range keys {
		if !asked[k] {
			asked[k] = true
			a.Keys = append(a.Keys, k)
		}
	}
	if len(a.Keys) == 0 {
		cp, err := c.Checkpoint(ctx)
		a.Checkpoint = cp
		return a, err
	}
	var queue []lookupRequest
	for keys := range slices.Chunk(a.Keys, c.batch) {
		queue = append(queue, lookupRequest{Keys: keys, Signers: signers, After: after})
	}
	for len(queue) > 0 {
		more, err := c.lookupBatch(ctx, a, queue[0])
		if err != nil {
			return nil, err
		}
		queue = append(more, queue[1:]...)
	}
	a.trim()
	return a, nil
}

// trim cuts every list at the size of the oldest answer, so that all are about
// one tree.
func (a *Answers) trim() {
	for key, list := range a.lists {
		n := len(list)
		for n > 0 && list[n-1].Index >= a.Checkpoint.Size {
			n--
		}
		a.lists[key] = list[:n]
	}
}

// lookupBatch asks for one batch and returns what is still to be asked: halves of
// it if the answer would be too large, or the rests of lists that were cut short.
func (c *Client) lookupBatch(ctx context.Context, a *Answers, r lookupRequest) ([]lookupRequest, error) {
	if r.Signers != nil {
		r.Hex = make([]string, len(r.Signers))
		for i, s := range r.Signers {
			r.Hex[i] = s.String()
		}
	}
	body, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	b, _, err := c.src.call(ctx, request{
		method: http.MethodPost, path: "v1/lookup", contentType: "application/json", body: body, limit: c.limit,
	})
	if errors.Is(err, ErrTooLarge) && len(r.Keys) > 1 {
		first, second := r, r
		first.Keys, second.Keys = r.Keys[:len(r.Keys)/2], r.Keys[len(r.Keys)/2:]
		return []lookupRequest{first, second}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking up %d keys in %s: %w", len(r.Keys), c.origin, err)
	}
	answer, err := c.parseLookup(b)
	if err != nil {
		return nil, err
	}
	cp, err := c.Accept(ctx, []byte(answer.Checkpoint))
	if err != nil {
		return nil, err
	}
	if err := c.checkLookup(a, cp, &r, answer); err != nil {
		return nil, err
	}
	return c.cutShort(a, r, answer)
}

// cutShort returns the requests for the rests of the lists that a verified answer
// to r has cut short. Lists of which it has nothing are asked for together.
func (c *Client) cutShort(a *Answers, r lookupRequest, answer *lookupAnswer) ([]lookupRequest, error) {
	var rests []lookupRequest
	untouched := lookupRequest{Signers: r.Signers, After: r.After}
	got := 0
	for _, l := range answer.Answers {
		got += len(l.Entries)
		switch {
		case !l.More:
		case len(l.Entries) == 0:
			untouched.Keys = append(untouched.Keys, l.Key)
		default:
			after := *l.Entries[len(l.Entries)-1].Index + 1
			rests = append(rests, lookupRequest{Keys: []string{l.Key}, Signers: r.Signers, After: after})
		}
	}
	if len(untouched.Keys) > 0 {
		if got == 0 {
			return nil, &ProofError{Origin: c.origin, Key: untouched.Keys[0], Reason: "its list is cut short before it begins"}
		}
		rests = append(rests, untouched)
	}
	if a.entries += got; len(rests) > 0 && a.entries > maxLookupEntries {
		return nil, &ProofError{Origin: c.origin, Key: rests[0].Keys[0], Reason: fmt.Sprintf("the answer has more than %d entries", maxLookupEntries)}
	}
	return rests, nil
}

type lookupAnswer struct {
	Schema     int    `json:"schema"`
	Size       uint64 `json:"size"`
	Checkpoint string `json:"checkpoint"`
	Answers    []struct {
		Key     string `json:"key"`
		Entries []struct {
			Index *uint64 `json:"index"`
			KeyID string  `json:"key_id"`
		} `json:"entries"`
		More bool `json:"more"` // the list goes on after the last entry
	} `json:"answers"`
	Leaves map[string]struct {
		Leaf      []byte   `json:"leaf"`
		Inclusion [][]byte `json:"inclusion"`
	} `json:"leaves"`
}

func (c *Client) parseLookup(b []byte) (*lookupAnswer, error) {
	var a lookupAnswer
	if err := unmarshal(b, &a); err != nil {
		return nil, &ProofError{Origin: c.origin, Reason: "answer to a lookup: not JSON of its form", Err: err}
	}
	if a.Schema != 1 {
		return nil, &ProofError{Origin: c.origin, Reason: fmt.Sprintf("answer to a lookup: schema %d is not known", a.Schema)}
	}
	for index := range a.Leaves {
		if n, err := strconv.ParseUint(index, 10, 63); err != nil || strconv.FormatUint(n, 10) != index {
			return nil, &ProofError{Origin: c.origin, Reason: fmt.Sprintf("answer to a lookup: %q is not an index", index)}
		}
	}
	return &a, nil
}
