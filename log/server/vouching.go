package server

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/witnessing"
)

// vouching gathers what auditors cosign. They are asked like witnesses; but which
// checkpoint their quorum has cosigned is not always the public one, so it is
// kept apart. A nil policy: there are no auditors.
type vouching struct {
	now func() time.Time

	mu      sync.Mutex // guards what follows
	policy  *policy.Policy
	pending map[string]*published // not yet vouched for, by text; few
	vouched []published           // the last few, in growing order
	changed chan struct{}
}

// keepPending bounds the checkpoints whose cosignatures are gathered.
const keepPending = 64

func newVouching(now func() time.Time) *vouching {
	return &vouching{now: now, pending: make(map[string]*published), changed: make(chan struct{})}
}

// open reads the index policy (spec/log.md#auditors).
func (v *vouching) open(path, vkey string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading the index policy: %w", err)
	}
	pol, err := policy.Parse(b)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if len(pol.Logs) != 1 || pol.Logs[0].Key.String() != vkey {
		return fmt.Errorf("%s: it must have one log line, that of this log: log %s", path, vkey)
	}
	if pol.Quorum == policy.None {
		return fmt.Errorf("%s: an index policy needs a quorum", path)
	}
	v.policy = pol
	return nil
}

// warnOfUnasked says which auditors of the index policy are never asked. Their quorum may be
// there without them.
func (s *Server) warnOfUnasked() {
	if s.vouching.policy == nil {
		return
	}
	asked := func(policy.Witness) bool { return false }
	if s.witnesses != nil {
		pol, names := s.witnesses.Policy(), s.witnesses.Names()
		asked = func(a policy.Witness) bool {
			return slices.ContainsFunc(pol.Witnesses, func(w policy.Witness) bool {
				return bytes.Equal(w.Key.Public, a.Key.Public) && slices.Contains(names, w.Name)
			})
		}
	}
	for _, a := range s.vouching.policy.Witnesses {
		if !asked(a) {
			s.log.Warn("an auditor of the index is never asked: its line, with its URL, belongs into the witness policy, too", "auditor", a.Name)
		}
	}
}

// heed counts no auditor any more that evidence is held against.
func (v *vouching) heed(held *evidence.Store) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.policy == nil {
		return nil
	}
	pol, err := held.Apply(v.policy)
	if err != nil {
		return err
	}
	v.policy = pol
	v.vouched = slices.DeleteFunc(v.vouched, func(p published) bool {
		_, err := pol.Verify(p.note, v.now())
		return err != nil
	})
	return nil
}

// watch returns a channel that is closed when newest may return something newer.
func (v *vouching) watch() <-chan struct{} {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.changed
}

// add takes a cosignature of any witness or auditor.
func (v *vouching) add(cp witnessing.Checkpoint, cosig *witnessing.Cosignature) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.policy == nil || cosig == nil {
		return
	}
	if n := len(v.vouched); n > 0 && cp.Head.Size <= v.vouched[n-1].head.Size {
		return
	}
	text := cp.Head.Text()
	p := v.pending[text]
	if p == nil {
		p = &published{head: cp.Head, note: cp.Note}
		v.pending[text] = p
		v.bound()
	}
	n, err := policy.ParseNote(p.note)
	if err != nil { // never: the log made it
		return
	}
	n.Signatures = slices.DeleteFunc(n.Signatures, func(s policy.Signature) bool { return s.Name == cosig.Line.Name && s.ID == cosig.Line.ID })
	n.Signatures = append(n.Signatures, cosig.Line)
	p.note = n.Marshal()
	if _, err := v.policy.Verify(p.note, v.now()); err != nil {
		return
	}
	v.vouched = append(v.vouched, *p)
	if len(v.vouched) > keepPending {
		v.vouched = v.vouched[1:]
	}
	for t, q := range v.pending {
		if q.head.Size <= p.head.Size {
			delete(v.pending, t)
		}
	}
	close(v.changed)
	v.changed = make(chan struct{})
}

// bound drops the smallest pending checkpoint if there are too many.
func (v *vouching) bound() {
	if len(v.pending) <= keepPending {
		return
	}
	least := ""
	for t, q := range v.pending {
		if least == "" || q.head.Size < v.pending[least].head.Size {
			least = t
		}
	}
	delete(v.pending, least)
}

// newest returns the newest checkpoint not above cp that is vouched for; Size 0
// if there is none.
func (v *vouching) newest(cp published) published {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.policy == nil {
		return published{}
	}
	if _, err := v.policy.Verify(cp.note, v.now()); err == nil {
		return cp
	}
	for i := len(v.vouched) - 1; i >= 0; i-- {
		if v.vouched[i].head.Size <= cp.head.Size {
			return v.vouched[i]
		}
	}
	return published{}
}
