package server

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/index/fraud"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/statement"
)

// evidenceInterval is how often the folder with evidence is read.
const evidenceInterval = 5 * time.Second

// convictedError is why nothing is signed or taken: this log's key signed two
// histories.
type convictedError struct{ path string }

func (e *convictedError) Error() string {
	return fmt.Sprintf("there is evidence that the key of this log signed two histories: %s; nothing is signed or taken any more", e.path)
}

// openEvidence opens the folder with evidence and looks for this log in it.
func (s *Server) openEvidence() error {
	s.evidence = evidence.NewStore(inDir(s.dir, s.config.Witnessing.Evidence), evidence.WithJudge(fraud.Judge))
	s.brought.wake = make(chan struct{}, 1)
	key, err := policy.ParseKey(s.key.vkey)
	if err != nil {
		return err
	}
	s.own = &policy.Policy{Logs: []policy.Log{{Key: key}}, Quorum: policy.None}
	why, err := s.againstMe()
	if err != nil {
		return err
	}
	if why != nil {
		s.log.Error("this log starts for reading only", "error", why)
		s.metrics.convicted.Set(1)
		s.seq.end(why)
		s.convicted = why
	}
	return nil
}

// againstMe returns a *convictedError if evidence is held against this log's key, or
// nil.
func (s *Server) againstMe() (why, err error) {
	held, err := s.evidence.AgainstLog(s.own, s.config.Origin)
	if err != nil || len(held) == 0 {
		return nil, err
	}
	return &convictedError{held[0].Path}, nil
}

// heedEvidence returns the policy without the witnesses that evidence is held against.
func (s *Server) heedEvidence(pol *policy.Policy) (*policy.Policy, error) {
	pol, err := s.evidence.Apply(pol)
	if err != nil {
		return nil, err
	}
	for _, name := range pol.Ignored() {
		s.log.Error("evidence is held against a witness: it is neither asked nor counted", "witness", name, "folder", s.evidence.Dir())
	}
	return pol, nil
}

// startReading begins to answer readers and nothing else: this log is convicted. What
// was public stays so.
func (s *Server) startReading(ctx context.Context) {
	if s.witnesses != nil {
		s.gate = newGate(s.witnesses.Policy(), s.witnesses.Names(), "", func() error { return s.convicted })
		s.gate.breaks(s.convicted)
	}
	if b, err := os.ReadFile(s.path(filepath.Join(publicName, checkpointName))); err == nil && s.witnesses == nil {
		if n, err := note.Open(b, note.VerifierList(s.key.verifier)); err == nil {
			if head, err := policy.ParseCheckpoint(n.Text); err == nil && head.Origin == s.config.Origin {
				s.publisher.restore(head, b, true)
			}
		}
	}
	s.run(ctx)
}

// watchEvidence reads the folder with evidence every now and then, and when a leaf has
// brought some, until the function that it returns is called.
func (s *Server) watchEvidence() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		t := time.NewTicker(evidenceInterval)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			case <-s.brought.wake:
			}
			s.readEvidence()
		}
	})
	return func() { cancel(); wg.Wait() }
}

// readEvidence keeps what leaves have brought, and acts on what is in the folder:
// evidence against this log ends signing and taking, a witness that it convicts is
// asked and counted no more.
func (s *Server) readEvidence() {
	s.keepBrought()
	why, err := s.againstMe()
	switch {
	case err != nil:
		s.log.Error("evidence cannot be read", "error", err)
		return
	case why != nil && s.seq.over() == nil:
		s.log.Error("evidence against this log has come", "error", why)
		s.signer.stop()
		s.gate.breaks(why)
		s.seq.end(why)
		s.metrics.convicted.Set(1)
	}
	s.heedIndex()
	if s.witnesses == nil {
		return
	}
	now := s.witnesses.Policy()
	pol, err := s.evidence.Apply(now)
	if err != nil {
		s.log.Error("evidence cannot be read", "error", err)
		return
	}
	for _, name := range pol.Ignored() {
		if !slices.Contains(now.Ignored(), name) {
			s.log.Error("evidence against a witness has come: it is neither asked nor counted any more", "witness", name, "folder", s.evidence.Dir())
		}
	}
	s.ignore(pol) // also if nothing is new: the gate may have been opening the last time
}

// ignore goes on under a policy that ignores more witnesses. If those that are left
// cannot make up its quorum, nothing new is signed.
func (s *Server) ignore(pol *policy.Policy) {
	s.witnesses.Ignore(pol)
	names := s.witnesses.Names()
	if s.gate.ignore(pol, names) {
		s.signer.hold(true) // what the record has was signed before: the gate was open
		s.log.Error("nothing new is signed: without the witnesses that evidence is held against there is no quorum", "ignored", pol.Ignored(), "left", names)
	}
}

// brought is evidence that came as leaves of this log and is not in the folder yet.
type brought struct {
	wake chan struct{} // holds one token if there is some

	mu   sync.Mutex
	list []*evidence.Evidence
}

// maxBrought bounds how much evidence of a kind waits for the disk. What finds no room is found
// in the index at the next start.
const maxBrought = 64

// bring notes the evidence of a leaf that the tree and the index have, if it is against
// this log or one of its witnesses that still counts.
func (s *Server) bring(body *statement.Evidence) {
	if e, _ := s.concerns(body); e != nil {
		s.keepSoon(e)
	}
}

// concerns returns the evidence of a leaf and what it convicts of, nil if that is not
// this log or one of its witnesses that still counts.
func (s *Server) concerns(body *statement.Evidence) (*evidence.Evidence, evidence.Verdict) {
	e, err := evidence.Parse(bytes.Clone(body.Bytes))
	if err != nil {
		return nil, evidence.Verdict{} // the leaf would not have been one
	}
	pol := s.accused()
	v, err := fraud.Verify(e, pol)
	if err != nil || v.Kind == evidence.KindWitness && slices.Contains(pol.Ignored(), v.Name) {
		return nil, v
	}
	return e, v
}

// keepSoon notes evidence that belongs into the folder. That of one kind takes no
// place from that of another.
func (s *Server) keepSoon(e *evidence.Evidence) {
	s.brought.mu.Lock()
	defer s.brought.mu.Unlock()
	waiting := 0
	for _, other := range s.brought.list {
		if other.Kind == e.Kind {
			waiting++
		}
	}
	if waiting < maxBrought {
		s.brought.list = append(s.brought.list, e)
	}
	select {
	case s.brought.wake <- struct{}{}:
	default:
	}
}

// accused returns the policy whose keys evidence matters against here: this log's, and
// those of its witnesses.
func (s *Server) accused() *policy.Policy {
	if s.witnesses != nil {
		return s.witnesses.Policy()
	}
	return s.own
}

// keepBrought writes what leaves have brought into the folder. What cannot be written
// is tried again.
func (s *Server) keepBrought() {
	s.brought.mu.Lock()
	list := s.brought.list
	s.brought.list = nil
	s.brought.mu.Unlock()
	for i, e := range list {
		held, added, err := s.evidence.Add(e, s.accused())
		switch {
		case errors.Is(err, evidence.ErrSetAside):
			s.log.Warn("a leaf has brought evidence that was set aside before", "error", err)
		case err != nil:
			s.log.Error("evidence that a leaf has brought cannot be kept; it is tried again", "error", err)
			s.brought.mu.Lock()
			s.brought.list = append(list[i:], s.brought.list...)
			s.brought.mu.Unlock()
			return
		case added:
			s.log.Error("a leaf has brought evidence", "kind", string(held.Verdict.Kind), "against", held.Verdict.Name, "file", held.Path)
		}
	}
}

// findBrought looks in the index for leaves with evidence against this log and its
// witnesses, and acts on them: the folder may have been lost, a disk full, or the policy
// another one, when they came.
func (s *Server) findBrought(ctx context.Context) error {
	pol := s.accused()
	var keys []policy.Key
	if s.convicted == nil {
		keys = append(keys, s.own.Logs[0].Key)
	}
	for _, w := range pol.Witnesses {
		if !slices.Contains(pol.Ignored(), w.Name) {
			keys = append(keys, w.Key)
		}
	}
	for _, k := range keys {
		key, err := statement.Ed25519Key(ed25519.PublicKey(k.Public))
		if err != nil {
			continue // of another type: no leaf convicts it
		}
		if err := s.findAgainst(ctx, "key:"+key.ID().String()); err != nil {
			return err
		}
	}
	s.readEvidence()
	if s.convicted == nil {
		s.convicted = s.seq.over()
	}
	return nil
}

// sized is evidence against an index, about a revision of a size.
type sized struct {
	e    *evidence.Evidence
	size uint64
}

// findAgainst brings evidence under an index key, as much of each kind as is kept: of
// that against the index of this log what is about the largest revisions.
func (s *Server) findAgainst(ctx context.Context, key string) error {
	size, left := s.db.State().Size, map[evidence.Kind]int{evidence.KindLog: evidence.MaxHeld, evidence.KindWitness: evidence.MaxHeld}
	var largest []sized
	for from := uint64(0); ; {
		at, ok, err := s.db.Against(ctx, key, from)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		from = at + 1
		leaf, err := s.tree.Entry(ctx, size, at)
		if err != nil {
			return err
		}
		st, err := statement.Parse(leaf)
		if err != nil {
			continue
		}
		body, ok := st.Body.(*statement.Evidence)
		if !ok {
			continue
		}
		switch e, v := s.concerns(body); {
		case e == nil:
		case e.Kind == evidence.KindIndex && v.MapVersion == index.MapVersion:
			largest = append(largest, sized{e, v.Size})
			slices.SortStableFunc(largest, func(a, b sized) int { return cmp.Compare(b.size, a.size) })
			largest = largest[:min(len(largest), evidence.MaxHeld)]
		case left[e.Kind] > 0:
			left[e.Kind]--
			s.keepSoon(e)
		}
	}
	for _, x := range largest {
		s.keepSoon(x.e)
	}
	return nil
}

// heedIndex acts on evidence against the index of this log, which ends nothing: it
// says so, in the log line and in firn_log_index_convicted, until an index-reset
// answers it. An auditor that evidence is held against counts no more.
func (s *Server) heedIndex() {
	held, err := s.evidence.AgainstIndex(s.own, s.config.Origin, index.MapVersion)
	if err != nil {
		s.log.Error("evidence cannot be read", "error", err)
		return
	}
	against := ""
	for _, h := range held {
		if !s.resets.any(func(r resetAt) bool { return fraud.ClearedBy(h.Evidence, r.leaf, r.index) }) {
			against = fmt.Sprintf("%s: %s", h.Path, h.Verdict.Why)
		}
	}
	if old := s.indexConvicted.Swap(&against); against != "" && (old == nil || *old != against) {
		s.log.Error("there is evidence that this log stated a wrong index: see firn-log reset-index", "evidence", against)
	}
	if err := s.vouching.heed(s.evidence); err != nil {
		s.log.Error("evidence cannot be read", "error", err)
	}
}
