package log

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/statement"
)

// A Proof says that a leaf is in a log: a .tlog-proof file
// (c2sp.org/tlog-proof, spec/proofs.md#tlog-proof-files). It verifies offline.
type Proof struct {
	Extra  []byte // opaque and never believed; empty in proofs that firn writes
	Index  uint64
	Hashes []tlog.Hash // from the leaf's sibling up
	Note   []byte      // signed checkpoint
}

const (
	proofHeader = "c2sp.org/tlog-proof@v1"
	// MaxProof bounds a .tlog-proof file in bytes.
	MaxProof = policy.MaxNote + 64<<10
)

// ParseProof reads a .tlog-proof file. It verifies nothing; what it accepts,
// Marshal gives back byte by byte. Errors match policy.ErrMalformed.
func ParseProof(b []byte) (*Proof, error) {
	if len(b) > MaxProof {
		return nil, fmt.Errorf("%w proof: longer than %d bytes", policy.ErrMalformed, MaxProof)
	}
	head, note, ok := bytes.Cut(b, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	if !ok || lines[0] != proofHeader {
		return nil, fmt.Errorf("%w proof: it does not begin with %s", policy.ErrMalformed, proofHeader)
	}
	lines = lines[1:]
	p := &Proof{Note: note}
	if len(lines) > 0 && strings.HasPrefix(lines[0], "extra ") {
		extra, err := policy.DecodeBase64(lines[0][len("extra "):])
		if err != nil || len(extra) == 0 {
			return nil, fmt.Errorf("%w proof: the extra line does not hold base64", policy.ErrMalformed)
		}
		p.Extra, lines = extra, lines[1:]
	}
	if len(lines) == 0 || !strings.HasPrefix(lines[0], "index ") {
		return nil, fmt.Errorf("%w proof: there is no index line", policy.ErrMalformed)
	}
	var err error
	if p.Index, err = policy.ParseDecimal(lines[0][len("index "):]); err != nil {
		return nil, fmt.Errorf("%w proof: the index is not a number", policy.ErrMalformed)
	}
	if len(lines) > 1+maxProof {
		return nil, fmt.Errorf("%w proof: more than %d hashes", policy.ErrMalformed, maxProof)
	}
	if p.Hashes, err = parseHashes(lines[1:]); err != nil {
		return nil, err
	}
	n, err := policy.ParseNote(note)
	if err != nil {
		return nil, err
	}
	if _, err := policy.ParseCheckpoint(n.Text); err != nil {
		return nil, err
	}
	return p, nil
}

// Marshal returns the bytes of the .tlog-proof file.
func (p *Proof) Marshal() []byte {
	var b bytes.Buffer
	fmt.Fprintln(&b, proofHeader)
	if len(p.Extra) > 0 {
		fmt.Fprintln(&b, "extra", base64.StdEncoding.EncodeToString(p.Extra))
	}
	fmt.Fprintln(&b, "index", p.Index)
	for _, h := range p.Hashes {
		fmt.Fprintln(&b, base64.StdEncoding.EncodeToString(h[:]))
	}
	b.WriteByte('\n')
	b.Write(p.Note)
	return b.Bytes()
}

// Verify returns the proof's checkpoint if it satisfies pol and its tree holds
// leaf at the proof's index. now is only used for the age of the checkpoint. It
// does not know of remembered checkpoints; see [Client.Accept] for that.
func (p *Proof) Verify(pol *policy.Policy, leaf []byte, now time.Time) (*Checkpoint, error) {
	return p.VerifyHash(pol, tlog.RecordHash(leaf), now)
}

// VerifyHash is Verify for a leaf of which only the RFC 6962 leaf hash is known.
func (p *Proof) VerifyHash(pol *policy.Policy, leaf tlog.Hash, now time.Time) (*Checkpoint, error) {
	cp, err := VerifyCheckpoint(pol, p.Note, now)
	if err != nil {
		return nil, err
	}
	if err := checkInclusion(cp, p.Index, leaf, p.Hashes); err != nil {
		return nil, err
	}
	return cp, nil
}

// checkInclusion returns a *ProofError unless hashes prove that leaf is entry
// index of the tree of cp.
func checkInclusion(cp *Checkpoint, index uint64, leaf tlog.Hash, hashes []tlog.Hash) error {
	if index < cp.Size && tlog.CheckRecord(hashes, int64(cp.Size), cp.Root, int64(index), leaf) == nil {
		return nil
	}
	return notIncluded(cp, index)
}

func notIncluded(cp *Checkpoint, index uint64) error {
	return &ProofError{
		Origin: cp.Origin, Index: index, HasIndex: true,
		Reason: fmt.Sprintf("the proof that it is in the tree of size %d does not verify", cp.Size),
	}
}

// ProveInclusion builds the proof for one entry of the tree of cp from tiles.
// Errors match ErrUnreachable or ErrNotFound or are a *ProofError.
func (c *Client) ProveInclusion(ctx context.Context, cp *Checkpoint, index uint64) (*Proof, error) {
	if index >= cp.Size {
		return nil, fmt.Errorf("entry %d of %s: the checkpoint has size %d: %w", index, c.origin, cp.Size, ErrNotFound)
	}
	hashes, err := tlog.ProveRecord(int64(cp.Size), int64(index), c.hashReader(ctx, cp))
	if err != nil {
		return nil, c.tileError(err)
	}
	return &Proof{Index: index, Hashes: hashes, Note: cp.Note}, nil
}

// ProveConsistency returns the hashes that prove that the tree of cp begins
// with its first size entries, and the root of these. For size 0 the proof is
// empty.
func (c *Client) ProveConsistency(ctx context.Context, size uint64, cp *Checkpoint) (tlog.TreeProof, tlog.Hash, error) {
	if size > cp.Size {
		return nil, tlog.Hash{}, fmt.Errorf("size %d of %s: the checkpoint has size %d: %w", size, c.origin, cp.Size, ErrNotFound)
	}
	r := c.hashReader(ctx, cp)
	root, err := tlog.TreeHash(int64(size), r)
	if err != nil {
		return nil, tlog.Hash{}, c.tileError(err)
	}
	if size == 0 {
		return nil, root, nil
	}
	proof, err := tlog.ProveTree(int64(cp.Size), int64(size), r)
	if err != nil {
		return nil, tlog.Hash{}, c.tileError(err)
	}
	return proof, root, nil
}

// A PendingError says that a statement is durable in the log at Index but that
// no checkpoint covers it yet.
type PendingError struct{ Index uint64 }

func (e *PendingError) Error() string {
	return fmt.Sprintf("entry %d is in the log, and no checkpoint covers it yet", e.Index)
}

// Proof asks the log for the proof of a statement and verifies it. leaf is the
// statement's leaf if the caller has it; the log may hold another leaf of the
// same id, and it is fetched and checked if leaf is nil or is not the one. The
// log is asked to wait up to wait for a checkpoint.
//
// Errors: a *PendingError, ErrNotFound, ErrUnreachable, a *ProofError, and those
// of [Client.Checkpoint].
func (c *Client) Proof(ctx context.Context, id statement.ID, leaf []byte, wait time.Duration) (*Proof, error) {
	q := url.Values{"id": {id.String()}}
	if wait > 0 {
		q.Set("wait", wait.String())
	}
	before := c.seen()
	body, status, err := c.src.call(ctx, request{method: http.MethodGet, path: "v1/proof?" + q.Encode(), wait: wait, limit: MaxProof})
	if err != nil {
		return nil, fmt.Errorf("proof of %s: %w", id, err)
	}
	if status == http.StatusAccepted {
		return nil, c.pending(id, body)
	}
	p, err := ParseProof(body)
	if err != nil {
		return nil, &ProofError{Origin: c.origin, Key: id.String(), Reason: "the answer is not a proof", Err: err}
	}
	p.Extra = nil
	cp, err := c.acceptSince(ctx, p.Note, before)
	if err != nil {
		return nil, err
	}
	if _, err := c.checkLogged(ctx, cp, id, p.Index, p.Hashes, leaf); err != nil {
		return nil, err
	}
	return p, nil
}

func (c *Client) pending(id statement.ID, body []byte) error {
	var answer struct {
		Index *uint64 `json:"index"`
	}
	if err := unmarshal(body, &answer); err != nil || answer.Index == nil {
		return &ProofError{Origin: c.origin, Key: id.String(), Reason: "the answer is not JSON with an index", Err: err}
	}
	return &PendingError{*answer.Index}
}

// checkLogged checks that entry index of cp is a leaf of statement id and
// returns it. leaf is a guess at what it is, nil for none.
func (c *Client) checkLogged(ctx context.Context, cp *Checkpoint, id statement.ID, index uint64, hashes []tlog.Hash, leaf []byte) ([]byte, error) {
	if leaf == nil || checkInclusion(cp, index, tlog.RecordHash(leaf), hashes) != nil {
		// A statement signed twice has one id and two leaves; the log keeps
		// the first.
		if index >= cp.Size {
			return nil, checkInclusion(cp, index, tlog.Hash{}, nil)
		}
		e, err := c.Entry(ctx, cp, index)
		if err != nil {
			return nil, err
		}
		leaf = e.Leaf
		if err := checkInclusion(cp, index, tlog.RecordHash(leaf), hashes); err != nil {
			return nil, err
		}
	}
	s, err := statement.Parse(leaf)
	if err == nil && s.ID() == id {
		return leaf, nil
	}
	return nil, &ProofError{
		Origin: c.origin, Key: id.String(), Index: index, HasIndex: true,
		Reason: "it is another statement", Err: err,
	}
}

// parseHashes reads base64 lines of 32 bytes each.
func parseHashes(lines []string) ([]tlog.Hash, error) {
	if len(lines) > maxProof+1 {
		return nil, fmt.Errorf("%w proof: more than %d hashes", policy.ErrMalformed, maxProof)
	}
	hashes := make([]tlog.Hash, len(lines))
	for i, l := range lines {
		b, err := policy.DecodeBase64(l)
		if err != nil || len(b) != tlog.HashSize {
			return nil, fmt.Errorf("%w proof: %q is not the base64 of a hash", policy.ErrMalformed, l)
		}
		copy(hashes[i][:], b)
	}
	return hashes, nil
}
