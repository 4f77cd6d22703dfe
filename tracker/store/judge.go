package store

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/verify"
)

// flags are what evaluations say of an output. They only grow.
type flags struct {
	fod, random bool
	system      string // the least of those it is built for, "" if no evaluation has it
}

func (f flags) with(g flags) flags {
	if f.system == "" || g.system != "" && g.system < f.system {
		f.system = g.system
	}
	f.fod, f.random = f.fod || g.fod, f.random || g.random
	return f
}

// Where an operator stands on an output.
const (
	agreed = iota + 1 // in the largest camp, which has at least two
	differed
	alone
	copied // built what another one built, which is random by construction
)

// summary is what the claims that count about an output come to.
type summary struct {
	state             State
	agreeing, against int64
	builders          int64
	since             int64
	stands            map[int64]int // by operator
	claims            map[int64]int64
}

// event is the first time that an operator says one thing about an output.
type event struct {
	op    int64
	class verify.Class
	time  int64
	fp    fingerprint
	impl  string
}

// eventsOf returns claims without repetitions, by time.
func eventsOf(claims []claim) []event {
	events := make([]event, 0, len(claims))
	for i := range claims {
		c := &claims[i]
		events = append(events, event{c.op, c.class, c.time, c.fingerprint(), c.impl})
	}
	if len(events) < 2 {
		return events
	}
	slices.SortFunc(events, func(a, b event) int {
		return cmp.Or(cmp.Compare(a.time, b.time), cmp.Compare(a.op, b.op), cmp.Compare(a.class, b.class), compareFingerprints(a.fp, b.fp), cmp.Compare(a.impl, b.impl))
	})
	type what struct {
		op    int64
		class verify.Class
		fp    fingerprint
		impl  string
	}
	seen := make(map[what]bool, len(events))
	return slices.DeleteFunc(events, func(e event) bool {
		w := what{e.op, e.class, e.fp, e.impl}
		again := seen[w]
		seen[w] = true
		return again
	})
}

func compareFingerprints(a, b fingerprint) int {
	return cmp.Or(slices.Compare(a.nar[:], b.nar[:]), slices.Compare(a.rest[:], b.rest[:]), cmp.Compare(a.path, b.path))
}

// maxSteps bounds how many claims back the time is looked for since when a state holds.
const maxSteps = 64

// summarize says what the claims that count about an output come to
// (spec/tracker.md#states).
func (j *judge) summarize(claims []claim) summary {
	s := summary{state: Missing}
	if len(claims) == 0 {
		return s
	}
	events := eventsOf(claims)
	s.state = j.stateOf(events)
	s.since = j.sinceOf(events, s.state)
	s.claims = make(map[int64]int64)
	for i := range claims {
		s.claims[claims[i].op]++
	}
	s.camps(events)
	return s
}

// sinceOf returns the time of the claim from which on the state is what it is.
func (j *judge) sinceOf(events []event, state State) int64 {
	n := len(events)
	for range maxSteps {
		t := events[n-1].time
		for n > 0 && events[n-1].time == t {
			n--
		}
		if n == 0 {
			if state == Missing {
				return 0
			}
			return t
		}
		if j.stateOf(events[:n]) != state {
			return t
		}
	}
	return events[n].time
}

// position is what one operator says of an output.
type position struct {
	fp     fingerprint
	says   bool // fp is known: it claims a content, and not only which path it got
	torn   bool // it claims another one too
	built  bool
	made   bool     // it says that it built it, not that somebody has it or that it follows from the path
	others []string // paths that it says it got
}

// positionsOf returns what every operator says.
func positionsOf(events []event) map[int64]*position {
	at := make(map[int64]*position)
	for _, e := range events {
		p := at[e.op]
		if p == nil {
			p = &position{}
			at[e.op] = p
		}
		p.made = p.made || e.class == verify.Built
		p.built = p.built || e.class == verify.Built || e.class == verify.Addressed
		switch {
		case e.class == verify.Realised:
			p.others = append(p.others, e.fp.path)
		case !p.says:
			p.fp, p.says = e.fp, true
		default:
			p.torn = p.torn || p.fp != e.fp
		}
	}
	return at
}

// camps fills in who stands where.
func (s *summary) camps(events []event) {
	at := positionsOf(events)
	sizes, makers := make(map[fingerprint]int64), make(map[fingerprint]int64)
	var best fingerprint
	for _, p := range at {
		s.builders += bit(p.built)
		if p.says && !p.torn {
			sizes[p.fp]++
			makers[p.fp] += bit(p.made)
		}
	}
	for fp, n := range sizes {
		if n > s.agreeing || n == s.agreeing && compareFingerprints(fp, best) < 0 {
			best, s.agreeing = fp, n
		}
	}
	s.stands = make(map[int64]int, len(at))
	for op, p := range at {
		in := p.says && !p.torn && p.fp == best
		if p.says && !in || !p.says && s.agreeing > 0 && slices.ContainsFunc(p.others, func(path string) bool { return path != best.path }) {
			s.against++
		}
		switch {
		case len(at) == 1 && !p.torn:
			s.stands[op] = alone
		case s.state == Copying && p.made && !p.torn && makers[p.fp] >= 2:
			s.stands[op] = copied
		case in && s.agreeing >= 2:
			s.stands[op] = agreed
		case s.state == Differ || s.state == Copying:
			s.stands[op] = differed
		default:
			s.stands[op] = alone
		}
	}
}

// judge decides about one output.
type judge struct {
	tx   *Tx
	out  outKey
	flag flags
	rule *verify.Rule
}

// stateOf is spec/tracker.md#states for the claims that count.
func (j *judge) stateOf(events []event) State {
	if len(events) == 0 {
		return Missing
	}
	supports := make(map[fingerprint]map[int64]bool)
	built := make(map[fingerprint]map[int64]bool)
	made := make(map[fingerprint]map[int64]bool)
	for _, e := range events {
		if e.class == verify.Realised {
			continue
		}
		note(supports, e.fp, e.op)
		if e.class == verify.Built {
			note(made, e.fp, e.op)
		}
		if e.class == verify.Built || e.class == verify.Addressed {
			note(built, e.fp, e.op)
		}
	}
	if j.flag.random && !j.flag.fod {
		for _, ops := range made {
			if len(ops) >= 2 {
				return Copying
			}
		}
	}
	if j.differ(events, supports) {
		return Differ
	}
	if j.tx.db.opts.Policy != nil {
		if j.trusted(events, supports) {
			return Agree
		}
		return Missing
	}
	for _, ops := range built {
		if len(ops) >= 2 {
			return Agree
		}
	}
	return Missing
}

func note(m map[fingerprint]map[int64]bool, fp fingerprint, op int64) {
	if m[fp] == nil {
		m[fp] = make(map[int64]bool)
	}
	m[fp][op] = true
}

// differ reports whether not all claims can be true. Of an output that only builds name, other paths
// by other implementations contradict nothing (spec/policy.md#how-a-verdict-is-found).
func (j *judge) differ(events []event, supports map[fingerprint]map[int64]bool) bool {
	if !j.out.real {
		return len(supports) > 1
	}
	contents := make(map[string]fingerprint)
	for fp := range supports {
		if other, ok := contents[fp.path]; ok && other != fp {
			return true
		}
		contents[fp.path] = fp
	}
	paths := make(map[string]string)
	for _, e := range events {
		if other, ok := paths[e.impl]; ok && other != e.fp.path {
			return true
		}
		paths[e.impl] = e.fp.path
	}
	return false
}

// trusted asks verify about every fingerprint. What it says depends only on who says the same as whom, so
// it is asked once for each such pattern.
func (j *judge) trusted(events []event, supports map[fingerprint]map[int64]bool) bool {
	fps := make([]fingerprint, 0, len(supports))
	for fp := range supports {
		fps = append(fps, fp)
	}
	slices.SortFunc(fps, compareFingerprints)
	rule := j.ruleOf()
	var key strings.Builder
	fmt.Fprintf(&key, "%s %t", rule.Name, j.out.real)
	byOp := slices.Clone(events)
	slices.SortFunc(byOp, func(a, b event) int {
		return cmp.Or(cmp.Compare(a.op, b.op), cmp.Compare(a.class, b.class), compareFingerprints(a.fp, b.fp), cmp.Compare(a.impl, b.impl))
	})
	for _, e := range byOp {
		fmt.Fprintf(&key, " %d.%d.%d.%q", e.op, e.class, slices.Index(fps, e.fp), e.impl)
	}
	if !j.out.real {
		if v, ok := j.tx.verdicts.get(key.String()); ok {
			return v
		}
	}
	v := false
	for _, fp := range fps {
		v = v || verify.Judge(j.caseOf(rule, fp, events)).Verdict == verify.Trusted
	}
	if !j.out.real {
		j.tx.verdicts.put(key.String(), v)
	}
	return v
}

// caseOf puts a fingerprint before verify.
func (j *judge) caseOf(rule *verify.Rule, fp fingerprint, events []event) verify.Case {
	c := verify.Case{Rule: rule, About: j.about(fp), Output: j.out.real}
	for _, e := range events {
		c.Claims = append(c.Claims, verify.Claim{Operator: j.tx.names[e.op], Class: e.class, About: j.about(e.fp), Implementation: e.impl})
	}
	return c
}

// about is a fingerprint in verify's terms: equal if and only if fp is.
func (j *judge) about(fp fingerprint) verify.Fingerprint {
	f := verify.Fingerprint{NarHash: fp.nar, NarSize: 1}
	copy(f.References[:], fp.rest[:])
	if j.out.real {
		f.Path, _ = nix.ParseStorePath(fp.path)
	} else {
		f.Path = j.path()
	}
	return f
}

// storeDir is where paths are thought to be for rules that name them.
const storeDir nix.StoreDir = "/nix/store"

func (j *judge) path() nix.StorePath {
	p, _ := storeDir.FromBase(j.out.path)
	return p
}

func (j *judge) ruleOf() *verify.Rule {
	if j.rule == nil {
		f := verify.Facts{Path: j.path(), System: j.flag.system, SystemKnown: j.flag.system != "", FOD: j.flag.fod, FODKnown: j.flag.system != ""}
		j.rule = j.tx.db.opts.Policy.RuleFor(f)
	}
	return j.rule
}
