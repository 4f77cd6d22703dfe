package server

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/firn-log/firn/internal/place"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/server/indexdb"
)

// A RollbackError says that this directory looks like an older copy of the
// log, or like a copy of another one: signing here could show two histories.
type RollbackError struct {
	Why  string // one sentence
	Hint string // what to do, or ""
	// Overridable reports whether --no-witness-check goes on in spite of it.
	Overridable bool
}

func (e *RollbackError) Error() string { return "refusing to start: " + e.Why }

const hintRestored = "this looks like a restored older copy; restore the newest one, or make a new log (a log that goes on here would show two histories)"

// checkRecord reads the record and compares where it was written with where
// the directory is now. It returns the record to go on with; if it is missing,
// and override or witnesses allow to go on, one that starts at nothing signed. Why
// only witnesses allow it is left in s.doubt.
func (s *Server) checkRecord(override bool) (record, error) {
	here, err := place.Find(s.dir)
	if err != nil {
		return record{}, err
	}
	rec, err := readRecord(s.path(recordName))
	switch {
	case errors.Is(err, errNoRecord) && override:
		s.log.Warn("going on without a record, as --no-witness-check says")
		return record{place: here, head: policy.Head{Origin: s.config.Origin, Root: sha256.Sum256(nil)}}, nil
	case errors.Is(err, errNoRecord) && s.canAsk():
		s.doubt = "the record of what this log has signed is missing"
		return record{place: here, head: policy.Head{Origin: s.config.Origin, Root: sha256.Sum256(nil)}}, nil
	case errors.Is(err, errNoRecord):
		return record{}, &RollbackError{
			Why:         fmt.Sprintf("the file %s is missing, which says what this log has signed last", s.path(recordName)),
			Hint:        "only if you know that this is the newest copy of the log: serve --no-witness-check",
			Overridable: true,
		}
	case err != nil:
		return record{}, err
	case rec.head.Origin != s.config.Origin:
		return record{}, &RollbackError{Why: fmt.Sprintf("the record is of the log %q, not of %q", rec.head.Origin, s.config.Origin)}
	}
	if what := rec.place.Differs(here); what != "" {
		why, hint := what+" changed since this log signed last", "only if you moved it here yourself and the original will never sign again: serve --no-witness-check"
		if rec.place == nowhere {
			why, hint = "this log was restored from a mirror", "only if you know that it never signed anything newer: serve --no-witness-check"
		}
		if !override && s.canAsk() {
			s.doubt = why
			return *rec, nil
		}
		if !override {
			return record{}, &RollbackError{
				Why:         why + ", so it may be an older copy",
				Hint:        hint,
				Overridable: true,
			}
		}
		s.log.Warn("going on in another place, as --no-witness-check says", "changed", what)
		rec.place = here
	}
	return *rec, nil
}

// checkTree returns an error unless the tree continues every checkpoint that
// this log is known to have signed, and what the index has read.
func (s *Server) checkTree(ctx context.Context, rec record, size uint64) error {
	if err := s.mustExtend(ctx, "the record", rec.head, size); err != nil {
		return err
	}
	st := s.db.State()
	indexed := policy.Head{Origin: s.config.Origin, Size: st.Size, Root: st.Root}
	if err := s.mustExtend(ctx, "the index "+indexName, indexed, size); err != nil {
		return err
	}
	for _, name := range []string{filepath.Join(publicName, checkpointName), filepath.Join(treeName, checkpointName)} {
		b, err := os.ReadFile(s.path(name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("reading checkpoint: %w", err)
		}
		if err := s.checkNote(ctx, "the file "+name, b, size); err != nil {
			return err
		}
	}
	return s.checkElsewhere(ctx, size)
}

// mustExtend returns a RollbackError unless the tree of size continues head.
func (s *Server) mustExtend(ctx context.Context, who string, head policy.Head, size uint64) error {
	if head.Size > size {
		return &RollbackError{
			Why:  fmt.Sprintf("%s knows %d entries of this log, and the tree here has only %d", who, head.Size, size),
			Hint: hintRestored,
		}
	}
	root, err := s.tree.RootWithin(ctx, head.Size, size)
	if err != nil {
		return fmt.Errorf("computing the root at size %d: %w", head.Size, err)
	}
	if root != head.Root {
		return &RollbackError{
			Why:  fmt.Sprintf("%s has the root %v at size %d, and the tree here %v", who, head.Root, head.Size, root),
			Hint: "the tree here is not the one that was signed; restore the right one",
		}
	}
	return nil
}

// checkNote checks a checkpoint if this log's key has signed it; an unsigned
// number never stops anything.
func (s *Server) checkNote(ctx context.Context, who string, b []byte, size uint64) error {
	n, err := note.Open(b, note.VerifierList(s.key.verifier))
	if err != nil {
		s.log.Debug("not signed by this log", "where", who, "error", err)
		return nil
	}
	head, err := policy.ParseCheckpoint(n.Text)
	if err != nil || head.Origin != s.config.Origin {
		return nil
	}
	return s.mustExtend(ctx, who, head, size)
}

// checkElsewhere asks the public address and the mirrors. Those that do not
// answer are named in the log and stop nothing: the public address of a log
// that is just starting seldom answers.
func (s *Server) checkElsewhere(ctx context.Context, size uint64) error {
	client := &http.Client{Timeout: 5 * time.Second}
	for _, url := range s.config.checkpointURLs() {
		b, err := fetchCheckpoint(ctx, client, strings.TrimSuffix(url, "/")+"/checkpoint")
		if err != nil {
			s.log.Info("could not ask for a checkpoint", "url", url, "error", err)
			continue
		}
		if err := s.checkNote(ctx, url, b, size); err != nil {
			return err
		}
		s.log.Info("asked for a checkpoint", "url", url)
	}
	return nil
}

func fetchCheckpoint(ctx context.Context, client *http.Client, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, errors.New(resp.Status)
	}
	return io.ReadAll(io.LimitReader(resp.Body, 64<<10))
}

// openIndex opens the index, and begins a new one if it is damaged.
func (s *Server) openIndex(ctx context.Context) (*indexdb.DB, error) {
	db, err := indexdb.Open(ctx, s.path(indexName), s.config.Origin)
	if !errors.Is(err, indexdb.ErrDamaged) {
		return db, err
	}
	s.log.Warn("the index is damaged and is made anew; today's budgets begin anew too", "error", err)
	if err := indexdb.Remove(s.path(indexName)); err != nil {
		return nil, err
	}
	return indexdb.Open(ctx, s.path(indexName), s.config.Origin)
}
