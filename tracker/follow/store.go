package follow

import (
	"context"
	"time"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/statement"
	"github.com/firn-log/firn/tracker/store"
)

// Store is what a Follower writes to; [Database] is one. Its methods may be called
// concurrently, for several logs.
type Store interface {
	// Progress returns the index of the entry of a log that comes next, and the root of
	// the checkpoint that was noted last.
	Progress(ctx context.Context, origin string) (next uint64, root [32]byte, err error)
	// Logs returns what is noted of the logs.
	Logs(ctx context.Context) ([]store.LogView, error)
	// Keys returns the public keys that are known.
	Keys() map[statement.KeyID]statement.PublicKey
	// Add adds the next entries of a log, all or none.
	Add(ctx context.Context, origin string, entries []store.Entry) error
	// Note notes how a log is, and the root of its newest checkpoint.
	Note(ctx context.Context, v store.LogView, root [32]byte) error
}

// Database is the tracker's database as a Store.
type Database struct{ *store.DB }

// Add implements Store.
func (d Database) Add(ctx context.Context, origin string, entries []store.Entry) error {
	return d.Write(ctx, func(tx *store.Tx) error { return tx.AddEntries(ctx, origin, entries) })
}

// Note implements Store.
func (d Database) Note(ctx context.Context, v store.LogView, root [32]byte) error {
	return d.Write(ctx, func(tx *store.Tx) error { return tx.SetCheckpoint(ctx, v, root) })
}

// noted is what was last told the database of a log, and what it needs for the next time.
type noted struct {
	view store.LogView
	root [32]byte
	at   time.Time
	// cosigned is the size of the tree that a cosigner last cosigned, by its role and name.
	cosigned map[string]uint64
}

// recall begins with what the database holds.
func (n *noted) recall(v store.LogView, root [32]byte) {
	n.view, n.root = v, root
	n.cosigned = make(map[string]uint64)
	for _, w := range v.Witnesses {
		n.cosigned["witness "+w.Name] = v.Size - min(w.Behind, v.Size)
	}
	for _, a := range v.Auditors {
		n.cosigned["auditor "+a.Name] = v.Size - min(a.Behind, v.Size)
	}
}

// see returns what is to be noted of a log that showed cp.
func (n *noted) see(l *Log, cp *log.Checkpoint) store.LogView {
	v := store.LogView{Origin: l.Origin, URL: l.URL, Size: cp.Size}
	if cp.Verified.Dated {
		v.CheckpointTime = cp.Verified.Time.UTC()
	}
	v.Witnesses = n.cosigners("witness ", l.Policy, cp.Verified, n.view.Witnesses)
	if l.Index != nil {
		of, err := l.Index.VerifyLog(cp.Note)
		if err != nil {
			of = cp.Verified // a signature of an auditor is wrong: none counts
			of = &policy.Verified{Head: of.Head}
		}
		v.Auditors = n.cosigners("auditor ", l.Index, of, n.view.Auditors)
	}
	return v
}

// cosigners returns the witnesses of a policy, each with its newest cosignature.
func (n *noted) cosigners(role string, pol *policy.Policy, v *policy.Verified, before []store.CosignerView) []store.CosignerView {
	var all []store.CosignerView
	for _, w := range pol.Witnesses {
		c := store.CosignerView{Name: w.Name}
		for _, b := range before {
			if b.Name == w.Name {
				c.Time = b.Time
			}
		}
		for _, s := range v.Cosignatures {
			if s.Witness == w.Name && !s.Time.Before(c.Time) {
				c.Time = s.Time.UTC()
				n.cosigned[role+w.Name] = v.Size
			}
		}
		c.Behind = v.Size - min(v.Size, n.cosigned[role+w.Name])
		all = append(all, c)
	}
	return all
}

// batch is what is written at once.
type batch struct {
	l       *follower
	entries []store.Entry
	bytes   int

	kept, left, unverified uint64
}

// add adds a part, and says what of it counts for nothing. What does not verify is given to
// the database all the same: it must not matter whether its key was known by now. Lists of
// closures are fetched here, one after the other: each may be large, and b is written when it is.
func (b *batch) add(ctx context.Context, r *reader, p *part) error {
	for i := range p.entries {
		e := &p.entries[i]
		out := store.Entry{Index: e.index, Leaf: e.leaf, Statement: e.st, Verified: e.verified}
		if e.err == nil {
			var err error
			if out.List, err = r.members(ctx, e.st); err != nil {
				return err
			}
			if b.bytes += len(out.List); len(out.List) > 0 && b.full() {
				if err := b.write(ctx); err != nil {
					return err
				}
			}
		}
		switch {
		case e.err != nil:
			b.left++
			b.l.log.Warn("an entry counts for nothing", "index", e.index, "error", e.err)
		case !e.verified:
			b.unverified++
		}
		b.entries = append(b.entries, out)
		b.bytes += len(e.leaf)
	}
	b.kept += uint64(p.kept)
	return nil
}

// full reports whether b should be written before more is added.
func (b *batch) full() bool { return len(b.entries) >= batchEntries || b.bytes >= batchBytes }

// write writes b, if there is anything in it, and empties it.
func (b *batch) write(ctx context.Context) error {
	if len(b.entries) == 0 {
		return nil
	}
	if err := b.l.f.o.Store.Add(ctx, b.l.Origin, b.entries); err != nil {
		return databaseError{err}
	}
	b.l.set(func(s *Status) {
		s.Replayed, s.Updated = b.entries[len(b.entries)-1].Index+1, time.Now()
		s.Entries += uint64(len(b.entries))
		s.Kept += b.kept
		s.Left += b.left
		s.Unverified += b.unverified
	})
	*b = batch{l: b.l, entries: b.entries[:0]}
	return nil
}
