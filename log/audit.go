package log

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/statement"
)

// An AuditFault is an entry that an audit does not accept.
type AuditFault struct {
	Index  uint64
	Reason string
}

// An Audit is the result of [Client.Audit].
type Audit struct {
	Entries  uint64
	Verified uint64                    // statements whose signature verifies
	Kinds    map[statement.Kind]uint64 // statements of each kind
	Faults   []AuditFault              // in the order of the log
	Freeze   *statement.Freeze         // with which the log ended; nil if it goes on
	// Unknown counts, by signer, the statements whose key is nowhere in the
	// log and not in the policy, so that nobody can verify them from the log.
	Unknown map[statement.KeyID]uint64
	// Unlisted counts the cache-sigs whose signature covers a list of references
	// of which the leaf has only the digest, and the log has not the list: they are
	// not verified.
	Unlisted uint64
}

// Audit reads the whole log below cp and verifies every statement's signature
// with the keys that the log itself carries, wherever in it they are, and the
// log's own key of the policy. It says nothing about whether these keys are to
// be trusted. progress, if not nil, is called now and then.
//
// Faults are results; the error is about not being able to read the log.
func (c *Client) Audit(ctx context.Context, cp *Checkpoint, progress func(done, total uint64)) (*Audit, error) {
	a := &audit{
		origin:  c.origin,
		res:     &Audit{Kinds: make(map[statement.Kind]uint64), Unknown: make(map[statement.KeyID]uint64)},
		keys:    make(map[statement.KeyID]statement.PublicKey),
		waiting: make(map[statement.KeyID][]waitingStatement),
		blob:    func(h nix.Hash) ([]byte, error) { return c.Blob(ctx, h, statement.MaxBlob) },
	}
	for _, k := range logKeys(c.pol, c.origin) {
		a.learn(k)
		a.own = append(a.own, k.ID())
	}
	// Parsing and verifying what carries its key is done for several bundles at
	// a time; the rest in order, because keys are learned on the way.
	read := func(ctx context.Context, n uint64) auditBundle { return a.prepare(c.bundle(ctx, cp, n)) }
	if cp.Size > 0 {
		for b := range ahead(ctx, 0, (cp.Size-1)/tileWidth, read) {
			if b.err != nil {
				return nil, b.err
			}
			for _, s := range b.statements {
				a.add(s)
			}
			if progress != nil {
				progress(a.res.Entries, cp.Size)
			}
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	a.end()
	for id, list := range a.waiting {
		a.res.Unknown[id] = uint64(len(list))
	}
	slices.SortFunc(a.res.Faults, func(x, y AuditFault) int { return cmp.Compare(x.Index, y.Index) })
	return a.res, nil
}

type audit struct {
	res     *Audit
	origin  string
	own     []statement.KeyID // of the log
	frozen  uint64            // index of res.Freeze
	keys    map[statement.KeyID]statement.PublicKey
	waiting map[statement.KeyID][]waitingStatement
	blob    func(nix.Hash) ([]byte, error)
}

// waitingStatement is a statement whose key has not been seen yet.
type waitingStatement struct {
	index uint64
	leaf  []byte
}

type auditBundle struct {
	statements []auditStatement
	err        error
}

type auditStatement struct {
	index   uint64
	leaf    []byte
	s       *statement.Statement
	checked bool // its own key is in it, and err is the outcome
	err     error
}

func (a *audit) prepare(b bundle) auditBundle {
	out := auditBundle{err: b.err}
	for i, leaf := range b.leaves {
		s := auditStatement{index: b.n*tileWidth + uint64(i), leaf: leaf}
		if s.s, s.err = statement.Parse(leaf); s.err == nil && s.s.SignerKey != nil {
			s.checked, s.err = true, s.s.Verify(*s.s.SignerKey)
		}
		out.statements = append(out.statements, s)
	}
	return out
}

func (a *audit) add(s auditStatement) {
	a.res.Entries++
	if s.s == nil {
		a.fault(s.index, fmt.Errorf("not a statement: %w", s.err))
		return
	}
	a.res.Kinds[s.s.Kind]++
	key, known := a.keys[s.s.Signer]
	switch {
	case s.checked && statement.CodeOf(s.err) == statement.CodeNeedsBlob:
		a.withList(s)
		return
	case s.checked && s.err != nil:
		a.fault(s.index, s.err)
		return
	case s.checked:
		a.res.Verified++
		a.learn(*s.s.SignerKey)
	case known:
		if err := s.s.Verify(key); err != nil {
			a.fault(s.index, err)
			return
		}
		a.res.Verified++
	default:
		a.waiting[s.s.Signer] = append(a.waiting[s.s.Signer], waitingStatement{s.index, s.leaf})
	}
	switch b := s.s.Body.(type) {
	case *statement.Realisation:
		if err := b.VerifyNixSigs(); err != nil {
			a.fault(s.index, err)
			return
		}
	case *statement.KeyAdd:
		if err := b.VerifyProof(); err != nil {
			a.fault(s.index, err)
			return
		}
		a.learn(b.Key)
	case *statement.Genesis:
		a.learn(b.LogKey)
	case *statement.Freeze:
		if known && slices.Contains(a.own, s.s.Signer) {
			a.froze(s.index, b)
		}
	}
}

// withList verifies a cache-sig with the list of references that the log has.
func (a *audit) withList(s auditStatement) {
	b := s.s.Body.(*statement.CacheSig)
	blob, err := a.blob(*b.RefsDigest)
	if err != nil {
		a.res.Unlisted++
		return
	}
	refs, err := statement.ParsePathsBlob(b.StoreDir, blob)
	if err == nil {
		err = s.s.VerifyWithReferences(*s.s.SignerKey, refs)
	}
	if err != nil {
		a.fault(s.index, err)
		return
	}
	a.res.Verified++
	a.learn(*s.s.SignerKey)
}

// learn keeps a key and verifies what waited for it.
func (a *audit) learn(k statement.PublicKey) {
	id := k.ID()
	if _, ok := a.keys[id]; ok {
		return
	}
	a.keys[id] = k
	for _, w := range a.waiting[id] {
		s, err := statement.Parse(w.leaf)
		if err == nil {
			err = s.Verify(k)
		}
		if err != nil {
			a.fault(w.index, err)
			continue
		}
		a.res.Verified++
	}
	delete(a.waiting, id)
}

func (a *audit) fault(index uint64, err error) {
	reason := err.Error()
	if e := (*statement.Error)(nil); errors.As(err, &e) {
		reason = e.Code + ": " + e.Msg
	}
	a.res.Faults = append(a.res.Faults, AuditFault{index, reason})
}
