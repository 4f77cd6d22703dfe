package verify

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/statement"
)

// Log is what this package asks of a log; a *log.Client is one. Everything
// that its methods return is proven against a checkpoint that satisfied the
// log policy.
type Log interface {
	Checkpoint(ctx context.Context) (*log.Checkpoint, error)
	Accept(ctx context.Context, note []byte) (*log.Checkpoint, error)
	Believed() (*policy.Policy, error)
	Lookup(ctx context.Context, q log.Query) (*log.Answers, error)
	Entries(ctx context.Context, cp *log.Checkpoint, from, to uint64) iter.Seq2[log.Entry, error]
	// IndexTrust says what is held for and against the index of the log; auditors is
	// the index policy, nil for none.
	IndexTrust(ctx context.Context, auditors *policy.Policy) (*log.IndexTrust, error)
	// Convict keeps evidence if answers and an entry that the log holds show that its index is
	// wrong about a key, and reports whether it did.
	Convict(ctx context.Context, a *log.Answers, key string, entry uint64) (bool, error)
}

// Answered says where the answers of a log come from.
type Answered string

// The sources of answers.
const (
	ByLookups  Answered = "lookups"
	ByBundle   Answered = "bundle"    // lookups, answered by a bundle
	ByReading  Answered = "whole log" // every entry was read
	Remembered Answered = "remembered"
	NotAtAll   Answered = "nothing"
)

// LogReport is what one log of the policy contributed.
type LogReport struct {
	Name     string
	Origin   string
	URL      string
	Required bool
	Answered Answered
	Size     uint64        // of the checkpoint that the answers are about
	Time     time.Time     // of that checkpoint; meaningful if Dated
	Age      time.Duration // likewise
	Frozen   bool          // it has ended, so that its age is of no account; only asked where that would be too high
	Dated    bool          // false if the log policy names no witnesses: then nothing vouches for any time
	Mirror   string        // URL of the mirror that showed that checkpoint, "" if the log did
	// Problem is a sentence about why the log's answers are missing, too old
	// or in doubt; "" if all is well.
	Problem  string
	Forked   bool   // it showed two histories
	Evidence string // file that convicts it then
	Ignored  int    // statements that were not counted because their signature is wrong
	Complete Complete
	// IndexFault is evidence that is held against the log's index; nil if there is
	// none.
	IndexFault *log.IndexFault
}

// RefusedError says that a required log gave answers that do not hold
// together. They prove nothing, against the log neither.
type RefusedError struct {
	Log string
	Err error
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("the answers of log %s are refused: %v", e.Log, e.Err)
}

func (e *RefusedError) Unwrap() error { return e.Err }

// reading is the work with one log.
type reading struct {
	LogReport
	ref    *LogRef
	log    Log
	trust  *log.IndexTrust // what is held for and against its index
	proofs proofs
	now    func() time.Time
	mem    *memory
	cp     *log.Checkpoint
	full   *wholeLog // set by --full
	// believed is the log policy without witnesses that evidence is held against.
	believed *policy.Policy
	// gap says why what the log knows is not complete or not fresh, in words
	// that fit after "inconclusive:"; "" if it is.
	gap     string
	lead    string          // why the log itself gave no answer, if it did not: likewise
	missing map[string]bool // index keys that are not answered although gap is ""
	// unverified are signers with claims that could not be checked, and why: a
	// clause without its subject, "key 1a2b… of operator a".
	unverified map[statement.KeyID]string
	before     map[string]*log.Answers // the last about each key in this run
	// lists are the lists of references that are known, by their digest.
	lists    map[nix.Hash][]nix.StorePath
	listLeft int64 // bytes of other lists that may still be fetched
	warnings []string
}

func newReading(ref *LogRef, l Log, mem *memory, now func() time.Time) *reading {
	return &reading{
		LogReport:  LogReport{Name: ref.Name, Origin: ref.Origin, URL: ref.URL, Required: ref.Required, Answered: NotAtAll},
		ref:        ref,
		log:        l,
		now:        now,
		mem:        mem,
		lead:       fmt.Sprintf("log %s did not answer", ref.Name),
		missing:    make(map[string]bool),
		before:     make(map[string]*log.Answers),
		unverified: make(map[statement.KeyID]string),
		listLeft:   maxLists,
	}
}

// open gets the checkpoint, after making sure that the log's history goes on
// from where the remembered answers end.
func (r *reading) open(ctx context.Context) error {
	pol, err := r.log.Believed()
	switch {
	case isFork(err):
		return r.fail(ctx, err)
	case err != nil:
		return fmt.Errorf("log %s: %w", r.Name, err)
	}
	r.believed = pol
	if err := r.trusts(ctx); err != nil {
		return err
	}
	for _, name := range pol.Ignored() {
		r.warnings = append(r.warnings, fmt.Sprintf("evidence is held against the witness %s of log %s, which therefore does not count; `firn evidence list` names the file", name, r.Name))
	}
	r.Answered = ByLookups
	if r.mem.note != nil {
		_, err := r.log.Accept(ctx, r.mem.note)
		switch {
		case err == nil || isMissing(err) || errors.Is(err, context.DeadlineExceeded):
			// The same, an older one of the same history, or nobody there:
			// the checkpoint below decides.
		case isFork(err):
			return r.fail(ctx, err)
		default:
			r.warnings = append(r.warnings, fmt.Sprintf("what was remembered of log %s does not belong to its history (%v); it is forgotten", r.Name, err))
			r.mem = newMemory()
		}
	}
	cp, err := r.log.Checkpoint(ctx)
	if err != nil {
		return r.fail(ctx, err)
	}
	r.use(ctx, cp)
	return nil
}

// use makes cp what the answers are about.
func (r *reading) use(ctx context.Context, cp *log.Checkpoint) {
	r.cp = cp
	r.Size = cp.Size
	r.Time, r.Age, r.Dated = cp.Verified.Time, cp.Verified.Age, cp.Verified.Dated
	r.Mirror = cp.Mirror
	r.Frozen = false
	if why := r.stale(ctx, cp); why != "" {
		r.gap = fmt.Sprintf("the newest checkpoint of log %s is %s", r.Name, why)
		r.Problem = r.gap
	}
}

const (
	// maxAhead is how far the times of witnesses may be ahead of the clock of this machine, where
	// ages count: who sets a clock back makes old checkpoints look new.
	maxAhead = 10 * time.Minute
	// doubtful is the age from which a report says what this machine takes for today.
	doubtful = 30 * 24 * time.Hour
)

// stale says why the policy does not accept the age of a checkpoint: a clause without subject
// and verb; "" if it does. The last checkpoint of a frozen log has no age
// (spec/policy.md#remembered-answers).
func (r *reading) stale(ctx context.Context, cp *log.Checkpoint) string {
	v, allows := cp.Verified, "; the policy allows "+span(r.ref.MaxAge)
	today := r.now().UTC().Format(time.DateOnly)
	switch {
	case r.ref.MaxAge == 0 || v.Dated && -maxAhead <= v.Age && v.Age <= r.ref.MaxAge || r.hasEnded(ctx, cp):
		return ""
	case !v.Dated:
		return "of unknown age" + allows
	case v.Age < 0:
		return fmt.Sprintf("%s ahead of the clock of this machine, which says %s; one of them is wrong", span(-v.Age), today)
	case v.Age >= doubtful:
		return span(v.Age) + " old by the clock of this machine, which says " + today + allows
	}
	return span(v.Age) + " old" + allows
}

// hasEnded reports whether the last entry below cp is the log's freeze statement:
// then nothing newer is to be expected, and its age says nothing
// (spec/policy.md#firnpolicy). What cannot be read ends nothing.
func (r *reading) hasEnded(ctx context.Context, cp *log.Checkpoint) bool {
	if r.mem.frozen && noteText(r.mem.note) == noteText(cp.Note) {
		r.Frozen = true
	}
	if cp.Size == 0 || r.Frozen {
		return r.Frozen
	}
	last, err := r.entry(ctx, cp, cp.Size-1)
	r.Frozen = err == nil && log.ParseFreeze(r.ref.Policy, r.Origin, last.Leaf) != nil
	return r.Frozen
}

// span is a duration for people.
func span(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	case d >= time.Hour && d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%.1fh", d.Hours())
	case d >= time.Minute:
		return fmt.Sprintf("%dm", d/time.Minute)
	}
	return fmt.Sprintf("%ds", d/time.Second)
}

func isFork(err error) bool {
	var fork *log.ForkError
	return errors.As(err, &fork)
}

// isMissing reports whether err means that answers are missing, not that they
// are wrong.
func isMissing(err error) bool {
	return errors.Is(err, log.ErrUnreachable) || errors.Is(err, log.ErrStale)
}

// isAway reports whether err means that a log gives no answer that counts, although none was
// wrong: none came, or none in time, or not enough witnesses have cosigned it.
func isAway(err error) bool {
	var quorum *policy.QuorumError
	return isMissing(err) || errors.As(err, &quorum) || errors.Is(err, context.DeadlineExceeded)
}

// awayError is an error that isAway and that matches log.ErrUnreachable, whatever it is.
type awayError struct{ error }

func (e *awayError) Unwrap() error        { return e.error }
func (e *awayError) Is(target error) bool { return target == log.ErrUnreachable }

// fail decides what an error of the log means. It returns an error only if
// verification cannot go on at all.
func (r *reading) fail(ctx context.Context, err error) error {
	if ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return ctx.Err()
	}
	r.Answered = NotAtAll
	var fork *log.ForkError
	var absent *log.NotInBundleError
	switch {
	case errors.As(err, &fork):
		r.Forked, r.Evidence = true, fork.Path
		r.gap = fmt.Sprintf("log %s showed two histories", r.Name)
		r.Problem = err.Error()
	case errors.As(err, &absent):
		r.gap = r.notInBundle(absent.What)
		r.Problem = r.gap
	case isAway(err) || ctx.Err() != nil:
		r.offline(ctx, err)
	case r.trusts(ctx) == nil && r.IndexFault != nil:
		r.gap = faultWords(r.Name, r.IndexFault)
		r.Problem = r.gap + ": " + err.Error()
	case r.Required:
		return &RefusedError{Log: r.Name, Err: err}
	default:
		r.gap = fmt.Sprintf("the answers of log %s were refused", r.Name)
		r.Problem = err.Error()
	}
	return nil
}

// codeNoRevision is the refusal of a log that has stated no revision of its index
// (spec/log.md#errors).
const codeNoRevision = "no-revision"

// absence says why a log gives no answer that counts: what a sentence begins with that goes on with
// what is remembered, and what happened.
func (r *reading) absence(ctx context.Context, why error) (lead, problem string) {
	lead = fmt.Sprintf("log %s did not answer", r.Name)
	var refused *log.RequestError
	var quorum *policy.QuorumError
	switch {
	case errors.As(why, &refused) && refused.Code == codeNoRevision:
		lead = fmt.Sprintf("log %s has no index to answer from yet", r.Name)
		return lead, fmt.Sprintf("%s: %v; --full reads the whole log instead", lead, why)
	case errors.As(why, &quorum):
		lead = fmt.Sprintf("too few witnesses cosigned log %s", r.Name)
		return lead, lead + ": " + why.Error()
	case errors.Is(why, log.ErrStale):
		return lead, fmt.Sprintf("log %s answered with an old checkpoint: %v", r.Name, why)
	case ctx.Err() != nil || errors.Is(why, context.DeadlineExceeded):
		lead += " in time"
	}
	return lead, fmt.Sprintf("%s: %v", lead, why)
}

// offline falls back to remembered answers, which count only as long as the
// policy says and only if witnesses vouch for their age.
func (r *reading) offline(ctx context.Context, why error) {
	lead, problem := r.absence(ctx, why)
	r.lead, r.Problem = lead, problem
	if r.Mirror != "" {
		r.Problem += fmt.Sprintf("; its mirror %s answers no lookups, but --full reads the whole log from it", r.Mirror)
	}
	if r.mem.note == nil {
		r.gap = lead + " and nothing is remembered"
		return
	}
	cp, err := log.VerifyCheckpoint(r.believed, r.mem.note, r.now())
	switch {
	case err != nil:
		r.gap = fmt.Sprintf("%s and what is remembered does not satisfy the policy", lead)
	case !cp.Verified.Dated:
		r.gap = lead + ", and remembered answers do not count without witnesses who say how old they are"
	case r.ref.MaxAge == 0:
		r.gap = lead + ", and remembered answers count only if the policy gives the log a max-age"
	default:
		if why := r.stale(ctx, cp); why != "" {
			r.gap = fmt.Sprintf("%s and what is remembered is %s", lead, why)
			return
		}
		r.gap = ""
		r.use(ctx, cp)
		r.Answered = Remembered
	}
}
