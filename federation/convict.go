package federation

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/index/fraud"
	"github.com/firn-log/firn/log/policy"
)

// A ForkError says that two checkpoints of a log exclude each other and that
// evidence of it is held.
type ForkError struct {
	Origin string
	Held   []evidence.Held
}

func (e *ForkError) Error() string {
	s := fmt.Sprintf("%s shows two histories", e.Origin)
	for _, held := range e.Held {
		s += "; evidence against " + held.Verdict.Name + " is in " + held.Path
	}
	return s
}

// fork makes evidence of two checkpoints that exclude each other. It is on disk
// before anything else happens. The caller has the turn.
func (h *Hub) fork(ctx context.Context, o *origin, a, b *signed, rel relation, from string) (Outcome, error) {
	all, err := evidence.FromNotes(o.Policy, a.note, b.note, rel.root, rel.proof)
	if err != nil {
		// For instance two keys of one origin: nobody is convicted.
		return h.unproven(o, b, from, fmt.Errorf("%w: %s and size %d exclude each other, but: %w", log.ErrUnproven, a, b.head.Size, err))
	}
	fork, err := h.keep(o, all, from)
	if err != nil {
		// It could not be written: the checkpoint waits and is compared again.
		out, also := h.unproven(o, b, from, err)
		return out, errors.Join(err, also)
	}
	o.mu.Lock()
	b = o.settled(b, h.o.Now())
	o.mu.Unlock()
	if err := h.againstWitnesses(ctx, o, b); err != nil && !errors.Is(err, ErrConvicted) {
		h.o.Logger.Warn("not all witnesses of a fork were compared", "origin", o.Origin, "error", err)
	}
	return Forked, fork
}

// keep writes evidence and applies what follows from it.
func (h *Hub) keep(o *origin, all []*evidence.Evidence, from string) (*ForkError, error) {
	fork := &ForkError{Origin: o.Origin}
	for _, e := range all {
		held, added, err := h.o.Evidence.Add(e, o.Policy)
		if err != nil {
			return nil, errors.Join(err, h.judge()) // what is held counts
		}
		h.held(held, added, from)
		fork.Held = append(fork.Held, held)
	}
	return fork, h.judge()
}

// held tells people about evidence that is new.
func (h *Hub) held(held evidence.Held, added bool, from string) {
	if !added {
		return
	}
	v := held.Verdict
	logger := h.o.Logger.With("kind", string(v.Kind), "origin", v.Origin, "against", v.Name, "file", held.Path, "from", from)
	if v.Kind == evidence.KindIndex {
		logger.Error("evidence: a wrong index", "size", v.Size, "map version", v.MapVersion, "why", v.Why)
	} else {
		logger.Error("evidence: two histories")
	}
	h.o.Metrics.evidence(v)
	h.o.Hooks.Run(held)
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.evidence)
	h.evidence = make(chan struct{})
}

// EvidenceChanged returns a channel that is closed when new evidence is held.
func (h *Hub) EvidenceChanged() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.evidence
}

// judge applies the evidence that is held: convicted logs, and witnesses that do
// not count any more.
func (h *Hub) judge() error {
	h.judging.Lock()
	defer h.judging.Unlock()
	for _, o := range h.origins {
		against, err := h.o.Evidence.AgainstLog(o.Policy, o.Origin)
		if err != nil {
			return fmt.Errorf("reading evidence against %s: %w", o.Origin, err)
		}
		counted, err := h.o.Evidence.Apply(o.Policy)
		if err != nil {
			return fmt.Errorf("reading evidence against the witnesses of %s: %w", o.Origin, err)
		}
		o.mu.Lock()
		o.convicted = len(against) > 0
		o.counted = counted
		o.chooseBest()
		o.mu.Unlock()
	}
	return nil
}

// againstWitnesses compares s with the largest checkpoint of each witness that
// cosigned it. It returns an error that matches ErrConvicted if nothing else
// went wrong. The caller has the turn.
func (h *Hub) againstWitnesses(ctx context.Context, o *origin, s *signed) error {
	errs := []error{fmt.Errorf("%s: %w", o.Origin, ErrConvicted)}
	for name := range s.cosigned {
		o.mu.Lock()
		other := o.byWitness[name]
		o.mu.Unlock()
		if other == nil || other.text == s.text {
			continue
		}
		rel, err := o.src.relate(ctx, other, s, h.wrongTile(o))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if rel.same {
			continue
		}
		all, err := evidence.FromNotes(o.Policy, other.note, s.note, rel.root, rel.proof)
		if err == nil {
			// Of the log enough is held.
			all = slices.DeleteFunc(all, func(e *evidence.Evidence) bool { return e.Kind != evidence.KindWitness })
			_, err = h.keep(o, all, "what "+name+" cosigned")
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	o.mu.Lock()
	o.noteWitnesses(s, h.o.Now())
	o.mu.Unlock()
	if err := h.commit(o); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// AddEvidence implements [Sink]. Errors match those of [evidence.Parse] and
// [fraud.Verify] if it convicts nobody whom the policies name.
func (h *Hub) AddEvidence(b []byte, from string) (bool, error) {
	e, err := evidence.Parse(b)
	if err != nil {
		return false, err
	}
	err = fmt.Errorf("%w: no log is followed", evidence.ErrUnknownKey)
	for _, pol := range h.policies() {
		var held evidence.Held
		var added bool
		if held, added, err = h.o.Evidence.Add(e, pol); err != nil {
			if errors.Is(err, evidence.ErrUnknownKey) {
				continue
			}
			return false, err
		}
		h.held(held, added, from)
		if !added {
			return false, nil
		}
		return true, errors.Join(h.judge(), h.announceAll())
	}
	return false, err
}

// announceAll writes and shows what evidence has changed.
func (h *Hub) announceAll() error {
	var errs []error
	for _, o := range h.origins {
		errs = append(errs, h.commit(o))
	}
	return errors.Join(errs...)
}

// policies returns the policies of the hub, each once.
func (h *Hub) policies() []*policy.Policy {
	var all []*policy.Policy
	seen := make(map[*policy.Policy]bool)
	for _, o := range h.origins {
		if !seen[o.Policy] {
			seen[o.Policy] = true
			all = append(all, o.Policy)
		}
	}
	return all
}

// Evidence implements [Sink]: only what convicts a key of the policies. What somebody else
// changes in the folder is seen when new evidence has come, or after a restart.
func (h *Hub) Evidence() ([]Evidence, error) {
	h.mu.Lock()
	now, list := h.evidence, h.list
	fresh := h.listed == now
	h.mu.Unlock()
	if fresh {
		return slices.Clone(list), nil
	}
	list, err := h.readEvidence()
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.list, h.listed = list, now // if there is newer evidence by now, this is never used
	return slices.Clone(list), nil
}

// readEvidence reads and judges all that is held.
func (h *Hub) readEvidence() ([]Evidence, error) {
	held, err := h.o.Evidence.List()
	if err != nil {
		return nil, fmt.Errorf("reading evidence: %w", err)
	}
	var all []Evidence
	for _, x := range held {
		for _, pol := range h.policies() {
			v, err := fraud.Verify(x.Evidence, pol)
			if err != nil {
				continue
			}
			sum := sha256.Sum256(x.Bytes)
			all = append(all, Evidence{Hash: hex.EncodeToString(sum[:]), Bytes: x.Bytes, Verdict: v})
			break
		}
	}
	return all, nil
}
