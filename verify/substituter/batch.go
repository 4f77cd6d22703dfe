package substituter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/statement"
	"github.com/firn-log/firn/verify"
)

// A question is a narinfo that is to be judged, or a realisation.
type question struct {
	r      *rules
	u      *upstream
	info   *nix.NarInfo
	mapped *mapped // nil for a narinfo; otherwise info has only the path
	known  []byte  // what logs answered before
	d      *decision
	answer chan error // has room for one
}

const (
	// maxBatch bounds the questions that are judged together.
	maxBatch = 4096
	// logPatience is how long logs have to answer one batch, unless Options say otherwise: what they
	// said before is still to be of use to whoever waits for a decision.
	logPatience = time.Minute
	// submitPatience is how long a log may take to prove what was submitted on a miss.
	submitPatience = 10 * time.Second
)

// ask has a question judged with the others that wait.
func (s *Substituter) ask(ctx context.Context, q *question) (*decision, error) {
	select {
	case s.batches <- q:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	select {
	case err := <-q.answer:
		return q.d, err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// judge takes all questions that wait, judges them together, and goes on: while one batch is
// judged the next gathers.
func (s *Substituter) judge() {
	for {
		var batch []*question
		select {
		case q := <-s.batches:
			batch = append(batch, q)
		case <-s.ctx.Done():
			return
		}
	gather:
		for len(batch) < maxBatch {
			select {
			case q := <-s.batches:
				batch = append(batch, q)
			default:
				break gather
			}
		}
		for len(batch) > 0 { // those of one policy
			r := batch[0].r
			n := slices.IndexFunc(batch, func(q *question) bool { return q.r != r })
			if n < 0 {
				n = len(batch)
			}
			err := s.judgeBatch(r, batch[:n])
			for _, q := range batch[:n] {
				q.answer <- err
			}
			batch = batch[n:]
		}
	}
}

func (s *Substituter) judgeBatch(r *rules, batch []*question) error {
	ctx, cancel := context.WithTimeout(s.ctx, s.o.logPatience)
	defer cancel()
	rep, err := s.verify(ctx, r, batch)
	if err != nil {
		return err
	}
	if missed := s.submitMissing(ctx, r, rep, batch); len(missed) > 0 {
		if _, err := s.verify(ctx, r, missed); err != nil {
			return err
		}
	}
	return nil
}

// addFacts takes from the store of this machine what rules look at. What it knows of a path is not about the
// derivation of a realisation.
func (s *Substituter) addFacts(ctx context.Context, r *rules, subjects []verify.Subject) error {
	if s.o.Store == nil {
		return nil
	}
	var paths []verify.Subject
	for _, sub := range subjects {
		if !sub.Mapping {
			paths = append(paths, sub)
		}
	}
	err := s.o.Store.AddFactsAhead(ctx, r.pol, paths)
	for i := range subjects {
		if !subjects[i].Mapping {
			subjects[i], paths = paths[0], paths[1:]
		}
	}
	return err
}

func (q *question) subject() verify.Subject {
	if q.mapped != nil {
		return verify.Subject{Info: &q.info.PathInfo, Mapping: true, Named: outputName(q.mapped.id) != "", Realisations: q.mapped.keys}
	}
	return verify.Subject{Info: &q.info.PathInfo}
}

// signed reports whether a key of the upstream signed what is judged.
func (q *question) signed() bool {
	if q.mapped != nil {
		return q.mapped.signed
	}
	return len(q.info.Sigs) > 0
}

// verify judges questions and gives them their decisions.
func (s *Substituter) verify(ctx context.Context, r *rules, batch []*question) (*verify.Report, error) {
	subjects := make([]verify.Subject, len(batch))
	known := make([][]byte, len(batch))
	for i, q := range batch {
		subjects[i] = q.subject()
		known[i] = q.known
	}
	if err := s.addFacts(ctx, r, subjects); err != nil { // then they are unknown
		s.o.Log.Warn("the store does not say what rules look at", "error", err)
	}
	rep, answers, err := r.session.Verify(ctx, subjects, known)
	if err != nil {
		s.tally.failed(err)
		return nil, err
	}
	now := s.o.Now()
	for i, q := range batch {
		q.known = answers[i]
		q.d = settle(&rep.Paths[i], q, now)
		q.d.answers = answers[i]
	}
	s.tally.judged(rep, len(batch))
	return rep, nil
}

// submitMissing posts the signatures of public upstreams that a rule would count and that no log
// has, waits until the log proves to have them, and returns the questions that are to be judged
// again (spec/substituter.md#submit-on-miss).
func (s *Substituter) submitMissing(ctx context.Context, r *rules, rep *verify.Report, batch []*question) []*question {
	if r.submit == nil {
		return nil
	}
	keys := make(map[statement.KeyID]string)
	for _, o := range rep.Operators {
		for _, k := range o.Keys {
			keys[k] = o.Name
		}
	}
	var missed []*question
	var leaves [][]byte
	for i, q := range batch {
		p := &rep.Paths[i]
		if p.Verdict == verify.Trusted || p.Verdict == verify.Inconclusive || !q.u.Public || len(q.info.Sigs) == 0 {
			continue
		}
		st := q.u.statement(q.info)
		if st == nil || !wanted(p, keys[st.Signer]) {
			continue
		}
		missed, leaves = append(missed, q), append(leaves, st.Leaf())
	}
	for n := 0; n < len(leaves); n += 500 {
		if err := s.submit(ctx, r, leaves[n:min(n+500, len(leaves))]); err != nil {
			s.o.Log.Warn("signatures could not be submitted", "error", err)
			s.tally.failed(fmt.Errorf("submitting signatures of public upstreams: %w", err))
			return nil
		}
	}
	return missed
}

// wanted reports whether an operator of the rule says nothing about a path yet.
func wanted(p *verify.PathReport, operator string) bool {
	if operator == "" || slices.Contains(p.Supports, operator) ||
		slices.ContainsFunc(p.Dissent, func(d verify.Dissent) bool { return d.Operator == operator }) {
		return false
	}
	return slices.ContainsFunc(p.Rule.Need.Voters(), func(o *verify.Operator) bool { return o.Name == operator })
}

// submit posts leaves and waits for their proof.
func (s *Substituter) submit(ctx context.Context, r *rules, leaves [][]byte) error {
	res, err := r.submit.Submit(ctx, leaves, submitPatience)
	if err != nil {
		return err
	}
	var errs []error
	for _, got := range res.Results {
		if got.Status != "accepted" && got.Status != "duplicate" {
			errs = append(errs, fmt.Errorf("the log refuses one: %s: %s", got.Code, got.Message))
			break
		}
	}
	s.tally.submitted(len(leaves))
	return errors.Join(errs...)
}

// statement is the signature of the upstream as a statement, nil if none can hold it.
func (u *upstream) statement(info *nix.NarInfo) *statement.Statement {
	k, ok := u.signer(info.Fingerprint(), info.Sigs[0])
	if !ok {
		return nil
	}
	st, err := statement.NewCacheSig(&info.PathInfo, k, info.Sigs[0])
	if err != nil || st.Body.(*statement.CacheSig).RefsDigest != nil {
		return nil // its references would have to go along
	}
	return st
}
