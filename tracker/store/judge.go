package store

import (
	"bytes"
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
	system      string // that it is built for, "" if no evaluation has it, severalSystems if they differ
}

// severalSystems stands for several: no text of an evaluation is a line feed (spec/tracker.md#evaluation-files).
const severalSystems = "\n"

func (f flags) with(g flags) flags {
	switch {
	case f.system == "":
		f.system = g.system
	case g.system != "" && g.system != f.system:
		f.system = severalSystems
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
}

// event is the first time that an operator says one thing about an output.
type event struct {
	op    int64
	class verify.Class
	time  int64
	fp    fingerprint
	impl  string
	much  bool // it says more than maxSaid things: all of them are this event
}

// eventsOf returns what is heard by time.
func eventsOf(list []*heard) []event {
	said := make(map[int64]int)
	for _, h := range list {
		said[h.op]++
	}
	events := make([]event, 0, len(list))
	for _, h := range list {
		switch n := said[h.op]; {
		case n > maxSaid:
			events = append(events, event{op: h.op, much: true})
			said[h.op] = 0
		case n > 0:
			events = append(events, event{op: h.op, class: h.class, time: h.time, fp: h.fingerprint(), impl: h.impl})
		}
	}
	slices.SortFunc(events, func(a, b event) int {
		return cmp.Or(cmp.Compare(a.time, b.time), cmp.Compare(a.op, b.op), cmp.Compare(a.class, b.class), compareFingerprints(a.fp, b.fp), cmp.Compare(a.impl, b.impl))
	})
	return events
}

func compareFingerprints(a, b fingerprint) int {
	return cmp.Or(bytes.Compare(a.nar[:], b.nar[:]), bytes.Compare(a.rest[:], b.rest[:]), cmp.Compare(a.path, b.path))
}

// maxSteps bounds how many claims back the time is looked for since when a state holds.
const maxSteps = 64

// summarize says what the claims that count about an output come to
// (spec/tracker.md#states).
func (j *judge) summarize(list []*heard) summary {
	s := summary{state: Missing}
	if len(list) == 0 {
		return s
	}
	events := eventsOf(list)
	s.state, s.since = j.stateAndSince(events)
	s.camps(events)
	return s
}

// moment is what the claims up to one time come to.
type moment struct {
	time  int64
	n     int // so many events
	state State
}

// stateAndSince returns the state, and the time of the claim from which on it is what it is.
func (j *judge) stateAndSince(events []event) (state State, since int64) {
	t := j.tally()
	moments := make([]moment, 0, 4)
	for i := range events {
		t.add(&events[i])
		if i+1 == len(events) || events[i+1].time != events[i].time {
			moments = append(moments, moment{events[i].time, i + 1, t.state()})
		}
	}
	at := func(m *moment) State {
		if m.state == 0 {
			m.state = Missing
			if j.trusted(events[:m.n]) {
				m.state = Agree
			}
		}
		return m.state
	}
	last := len(moments) - 1
	state = at(&moments[last])
	for i := last; i > 0 && i > last-maxSteps; i-- {
		if at(&moments[i-1]) != state {
			return state, moments[i].time
		}
	}
	first := max(0, last-maxSteps+1)
	if first == 0 && state == Missing {
		return state, 0
	}
	return state, moments[first].time
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
		if e.much {
			p.says, p.torn = true, true
			continue
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

// tally is what some claims come to. Claims can be added one by one.
type tally struct {
	real, random bool
	policy       bool
	said         map[fingerprint]*sayers
	contents     map[string]fingerprint // by path, of an output that only builds name
	paths        map[string]string      // by implementation, likewise
	copying      bool
	differ       bool
	agree        bool // without a policy
}

// sayers are the first operators that say that they built something, or that it follows from the path.
type sayers struct{ maker, builder int64 }

func (j *judge) tally() *tally {
	t := &tally{real: j.out.real, random: j.flag.random && !j.flag.fod, policy: j.tx.db.opts.Policy != nil, said: make(map[fingerprint]*sayers)}
	if t.real {
		t.contents, t.paths = make(map[string]fingerprint), make(map[string]string)
	}
	return t
}

// add adds a claim. Of an output that only builds name, other paths by other implementations contradict
// nothing (spec/policy.md#how-a-verdict-is-found).
func (t *tally) add(e *event) {
	if e.much {
		t.differ = true
		return
	}
	if t.real {
		path, ok := t.paths[e.impl]
		t.differ = t.differ || ok && path != e.fp.path
		t.paths[e.impl] = e.fp.path
	}
	if e.class == verify.Realised {
		return
	}
	s := t.said[e.fp]
	if s == nil {
		s = &sayers{}
		t.said[e.fp] = s
		if t.real {
			_, other := t.contents[e.fp.path]
			t.differ = t.differ || other
			t.contents[e.fp.path] = e.fp
		} else {
			t.differ = t.differ || len(t.said) > 1
		}
	}
	if e.class == verify.Built {
		t.copying = t.copying || t.random && s.maker > 0 && s.maker != e.op
		s.maker = cmp.Or(s.maker, e.op)
	}
	if e.class == verify.Built || e.class == verify.Addressed {
		t.agree = t.agree || s.builder > 0 && s.builder != e.op
		s.builder = cmp.Or(s.builder, e.op)
	}
}

// state is spec/tracker.md#states; 0 if the policy is to be asked.
func (t *tally) state() State {
	switch {
	case t.copying:
		return Copying
	case t.differ:
		return Differ
	case t.policy:
		return 0
	case t.agree:
		return Agree
	}
	return Missing
}

// trusted asks verify about every fingerprint. What it says depends only on who says the same as whom, so
// it is asked once for each such pattern.
func (j *judge) trusted(events []event) bool {
	fps := make([]fingerprint, 0, len(events))
	for i := range events {
		if events[i].class != verify.Realised {
			fps = append(fps, events[i].fp)
		}
	}
	slices.SortFunc(fps, compareFingerprints)
	fps = slices.Compact(fps)
	if j.out.real {
		return slices.ContainsFunc(fps, func(fp fingerprint) bool { return j.satisfied(fp, events) })
	}
	var key strings.Builder
	key.WriteString(j.ruleOf(j.path()).Name)
	byOp := slices.Clone(events)
	slices.SortFunc(byOp, func(a, b event) int {
		return cmp.Or(cmp.Compare(a.op, b.op), cmp.Compare(a.class, b.class), compareFingerprints(a.fp, b.fp), cmp.Compare(a.impl, b.impl))
	})
	for _, e := range byOp {
		fmt.Fprintf(&key, " %d.%d.%d.%q", e.op, e.class, slices.Index(fps, e.fp), e.impl)
	}
	v, ok := j.tx.verdicts.get(key.String())
	if !ok {
		v = slices.ContainsFunc(fps, func(fp fingerprint) bool { return j.satisfied(fp, events) })
		j.tx.verdicts.put(key.String(), v)
	}
	return v
}

// satisfied puts a fingerprint before verify.
func (j *judge) satisfied(fp fingerprint, events []event) bool {
	about := j.about(fp)
	c := verify.Case{Rule: j.ruleOf(about.Path), About: about, Output: j.out.real}
	for _, e := range events {
		c.Claims = append(c.Claims, verify.Claim{Operator: j.tx.names[e.op], Class: e.class, About: j.about(e.fp), Implementation: e.impl})
	}
	return verify.Judge(c).Verdict == verify.Trusted
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

// ruleOf returns the rule for a path. Of an output whose path only the build tells it depends on the path.
func (j *judge) ruleOf(path nix.StorePath) *verify.Rule {
	if j.rule == nil || j.out.real {
		known := j.flag.system != ""
		f := verify.Facts{Path: path, System: j.flag.system, SystemKnown: known && j.flag.system != severalSystems, FOD: j.flag.fod, FODKnown: known}
		j.rule = j.tx.db.opts.Policy.RuleFor(f)
	}
	return j.rule
}
