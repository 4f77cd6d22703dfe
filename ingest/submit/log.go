package submit

import (
	"context"
	"errors"
	"fmt"

	"github.com/firn-log/firn/ingest/send"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/statement"
)

// logSender is the log as a sender.
type logSender struct{ *send.Log }

func newLogSender(conf *Config, open func(ctx context.Context, spec string) (statement.Signer, error)) logSender {
	return logSender{send.Open(&conf.Config, send.Options{Signer: open, UserAgent: "firn-submit"})}
}

// Closure implements sender. The digest says what the list must be, so it does not matter
// who signed a statement of it.
func (l logSender) Closure(ctx context.Context, digest nix.Hash) ([]nix.StorePath, error) {
	c, err := l.Client()
	if err != nil {
		return nil, err
	}
	key := index.DigestSHA256(digest)
	answers, err := c.Lookup(ctx, log.Query{Keys: []string{key}})
	if err != nil {
		return nil, err
	}
	for _, found := range answers.Of(key) {
		if found.Leaf == nil {
			continue
		}
		if cl, ok := found.Leaf.Statement.Body.(*statement.Closure); ok && cl.Paths != nil && cl.Digest == digest {
			return cl.Paths, nil
		}
	}
	list, err := c.Blob(ctx, digest, statement.MaxBlob) // one that did not fit into its statement
	if errors.Is(err, log.ErrNotFound) {
		return nil, fmt.Errorf("the log has no list of a closure with the digest %s, in a statement or beside one: %w", digest.Hex(), log.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	return statement.ParsePathsBlob(nix.DefaultStoreDir, list) // only base names are kept
}

// fetchClosures gets the lists of closure statements that are not in the spool
// yet, and reports whether there was one. What is not there only keeps more
// private.
func (s *Submitter) fetchClosures(ctx context.Context) (bool, error) {
	var errs []error
	fetched := false
	for _, from := range s.conf.PublicFrom {
		src, err := readSource(from, nix.StoreDir(s.conf.StoreDir))
		if err != nil || src.digest == nil || s.spool.exists(closureDir, src.digest.Hex()) {
			continue // what is wrong with a member is said where it is used
		}
		paths, err := s.client.Closure(ctx, *src.digest)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if err := s.spool.writeClosure(paths, *src.digest); err != nil {
			errs = append(errs, err)
			continue
		}
		fetched = true
	}
	return fetched, errors.Join(errs...)
}

func (s spool) writeClosure(paths []nix.StorePath, digest nix.Hash) error {
	if statement.PathsDigest(paths) != digest {
		return fmt.Errorf("closure %s: the list does not have this digest", digest.Hex())
	}
	return s.write(closureDir, digest.Hex(), statement.PathsBlob(paths))
}
