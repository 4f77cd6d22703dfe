package log

import (
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/statement"
)

// checkedLeaf is a leaf of an answer with the keys that it maps to.
type checkedLeaf struct {
	leaf *Leaf
	keys []string // sorted
	used bool
	err  error
}

// checkLookup verifies one answer and adds it to a.
func (c *Client) checkLookup(a *Answers, cp *Checkpoint, r *lookupRequest, answer *lookupAnswer) error {
	if answer.Size != cp.Size {
		return &ProofError{Origin: c.origin, Reason: fmt.Sprintf("a lookup at size %d came with a checkpoint of size %d", answer.Size, cp.Size)}
	}
	if len(answer.Answers) != len(r.Keys) {
		return &ProofError{Origin: c.origin, Reason: fmt.Sprintf("%d answers for %d keys", len(answer.Answers), len(r.Keys))}
	}
	leaves := c.checkLeaves(cp, answer)
	wanted := make(map[statement.KeyID]bool, len(r.Signers))
	for _, s := range r.Signers {
		wanted[s] = true
	}
	for i, key := range r.Keys {
		list, err := c.checkList(cp, r, key, i, answer, leaves, wanted)
		if err != nil {
			return err
		}
		a.lists[key] = append(a.lists[key], list...)
	}
	for _, l := range leaves {
		if !l.used {
			return &ProofError{Origin: c.origin, Index: l.leaf.Index, HasIndex: true, Reason: "it came with an answer without being listed in it"}
		}
	}
	if a.Checkpoint == nil || cp.Size < a.Checkpoint.Size {
		a.Checkpoint = cp
	}
	return nil
}

// checkList verifies the list of one key.
func (c *Client) checkList(cp *Checkpoint, r *lookupRequest, key string, i int, answer *lookupAnswer, leaves map[uint64]*checkedLeaf, wanted map[statement.KeyID]bool) ([]Found, error) {
	got := answer.Answers[i]
	if got.Key != key {
		return nil, &ProofError{Origin: c.origin, Key: key, Reason: fmt.Sprintf("the answer in its place is about %q", got.Key)}
	}
	var list []Found
	for j, e := range got.Entries {
		if e.Index == nil {
			return nil, &ProofError{Origin: c.origin, Key: key, Reason: "an entry has no index"}
		}
		bad := func(reason string) error {
			return &ProofError{Origin: c.origin, Key: key, Index: *e.Index, HasIndex: true, Reason: reason}
		}
		signer, err := statement.ParseKeyID(e.KeyID)
		switch {
		case err != nil:
			return nil, bad("its signer is not a key id")
		case *e.Index >= cp.Size:
			return nil, bad(fmt.Sprintf("it is not below the size %d of the checkpoint", cp.Size))
		case *e.Index < r.After:
			return nil, bad(fmt.Sprintf("only entries from %d on were asked for", r.After))
		case j > 0 && *e.Index <= list[j-1].Index:
			return nil, bad("the list is not in the order of the log")
		}
		f := Found{Index: *e.Index, Signer: signer}
		l := leaves[f.Index]
		if l == nil {
			if r.Signers == nil || wanted[signer] {
				return nil, bad("its body is missing")
			}
		} else {
			if l.err != nil {
				return nil, withKey(l.err, key)
			}
			if l.leaf.Statement.Signer != signer {
				return nil, bad("it is signed by " + l.leaf.Statement.Signer.String() + ", not by the signer in the list")
			}
			if _, ok := slices.BinarySearch(l.keys, key); !ok {
				return nil, bad("it does not belong under this key")
			}
			if r.Signers != nil && !wanted[signer] {
				return nil, bad("nobody asked for its body")
			}
			l.used, f.Leaf = true, l.leaf
		}
		list = append(list, f)
	}
	return list, nil
}

// withKey names the key in an error about a leaf.
func withKey(err error, key string) error {
	p, ok := err.(*ProofError)
	if !ok {
		return err
	}
	named := *p
	named.Key = key
	return &named
}

// checkLeaves verifies all bodies of an answer, on all processors. The error of
// each stays with it, so that it is reported with the key that it concerns.
func (c *Client) checkLeaves(cp *Checkpoint, answer *lookupAnswer) map[uint64]*checkedLeaf {
	leaves := make(map[uint64]*checkedLeaf, len(answer.Leaves))
	order := make([]*checkedLeaf, 0, len(answer.Leaves))
	raw := make([][][]byte, 0, len(answer.Leaves))
	for name, l := range answer.Leaves {
		n, _ := strconv.ParseUint(name, 10, 63) // checked by parseLookup
		checked := &checkedLeaf{leaf: &Leaf{Index: n, Bytes: l.Leaf}}
		leaves[n] = checked
		order = append(order, checked)
		raw = append(raw, l.Inclusion)
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(order)) {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(order) {
					return
				}
				order[i].err = c.checkLeaf(cp, order[i], raw[i])
			}
		})
	}
	wg.Wait()
	return leaves
}

func (c *Client) checkLeaf(cp *Checkpoint, l *checkedLeaf, inclusion [][]byte) error {
	hashes, err := toHashes(inclusion)
	if err != nil {
		return &ProofError{Origin: c.origin, Index: l.leaf.Index, HasIndex: true, Reason: "its proof is malformed", Err: err}
	}
	if err := checkInclusion(cp, l.leaf.Index, tlog.RecordHash(l.leaf.Bytes), hashes); err != nil {
		return err
	}
	l.leaf.Proof = &Proof{Index: l.leaf.Index, Hashes: hashes, Note: cp.Note}
	if l.leaf.Statement, err = statement.Parse(l.leaf.Bytes); err != nil {
		return &ProofError{Origin: c.origin, Index: l.leaf.Index, HasIndex: true, Reason: "it is listed and is not a statement", Err: err}
	}
	l.keys = index.StatementKeys(l.leaf.Statement)
	return nil
}
