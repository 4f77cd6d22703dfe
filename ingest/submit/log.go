package submit

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/firn-log/firn/ingest/send"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/statement"
)

// logSender is the log as a sender.
type logSender struct{ *send.Log }

func newLogSender(conf *Config, open func(ctx context.Context, spec string) (statement.Signer, error)) logSender {
	return logSender{send.Open(&conf.Config, send.Options{Signer: open, UserAgent: "firn-submit"})}
}

// Closure implements sender. The digest says what the statement must hold, so it
// does not matter who signed it.
func (l logSender) Closure(ctx context.Context, digest string) (*statement.Closure, error) {
	c, err := l.Client()
	if err != nil {
		return nil, err
	}
	key := "digest:sha256:" + digest
	answers, err := c.Lookup(ctx, log.Query{Keys: []string{key}})
	if err != nil {
		return nil, err
	}
	for _, found := range answers.Of(key) {
		if found.Leaf == nil {
			continue
		}
		if cl, ok := found.Leaf.Statement.Body.(*statement.Closure); ok && cl.Paths != nil && cl.Digest.Hex() == digest {
			return cl, nil
		}
	}
	return nil, fmt.Errorf("the log has no closure statement with a list for %s: %w", digest, log.ErrNotFound)
}

// fetchClosures gets the lists of closure statements that are not in the spool
// yet, and reports whether there was one. What is not there only keeps more
// private.
func (s *Submitter) fetchClosures(ctx context.Context) (bool, error) {
	var errs []error
	fetched := false
	for _, from := range s.conf.PublicFrom {
		digest, ok := strings.CutPrefix(from, closurePrefix)
		if !ok || s.spool.exists(closureDir, digest) {
			continue
		}
		cl, err := s.client.Closure(ctx, digest)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if err := s.spool.writeClosure(cl.Paths, digest); err != nil {
			errs = append(errs, err)
			continue
		}
		fetched = true
	}
	return fetched, errors.Join(errs...)
}

func (s spool) writeClosure(paths []nix.StorePath, digest string) error {
	if statement.PathsDigest(paths).Hex() != digest {
		return fmt.Errorf("closure %s: the list does not have this digest", digest)
	}
	var b strings.Builder
	for _, p := range paths {
		b.WriteString(p.Base() + "\n")
	}
	return s.write(closureDir, digest, []byte(b.String()))
}
