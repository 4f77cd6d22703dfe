package verify

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/log"
)

// A Session judges by one policy again and again, as a program does that runs for long. It
// remembers what people said. What was answered about a path its caller keeps beside the verdict,
// as opaque bytes, and gives back when the path is to be judged again: then logs are asked only
// for what came since, and prove that nothing else did (spec/policy.md#remembered-answers).
// It may be used concurrently; one batch is judged at a time.
type Session struct {
	pol  *Policy
	opts Options
	dir  string // of its state; "" for none

	mu   sync.Mutex // guards what follows
	logs []*sessionLog
}

// sessionLog is one log of the policy.
type sessionLog struct {
	ref  *LogRef
	log  Log
	file string  // of what is remembered; "" for none
	mem  *memory // of people only, and the newest basis
	// bases are older ones, newest last: what answers rest on that were given then.
	bases []*memory
	down  error     // why it did not answer the last time; nil if it did
	until time.Time // it is not asked again before
}

const (
	// downPause is how long a log that did not answer is left alone.
	downPause = 15 * time.Second
	// maxBases bounds the old checkpoints of a log that a session holds, each some KiB.
	maxBases = 64
)

// NewSession returns a session. Of the options Bundle and Full are not for it. It asks nobody.
func NewSession(pol *Policy, opts Options) (*Session, error) {
	if pol == nil {
		return nil, ErrNoPolicy
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	s := &Session{pol: pol, opts: opts, dir: opts.StateDir}
	if opts.Open == nil {
		s.opts.Open = (&verification{}).opener(opts)
	}
	for _, ref := range pol.Logs {
		l, err := s.opts.Open(ref)
		if err != nil {
			return nil, fmt.Errorf("log %s: %w", ref.Name, err)
		}
		sl := &sessionLog{ref: ref, log: l, mem: newMemory()}
		if s.dir != "" {
			sl.file = stateFile(filepath.Join(s.dir, "session"), pol, ref)
			sl.load()
		}
		s.logs = append(s.logs, sl)
	}
	s.opts.StateDir = "" // verifications keep nothing by themselves
	return s, nil
}

// Verify judges subjects as the function Verify does. answers are, for each subject, what an
// earlier call returned about the same path, or nil; those that cannot be used are asked for
// again. It returns the report and what is to be kept for the next call; both have the order of
// subjects.
func (s *Session) Verify(ctx context.Context, subjects []Subject, answers [][]byte) (*Report, [][]byte, error) {
	if len(subjects) == 0 {
		return nil, nil, ErrNothing
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.newBatch(subjects, answers)
	rep, err := b.run(ctx, nil)
	if err != nil {
		return nil, nil, err
	}
	if err := b.older(ctx, rep); err != nil {
		return nil, nil, err
	}
	for i, l := range s.logs {
		if err := l.save(); err != nil {
			rep.Warnings = append(rep.Warnings, fmt.Sprintf("what log %s answered could not be remembered: %v", s.logs[i].ref.Name, err))
		}
	}
	return rep, b.answers, nil
}

// batch is one call of Session.Verify.
type batch struct {
	s        *Session
	subjects []Subject
	known    [][]answer // by subject and log
	answers  [][]byte   // to be kept, by subject
}

func (s *Session) newBatch(subjects []Subject, answers [][]byte) *batch {
	b := &batch{s: s, subjects: subjects, known: make([][]answer, len(subjects)), answers: make([][]byte, len(subjects))}
	for i := range subjects {
		var kept []byte
		if i < len(answers) {
			kept = answers[i]
		}
		b.known[i] = s.decodeAnswers(kept, subjects[i].keys())
		b.answers[i] = kept
	}
	return b
}

// run judges all subjects, or those of indexes only, which all rest on one basis of each log.
func (b *batch) run(ctx context.Context, only []int) (*Report, error) {
	of := b.subjects
	if only != nil {
		of = make([]Subject, len(only))
		for n, i := range only {
			of[n] = b.subjects[i]
		}
	}
	v := &verification{pol: b.s.pol, subjects: of, opts: b.s.opts}
	asked := make([]*askedLog, len(b.s.logs))
	v.opts.Open = func(ref *LogRef) (Log, error) {
		i := slices.Index(b.s.pol.Logs, ref)
		asked[i] = &askedLog{Log: b.s.logs[i].log}
		if l := b.s.logs[i]; l.down != nil && (only != nil || b.s.opts.Now().Before(l.until)) {
			asked[i].down = l.down
		}
		return asked[i], nil
	}
	v.recall = func(i int) *memory { return b.recall(i, only) }
	for _, step := range []func(context.Context) error{v.open, v.people, v.claims} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	if only == nil {
		for i, l := range b.s.logs {
			l.heard(asked[i], b.s.opts.Now())
			b.keep(i, v.logs[i])
		}
		b.encode()
	}
	return v.report(), nil
}

// recall is what is known of the subjects from log i: on the newest basis, or, for those of
// only, on theirs.
func (b *batch) recall(i int, only []int) *memory {
	l := b.s.logs[i]
	m := newMemory()
	*m = memory{note: l.mem.note, size: l.mem.size, vouched: l.mem.vouched, frozen: l.mem.frozen, signers: l.mem.signers, people: maps.Clone(l.mem.people), claims: m.claims}
	add := func(n int) {
		for key, got := range b.known[n][i].claims {
			m.claims[key] = got
		}
	}
	if only == nil {
		for n := range b.subjects {
			add(n)
		}
		return m
	}
	for _, n := range only {
		add(n)
	}
	if basis := l.basis(b.known[only[0]][i].basis); basis != nil {
		m.note, m.size, m.vouched, m.frozen = basis.note, basis.size, basis.vouched, basis.frozen
	}
	return m
}

// older judges again, on the basis that they rest on, those of whom only older answers are known
// while a log does not answer. Their age is what the policy looks at.
func (b *batch) older(ctx context.Context, rep *Report) error {
	groups := make(map[string][]int)
	for n := range b.subjects {
		id := ""
		for i, l := range b.s.logs {
			at := b.known[n][i].basis
			if l.down != nil && at != (basisID{}) && at != basisOf(l.mem) && l.basis(at) != nil {
				id += fmt.Sprintf("%d:%x ", i, at)
			}
		}
		if id != "" && rep.Paths[n].Verdict == Inconclusive {
			groups[id] = append(groups[id], n)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(groups)) {
		again, err := b.run(ctx, groups[id])
		if err != nil {
			return err
		}
		for at, n := range groups[id] {
			rep.Paths[n] = again.Paths[at]
		}
	}
	return nil
}

// keep takes in what log i answered.
func (b *batch) keep(i int, r *reading) {
	l := b.s.logs[i]
	if r.Answered != ByLookups {
		return
	}
	r.mem.forget(r.unverified)
	before := l.mem
	l.mem = &memory{note: r.mem.note, size: r.mem.size, vouched: r.mem.vouched, frozen: r.mem.frozen, signers: r.mem.signers, people: r.mem.people, claims: newMemory().claims}
	l.mem.changed = before.changed || r.mem.changed
	if id := basisOf(before); before.note != nil && id != basisOf(l.mem) {
		l.bases = append(l.bases, &memory{note: before.note, size: before.size, vouched: before.vouched, frozen: before.frozen})
		l.bases = l.bases[max(0, len(l.bases)-maxBases):]
	}
	signers, basis := signersID(l.mem.signers), basisOf(l.mem)
	for n := range b.subjects {
		a := answer{signers: signers, basis: basis, claims: make(map[string]remembered[record])}
		for _, key := range b.subjects[n].keys() {
			if got, ok := r.mem.claims[key]; ok {
				a.claims[key] = got
			}
		}
		b.known[n][i] = a
	}
}

func (b *batch) encode() {
	for n := range b.subjects {
		b.answers[n] = b.s.encodeAnswers(b.known[n], b.subjects[n].keys())
	}
}

// heard notes whether the log answered.
func (l *sessionLog) heard(a *askedLog, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.down != nil: // it was not asked
	case a.missing != nil:
		l.down, l.until = a.missing, now.Add(downPause)
	default:
		l.down = nil
	}
}

// basis returns what answers rest on, nil if that is forgotten.
func (l *sessionLog) basis(id basisID) *memory {
	for _, m := range append(slices.Clone(l.bases), l.mem) {
		if m.note != nil && basisOf(m) == id {
			return m
		}
	}
	return nil
}

// load reads what an earlier session remembered. It is derived: what is damaged is left out.
func (l *sessionLog) load() {
	data, err := os.ReadFile(l.file)
	if err != nil || len(data) > maxStateBytes {
		return
	}
	d := &decoder{b: data}
	var all []*memory
	for n := d.count(1); n > 0 && d.err == nil; n-- {
		m, err := decodeMemory(d.bytes())
		if err != nil {
			return
		}
		all = append(all, m)
	}
	if d.err == nil && len(d.b) == 0 && len(all) > 0 {
		l.mem, l.bases = all[len(all)-1], all[:len(all)-1]
	}
}

// save writes what is remembered, if it changed.
func (l *sessionLog) save() error {
	if l.file == "" || !l.mem.changed {
		return nil
	}
	var e encoder
	e.uint(uint64(len(l.bases) + 1))
	for _, m := range append(slices.Clone(l.bases), l.mem) {
		e.bytes(m.encode())
	}
	if err := durable.MkdirAll(filepath.Dir(l.file), 0o700); err != nil {
		return err
	}
	if err := durable.WriteFile(l.file, e.b, 0o600); err != nil {
		return err
	}
	l.mem.changed = false
	return nil
}

// askedLog is a log in one batch: it notes whether it answered, and one that is down is not asked.
type askedLog struct {
	Log
	down error

	mu      sync.Mutex // guards what follows
	missing error      // it did not answer
}

func (a *askedLog) note(err error) error {
	if err != nil && isAway(err) && !errors.Is(err, context.Canceled) {
		a.mu.Lock()
		a.missing = &awayError{err}
		a.mu.Unlock()
	}
	return err
}

func (a *askedLog) Checkpoint(ctx context.Context) (*log.Checkpoint, error) {
	if a.down != nil {
		return nil, a.down
	}
	cp, err := a.Log.Checkpoint(ctx)
	return cp, a.note(err)
}

func (a *askedLog) Accept(ctx context.Context, note []byte) (*log.Checkpoint, error) {
	if a.down != nil {
		return nil, a.down
	}
	return a.Log.Accept(ctx, note)
}

func (a *askedLog) Lookup(ctx context.Context, q log.Query) (*log.Answers, error) {
	if a.down != nil {
		return nil, a.down
	}
	got, err := a.Log.Lookup(ctx, q)
	return got, a.note(err)
}

func (a *askedLog) Entries(ctx context.Context, cp *log.Checkpoint, from, to uint64) iter.Seq2[log.Entry, error] {
	if a.down != nil {
		return func(yield func(log.Entry, error) bool) { yield(log.Entry{}, a.down) }
	}
	return a.Log.Entries(ctx, cp, from, to)
}

var _ Log = (*askedLog)(nil)
