package server

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/internal/place"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/server/blobs"
	"github.com/firn-log/firn/log/statement"
)

// restoringName is the folder in which a tree is put together; what an interrupted
// Restore has left there is removed by the next.
const restoringName = "restoring"

// nowhere is the place in the record of a restored log. It is no place that there is,
// so that the start takes the directory for what it may be: an older copy.
var nowhere = place.Place{Machine: "none", FileSystem: "none", Directory: "restored"}

// Restored is what Restore has put into a directory.
type Restored struct {
	Origin string
	Size   uint64 // entries
	// Witnesses is whether there are witnesses that can say if this is the newest copy.
	Witnesses bool
	// Lists of paths that entries name, restored and not found at the mirror.
	Lists, MissingLists int
}

// Restore makes a log of a directory that holds its configuration and its key, and
// of a mirror: the folder or URL of its static tree (c2sp.org/tlog-tiles), or of a firn-peer
// that has one. Every tile and entry is verified before it is kept. There must be no tree in
// dir. What the directory still knows of signed checkpoints, the mirror must continue.
// The next start signs nothing before all witnesses have answered
// (spec/log.md#restoring). progress may be nil.
func Restore(ctx context.Context, dir, mirror string, progress func(done, total uint64)) (*Restored, error) {
	s, err := prepare(Options{Dir: dir})
	if err != nil {
		return nil, err
	}
	if s.lock, err = durable.Acquire(s.path(lockName)); err != nil {
		return nil, err
	}
	defer func() { _ = s.lock.Unlock() }()
	if err := s.mustHaveNoTree(); err != nil {
		return nil, err
	}
	c, cp, err := s.openMirror(ctx, mirror)
	if err != nil {
		return nil, fmt.Errorf("reading the mirror %s: %w", mirror, err)
	}
	if cp.Size == 0 {
		return nil, fmt.Errorf("the mirror %s is empty", mirror)
	}
	if err := s.mustContinueRecord(ctx, c, cp); err != nil {
		return nil, err
	}
	res := &Restored{Origin: s.config.Origin, Size: cp.Size, Witnesses: s.canAsk()}
	if err := s.putTogether(ctx, c, cp, res, progress); err != nil {
		return nil, fmt.Errorf("copying the mirror %s: %w", mirror, err)
	}
	return res, nil
}

// mustHaveNoTree refuses a directory with a tree in it: trees are not merged.
func (s *Server) mustHaveNoTree() error {
	entries, err := os.ReadDir(s.path(treeName))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case len(entries) > 0:
		return fmt.Errorf("there is a tree in %s already, and nothing is merged; move it away first", s.path(treeName))
	}
	return nil
}

// openMirror finds the tree and its checkpoint, which this log must have signed.
func (s *Server) openMirror(ctx context.Context, mirror string) (*log.Client, *log.Checkpoint, error) {
	pol, err := policy.Parse([]byte("log " + s.key.vkey + "\nquorum none\n"))
	if err != nil {
		return nil, nil, err
	}
	if !strings.Contains(mirror, "://") {
		abs, err := filepath.Abs(mirror)
		if err != nil {
			return nil, nil, err
		}
		mirror = (&url.URL{Scheme: "file", Path: abs}).String()
	}
	sum := sha256.Sum256([]byte(s.config.Origin))
	var first error
	for _, below := range []string{"", "/mirror/" + hex.EncodeToString(sum[:])} { // the second is where a firn-peer has it
		c, err := log.NewClient(strings.TrimSuffix(mirror, "/")+below, pol, log.Options{UserAgent: "firn-log " + s.config.Origin})
		if err != nil {
			return nil, nil, err
		}
		cp, err := c.Checkpoint(ctx)
		if err == nil {
			return c, cp, nil
		}
		if first == nil && !errors.Is(err, log.ErrNotFound) {
			return nil, nil, err
		}
		first = cmp.Or(first, err)
	}
	return nil, nil, first
}

// mustContinueRecord returns a *RollbackError if this directory knows of a checkpoint
// that the tree of cp does not continue.
func (s *Server) mustContinueRecord(ctx context.Context, c *log.Client, cp *log.Checkpoint) error {
	rec, err := readRecord(s.path(recordName))
	switch {
	case errors.Is(err, errNoRecord):
	case err != nil:
		return err
	case rec.head.Origin != s.config.Origin:
		return &RollbackError{Why: fmt.Sprintf("the record is of the log %q, not of %q", rec.head.Origin, s.config.Origin)}
	default:
		if err := mustContinue(ctx, c, cp, "the record", rec.head); err != nil {
			return err
		}
	}
	b, err := os.ReadFile(s.path(filepath.Join(publicName, checkpointName)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	n, err := note.Open(b, note.VerifierList(s.key.verifier))
	if err != nil {
		return nil // nothing that this log has signed
	}
	head, err := policy.ParseCheckpoint(n.Text)
	if err != nil || head.Origin != s.config.Origin {
		return nil
	}
	return mustContinue(ctx, c, cp, "the file "+filepath.Join(publicName, checkpointName), head)
}

func mustContinue(ctx context.Context, c *log.Client, cp *log.Checkpoint, who string, head policy.Head) error {
	if head.Size > cp.Size {
		return &RollbackError{
			Why:  fmt.Sprintf("%s knows %d entries of this log, and the mirror has only %d", who, head.Size, cp.Size),
			Hint: "look for a larger mirror; a log that goes on from this one would show two histories",
		}
	}
	if head.Size == 0 {
		return nil
	}
	_, root, err := c.ProveConsistency(ctx, head.Size, cp)
	if err != nil {
		return fmt.Errorf("computing the mirror's root at size %d: %w", head.Size, err)
	}
	if root != tlog.Hash(head.Root) {
		return &RollbackError{Why: fmt.Sprintf("%s has the root %v at size %d, and the mirror %v", who, tlog.Hash(head.Root), head.Size, root)}
	}
	return nil
}

// putTogether copies the tree and writes what the log needs beside it. The record comes
// before the tree: whatever is killed, a directory that is not whole does not start.
func (s *Server) putTogether(ctx context.Context, c *log.Client, cp *log.Checkpoint, res *Restored, progress func(done, total uint64)) error {
	part := s.path(restoringName)
	if err := os.RemoveAll(part); err != nil {
		return err
	}
	if err := c.Copy(ctx, cp, part, progress); err != nil {
		return errors.Join(err, os.RemoveAll(part))
	}
	if err := s.restoreLists(ctx, c, cp, part, res); err != nil {
		return errors.Join(err, os.RemoveAll(part))
	}
	state, err := json.Marshal(struct { // as Tessera v1.0.4 reads it
		Size uint64 `json:"size"`
		Root []byte `json:"root"`
	}{cp.Size, cp.Root[:]})
	if err != nil {
		return err
	}
	if err := durable.MkdirAll(filepath.Join(part, ".state"), 0o755); err != nil {
		return err
	}
	if err := durable.WriteFile(filepath.Join(part, ".state", "treeState"), state, 0o644); err != nil {
		return err
	}
	head := policy.Head{Origin: cp.Origin, Size: cp.Size, Root: cp.Root}
	if err := writeRecord(s.path(recordName), &record{place: nowhere, head: head}); err != nil {
		return err
	}
	if err := os.Remove(s.path(treeName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err // it is empty
	}
	if err := os.Rename(part, s.path(treeName)); err != nil {
		return err
	}
	if err := durable.SyncDir(s.dir); err != nil {
		return err
	}
	if err := makeFolders(s.dir); err != nil {
		return err
	}
	return durable.WriteFile(s.path(filepath.Join(publicName, checkpointName)), cp.Note, 0o644)
}

// restoreLists fetches the lists of paths that the entries of the tree in part name. What
// the mirror has not got is counted: the log goes on without.
func (s *Server) restoreLists(ctx context.Context, c *log.Client, cp *log.Checkpoint, part string, res *Restored) error {
	part, err := filepath.Abs(part)
	if err != nil {
		return err
	}
	here, err := log.NewClient((&url.URL{Scheme: "file", Path: part}).String(), c.Policy(), log.Options{})
	if err != nil {
		return err
	}
	seen := make(map[nix.Hash]bool)
	for e, err := range here.Entries(ctx, cp, 0, cp.Size) {
		if err != nil {
			return err
		}
		st, err := statement.Parse(e.Leaf)
		if err != nil {
			continue
		}
		for _, b := range statement.Blobs(st.Body) {
			if !isList(b.Class) || seen[b.Hash] {
				continue
			}
			seen[b.Hash] = true
			list, err := c.Blob(ctx, b.Hash, statement.MaxBlob)
			switch {
			case errors.Is(err, log.ErrNotFound):
				res.MissingLists++
				continue
			case err != nil:
				return err
			}
			if err := blobs.KeepList(s.path(blobsName), list); err != nil {
				return fmt.Errorf("the list %s: %w", b.Hash.Hex(), err)
			}
			res.Lists++
		}
	}
	return nil
}
