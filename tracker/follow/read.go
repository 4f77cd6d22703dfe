package follow

import (
	"context"
	"errors"
	"iter"
	"runtime"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/statement"
)

// An entry is a leaf and what came of it.
type entry struct {
	index    uint64
	leaf     []byte
	st       *statement.Statement // nil if it is none
	verified bool                 // its signature; false without err: its key, or a list that it covers, is not known
	err      error                // why it counts for nothing
}

// A part is the entries of one group, or those of it that are there.
type part struct {
	entries []entry
	err     error // why there are no more; then there are no entries
	kept    int   // entries of which the file said that they verify
}

// reader reads the entries of one log.
type reader struct {
	client *log.Client
	keys   *keyRing
	file   *verifiedFile
	warn   func(what string, err error)
	full   sync.Once     // that nothing can be kept is said once
	busy   chan struct{} // a place for each goroutine that computes
}

func newReader(client *log.Client, keys *keyRing, file *verifiedFile, warn func(string, error)) *reader {
	return &reader{client: client, keys: keys, file: file, warn: warn, busy: make(chan struct{}, runtime.GOMAXPROCS(0))}
}

// parts yields the entries of cp from an index on, parsed and verified, while the next
// ones are fetched, parsed and verified. It ends with the first error.
func (r *reader) parts(ctx context.Context, cp *log.Checkpoint, from uint64) iter.Seq2[*part, error] {
	return func(yield func(*part, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		depth := runtime.GOMAXPROCS(0)
		parsed, verified := make(chan chan *part, depth), make(chan chan *part, depth)
		go r.fetch(ctx, cp, from, parsed)
		go r.check(ctx, parsed, verified)
		for out := range verified {
			p := <-out
			err := p.err
			if ctx.Err() != nil {
				err = ctx.Err() // or something counts as not verified that was only not waited for
			}
			if err != nil {
				yield(nil, err)
				return
			}
			for len(p.entries) > 0 && p.entries[0].index < from {
				p.entries = p.entries[1:] // read again so that the group is whole
			}
			if !yield(p, nil) {
				return
			}
		}
		if err := ctx.Err(); err != nil {
			yield(nil, err)
		}
	}
}

// fetch sends groups on, each as soon as it is there, to be parsed.
func (r *reader) fetch(ctx context.Context, cp *log.Checkpoint, from uint64, out chan<- chan *part) {
	defer close(out)
	if begin := from - from%groupSize; begin+groupSize <= cp.Size {
		from = begin
	}
	p := &part{}
	for e, err := range r.client.Entries(ctx, cp, from, cp.Size) {
		if err != nil {
			r.spawn(ctx, out, func() *part { return &part{err: err} })
			return
		}
		p.entries = append(p.entries, entry{index: e.Index, leaf: e.Leaf})
		if (e.Index+1)%groupSize != 0 && e.Index+1 != cp.Size {
			continue
		}
		whole := p
		if !r.spawn(ctx, out, func() *part { whole.parse(); return whole }) {
			return
		}
		p = &part{entries: make([]entry, 0, groupSize)}
	}
}

// spawn sends on what f will return.
func (r *reader) spawn(ctx context.Context, out chan<- chan *part, f func() *part) bool {
	c := make(chan *part, 1)
	select {
	case out <- c:
	case <-ctx.Done():
		return false
	}
	go func() {
		r.busy <- struct{}{}
		defer func() { <-r.busy }()
		c <- f()
	}()
	return true
}

func (p *part) parse() {
	for i := range p.entries {
		e := &p.entries[i]
		e.st, e.err = statement.Parse(e.leaf)
	}
}

// check learns the keys of each group, in order, and has it verified: what a log holds
// about a key comes before what is signed with it.
func (r *reader) check(ctx context.Context, in <-chan chan *part, out chan<- chan *part) {
	defer close(out)
	for c := range in {
		p := <-c
		for i := range p.entries {
			if st := p.entries[i].st; st != nil {
				r.keys.learn(st)
			}
		}
		if !r.spawn(ctx, out, func() *part { r.verify(ctx, p); return p }) {
			return
		}
	}
}

// verify verifies the entries of a part, but for those of which the file says that they
// were, and keeps what came of a whole group.
func (r *reader) verify(ctx context.Context, p *part) {
	var kept *group
	n := len(p.entries)
	whole := n == groupSize && p.entries[0].index%groupSize == 0
	now := group{}
	if whole {
		hashes := make([]tlog.Hash, n)
		for i := range p.entries {
			hashes[i] = tlog.RecordHash(p.entries[i].leaf)
		}
		now.leaves = digest(hashes)
		kept, _ = r.file.load(p.entries[0].index/groupSize, now.leaves)
	}
	for i := range p.entries {
		e := &p.entries[i]
		switch {
		case e.st == nil:
			continue
		case kept != nil && kept.verifies(i):
			e.verified = true
			p.kept++
		default:
			e.verified, e.err = r.signature(ctx, e.st)
			runtime.Gosched() // pages go first
		}
		if list := (*listError)(nil); errors.As(e.err, &list) {
			*p = part{err: e.err} // what the database comes to must not depend on who answered when
			return
		}
		if e.verified {
			now.set(i)
		}
	}
	if whole && (kept == nil || *kept != now) && ctx.Err() == nil {
		if err := r.file.save(p.entries[0].index/groupSize, &now); err != nil {
			r.full.Do(func() {
				r.warn("what was verified cannot be kept, and is verified again when the database is made again", err)
			})
		}
	}
}

// signature verifies all that is signed in a statement. It is false without an error
// if that cannot be done with what is known, and with a *listError if what is needed may be there.
func (r *reader) signature(ctx context.Context, s *statement.Statement) (bool, error) {
	key, known := r.keys.of(s.Signer)
	if s.SignerKey != nil {
		key, known = *s.SignerKey, true
	}
	if !known {
		return false, nil
	}
	err := s.Verify(key)
	if statement.CodeOf(err) == statement.CodeNeedsBlob {
		return r.withList(ctx, s, key)
	}
	if err != nil {
		return false, err
	}
	switch b := s.Body.(type) {
	case *statement.Realisation:
		err = b.VerifyNixSigs()
	case *statement.KeyAdd:
		err = b.VerifyProof()
	}
	return err == nil, err
}

// blobTries is how often a list is asked for before the log counts as one that
// cannot be read, and blobPause the pause between.
const (
	blobTries = 3
	blobPause = time.Second
)

// A listError says that the log neither gives a list nor says that it has none.
type listError struct{ error }

func (e *listError) Error() string {
	return "a list of references that a claim covers: " + e.error.Error()
}
func (e *listError) Unwrap() error { return e.error }

// withList verifies a cache-sig with the list of references that the log has.
func (r *reader) withList(ctx context.Context, s *statement.Statement, key statement.PublicKey) (bool, error) {
	b := s.Body.(*statement.CacheSig)
	list, err := r.blob(ctx, *b.RefsDigest)
	if errors.Is(err, log.ErrNotFound) || errors.Is(err, log.ErrDeleted) {
		r.warn("a claim is not verified: it covers a list of references that the log does not have", err)
		return false, nil
	}
	if err != nil {
		return false, &listError{err}
	}
	refs, err := statement.ParsePathsBlob(b.StoreDir, list)
	if err == nil {
		err = s.VerifyWithReferences(key, refs)
	}
	return err == nil, err
}

func (r *reader) blob(ctx context.Context, hash nix.Hash) ([]byte, error) {
	for try := 1; ; try++ {
		b, err := r.client.Blob(ctx, hash, statement.MaxBlob)
		if err == nil || !errors.Is(err, log.ErrUnreachable) || try == blobTries || !sleep(ctx, blobPause) {
			return b, err
		}
	}
}

// sleep waits, and reports whether it was not interrupted.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
