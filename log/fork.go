package log

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/log/policy"
)

// A Fork is evidence against a log: two notes signed by one of its keys that
// no single history holds (spec/proofs.md#forks). It convicts by itself.
type Fork struct {
	Small, Large []byte // signed notes
	// Root and Proof are only there if the sizes differ: Root is what the
	// larger tree holds at the smaller size, and Proof is the consistency
	// proof from there to the larger root.
	Root  tlog.Hash
	Proof tlog.TreeProof
}

const (
	forkHeader = "firn-log-fork@v1"
	forkSuffix = ".firn-fork"
	// maxEvidence is how many files are kept per origin.
	maxEvidence = 4
	// maxProof bounds the hashes of one proof.
	maxProof = 63
)

// sameHistory returns nil if the tree of large, as its tiles have it, begins
// with the tree of small; a *ForkError if it provably does not; and an error
// matching ErrUnproven if the tiles do not say. old and cp are the same two
// checkpoints in the order in which they were seen.
func (c *Client) sameHistory(ctx context.Context, small, large, old, cp *Checkpoint) error {
	f := Fork{Small: small.Note, Large: large.Note}
	switch {
	case small.Size == 0:
		return nil // every tree begins with the empty one
	case small.Size == large.Size:
		if small.Root == large.Root {
			return nil
		}
	default:
		// Every hash that this reader returns is proven to be in the tree of
		// large, so another root at this size is a second history.
		r := c.hashReader(ctx, large)
		var err error
		if f.Root, err = tlog.TreeHash(int64(small.Size), r); err == nil {
			if f.Root == small.Root {
				return nil
			}
			f.Proof, err = tlog.ProveTree(int64(large.Size), int64(small.Size), r)
		}
		if err != nil {
			return fmt.Errorf("%w: %s from size %d to %d: %w", ErrUnproven, c.origin, small.Size, large.Size, c.tileError(err))
		}
	}
	if err := f.Verify(c.pol); err != nil {
		return fmt.Errorf("%w: %s shows another history, but: %w", ErrUnproven, c.origin, err)
	}
	return &ForkError{Origin: c.origin, Old: old.Note, New: cp.Note, Evidence: f.Marshal()}
}

// Marshal returns the text of the evidence.
func (f *Fork) Marshal() []byte {
	var b bytes.Buffer
	fmt.Fprintln(&b, forkHeader)
	if f.Proof != nil {
		fmt.Fprintln(&b, base64.StdEncoding.EncodeToString(f.Root[:]))
		for _, h := range f.Proof {
			fmt.Fprintln(&b, base64.StdEncoding.EncodeToString(h[:]))
		}
	}
	b.WriteByte('\n')
	b.Write(f.Small)
	b.WriteByte('\n')
	b.Write(f.Large)
	return b.Bytes()
}

// ParseFork reads evidence. It verifies nothing; what it accepts, Marshal gives
// back byte by byte.
func ParseFork(b []byte) (*Fork, error) {
	if len(b) > 2*policy.MaxNote+8192 {
		return nil, fmt.Errorf("%w evidence: too long", policy.ErrMalformed)
	}
	// The text of a checkpoint has no empty line, so there are five parts.
	parts := strings.SplitAfter(string(b), "\n\n")
	if len(parts) != 5 {
		return nil, fmt.Errorf("%w evidence: it does not hold two checkpoints", policy.ErrMalformed)
	}
	f := &Fork{Small: []byte(strings.TrimSuffix(parts[1]+parts[2], "\n")), Large: []byte(parts[3] + parts[4])}
	lines := strings.Split(strings.TrimSuffix(parts[0], "\n\n"), "\n")
	if lines[0] != forkHeader {
		return nil, fmt.Errorf("%w evidence: it does not begin with %s", policy.ErrMalformed, forkHeader)
	}
	if len(lines) > 1 {
		hashes, err := parseHashes(lines[1:])
		if err != nil {
			return nil, err
		}
		if len(hashes) < 2 {
			return nil, fmt.Errorf("%w evidence: a root without a proof", policy.ErrMalformed)
		}
		f.Root, f.Proof = hashes[0], hashes[1:]
	}
	for _, note := range [][]byte{f.Small, f.Large} {
		n, err := policy.ParseNote(note)
		if err != nil {
			return nil, err
		}
		if _, err := policy.ParseCheckpoint(n.Text); err != nil {
			return nil, err
		}
	}
	return f, nil
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

// Verify returns nil if the evidence convicts a log of pol: both notes are
// signed by one key of it for one origin, and the trees exclude each other.
func (f *Fork) Verify(pol *policy.Policy) error {
	small, err := pol.VerifyLog(f.Small)
	if err != nil {
		return err
	}
	large, err := pol.VerifyLog(f.Large)
	if err != nil {
		return err
	}
	one := slices.ContainsFunc(small.LogKeys, func(k policy.Key) bool {
		return slices.ContainsFunc(large.LogKeys, func(l policy.Key) bool { return k.String() == l.String() })
	})
	switch {
	case small.Origin != large.Origin:
		return errors.New("the two checkpoints have different origins")
	case !one:
		return errors.New("the two checkpoints are not signed by one key")
	case small.Size == large.Size && f.Proof == nil && small.Root != large.Root:
		return nil
	case small.Size == 0 || small.Size >= large.Size:
		return errors.New("the two checkpoints do not exclude each other")
	case f.Root == small.Root:
		return errors.New("the larger tree begins with the smaller one")
	}
	if err := checkConsistency(small.Size, f.Root, large.Size, large.Root, f.Proof); err != nil {
		return fmt.Errorf("the proof from another root of size %d does not verify", small.Size)
	}
	return nil
}

// checkConsistency returns an error unless hashes prove that the tree of the
// larger size begins with the smaller one, which is not empty (RFC 6962 §2.1.2).
func checkConsistency(size1 uint64, root1 tlog.Hash, size2 uint64, root2 tlog.Hash, hashes []tlog.Hash) error {
	if size1 == size2 && size1 > 0 {
		if root1 != root2 || len(hashes) > 0 {
			return errors.New("one size with two roots, or with a proof")
		}
		return nil
	}
	return tlog.CheckTree(hashes, int64(size2), root2, int64(size1), root1)
}

// keep writes the evidence of a fork and returns the fork with its path. If
// enough that convicts is there, by other processes at this moment, it names
// that instead.
func (m *Memory) keep(pol *policy.Policy, fork *ForkError) error {
	if m.dir == "" {
		return fork
	}
	held, err := m.convicting(pol, fork.Origin)
	if err != nil {
		return errors.Join(fork, err)
	}
	if len(held) >= maxEvidence {
		return held[0]
	}
	dir := filepath.Join(m.dir, "evidence")
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return errors.Join(fork, fmt.Errorf("keeping evidence: %w", err))
	}
	sum := sha256.Sum256(fork.Evidence)
	path := filepath.Join(dir, originName(fork.Origin)+"-"+hex.EncodeToString(sum[:8])+forkSuffix)
	if err := durable.CreateFile(path, fork.Evidence, 0o600); err != nil && !errors.Is(err, fs.ErrExist) {
		return errors.Join(fork, fmt.Errorf("keeping evidence: %w", err))
	}
	fork.Path = path
	return fork
}

// Evidence returns the files of evidence that are held against origin.
func (m *Memory) Evidence(origin string) ([]string, error) {
	if m.dir == "" {
		return nil, nil
	}
	return filepath.Glob(filepath.Join(globQuote(m.dir), "evidence", originName(origin)+"-*"+forkSuffix))
}

// globQuote makes a path match only itself.
func globQuote(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(s)
}

// convicted returns a *ForkError if evidence is held that convicts the log of
// origin. Somebody who knows better moves the file away.
func (m *Memory) convicted(pol *policy.Policy, origin string) error {
	held, err := m.convicting(pol, origin)
	if err == nil && len(held) > 0 {
		return held[0]
	}
	return err
}

// convicting returns the evidence that is held against origin and convicts a log
// of pol.
func (m *Memory) convicting(pol *policy.Policy, origin string) ([]*ForkError, error) {
	paths, err := m.Evidence(origin)
	if err != nil {
		return nil, err
	}
	var held []*ForkError
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("reading evidence: %w", err)
		}
		f, err := ParseFork(b)
		if err != nil || f.Verify(pol) != nil {
			continue // not evidence under this policy
		}
		if v, err := pol.VerifyLog(f.Small); err == nil && v.Origin == origin {
			held = append(held, &ForkError{Origin: origin, Old: f.Small, New: f.Large, Evidence: b, Path: path})
		}
	}
	return held, nil
}
