package submit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/statement"
)

// logSender is a sender that opens key and log when they are first needed, and
// again until that works.
type logSender struct {
	conf   *Config
	open   func(ctx context.Context, spec string) (statement.Signer, error)
	signer statement.Signer
	client *log.Client
	hooks  *evidence.Hooks // of client
}

// close gives hooks that still run a moment to end.
func (l *logSender) close() {
	ctx, cancel := context.WithTimeout(context.Background(), hookPatience)
	defer cancel()
	l.hooks.Wait(ctx)
}

const hookPatience = 5 * time.Second

// Signer implements sender.
func (l *logSender) Signer(ctx context.Context) (statement.Signer, error) {
	if l.signer != nil {
		return l.signer, nil
	}
	if l.open == nil {
		return nil, errors.New("there is no key to sign with")
	}
	signer, err := l.open(ctx, l.conf.Key)
	if err != nil {
		return nil, &ConfigError{err}
	}
	l.signer = signer
	return signer, nil
}

func (l *logSender) connect() (*log.Client, error) {
	if l.client != nil {
		return l.client, nil
	}
	pol, err := l.conf.policy()
	if err != nil {
		return nil, &ConfigError{fmt.Errorf("log-policy: %w", err)}
	}
	hooks, err := evidence.NewHooks(l.conf.Evidence, nil)
	if err != nil {
		return nil, &ConfigError{err}
	}
	mem := log.NewMemory(l.conf.State)
	mem.OnEvidence(hooks.Run)
	c, err := log.NewClient(l.conf.Log, pol, log.Options{Origin: l.conf.Origin, Memory: mem, UserAgent: "firn-submit"})
	if err != nil {
		return nil, &ConfigError{err}
	}
	l.hooks = hooks
	l.client = c
	return c, nil
}

// Submit implements sender.
func (l *logSender) Submit(ctx context.Context, leaves [][]byte, wait time.Duration) (*log.SubmitResult, error) {
	c, err := l.connect()
	if err != nil {
		return nil, err
	}
	return c.Submit(ctx, leaves, wait)
}

// Closure implements sender. The digest says what the statement must hold, so it
// does not matter who signed it.
func (l *logSender) Closure(ctx context.Context, digest string) (*statement.Closure, error) {
	c, err := l.connect()
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
