package verify

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/firn-log/firn/log"
)

// Basis says on whose word it rests that nothing is missing from the answers of
// a log (spec/policy.md#completeness).
type Basis string

// The bases, weakest first.
const (
	BasisNone     Basis = "nobody"    // something may be missing
	BasisPolicy   Basis = "policy"    // `completeness off`: the log's answers are taken as they are
	BasisLog      Basis = "log"       // proven against an index that only the log itself vouches for
	BasisAuditors Basis = "auditors"  // proven against an index that a quorum of auditors vouches for
	BasisReading  Basis = "whole log" // every entry was read
)

// strength orders bases.
func (b Basis) strength() int {
	return slices.Index([]Basis{BasisNone, BasisPolicy, BasisLog, BasisAuditors, BasisReading}, b)
}

// Complete says on whose word the answers of one log are complete, or why they
// are not.
type Complete struct {
	By Basis
	// Auditors are those whose cosignatures count, by their names in the index
	// policy, in its order; only with BasisAuditors.
	Auditors []string
	Unread   uint64 // newest entries that the policy's `tail` lets stay unread
	Why      string // a clause that names the log, with BasisNone
}

// Words is "complete according to auditors a, b", or why not.
func (c *Complete) Words() string {
	words := ""
	switch c.By {
	case BasisLog:
		words = "complete according to the log itself"
	case BasisAuditors:
		words = "complete according to " + auditorNames(c.Auditors)
	case BasisReading:
		words = "complete: every entry was read"
	case BasisPolicy:
		words = "completeness not proven"
	default:
		words = "not complete: " + c.Why
	}
	if c.Unread > 0 {
		words += fmt.Sprintf(", but for the newest %s", entries(c.Unread))
	}
	return words
}

func auditorNames(names []string) string {
	if len(names) == 1 {
		return "auditor " + names[0]
	}
	return "auditors " + strings.Join(names, ", ")
}

func entries(n uint64) string {
	if n == 1 {
		return "entry"
	}
	return fmt.Sprintf("%d entries", n)
}

// proofs is what the lookups of one run have shown about the index of a log.
type proofs struct {
	lookups  int             // that were answered
	asked    map[string]bool // keys of these
	doubt    string          // why answers are not complete, a clause that names the log; "" if they are
	lacking  string          // likewise, for want of auditors: what is remembered may find them later
	auditors map[string]bool // whose cosignatures made up the index quorum
	vouched  [][]byte        // checkpoints that vouch for the revisions
	reached  uint64          // size below which every answer is whole
	unread   uint64          // the most entries that an answer left unread
}

// add takes in that an answer about keys is whole below read.
func (p *proofs) add(keys []string, read uint64) {
	if p.lookups == 0 || read < p.reached {
		p.reached = read
	}
	p.lookups++
	if p.asked == nil {
		p.asked = make(map[string]bool)
	}
	for _, k := range keys {
		p.asked[k] = true
	}
}

// doubtf notes why the answers of the log are not complete; the first reason
// stays.
func (r *reading) doubtf(format string, args ...any) {
	if r.proofs.doubt == "" {
		r.proofs.doubt = fmt.Sprintf(format, args...)
	}
}

// unread notes that an answer leaves out the newest n entries.
func (r *reading) unread(n uint64) {
	r.proofs.unread = max(r.proofs.unread, n)
	if n > r.ref.Tail {
		r.doubtf("the answers of log %s lack its newest %s; the policy lets %d stay unread", r.Name, entries(n), r.ref.Tail)
	}
}

// vouch holds a checkpoint that vouches for a revision against the index policy.
func (r *reading) vouch(note []byte) {
	p := &r.proofs
	if !slices.ContainsFunc(p.vouched, func(n []byte) bool { return string(n) == string(note) }) {
		p.vouched = append(p.vouched, note)
	}
	if r.trust.Auditors == nil {
		return
	}
	v, err := r.trust.Auditors.Verify(note, r.now())
	if err != nil {
		if p.lacking == "" {
			p.lacking = fmt.Sprintf("the index quorum of log %s is not there: %v", r.Name, err)
		}
		return
	}
	if p.auditors == nil {
		p.auditors = make(map[string]bool)
	}
	for _, c := range v.Cosignatures {
		p.auditors[c.Witness] = true
	}
}

// trusts reads what is held against the index of the log and its auditors.
func (r *reading) trusts(ctx context.Context) error {
	trust, err := r.log.IndexTrust(ctx, r.ref.IndexPolicy)
	if err != nil {
		return fmt.Errorf("log %s: %w", r.Name, err)
	}
	if (trust.Auditors == nil) != (r.ref.IndexPolicy == nil) {
		return fmt.Errorf("log %s: its index policy was lost", r.Name) // a mistake in this program must not drop a demand
	}
	r.hold(trust)
	return nil
}

func (r *reading) hold(trust *log.IndexTrust) {
	r.trust, r.IndexFault = trust, nil
	if len(trust.Faults) > 0 {
		r.IndexFault = &trust.Faults[0]
	}
}

// faultWords is the sentence about evidence against the index of a log.
func faultWords(name string, f *log.IndexFault) string {
	return fmt.Sprintf("the index of log %s (map version %d) is wrong: %s", name, f.MapVersion, f.What)
}

// settle decides on whose word the answers of the log are complete, after all
// were given. If on nobody's, that is a gap.
func (r *reading) settle(ctx context.Context, off bool) error {
	if err := r.trusts(ctx); err != nil { // again: asking may have brought evidence to light
		return err
	}
	c := r.decide(off)
	if c.By == BasisNone {
		r.gap, r.Problem = cmp.Or(r.gap, c.Why), cmp.Or(r.Problem, c.Why)
	}
	r.Complete = c
	return nil
}

// Completeness says on whose word answers that one lookup gave are complete, by the index policy
// of the log and by what is held for and against its index, or why they are not. off is whether
// the policy says `completeness off`. Of answers that the log itself calls incomplete it drops the heads.
func Completeness(ref *LogRef, off bool, a *log.Answers, trust *log.IndexTrust, now time.Time) Complete {
	r := newReading(ref, nil, newMemory(), func() time.Time { return now })
	r.Answered = ByLookups
	r.hold(trust)
	r.rests(a)
	return r.decide(off)
}

// decide is completeness, taking the log's word where the policy does.
func (r *reading) decide(off bool) Complete {
	c := r.completeness()
	if c.By == BasisNone && off && r.Answered != NotAtAll && r.IndexFault == nil {
		c = Complete{By: BasisPolicy}
	}
	return c
}

func (r *reading) completeness() Complete {
	no := func(why string) Complete { return Complete{By: BasisNone, Why: why} }
	p := &r.proofs
	switch r.Answered {
	case NotAtAll:
		return no(r.gap)
	case ByReading:
		return Complete{By: BasisReading}
	case Remembered:
		*p = r.rememberedProofs()
	}
	switch {
	case r.IndexFault != nil:
		return no(faultWords(r.Name, r.IndexFault) + "; the evidence is in " + r.IndexFault.File)
	case p.doubt != "":
		return no(p.doubt)
	case p.lookups == 0:
		return no("completeness not proven by log " + r.Name)
	case p.lacking != "":
		return no(p.lacking)
	case r.ref.IndexPolicy == nil:
		return Complete{By: BasisLog, Unread: p.unread}
	}
	c := Complete{By: BasisAuditors, Unread: p.unread}
	for _, w := range r.ref.IndexPolicy.Witnesses {
		if p.auditors[w.Name] {
			c.Auditors = append(c.Auditors, w.Name)
		}
	}
	return c
}

// rememberedProofs is what the remembered answers rest on, judged anew: by the
// policy and by the evidence of today.
func (r *reading) rememberedProofs() proofs {
	kept := r.proofs
	r.proofs = proofs{lookups: 1, reached: r.mem.size}
	r.unread(r.cp.Size - min(r.mem.size, r.cp.Size))
	if len(r.mem.vouched) == 0 {
		r.doubtf("completeness not proven by log %s when it last answered", r.Name)
	}
	for _, note := range r.mem.vouched {
		r.vouch(note)
	}
	out := r.proofs
	r.proofs = kept
	return out
}
