package follow

import (
	"context"
	"time"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/statement"
)

// Store is what a Follower writes to: the tracker's database. Its methods may be
// called concurrently, for several logs.
type Store interface {
	// Progress says how far a log is in the database; it is zero for one that the
	// database does not know.
	Progress(ctx context.Context, origin string) (Progress, error)
	// AddEntries adds, all or none, what a log holds from the index at which the
	// database is up to to. What is left out has no entry.
	AddEntries(ctx context.Context, origin string, to uint64, entries []Entry) error
	// SetCheckpoint notes the newest checkpoint of a log.
	SetCheckpoint(ctx context.Context, origin string, cp *Checkpoint) error
}

// Progress is how far a log is in a database.
type Progress struct {
	Entries uint64 // that were added or left out
	// Size and Root are of the checkpoint that was noted last.
	Size uint64
	Root [32]byte
}

// An Entry is a leaf of a log that is a statement. Verified says that all signatures in
// it were verified; otherwise the key of its signer, or a list of references that the
// signature covers, was not known.
type Entry struct {
	Index     uint64
	Leaf      []byte
	Statement *statement.Statement
	Verified  bool
}

// A Checkpoint is what is shown of the newest checkpoint of a log.
type Checkpoint struct {
	URL       string
	Size      uint64
	Root      [32]byte
	Time      time.Time // of the cosignatures that satisfy the quorum; zero if none
	Frozen    bool
	Witnesses []Cosigner
	Auditors  []Cosigner
}

// A Cosigner is a witness or an auditor of a log. Time is when it cosigned the
// checkpoint; zero if it did not.
type Cosigner struct {
	Name string
	Time time.Time
}

// checkpoint returns what is shown of cp.
func (l *follower) checkpoint(cp *log.Checkpoint, frozen bool) *Checkpoint {
	out := &Checkpoint{URL: l.URL, Size: cp.Size, Root: cp.Root, Frozen: frozen, Witnesses: cosigners(l.Policy, cp.Verified)}
	if cp.Verified.Dated {
		out.Time = cp.Verified.Time
	}
	if l.Index != nil {
		v, err := l.Index.VerifyLog(cp.Note)
		if err != nil {
			v = &policy.Verified{} // a wrong signature of an auditor: it counts for nobody
		}
		out.Auditors = cosigners(l.Index, v)
	}
	return out
}

// cosigners returns the witnesses of a policy with the times of their cosignatures.
func cosigners(pol *policy.Policy, v *policy.Verified) []Cosigner {
	all := make([]Cosigner, 0, len(pol.Witnesses))
	for _, w := range pol.Witnesses {
		c := Cosigner{Name: w.Name}
		for _, s := range v.Cosignatures {
			if s.Witness == w.Name {
				c.Time = s.Time
			}
		}
		all = append(all, c)
	}
	return all
}

// batch is what is written at once.
type batch struct {
	l       *follower
	to      uint64 // index after the last entry
	entries []Entry
	bytes   int

	read, kept, left, unverified uint64
}

// add adds what is to be taken of a part, and says what is not.
func (b *batch) add(p *part) {
	for i := range p.entries {
		e := &p.entries[i]
		b.to = e.index + 1
		b.read++
		if e.err != nil {
			b.left++
			b.l.log.Warn("an entry is left out", "index", e.index, "error", e.err)
			continue
		}
		if !e.verified {
			b.unverified++
		}
		b.entries = append(b.entries, Entry{e.index, e.leaf, e.st, e.verified})
		b.bytes += len(e.leaf)
	}
	b.kept += uint64(p.kept)
}

// full reports whether b should be written before more is added.
func (b *batch) full() bool { return b.read >= batchEntries || b.bytes >= batchBytes }

// write writes b, if there is anything in it, and empties it.
func (b *batch) write(ctx context.Context) error {
	if b.read == 0 {
		return nil
	}
	if err := b.l.f.o.Store.AddEntries(ctx, b.l.Origin, b.to, b.entries); err != nil {
		return databaseError{err}
	}
	b.l.set(func(s *Status) {
		s.Replayed, s.Updated = b.to, time.Now()
		s.Entries += b.read
		s.Kept += b.kept
		s.Left += b.left
		s.Unverified += b.unverified
	})
	*b = batch{l: b.l, entries: b.entries[:0]}
	return nil
}
