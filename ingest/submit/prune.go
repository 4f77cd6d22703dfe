package submit

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/firn-log/firn/ingest/hook"
)

// defaultKeepSent is how many sent statements are kept if the configuration does
// not say: some 40 MB.
const defaultKeepSent = 10_000

// prune removes the oldest receipts of sent/ beyond keep. What is not confirmed is
// left alone: a statement without a proof beside it, and one that is also in an
// earlier state (spec/spool.md#statements).
func (s spool) prune(keep int) error {
	names, err := s.list(sentDir)
	if err != nil {
		return err
	}
	for _, name := range names[:max(0, len(names)-keep)] {
		if !s.exists(sentDir, name+proofSuffix) || s.waits(name) {
			continue
		}
		// The statement first: a proof alone is removed below.
		if err := errors.Join(s.remove(sentDir, name), s.remove(sentDir, name+proofSuffix)); err != nil {
			return err
		}
	}
	return s.dropProofs()
}

// waits reports whether a build is still in an earlier state than sent.
func (s spool) waits(name string) bool {
	return s.exists(hook.PendingDir, name) || s.exists(heldDir, name) || s.exists(unsignedDir, name)
}

// dropProofs removes proofs whose statement is gone, because prune was killed. One
// whose statement waits was written just before that is confirmed.
func (s spool) dropProofs() error {
	entries, err := os.ReadDir(filepath.Join(s.dir, sentDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		name, isProof := strings.CutSuffix(e.Name(), proofSuffix)
		if !isProof || !hook.ValidName(name) || s.exists(sentDir, name) || s.waits(name) {
			continue
		}
		if err := s.remove(sentDir, e.Name()); err != nil {
			return err
		}
	}
	return nil
}
